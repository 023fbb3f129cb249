//! Which proxies an agent keeps a tunnel to, and how it dials them.
//!
//! The proxy of this process, the one configured, those given as authorities that are not on the authority's own
//! port, or those the authority names.

use std::sync::Arc;
use std::time::Duration;

use client::connect::Route;
use client::dial::Dialer;
use client::proxy_env::HostPort;
use config::{Config, Upstream};
use model::api::cluster::GetCluster;
use tunnel::{BoxError, BoxFuture, BoxIo};

use super::ground::{Ground, host_port};
use super::identity::Joined;
use super::ready::State;

/// The authority's own port: what listens there is no proxy.
const AUTH_PORT: u16 = 3025;
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A dialer as the tunnel wants it.
struct Way(Dialer);

impl tunnel::Connect for Way {
    fn connect(&self) -> BoxFuture<'_, Result<BoxIo, BoxError>> {
        Box::pin(async move { Ok(Box::new(self.0.connect(Route::Tunnel).await?) as BoxIo) })
    }

    fn connect_for_one(&self) -> BoxFuture<'_, Result<BoxIo, BoxError>> {
        Box::pin(async move { Ok(Box::new(self.0.connect(Route::Carrier).await?) as BoxIo) })
    }

    fn name(&self) -> String {
        self.0.address().to_string()
    }

    fn carrier(&self) -> String {
        self.0.carrier().map(|c| c.to_string()).unwrap_or_default()
    }
}

/// Ways to every proxy to keep a tunnel to: to those that are `known`, else to those the authority names. Waits for an
/// authority that names none yet.
pub(crate) async fn proxies(
    ground: &Ground,
    joined: &Joined,
    known: Vec<HostPort>,
) -> Vec<Arc<dyn tunnel::Connect>> {
    let all = if known.is_empty() { named(ground, joined).await } else { known };
    let dialer = |to: HostPort| {
        // A proxy beside us is never behind an HTTP proxy.
        let env = if ground.config.proxy.is_some() {
            client::proxy_env::ProxyEnv::none()
        } else {
            ground.env.clone()
        };
        Arc::new(Way(Dialer::new(to, env, joined.keyring.clone()))) as Arc<dyn tunnel::Connect>
    };
    all.into_iter().map(dialer).collect()
}

/// The proxies the configuration tells us of.
pub(crate) fn configured(config: &Config) -> anyhow::Result<Vec<HostPort>> {
    if let Some(proxy) = &config.proxy {
        return Ok(vec![host_port(&proxy.listen.local())?]);
    }
    match &config.upstream {
        Upstream::Here => Ok(Vec::new()),
        Upstream::Proxy(address) => Ok(vec![host_port(address)?]),
        Upstream::Auth(all) => all.iter().filter(|a| a.port() != AUTH_PORT).map(host_port).collect(),
    }
}

/// The proxies the authority names, asked until there is one.
async fn named(ground: &Ground, joined: &Joined) -> Vec<HostPort> {
    let waiting = |why| ground.readiness.set("node", State::Waiting(format!("no tunnel: {why}")));
    let mut wait = Duration::from_secs(1);
    loop {
        match joined.client.call(&GetCluster {}).await {
            Ok(cluster) => {
                let all: Vec<HostPort> =
                    cluster.proxy_addrs.iter().filter_map(|a| HostPort::parse(a, 443).ok()).collect();
                if !all.is_empty() {
                    return all;
                }
                tracing::warn!("the authority knows no proxy to keep a tunnel to yet");
                waiting("the authority knows no proxy".to_owned());
            }
            Err(error) => {
                let error = runtime::causes(&error);
                tracing::warn!(%error, "cannot ask for the proxies");
                waiting(format!("cannot ask for the proxies: {error}"));
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
