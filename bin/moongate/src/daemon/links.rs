//! Which proxies an agent keeps a tunnel to, and how it dials them.
//!
//! The proxy of this process, the one configured, those given as authorities as far as they take tunnels, or those the
//! authority names: asked for again and again, as proxies come, go and move. One tunnel for each proxy, however many
//! addresses it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::ConnectError;
use client::connect::Route;
use client::dial::{CarrierKind, Dialer};
use client::proxy_env::{HostPort, ProxyEnv};
use config::{Config, Upstream};
use model::api::cluster::{ClusterInfo, GetCluster};
use runtime::Scope;
use tokio::sync::watch;
use tunnel::{Agent, Arrivals, BoxError, BoxFuture, BoxIo, Link, Proxy};

use super::ground::{Ground, host_port};
use super::identity::Joined;
use super::ready::State;

/// The authority's own port: what listens there is no proxy.
const AUTH_PORT: u16 = 3025;
/// How long after a look the next one comes while no tunnel stands, at first and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The same while one stands.
const NOW_AND_THEN: Duration = Duration::from_secs(60);

/// A dialer as the tunnel wants it.
struct Way {
    dialer: Dialer,
    /// The far end takes no tunnels, as it said the last time.
    refused: AtomicBool,
}

impl tunnel::Connect for Way {
    fn connect(&self) -> BoxFuture<'_, Result<BoxIo, BoxError>> {
        Box::pin(async move {
            let stream = self.dialer.connect(Route::Tunnel).await;
            self.refused.store(matches!(stream, Err(ConnectError::Refused { .. })), Ordering::Relaxed);
            Ok(Box::new(stream?) as BoxIo)
        })
    }

    fn connect_for_one(&self) -> BoxFuture<'_, Result<BoxIo, BoxError>> {
        Box::pin(async move { Ok(Box::new(self.dialer.connect(Route::Carrier).await?) as BoxIo) })
    }

    fn name(&self) -> String {
        self.dialer.address().to_string()
    }

    fn carrier(&self) -> String {
        self.dialer.carrier().map(|c| c.to_string()).unwrap_or_default()
    }
}

/// What the configuration tells of the proxies.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// This one it is.
    One(HostPort),
    /// Those, or else the authority knows: an address of an authority may be that of a proxy.
    Perhaps(Vec<HostPort>),
}

fn told(config: &Config) -> anyhow::Result<Told> {
    if let Some(proxy) = &config.proxy {
        return Ok(Told::One(host_port(&proxy.listen.local())?));
    }
    Ok(match &config.upstream {
        Upstream::Here => Told::Perhaps(Vec::new()),
        Upstream::Proxy(address) => Told::One(host_port(address)?),
        Upstream::Auth(all) => {
            let given = all.iter().filter(|a| a.port() != AUTH_PORT).map(host_port);
            Told::Perhaps(given.collect::<Result<_, _>>()?)
        }
    })
}

/// The agent of this process. Which proxies it keeps tunnels to is looked after in `scope`.
pub(crate) fn agent(ground: &Ground, joined: &Joined, scope: &Scope) -> anyhow::Result<(Agent, Arrivals)> {
    let told = told(&ground.config)?;
    let given = match &told {
        Told::One(address) => vec![address.clone()],
        Told::Perhaps(given) => given.clone(),
    };
    let mut search = Search {
        ground: ground.clone(),
        joined: joined.clone(),
        given,
        ways: BTreeMap::new(),
        wanted: Vec::new(),
        tell: watch::Sender::default(),
    };
    search.want(each(&search.given));
    let (agent, arrivals) = Agent::new(search.tell.subscribe(), &ground.clock, &ground.random);
    match told {
        Told::One(_) => {}
        Told::Perhaps(_) => drop(scope.spawn("proxies", search.run(agent.links()))),
    }
    Ok((agent, arrivals))
}

/// A proxy: what it is kept apart from others by, and its addresses.
type Place = (String, Vec<HostPort>);

/// Looks for the proxies.
struct Search {
    ground: Ground,
    joined: Joined,
    /// Those of the configuration; one that turns out to be an authority is none.
    given: Vec<HostPort>,
    /// Each once, so that it knows how connections get through.
    ways: BTreeMap<HostPort, Arc<Way>>,
    wanted: Vec<Place>,
    tell: watch::Sender<Vec<Proxy>>,
}

impl Search {
    async fn run(mut self, mut links: watch::Receiver<Vec<Link>>) {
        let none_stands = |links: &Vec<Link>| links.iter().all(|link| !link.up);
        let mut wait = FIRST_WAIT;
        loop {
            let waiting = none_stands(&links.borrow());
            self.look(waiting).await;
            let lost = tokio::time::timeout(NOW_AND_THEN, links.wait_for(none_stands)).await.map(drop);
            match lost {
                Ok(()) => {
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                Err(_) => wait = FIRST_WAIT,
            }
        }
    }

    /// Finds out once which proxies there are; `waiting` when there is no tunnel.
    async fn look(&mut self, waiting: bool) {
        self.leave_authorities().await;
        // Of a single one there is nothing to learn.
        if self.given.len() == 1 {
            self.want(each(&self.given));
            return;
        }
        let why = match self.joined.client.call(&GetCluster {}).await {
            Ok(cluster) => {
                let all = places(&self.given, named(cluster));
                if !all.is_empty() {
                    self.want(all);
                    return;
                }
                "the authority knows no proxy to keep a tunnel to yet".to_owned()
            }
            Err(error) => format!("cannot ask for the proxies: {}", runtime::causes(&error)),
        };
        if waiting {
            tracing::warn!("{why}");
            self.ground.readiness.set("node", State::Waiting(format!("no tunnel: {why}")));
        }
    }

    /// Forgets those given that are an authority's own port: they take no tunnels, and are whom to ask for who does.
    async fn leave_authorities(&mut self) {
        let has_refused =
            |to: &HostPort| self.ways.get(to).is_some_and(|w| w.refused.load(Ordering::Relaxed));
        let suspects: Vec<HostPort> = self.given.iter().filter(|to| has_refused(to)).cloned().collect();
        for to in suspects {
            if self.is_authority(&to).await {
                tracing::info!(address = %to, "an authority's own port, which takes no tunnels: asking it for the proxies");
                self.given.retain(|given| *given != to);
            }
        }
    }

    /// A proxy passes the authority's route on too, but it takes tunnels; a front in between lets neither through.
    async fn is_authority(&self, to: &HostPort) -> bool {
        let dialer = self.dialer(to);
        dialer.connect(Route::Auth).await.is_ok()
            && dialer.carrier().is_some_and(|carrier| carrier.kind == CarrierKind::Tls)
    }

    fn dialer(&self, to: &HostPort) -> Dialer {
        // A proxy beside us is never behind an HTTP proxy.
        let env = if self.ground.config.proxy.is_some() { ProxyEnv::none() } else { self.ground.env.clone() };
        Dialer::new(to.clone(), env, self.joined.keyring.clone())
    }

    /// From now on tunnels to these are kept.
    fn want(&mut self, all: Vec<Place>) {
        if all == self.wanted {
            return;
        }
        let mut proxies = Vec::new();
        for (key, addresses) in &all {
            let ways = addresses.iter().map(|to| self.way(to) as Arc<dyn tunnel::Connect>).collect();
            proxies.push(Proxy { key: key.clone(), ways });
        }
        self.wanted = all;
        self.tell.send_replace(proxies);
    }

    fn way(&mut self, to: &HostPort) -> Arc<Way> {
        if let Some(known) = self.ways.get(to) {
            return known.clone();
        }
        let way = Arc::new(Way { dialer: self.dialer(to), refused: AtomicBool::new(false) });
        self.ways.insert(to.clone(), way.clone());
        way
    }
}

/// Each address as a proxy of its own.
fn each(addresses: &[HostPort]) -> Vec<Place> {
    addresses.iter().map(|address| (address.to_string(), vec![address.clone()])).collect()
}

/// The proxies as the authority names them.
fn named(cluster: ClusterInfo) -> Vec<Place> {
    let parse = |addrs: Vec<String>| addrs.iter().filter_map(|a| HostPort::parse(a, 443).ok()).collect();
    if cluster.proxies.is_empty() {
        // An older authority does not say whose they are.
        let all: Vec<HostPort> = parse(cluster.proxy_addrs);
        return if all.is_empty() { Vec::new() } else { vec![("cluster".to_owned(), all)] };
    }
    cluster.proxies.into_iter().map(|proxy| (proxy.id.to_string(), parse(proxy.addrs))).collect()
}

/// The proxies to keep a tunnel to: those given, each once as far as their names are known, else all that are named.
fn places(given: &[HostPort], named: Vec<Place>) -> Vec<Place> {
    if given.is_empty() {
        return apart(named);
    }
    let mut places: Vec<Place> = Vec::new();
    for address in given {
        let others = named.iter().filter(|(_, all)| all.contains(address)).flat_map(|(_, all)| all);
        let known = others.clone().find_map(|other| places.iter().position(|(_, all)| all.contains(other)));
        match known.and_then(|at| places.get_mut(at)) {
            Some((_, all)) => all.push(address.clone()),
            None => places.extend(each(std::slice::from_ref(address))),
        }
    }
    places
}

/// An address that several proxies have leads to any of them: it counts where there is no other, and once.
fn apart(named: Vec<Place>) -> Vec<Place> {
    let owners = |to: &HostPort| named.iter().filter(|(_, all)| all.contains(to)).count();
    let mut places: Vec<Place> = Vec::new();
    for (key, all) in &named {
        let own: Vec<HostPort> = all.iter().filter(|to| owners(to) == 1).cloned().collect();
        let addresses = if own.is_empty() { all.clone() } else { own };
        if !addresses.is_empty() && places.iter().all(|(_, other)| *other != addresses) {
            places.push((key.clone(), addresses));
        }
    }
    places
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<HostPort> {
        text.split_whitespace().map(|t| HostPort::parse(t, 443).unwrap()).collect()
    }

    /// One a line: its key, and its addresses.
    fn written(text: &str) -> Vec<Place> {
        let place = |line: &str| {
            let (key, addresses) = line.trim().split_once(" = ").unwrap();
            (key.to_owned(), hosts(addresses))
        };
        text.split(',').filter(|line| !line.trim().is_empty()).map(place).collect()
    }

    #[test]
    fn each_proxy_is_one_place_whatever_its_addresses() {
        for (given, named, expected) in [
            ("", "", ""),
            ("", "p = a:1 b:1", "p = a:1 b:1"),
            ("", "p = a:1, q = b:1", "p = a:1, q = b:1"),
            // Behind one balancer, with and without addresses of their own.
            ("", "p = lb:1 a:1, q = lb:1 b:1", "p = a:1, q = b:1"),
            ("", "p = lb:1, q = lb:1", "p = lb:1"),
            ("a:1 b:1", "p = b:1 a:1", "a:1 = a:1 b:1"),
            ("a:1 b:1", "p = a:1, q = b:1", "a:1 = a:1, b:1 = b:1"),
            // What the authority does not know may be any proxy, and what was not given is not dialed.
            ("a:1 x:1", "p = a:1 b:1", "a:1 = a:1, x:1 = x:1"),
            ("x:1", "p = a:1", "x:1 = x:1"),
            ("x:1 y:1", "", "x:1 = x:1, y:1 = y:1"),
        ] {
            assert_eq!(places(&hosts(given), written(named)), written(expected), "{given:?} {named:?}");
        }
    }

    #[test]
    fn what_the_configuration_tells_of_proxies() {
        let one = |text: &str| Told::One(HostPort::parse(text, 443).unwrap());
        for (text, expected) in [
            ("version: v3\nmoongate: {proxy_server: 'gate:443'}\n", one("gate:443")),
            ("version: v3\nmoongate: {auth_server: 'auth:3025'}\n", Told::Perhaps(Vec::new())),
            ("version: v3\nmoongate: {auth_server: 'gate:8025'}\n", Told::Perhaps(hosts("gate:8025"))),
            ("moongate: {auth_servers: ['auth:3025', 'gate:443']}\n", Told::Perhaps(hosts("gate:443"))),
            ("auth_service: {enabled: yes}\nproxy_service: {enabled: no}\n", Told::Perhaps(Vec::new())),
        ] {
            let config = config::load("test", text, &config::Flags::default()).unwrap().config;

            assert_eq!(told(&config).unwrap(), expected, "{text}");
        }
    }
}
