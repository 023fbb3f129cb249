//! `moongate start`: read the configuration, build what it asks for, run until told to stop, drain.
//!
//! Build makes every mistake a start-up error: sockets are bound and files opened before anything runs. Drain goes
//! against the arrows: the node's sessions end first, then the proxy's relays, then the authority, which has heard
//! everything by then.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use client::proxy_env::ProxyEnv;
use config::{Address, Config, Loaded, LogFormat, LogOutput};
use runtime::{Clock, Health, Random, Scope};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::args::Start;
use super::diag::Diag;
use super::ground::Ground;
use super::host::{self, PidFile};
use super::ready::Readiness;
use super::{authority, file, identity};

/// How long sessions, relays and the authority get to end, each.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the services of this host until told to stop.
pub(crate) fn run(args: &Start) -> anyhow::Result<()> {
    let since = Instant::now();
    let loaded = load(args)?;
    let config = &loaded.config;
    log(config, args.debug)?;
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    if config.auth.is_none() && config.proxy.is_none() && config.ssh.is_none() {
        bail!(
            "nothing to run: every service this build has is off (see auth_service, proxy_service, ssh_service or --roles)"
        );
    }
    let instance = &config.instance;
    host::private_dir(&instance.data_dir)?;
    let random = Random::system();
    let ground = Ground {
        id: host::id(&instance.data_dir, &random)?,
        name: instance.nodename.clone().unwrap_or_else(host::name),
        clock: Clock::system(),
        random,
        health: Health::default(),
        readiness: Readiness::of(services(config)),
        env: ProxyEnv::from_vars(std::env::vars())?,
        config: config.clone(),
    };
    let _pid = instance.pid_file.as_deref().map(PidFile::write).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(serve(ground, since));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

fn load(args: &Start) -> anyhow::Result<Loaded> {
    let file = file::read(args.config.as_deref())?;
    match config::load(&file.name, &file.text, &args.flags()) {
        Ok(loaded) => Ok(loaded),
        Err(findings) => bail!("the configuration is not good:\n{findings}"),
    }
}

fn log(config: &Config, debug: bool) -> anyhow::Result<()> {
    let log = &config.instance.log;
    let level = if debug { "debug" } else { log.severity.as_str() };
    let file = match &log.output {
        LogOutput::File(path) => Some(path.as_path()),
        LogOutput::Stderr | LogOutput::Stdout | LogOutput::Syslog => None,
    };
    let failed = || format!("cannot log to {}", file.map(|f| f.display().to_string()).unwrap_or_default());
    runtime::telemetry::init(level, file, log.format == LogFormat::Json).with_context(failed)
}

/// The names of the services that will run.
fn services(config: &Config) -> Vec<&'static str> {
    let all =
        [("auth", config.auth.is_some()), ("proxy", config.proxy.is_some()), ("node", config.ssh.is_some())];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
}

/// Binds a listener; the message says for what.
pub(crate) async fn bind(address: &Address, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind((address.host(), address.port()))
        .await
        .with_context(|| format!("cannot listen on {address} for {what}"))
}

async fn serve(ground: Ground, since: Instant) -> anyhow::Result<()> {
    let floors = Floors::new();
    let done = tokio::select! {
        built = build(&ground, &floors, since) => match built {
            Ok(()) => until_told(&ground, &floors).await,
            Err(error) => Err(error),
        },
        stopped = stop_signal() => stopped,
    };
    floors.drain().await;
    done
}

/// A scope for each floor, so that they can end in order.
struct Floors {
    node: Scope,
    proxy: Scope,
    auth: Scope,
}

impl Floors {
    fn new() -> Self {
        Self { node: Scope::root("node"), proxy: Scope::root("proxy"), auth: Scope::root("auth") }
    }

    async fn drain(&self) {
        for scope in [&self.node, &self.proxy, &self.auth] {
            if !scope.drain(GRACE).await {
                tracing::warn!(service = scope.name(), left = scope.alive(), "not everything ended in time");
            }
        }
    }

    /// Waits until a service gave up.
    async fn fault(&self) {
        tokio::select! {
            () = self.node.cancelled() => {}
            () = self.proxy.cancelled() => {}
            () = self.auth.cancelled() => {}
        }
    }
}

/// Builds and starts every service, lowest floor first.
async fn build(ground: &Ground, floors: &Floors, since: Instant) -> anyhow::Result<()> {
    let config = &ground.config;
    if let Some(address) = &config.instance.diag {
        let listener = bind(address, "diagnostics").await?;
        let (readiness, health) = (ground.readiness.clone(), ground.health.clone());
        Diag { readiness, health, since, scope: floors.auth.clone() }.serve(listener);
    }
    let mut authority = None;
    if let Some(auth) = &config.auth {
        let listener = bind(&auth.listen, "the authority's API").await?;
        authority = Some(authority::start(ground, auth, listener, &floors.auth).await?);
    }
    let roles = roles(config);
    if !roles.is_empty() {
        let _joined = identity::establish(ground, authority.as_ref(), roles, &floors.proxy).await?;
    }
    Ok(())
}

/// What the services beside the authority speak for.
fn roles(config: &Config) -> std::collections::BTreeSet<model::SystemRole> {
    let proxy = config.proxy.as_ref().map(|_| model::SystemRole::Proxy);
    let node = config.ssh.as_ref().map(|_| model::SystemRole::Node);
    proxy.into_iter().chain(node).collect()
}

/// Runs until a signal or a fault ends it.
async fn until_told(ground: &Ground, floors: &Floors) -> anyhow::Result<()> {
    let mut reload = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut announced = false;
    loop {
        tokio::select! {
            stopped = stop_signal() => return stopped,
            () = floors.fault() => bail!("a service failed: see the log above"),
            _ = reload.recv() => tracing::info!("SIGHUP"),
            () = ground.readiness.ready(), if !announced => {
                announced = true;
                announce(ground);
            }
        }
    }
}

fn announce(ground: &Ground) {
    let services: Vec<&str> = ground.readiness.all().into_keys().collect();
    println!("moongate {} is ready: {}", model::VERSION, services.join(", "));
}

/// Waits for SIGTERM or SIGINT.
async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "stopping");
    Ok(())
}
