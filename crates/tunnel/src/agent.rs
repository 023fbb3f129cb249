//! The agent's side: one tunnel up to each proxy, always.
//!
//! A broken tunnel is dialed again within a second, a proxy that stays away every [`MAX_BACKOFF`] at most, with half of
//! each wait left to chance so that a restart is not met by everyone at once. When a proxy says it is leaving, the
//! replacement is opened before the old tunnel, and its streams, are let go.

use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use runtime::{Clock, Fault, Random, Scope, Service};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use wire::Reader;
use wire::dial::DialHeader;
use wire::mux::{ResetCode, Settings, Side};

use crate::Connect;
use crate::lift;
use crate::shell::{self, Handle, Incoming};
use crate::stream::Stream;

/// The longest wait between two dials.
pub const MAX_BACKOFF: Duration = Duration::from_secs(8);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

/// A tunnel that stood this long was a good one: the next failure counts as the first.
const GOOD: Duration = Duration::from_secs(10);

/// How long a dial may take; connectors have deadlines of their own, shorter ones.
const DIAL: Duration = Duration::from_secs(45);

/// Arrivals that may wait to be taken; more wait in their tunnel's own backlog.
const BACKLOG: usize = 64;

/// A stream that a proxy opened to us.
#[derive(Debug)]
pub struct Arrival {
    /// Who is wanted, and on whose behalf.
    pub header: DialHeader,
    /// The bytes.
    pub stream: Stream,
    /// The proxy it came through, for logs.
    pub proxy: String,
}

/// The streams that proxies open to this agent.
#[derive(Debug)]
pub struct Arrivals(mpsc::Receiver<Arrival>);

impl Arrivals {
    /// The next one; `None` once the agent has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.0.recv().await
    }
}

/// How the tunnel to one proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The proxy's address.
    pub proxy: String,
    /// Up or not.
    pub up: bool,
    /// Since when it has been so.
    pub since: Timestamp,
    /// How it gets through (`tls`, `websocket`, …); empty while unknown.
    pub carrier: String,
    /// Why it is down, or was last.
    pub last_error: Option<String>,
}

/// Keeps tunnels up.
pub struct Agent {
    keepers: Vec<Keeper>,
    links: watch::Receiver<Vec<Link>>,
}

struct Keeper {
    index: usize,
    connect: Arc<dyn Connect>,
    arrivals: mpsc::Sender<Arrival>,
    links: Arc<watch::Sender<Vec<Link>>>,
    clock: Clock,
    random: Random,
}

impl Agent {
    /// An agent with a tunnel to each of `proxies`, and the streams that will come through them.
    #[must_use]
    pub fn new(proxies: Vec<Arc<dyn Connect>>, clock: &Clock, random: &Random) -> (Self, Arrivals) {
        let (arrivals, taken) = mpsc::channel(BACKLOG);
        let down = |proxy: &Arc<dyn Connect>| Link {
            proxy: proxy.name(),
            up: false,
            since: clock.now(),
            carrier: String::new(),
            last_error: None,
        };
        let (links, watched) = watch::channel(proxies.iter().map(down).collect());
        let links = Arc::new(links);
        let keeper = |(index, connect)| Keeper {
            index,
            connect,
            arrivals: arrivals.clone(),
            links: links.clone(),
            clock: clock.clone(),
            random: random.clone(),
        };
        let keepers = proxies.into_iter().enumerate().map(keeper).collect();
        (Self { keepers, links: watched }, Arrivals(taken))
    }

    /// How each tunnel is, now and after each change.
    #[must_use]
    pub fn links(&self) -> watch::Receiver<Vec<Link>> {
        self.links.clone()
    }
}

impl Service for Agent {
    const NAME: &'static str = "tunnel agent";

    async fn run(self, scope: Scope) -> Result<(), Fault> {
        for keeper in self.keepers {
            let tunnels = scope.clone();
            scope.spawn("keep tunnel", async move { keeper.run(&tunnels).await });
        }
        scope.cancelled().await;
        Ok(())
    }
}

/// What became of a tunnel that stood.
enum Fate {
    Ended,
    Leaving(Handle),
}

impl Keeper {
    async fn run(self, scope: &Scope) {
        let mut failures = 0;
        let mut leaving: Option<Handle> = None;
        // Said once, not at each try.
        let mut told = None;
        loop {
            match self.dial().await {
                Ok(io) => {
                    told = None;
                    let began = Instant::now();
                    let fate = self.stand(io, leaving.take(), scope).await;
                    failures = if began.elapsed() >= GOOD { 0 } else { failures + 1 };
                    // A proxy that leaves at once is draining: asking it again and again helps nobody.
                    let at_once = matches!(fate, Fate::Leaving(_)) && failures == 0;
                    if let Fate::Leaving(handle) = fate {
                        leaving = Some(handle);
                    }
                    if !at_once {
                        tokio::time::sleep(self.backoff(failures)).await;
                    }
                }
                Err(why) => {
                    failures += 1;
                    if told.as_ref() != Some(&why) {
                        tracing::warn!(proxy = %self.connect.name(), %why, "no tunnel: tried again until there is one; is this a proxy's address, and does it run?");
                        told = Some(why.clone());
                    }
                    self.note(false, Some(why));
                    tokio::time::sleep(self.backoff(failures)).await;
                }
            }
        }
    }

    async fn dial(&self) -> Result<crate::BoxIo, String> {
        match tokio::time::timeout(DIAL, self.connect.connect()).await {
            Ok(Ok(io)) => Ok(io),
            Ok(Err(error)) => Err(runtime::causes(error.as_ref())),
            Err(_) => Err(format!("no connection within {DIAL:?}")),
        }
    }

    /// Lets a fresh tunnel stand until it ends or its proxy leaves; `replaced` may go once this one is up.
    async fn stand(&self, io: crate::BoxIo, replaced: Option<Handle>, scope: &Scope) -> Fate {
        // Proxies dial us; we never dial through them.
        let settings = Settings { max_outgoing: 0, ..Settings::default() };
        let (handle, incoming, mut pump) = shell::start(io, Side::Dialer, settings);
        let lifts = lift::dial_for(handle.place(), pump.lifts(), self.connect.clone(), scope.clone());
        scope.spawn("connections for single streams", lifts);
        let proxy = self.connect.name();
        tracing::info!(%proxy, carrier = self.connect.carrier(), "tunnel up");
        self.note(true, None);
        if let Some(old) = replaced {
            old.close_when_idle();
        }
        let (links, index, clock, on) = (self.links.clone(), self.index, self.clock.clone(), handle.clone());
        let (report, ended) = tokio::sync::oneshot::channel();
        scope.spawn("tunnel", async move {
            let why = runtime::causes(&pump.run().await);
            tracing::info!(%proxy, %why, "tunnel down");
            let _ = report.send(why);
        });
        scope.spawn("tunnel arrivals", hand_on(incoming, self.arrivals.clone(), self.connect.name()));
        tokio::select! {
            () = on.peer_leaving() => Fate::Leaving(handle),
            why = ended => {
                let why = why.unwrap_or_else(|_| "we are shutting down".into());
                note(&links, index, &clock, false, String::new(), Some(why));
                Fate::Ended
            }
        }
    }

    fn note(&self, up: bool, error: Option<String>) {
        let carrier = if up { self.connect.carrier() } else { String::new() };
        note(&self.links, self.index, &self.clock, up, carrier, error);
    }

    /// Doubles from half a second to [`MAX_BACKOFF`]; half of it is chance.
    fn backoff(&self, failures: u32) -> Duration {
        let full = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(MAX_BACKOFF);
        let chance = u32::from(u16::from_le_bytes(self.random.bytes::<2>()));
        full / 2 + (full / 2).saturating_mul(chance) / u32::from(u16::MAX)
    }
}

fn note(
    links: &watch::Sender<Vec<Link>>,
    index: usize,
    clock: &Clock,
    up: bool,
    carrier: String,
    error: Option<String>,
) {
    if let Some(why) = &error {
        tracing::debug!(index, %why, "no tunnel");
    }
    links.send_modify(|links| {
        if let Some(link) = links.get_mut(index) {
            if link.up != up {
                link.since = clock.now();
            }
            link.up = up;
            link.carrier = carrier;
            link.last_error = error.or(link.last_error.take());
        }
    });
}

/// Reads the dial header of each stream and hands it on. A slow taker makes proxies see "busy", never a full memory.
async fn hand_on(mut incoming: mpsc::Receiver<Incoming>, arrivals: mpsc::Sender<Arrival>, proxy: String) {
    while let Some(Incoming { metadata, stream, .. }) = incoming.recv().await {
        let mut reader = Reader::new(&metadata);
        match DialHeader::decode(&mut reader) {
            Ok(Some(header)) => {
                if arrivals.send(Arrival { header, stream, proxy: proxy.clone() }).await.is_err() {
                    return;
                }
            }
            Ok(None) | Err(_) => {
                tracing::warn!(%proxy, "a proxy opened a stream without a dial header");
                stream.reset(ResetCode::Refused);
            }
        }
    }
}
