//! The agent's side: one tunnel up to each proxy, always.
//!
//! A proxy may have several addresses: they are tried in turn, and which one leads there makes no second tunnel. Which
//! proxies there are may change at any time; one that is no longer wanted is left once nobody talks through it.
//!
//! A broken tunnel is dialed again within a second, a proxy that stays away every [`MAX_BACKOFF`] at most, with half of
//! each wait left to chance so that a restart is not met by everyone at once. When a proxy says it is leaving, the
//! replacement is opened before the old tunnel, and its streams, are let go.

use std::collections::BTreeMap;
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

/// A proxy to keep a tunnel to.
#[derive(Clone)]
pub struct Proxy {
    /// Which one it is, whatever its addresses.
    pub key: String,
    /// The ways to it; any of them will do.
    pub ways: Vec<Arc<dyn Connect>>,
}

/// How the tunnel to one proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Which proxy: [`Proxy::key`].
    pub key: String,
    /// The proxy's address; all of them while it is down.
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
    proxies: watch::Receiver<Vec<Proxy>>,
    arrivals: mpsc::Sender<Arrival>,
    links: Links,
    random: Random,
}

impl Agent {
    /// An agent with a tunnel to each of `proxies`, as they are now and after each change, and the streams that will
    /// come through them.
    #[must_use]
    pub fn new(proxies: watch::Receiver<Vec<Proxy>>, clock: &Clock, random: &Random) -> (Self, Arrivals) {
        let (arrivals, taken) = mpsc::channel(BACKLOG);
        let links = Links { all: Arc::new(watch::Sender::default()), clock: clock.clone() };
        (Self { proxies, arrivals, links, random: random.clone() }, Arrivals(taken))
    }

    /// How each tunnel is, now and after each change.
    #[must_use]
    pub fn links(&self) -> watch::Receiver<Vec<Link>> {
        self.links.all.subscribe()
    }

    /// Starts to keep a tunnel to one more proxy.
    fn keep(&self, proxy: Proxy, scope: &Scope) -> Kept {
        let (ways, watched) = watch::channel(proxy.ways);
        let keeper = Keeper {
            key: proxy.key,
            ways: watched,
            first: 0,
            arrivals: self.arrivals.clone(),
            links: self.links.clone(),
            random: self.random.clone(),
        };
        let (tunnels, wanted) = (scope.clone(), scope.child("proxy"));
        let life = wanted.clone();
        scope.spawn("keep tunnel", async move { keeper.run(&tunnels, &life).await });
        Kept { ways, wanted }
    }
}

/// A keeper as the agent has it.
struct Kept {
    ways: watch::Sender<Vec<Arc<dyn Connect>>>,
    /// Ends when the proxy is no longer wanted; the tunnel may stand for longer.
    wanted: Scope,
}

impl Service for Agent {
    const NAME: &'static str = "tunnel agent";

    async fn run(mut self, scope: Scope) -> Result<(), Fault> {
        let mut kept: BTreeMap<String, Kept> = BTreeMap::new();
        loop {
            let wanted = self.proxies.borrow_and_update().clone();
            for (_, gone) in kept.extract_if(.., |key, _| wanted.iter().all(|proxy| proxy.key != *key)) {
                gone.wanted.cancel();
            }
            for proxy in wanted {
                match kept.get(&proxy.key) {
                    Some(known) => drop(known.ways.send_replace(proxy.ways)),
                    None => drop(kept.insert(proxy.key.clone(), self.keep(proxy, &scope))),
                }
            }
            // Both are cancel-safe.
            let changed = tokio::select! {
                changed = self.proxies.changed() => changed,
                () = scope.cancelled() => return Ok(()),
            };
            if changed.is_err() {
                // Whoever tells of proxies is gone: it stays as it is.
                scope.cancelled().await;
                return Ok(());
            }
        }
    }
}

/// How all the tunnels are, told to who watches.
#[derive(Clone)]
struct Links {
    all: Arc<watch::Sender<Vec<Link>>>,
    clock: Clock,
}

impl Links {
    /// Notes how one is; an error stays in view until there is another.
    fn note(&self, now: Link) {
        if let Some(why) = &now.last_error {
            tracing::debug!(proxy = %now.proxy, %why, "no tunnel");
        }
        self.all.send_modify(|links| match links.iter_mut().find(|link| link.key == now.key) {
            Some(link) => {
                let since = if link.up == now.up { link.since } else { now.since };
                let last_error = now.last_error.or(link.last_error.take());
                *link = Link { since, last_error, ..now };
            }
            None => links.push(now),
        });
    }

    fn forget(&self, key: &str) {
        self.all.send_modify(|links| links.retain(|link| link.key != key));
    }
}

struct Keeper {
    key: String,
    ways: watch::Receiver<Vec<Arc<dyn Connect>>>,
    /// The way to try first.
    first: usize,
    arrivals: mpsc::Sender<Arrival>,
    links: Links,
    random: Random,
}

/// What became of a tunnel that stood.
enum Fate {
    Ended,
    Leaving(Handle),
    Unwanted,
}

impl Keeper {
    /// Keeps a tunnel up until `wanted` ends; the tunnels themselves are part of `scope`.
    async fn run(mut self, scope: &Scope, wanted: &Scope) {
        let mut failures = 0;
        let mut leaving: Option<Handle> = None;
        // Said once, not at each try.
        let mut told = None;
        self.note_down(None);
        loop {
            let dialed = tokio::select! {
                dialed = self.dial() => dialed,
                () = wanted.cancelled() => break,
            };
            let pause = match dialed {
                Ok((way, io)) => {
                    told = None;
                    let began = Instant::now();
                    let fate = self.stand((way, io), leaving.take(), scope, wanted).await;
                    failures = if began.elapsed() >= GOOD { 0 } else { failures + 1 };
                    // A proxy that leaves at once is draining: asking it again and again helps nobody.
                    let at_once = matches!(fate, Fate::Leaving(_)) && failures == 0;
                    match fate {
                        Fate::Leaving(handle) => leaving = Some(handle),
                        Fate::Ended => {}
                        Fate::Unwanted => break,
                    }
                    if at_once { Duration::ZERO } else { self.backoff(failures) }
                }
                Err(why) => {
                    failures += 1;
                    if told.as_ref() != Some(&why) {
                        tracing::warn!(proxy = %self.names(), %why, "no tunnel: tried again until there is one; is this a proxy's address, and does it run?");
                        told = Some(why.clone());
                    }
                    self.note_down(Some(why));
                    self.backoff(failures)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = wanted.cancelled() => break,
            }
        }
        if let Some(old) = leaving {
            old.close_when_idle();
        }
        tracing::info!(proxy = %self.names(), "no longer a proxy to keep a tunnel to");
        self.links.forget(&self.key);
    }

    /// A connection by the first way that leads there. One that takes too long is not the first to be tried the next
    /// time.
    async fn dial(&mut self) -> Result<(Arc<dyn Connect>, crate::BoxIo), String> {
        let ways = self.ways.borrow_and_update().clone();
        // In the order of the ways, so that the same failures read the same.
        let mut whys = BTreeMap::new();
        let begin = self.first;
        let search = async {
            for n in (begin..).take(ways.len()) {
                let n = n % ways.len();
                let Some(way) = ways.get(n) else { continue };
                self.first = n + 1;
                match way.connect().await {
                    Ok(io) => {
                        self.first = n;
                        return Some((way.clone(), io));
                    }
                    Err(error) => drop(whys.insert(n, runtime::causes(error.as_ref()))),
                }
            }
            None
        };
        match tokio::time::timeout(DIAL, search).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) if whys.is_empty() => Err("it has no address".to_owned()),
            Ok(None) => Err(whys.into_values().collect::<Vec<_>>().join("; ")),
            Err(_) => Err(format!("no connection within {DIAL:?}")),
        }
    }

    /// Lets a fresh tunnel stand until it ends, its proxy leaves, or nobody wants it any more; `replaced` may go once
    /// this one is up.
    async fn stand(
        &self,
        (way, io): (Arc<dyn Connect>, crate::BoxIo),
        replaced: Option<Handle>,
        scope: &Scope,
        wanted: &Scope,
    ) -> Fate {
        // Proxies dial us; we never dial through them.
        let settings = Settings { max_outgoing: 0, ..Settings::default() };
        let (handle, incoming, mut pump) = shell::start(io, Side::Dialer, settings);
        let lifts = lift::dial_for(handle.place(), pump.lifts(), way.clone(), scope.clone());
        scope.spawn("connections for single streams", lifts);
        let proxy = way.name();
        tracing::info!(%proxy, carrier = way.carrier(), "tunnel up");
        let link = self.link();
        self.links.note(Link { proxy: proxy.clone(), up: true, carrier: way.carrier(), ..link });
        if let Some(old) = replaced {
            old.close_when_idle();
        }
        let on = handle.clone();
        let (report, ended) = tokio::sync::oneshot::channel();
        scope.spawn("tunnel", async move {
            let why = runtime::causes(&pump.run().await);
            tracing::info!(%proxy, %why, "tunnel down");
            let _ = report.send(why);
        });
        scope.spawn("tunnel arrivals", hand_on(incoming, self.arrivals.clone(), way.name()));
        tokio::select! {
            () = on.peer_leaving() => Fate::Leaving(handle),
            why = ended => {
                self.note_down(Some(why.unwrap_or_else(|_| "we are shutting down".into())));
                Fate::Ended
            }
            () = wanted.cancelled() => {
                handle.close_when_idle();
                Fate::Unwanted
            }
        }
    }

    fn names(&self) -> String {
        self.ways.borrow().iter().map(|way| way.name()).collect::<Vec<_>>().join(", ")
    }

    /// The link while there is no tunnel.
    fn link(&self) -> Link {
        Link {
            key: self.key.clone(),
            proxy: self.names(),
            up: false,
            since: self.links.clock.now(),
            carrier: String::new(),
            last_error: None,
        }
    }

    fn note_down(&self, why: Option<String>) {
        self.links.note(Link { last_error: why, ..self.link() });
    }

    /// Doubles from half a second to [`MAX_BACKOFF`]; half of it is chance.
    fn backoff(&self, failures: u32) -> Duration {
        let full = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(MAX_BACKOFF);
        let chance = u32::from(u16::from_le_bytes(self.random.bytes::<2>()));
        full / 2 + (full / 2).saturating_mul(chance) / u32::from(u16::MAX)
    }
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
