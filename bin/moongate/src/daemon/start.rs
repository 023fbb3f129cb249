//! `moongate start`: read the configuration, build what it asks for, run until told to stop, drain.
//!
//! What is in the account's reach is touched once root is gone, so that its traps catch nobody but the account.
//! Build makes every mistake a start-up error: sockets are bound and files opened before anything runs. Drain goes
//! against the arrows: after SIGTERM nobody new comes in and sessions go on for `shutdown_grace`; then the node's
//! sessions end first, then the proxy's relays, then the authority, which has heard
//! everything by then.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ::node::spawner::Launched;
use anyhow::{Context, bail};
use config::{Address, Config};
use runtime::{Aside, Clock, Health, Lane, Random, Scope};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::Start;
use super::diag::Diag;
use super::ground::Ground;
use super::host;
use super::identity::{self, Joined};
use super::load::{NotGood, load};
use super::outside::Outside;
use super::ready::Readiness;
use super::reload::{self, Reloadable};
use super::rules::{self, Rules};
use super::{authority, lock, node, privileges, proxy};

/// How long sessions, relays and the authority get to end once they must, each.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the services of this host until told to stop.
pub(crate) fn run(args: &Start) -> anyhow::Result<()> {
    let since = Instant::now();
    let (loaded, file) = load(args.config.as_deref(), &args.flags())?;
    let config = &loaded.config;
    // Not through the log: its severity must not swallow what has no effect.
    for note in &loaded.notes {
        eprintln!("{note}");
    }
    if config.auth.is_none() && config.proxy.is_none() && config.ssh.is_none() {
        let why = "nothing to run: every service this build has is off (see auth_service, proxy_service, ssh_service or --roles)";
        return Err(NotGood(why.to_owned()).into());
    }
    rules::algorithms(config).map_err(|error| NotGood(format!("{error:#}")))?;
    host::raise_limits();
    let instance = &config.instance;
    let config::Storage::Embedded(storage) = &instance.storage;
    let plan = privileges::plan(&instance.data_dir, storage)?;
    let split = |ssh| privileges::split(&instance.data_dir, ssh);
    let launched = config.ssh.as_ref().map(split).transpose()?;
    let level = if args.debug { "debug" } else { instance.log.severity.as_str() };
    let mut outside = Outside::default();
    // What lies where the account can write may be a trap for root: that waits until root is gone.
    outside.open(config, level, |path| !plan.reaches(path))?;
    privileges::give_up_root(&plan)?;
    outside.open(config, level, |_| true)?;
    privileges::say(&plan);
    let _locks = lock::take(config)?;
    outside.sign()?;
    let random = Random::system();
    let ground = Ground {
        id: host::id(&instance.data_dir, &random)?,
        name: instance.nodename.clone().unwrap_or_else(host::name),
        clock: Clock::system(),
        random,
        health: Health::default(),
        readiness: Readiness::of(services(config)),
        env: crate::gate::proxies()?,
        config: config.clone(),
        file,
        since,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let aside = Aside::start().context("cannot start the runtime's second lane")?;
    let done = runtime.block_on(serve(args, ground, launched, &Floors::new(&aside.lane())));
    runtime.shutdown_timeout(Duration::from_secs(1));
    aside.end(Duration::from_secs(1));
    done
}

/// The names of the services that will run.
fn services(config: &Config) -> Vec<&'static str> {
    let all =
        [("auth", config.auth.is_some()), ("proxy", config.proxy.is_some()), ("node", config.ssh.is_some())];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
}

/// Connections the system holds for us until we take them. With its usual 128 a burst waits for a second each time.
const BACKLOG: u32 = 4096;

/// Binds a listener; the message says for what.
pub(crate) async fn bind(address: &Address, what: &str) -> anyhow::Result<TcpListener> {
    let bound = async {
        let mut last = std::io::Error::other("the name has no address");
        for at in tokio::net::lookup_host((address.host(), address.port())).await? {
            match bind_to(at) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    bound.await.with_context(|| format!("cannot listen on {address} for {what}"))
}

fn bind_to(at: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

async fn serve(
    args: &Start,
    mut ground: Ground,
    launched: Option<Launched>,
    floors: &Floors,
) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    // From the start as well: one that nobody listens to ends the process.
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let built = tokio::select! {
        built = build(&mut ground, floors, launched) => built.map(Some),
        signal = stop.told() => {
            tracing::info!(signal, "stopping before everything was up");
            Ok(None)
        }
    };
    let grace = ground.config.instance.shutdown_grace.0;
    let (done, gentle) = match built {
        Ok(Some(parts)) => match until_told(args, &ground, floors, &parts, (&mut stop, &mut hangup)).await {
            Ok(TERMINATE) => (Ok(()), parts.node),
            Ok(_) => (Ok(()), None),
            Err(error) => (Err(error), None),
        },
        Ok(None) => (Ok(()), None),
        Err(error) => (Err(error), None),
    };
    let leave = async {
        // No new conversations while the old ones end.
        floors.proxy.cancel();
        if let Some(node) = gentle {
            tracing::info!(?grace, "waiting for sessions to end");
            let all = node.leave(grace).await;
            tracing::info!(all, "sessions have ended, or their time has");
        }
        floors.drain(grace).await;
    };
    tokio::select! {
        () = leave => {}
        signal = stop.told() => tracing::warn!(signal, "told twice: not waiting for the rest"),
    }
    done
}

/// A scope for each floor, so that they can end in order.
struct Floors {
    serve: Scope,
    node: Scope,
    proxy: Scope,
    joined: Scope,
    auth: Scope,
}

impl Floors {
    fn new(lane: &Lane) -> Self {
        let [serve, node, proxy, joined, auth] =
            ["sessions", "node", "proxy", "identity", "auth"].map(|name| Scope::root(name).beside(lane));
        Self { serve, node, proxy, joined, auth }
    }

    fn all(&self) -> [&Scope; 5] {
        [&self.serve, &self.node, &self.proxy, &self.joined, &self.auth]
    }

    /// The proxy has a grace of its own for what it carries.
    async fn drain(&self, grace: Duration) {
        for scope in self.all() {
            if !scope.drain(grace + GRACE).await {
                tracing::warn!(service = scope.name(), left = scope.alive(), "not everything ended in time");
            }
        }
    }

    /// Waits until a service gave up.
    async fn fault(&self) {
        tokio::select! {
            () = self.serve.cancelled() => {}
            () = self.node.cancelled() => {}
            () = self.proxy.cancelled() => {}
            () = self.joined.cancelled() => {}
            () = self.auth.cancelled() => {}
        }
    }
}

/// Sockets bound before anything runs.
#[derive(Default)]
struct Bound {
    diag: Option<TcpListener>,
    auth: Option<TcpListener>,
    proxy: Vec<TcpListener>,
    node: Option<TcpListener>,
}

impl Bound {
    async fn all(config: &Config) -> anyhow::Result<Self> {
        let mut bound = Self::default();
        if let Some(address) = &config.instance.diag {
            bound.diag = Some(bind(address, "diagnostics").await?);
        }
        if let Some(auth) = &config.auth {
            bound.auth = Some(bind(&auth.listen, "the authority's API").await?);
        }
        if let Some(proxy) = &config.proxy {
            for address in std::iter::once(&proxy.listen).chain(&proxy.also_listen) {
                bound.proxy.push(bind(address, "the proxy").await?);
            }
        }
        if let Some(address) = config.ssh.as_ref().and_then(|ssh| ssh.listen.as_ref()) {
            bound.node = Some(bind(address, "the SSH service").await?);
        }
        Ok(bound)
    }
}

/// Builds and starts every service, lowest floor first. What this host is called is settled on the way: the name it
/// joined with.
async fn build(
    ground: &mut Ground,
    floors: &Floors,
    launched: Option<Launched>,
) -> anyhow::Result<Reloadable> {
    let config = &ground.config.clone();
    let bound = Bound::all(config).await?;
    if let Some(listener) = bound.diag {
        let (readiness, health) = (ground.readiness.clone(), ground.health.clone());
        let scopes = floors.all().map(Scope::clone).to_vec();
        Diag { readiness, health, since: ground.since, scopes }.serve(listener, &floors.auth);
    }
    let mut authority = None;
    if let (Some(auth), Some(listener)) = (&config.auth, bound.auth) {
        authority = Some(authority::start(ground, auth, listener, &floors.auth).await?);
    }
    let mut parts = Reloadable { authority: authority.clone(), ..Reloadable::default() };
    let roles = roles(config);
    if roles.is_empty() {
        return Ok(parts);
    }
    let joined: Joined = identity::establish(ground, authority.as_ref(), roles, &floors.joined).await?;
    ground.name = joined.identity.borrow().name().clone();
    let ground = &*ground;
    let rules = Rules::start(ground, &joined, &floors.joined)?;
    if let Some(config) = &config.proxy {
        parts.certs = Some(proxy::start(ground, config, (&joined, &rules), bound.proxy, &floors.proxy)?);
    }
    if let (Some(config), Some(launched)) = (&config.ssh, launched) {
        let scopes = node::Scopes { serve: &floors.serve, ground: &floors.node };
        let (node, labels) =
            node::start(ground, config, (&joined, &rules), (launched, bound.node), scopes).await?;
        parts.labels = Some(labels);
        parts.node = Some(node);
    }
    Ok(parts)
}

/// What the services beside the authority speak for.
fn roles(config: &Config) -> std::collections::BTreeSet<model::SystemRole> {
    let proxy = config.proxy.as_ref().map(|_| model::SystemRole::Proxy);
    let node = config.ssh.as_ref().map(|_| model::SystemRole::Node);
    proxy.into_iter().chain(node).collect()
}

/// Runs until a signal or a fault ends it; gives the signal.
async fn until_told(
    args: &Start,
    ground: &Ground,
    floors: &Floors,
    parts: &Reloadable,
    (stop, hangup): (&mut Stop, &mut Signal),
) -> anyhow::Result<&'static str> {
    let mut config = ground.config.clone();
    let mut announced = false;
    loop {
        tokio::select! {
            signal = stop.told() => {
                tracing::info!(signal, "stopping");
                return Ok(signal);
            }
            () = floors.fault() => bail!("a service failed: see the log above"),
            _ = hangup.recv() => {
                config = reload::reload(args, (ground.file.as_deref(), &config), parts).await;
            }
            () = ground.readiness.ready(), if !announced => {
                announced = true;
                announce(ground);
            }
        }
    }
}

/// One line for people and scripts, on standard output.
fn announce(ground: &Ground) {
    let config = &ground.config;
    let auth = config.auth.as_ref().map(|auth| format!("auth {}", auth.listen));
    let proxy = config.proxy.as_ref().map(|proxy| format!("proxy {}", proxy.listen));
    let node = config.ssh.as_ref().map(|_| format!("node {}", ground.name));
    let services: Vec<String> = auth.into_iter().chain(proxy).chain(node).collect();
    println!("moongate {} is ready: {}", model::VERSION, services.join(", "));
}

/// The signal after which sessions may go on for a while. Whoever presses Ctrl-C wants an end now.
const TERMINATE: &str = "SIGTERM";

/// The signals that end the process, listened to from the start so that none is lost.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        })
    }

    /// Waits for the next; its name.
    async fn told(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => TERMINATE,
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
