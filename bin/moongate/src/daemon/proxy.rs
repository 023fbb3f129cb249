//! The proxy of this process: the one port, its web pages, and what it tells the authority.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::proxy::{
    AuthAddresses, AuthDial, BoxFuture, KeyPairFiles, Limits, Network, People, Proxy, ProxyHeaders, Rate,
    WayBack, WebCerts, WebConn, WebHandler,
};
use anyhow::{Context, bail};
use client::connect::BoxStream;
use config::{ProxyProtocol, Upstream};
use model::api::cluster::ReportProxy;
use runtime::{Clock, Scope, Service};
use tokio::net::TcpListener;
use web::{Sessions, Web};

use super::authority::Near;
use super::browsers::Browsers;
use super::ground::{Ground, host_port};
use super::identity::{self, Joined};
use super::outcasts;
use super::ready::State;
use super::rules::Rules;

/// How often the proxy announces its addresses.
const ANNOUNCE: Duration = Duration::from_secs(60);
/// How much longer than its sessions the proxy carries on: sessions say why they end.
const FAREWELL: Duration = Duration::from_secs(5);
/// A timer's word for never.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);

/// Starts the proxy on listeners that are bound already; gives what SIGHUP reloads.
pub(crate) fn start(
    ground: &Ground,
    config: &config::Proxy,
    (joined, rules): (&Joined, &Rules),
    listeners: Vec<TcpListener>,
    scope: &Scope,
) -> anyhow::Result<WebCerts> {
    let fronts = fronts(config)?;
    let certs = certificates(ground, config)?;
    let registry = tunnel::Registry::new(ground.random.clone());
    keep_routing(&registry, rules, &ground.clock, scope);
    let auth = authority(ground, joined)?;
    let most = ground.config.instance.limits.max_users.map(|most| most as usize);
    let people = People::at_most(most);
    let ways = Browsers {
        authority: auth.clone(),
        registry: registry.clone(),
        people: people.clone(),
        random: ground.random.clone(),
        feed: rules.feed.clone(),
    };
    let sessions = Sessions::new(Arc::new(ways), ground.clock.clone(), ground.random.clone(), scope);
    let settings = ::proxy::Settings {
        cluster: joined.identity.borrow().cluster().clone(),
        keyring: joined.keyring.clone(),
        trust: rules.trust.clone(),
        ssh: rules.protocol.clone(),
        web_certs: certs.clone(),
        cipher_suites: ground.config.instance.algorithms.tls_suites.clone(),
        web: Arc::new(pages(ground, config, joined, (&fronts, &sessions))),
        auth,
        registry,
        proxy_headers: match config.proxy_protocol {
            ProxyProtocol::On if config.trusted_fronts.is_none() => ProxyHeaders::Required,
            ProxyProtocol::On => ProxyHeaders::RequiredFrom(fronts.clone()),
            ProxyProtocol::Off => ProxyHeaders::Refused,
            ProxyProtocol::Unspecified => ProxyHeaders::From(fronts.clone()),
        },
        forwarded_for: if config.trust_x_forwarded_for { fronts } else { Vec::new() },
        limits: limits(&ground.config.instance.limits),
        people,
        clock: ground.clock.clone(),
        random: ground.random.clone(),
    };
    let listeners = listeners.into_iter().map(TcpListener::into_std).collect::<Result<Vec<_>, _>>()?;
    let report = Arc::new(joined.client.clone());
    let built = Proxy::build(listeners, settings, report).context("cannot build the proxy")?;
    let every = config.reload_interval.map_or(NEVER, |span| span.0);
    let built = built.reload_every(every).grace(ground.config.instance.shutdown_grace.0 + FAREWELL);
    let inner = scope.clone();
    scope.spawn_graceful("proxy", async move {
        if let Err(fault) = built.run(inner.clone()).await {
            tracing::error!(%fault, "the proxy failed; stopping");
            inner.cancel();
        }
    });
    announce(ground, config, joined, scope);
    ground.readiness.set("proxy", State::Ready);
    Ok(certs)
}

/// Nodes are reached as the cluster wants it, and kept out when it does, from now on.
fn keep_routing(registry: &tunnel::Registry, rules: &Rules, clock: &Clock, scope: &Scope) {
    let (registry, mut feed, clock) = (registry.clone(), rules.feed.clone(), clock.clone());
    feed.mark_changed();
    scope.spawn("routing", async move {
        let mut judged = None;
        while feed.changed().await.is_ok() {
            let snapshot = feed.borrow_and_update().snapshot.clone();
            let Some(snapshot) = snapshot else { continue };
            let (strategy, patience) = (snapshot.config.routing_strategy, snapshot.config.ssh_dial_timeout.0);
            registry.route(tunnel::Routing { strategy, patience });
            // Every tunnel is looked at: not for each change of something else.
            let named = Some((snapshot.locks.clone(), snapshot.removed.clone()));
            if judged != named {
                registry.judge(outcasts::judge(&snapshot, &clock));
                judged = named;
            }
        }
    });
}

fn limits(config: &config::Limits) -> Limits {
    let rate = |rate: &config::Rate| Rate { period: rate.period.0, average: rate.average, burst: rate.burst };
    Limits {
        connections_per_address: config.max_connections,
        rates: config.rates.iter().map(rate).collect(),
        ..Limits::default()
    }
}

/// The networks fronts are in: PROXY headers and `X-Forwarded-For` count from there alone.
fn fronts(config: &config::Proxy) -> anyhow::Result<Vec<Network>> {
    let Some(named) = &config.trusted_fronts else { return Ok(Network::loopback()) };
    let parse = |text: &String| text.parse::<Network>().context("proxy_service.trusted_fronts");
    named.iter().map(parse).collect()
}

/// What browsers see: the configured pairs, or a certificate signed by nobody.
fn certificates(ground: &Ground, config: &config::Proxy) -> anyhow::Result<WebCerts> {
    if !config.keypairs.is_empty() {
        let files = config.keypairs.iter().map(|p| KeyPairFiles { key: p.key.clone(), cert: p.cert.clone() });
        return WebCerts::from_files(files.collect()).context("proxy_service.https_keypairs");
    }
    let mut names: Vec<String> = config.public_addrs.iter().map(|a| a.host().to_owned()).collect();
    names.extend(ground.config.instance.advertise.iter().map(|a| a.host().to_owned()));
    names.extend(["localhost", "127.0.0.1", "::1", ground.name.as_str()].map(str::to_owned));
    names.sort();
    names.dedup();
    let dir = &ground.config.instance.data_dir;
    Ok(::proxy::web_cert::self_signed(dir, &names, &ground.random, &ground.clock)?)
}

/// Where the bytes of the route to the authority go.
fn authority(ground: &Ground, joined: &Joined) -> anyhow::Result<Arc<dyn AuthDial>> {
    if let Some(near) = &joined.near {
        return Ok(Arc::new(InProcess(near.clone())));
    }
    match &ground.config.upstream {
        Upstream::Auth(all) => {
            let addresses = all.iter().map(host_port).collect::<Result<_, _>>()?;
            Ok(Arc::new(AuthAddresses { addresses, keyring: joined.keyring.clone() }))
        }
        Upstream::Here | Upstream::Proxy(_) => {
            bail!(
                "a proxy needs the authority's own address: set auth_server (auth_servers before version v3)"
            )
        }
    }
}

/// The authority of this process.
struct InProcess(Near);

impl AuthDial for InProcess {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async move { Ok(self.0.raw(Some(peer))) })
    }
}

/// The web side, twice: for everyone, and for fronts whose word about the person's address counts.
struct Pages {
    everyone: Web,
    fronted: Option<(Vec<Network>, Web)>,
}

fn pages(
    ground: &Ground,
    config: &config::Proxy,
    joined: &Joined,
    (fronts, sessions): (&[Network], &Sessions),
) -> Pages {
    let first = |all: &[config::Address]| all.first().map(ToString::to_string);
    let settings = |trust_forwarded_for| web::Settings {
        listen: config.listen.to_string(),
        public_addrs: ground.proxy_addrs(),
        ssh_public_addr: first(&config.ssh_public_addrs),
        tunnel_public_addr: first(&config.tunnel_public_addrs),
        trust_forwarded_for,
        scrollback_lines: config.scrollback_lines,
    };
    let web = |trusted| Web::with_sessions(settings(trusted), joined.client.clone(), sessions.clone());
    let fronted = config.trust_x_forwarded_for.then(|| (fronts.to_vec(), web(true)));
    Pages { everyone: web(false), fronted }
}

impl WebHandler for Pages {
    fn serve(&self, conn: WebConn) -> BoxFuture<'static, ()> {
        let fronted =
            self.fronted.as_ref().filter(|(fronts, _)| fronts.iter().any(|n| n.contains(conn.peer.ip())));
        let web = fronted.map_or(&self.everyone, |(_, web)| web).clone();
        Box::pin(async move { web.serve(conn.stream, conn.peer, &Upgrades(conn.back)).await })
    }
}

/// Upgraded connections go back through the gate.
struct Upgrades(WayBack);

impl web::Carriers for Upgrades {
    fn upgraded(&self, stream: BoxStream, peer: SocketAddr) -> BoxFuture<'static, ()> {
        self.0.upgraded(stream, peer)
    }
}

/// Tells the authority where people and agents find this proxy.
fn announce(ground: &Ground, config: &config::Proxy, joined: &Joined, scope: &Scope) {
    let (client, health, clock) = (joined.client.clone(), ground.health.clone(), ground.clock.clone());
    let report = ReportProxy {
        public_addrs: ground.proxy_addrs(),
        tunnel_addrs: config.tunnel_public_addrs.iter().map(ToString::to_string).collect(),
    };
    scope.spawn("announce proxy", async move {
        loop {
            let outcome = client.call(&report).await.map(drop).map_err(|e| identity::explained(&e));
            let pause = if outcome.is_ok() { ANNOUNCE } else { ANNOUNCE_AGAIN };
            if let Err(error) = &outcome {
                tracing::warn!(%error, "the authority does not hear where this proxy is");
            }
            health.ran("announce proxy", clock.now(), outcome);
            tokio::time::sleep(pause).await;
        }
    });
}
