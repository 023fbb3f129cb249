//! The SSH service of this process: its ground (rules, sessions, labels, keys), its tunnels, its own port if it has
//! one, and its reports.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::node::serve::{Deps, Node, Peer, Settings};
use ::node::spawner::Launched;
use anyhow::Context;
use base64::Engine;
use client::host::HostKeys;
use client::watch::Feed;
use model::api::nodes::ReportNode;
use model::{NodeId, NodeName};
use pki::Signer;
use runtime::{Clock, Scope, Service};
use session::{ServerFacts, Sessions, View};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tunnel::{Arrival, Arrivals, Link};
use wire::dial::Target;

use super::ground::Ground;
use super::identity::{self, Joined};
use super::labels::Labels;
use super::links;
use super::ready::State;
use super::rules::Rules;

/// How often a node says what it is, if nothing changes.
const REPORT: Duration = Duration::from_secs(60);
/// How long after a failed report the next is tried.
const REPORT_AGAIN: Duration = Duration::from_secs(5);

/// Where the parts of the service live.
pub(crate) struct Scopes<'a> {
    /// Connections: end first.
    pub(crate) serve: &'a Scope,
    /// Tunnels, recordings, uploads: end when no connection is left.
    pub(crate) ground: &'a Scope,
}

/// Starts the service.
pub(crate) async fn start(
    ground: &Ground,
    config: &config::Ssh,
    (joined, rules): (&Joined, &Rules),
    (launched, listener): (Launched, Option<TcpListener>),
    scopes: Scopes<'_>,
) -> anyhow::Result<(Node, Labels)> {
    let identity = joined.identity.borrow().clone();
    let facts = ServerFacts {
        id: ground.id.clone(),
        name: ground.name.clone(),
        addr: config.listen.as_ref().map(ToString::to_string),
        cluster: identity.cluster().clone(),
    };
    let view = view(&rules.feed, scopes.ground);
    let sessions = sessions(ground, joined, &facts, view.clone(), scopes.ground).await?;
    let spawner = ::node::Spawner::attach(launched, scopes.ground)
        .await
        .context("the privileged half does not answer")?;
    if let Some(login) = spawner.only_login() {
        tracing::warn!(%login, "not root: sessions can only be those of one account");
    }
    watch_spawner(&spawner, scopes.serve);
    tell_trust(&spawner, rules.trust.clone(), scopes.ground).await;
    let labels = Labels::keep(config, identity.labels(), scopes.ground).await;
    let deps = Deps {
        host: facts,
        labels: labels.watch(),
        verify: verifier(rules.trust.clone(), ground.clock.clone()),
        protocol: rules.protocol.clone(),
        view,
        sessions,
        spawner,
        clock: ground.clock.clone(),
    };
    let settings = Settings {
        port_forwarding: config.port_forwarding,
        file_copy: config.file_copy,
        session_grace: config.session_grace.0,
        web_proxy: ground.proxy_addrs().into_iter().next().unwrap_or_default(),
        ..Settings::default()
    };
    let node = Node::new(settings, deps);
    report(ground, joined, &node, config, labels.watch(), scopes.ground);
    if let Some(listener) = listener {
        listen(node.clone(), listener, scopes.serve);
    }
    keep_tunnels(ground, joined, &node, &scopes)?;
    Ok((node, labels))
}

/// Keeps tunnels up and serves what comes through them. The node's own port does not wait for them, and neither does
/// whoever stops us.
fn keep_tunnels(ground: &Ground, joined: &Joined, node: &Node, scopes: &Scopes<'_>) -> anyhow::Result<()> {
    let (agent, arrivals) = links::agent(ground, joined, scopes.ground)?;
    ready_with(ground, agent.links(), scopes.ground);
    receive(node.clone(), ground, arrivals, scopes.serve);
    let scope = scopes.ground.clone();
    scopes.ground.spawn_graceful("tunnels", async move {
        if let Err(fault) = agent.run(scope.clone()).await {
            tracing::error!(%fault, "the tunnels failed; stopping");
            scope.cancel();
        }
    });
    Ok(())
}

/// The rules as sessions see them. Until the first snapshot there are none, and nobody is let in.
fn view(feed: &watch::Receiver<Feed>, scope: &Scope) -> watch::Receiver<Arc<View>> {
    let read = |feed: &Feed| match &feed.snapshot {
        Some(snapshot) => View::of(snapshot),
        None => View::of(&nothing()),
    };
    let (tell, told) = watch::channel(Arc::new(read(&feed.borrow())));
    let mut feed = feed.clone();
    scope.spawn("rules", async move {
        while feed.changed().await.is_ok() {
            let now = Arc::new(read(&feed.borrow_and_update()));
            tell.send_replace(now);
        }
    });
    told
}

pub(crate) fn nothing() -> model::api::cluster::PolicySnapshot {
    model::api::cluster::PolicySnapshot {
        revision: 0,
        roles: Vec::new(),
        locks: Vec::new(),
        trust: model::api::cluster::TrustBundle::default(),
        config: model::resource::ClusterConfig::default(),
        end_sessions: Vec::new(),
        watched: Vec::new(),
        removed: Vec::new(),
    }
}

fn verifier(trust: watch::Receiver<Arc<pki::Trust>>, clock: Clock) -> ::node::serve::Verify {
    Arc::new(move |blob: &[u8], from: Option<IpAddr>| {
        let cert = pki::ssh::Certificate::from_blob(blob).map_err(|e| e.to_string())?;
        let trust = trust.borrow().clone();
        pki::ssh::verify_user(&cert, &trust, from, clock.now())
            .map(|user| user.identity)
            .map_err(|e| e.to_string())
    })
}

/// Seals recordings with the host's own key.
struct Seal(Arc<HostKeys>);

impl audit::Sign for Seal {
    fn public(&self) -> audit::PublicKey {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(self.0.ssh().public_key()) {
            *to = *from;
        }
        audit::PublicKey(out)
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], audit::Error> {
        let unsigned = |why: &str| audit::Error::Unsigned(why.to_owned());
        let signature = self.0.ssh().sign(message).map_err(|e| unsigned(&e.to_string()))?;
        signature.try_into().map_err(|_| unsigned("the signature has another length"))
    }
}

async fn sessions(
    ground: &Ground,
    joined: &Joined,
    facts: &ServerFacts,
    view: watch::Receiver<Arc<View>>,
    scope: &Scope,
) -> anyhow::Result<Sessions> {
    let spool = ground.config.instance.data_dir.join("spool");
    let deps = session::Deps::new(
        Arc::new(joined.client.clone()),
        Arc::new(Seal(joined.keys.clone())),
        view,
        ground.clock.clone(),
        ground.random.clone(),
        ground.health.clone(),
    );
    let config = session::Config { spool, server: facts.clone() };
    Sessions::start(config, deps, scope).await.context("cannot use the spool of recordings")
}

/// Nothing can be started any more when the privileged half is gone.
fn watch_spawner(spawner: &::node::Spawner, scope: &Scope) {
    let (spawner, inner) = (spawner.clone(), scope.clone());
    scope.spawn("spawner watch", async move {
        spawner.gone().await;
        tracing::error!("the privileged half is gone; stopping");
        inner.cancel();
    });
}

/// Tells the privileged half whom the cluster trusts, now and whenever that changes. It believes what it has pinned.
async fn tell_trust(spawner: &::node::Spawner, mut trust: watch::Receiver<Arc<pki::Trust>>, scope: &Scope) {
    async fn tell(spawner: &::node::Spawner, trust: &pki::Trust) {
        let keys = trust.user_ssh().iter().map(|key| key.blob().to_vec()).collect();
        if let Err(error) = spawner.trust(keys).await {
            tracing::error!(%error, "the privileged half does not trust all of the cluster's authorities");
        }
    }
    let first = trust.borrow_and_update().clone();
    tell(spawner, &first).await;
    let (spawner, mut told) = (spawner.clone(), first);
    scope.spawn("spawner trust", async move {
        while trust.changed().await.is_ok() {
            let now = trust.borrow_and_update().clone();
            if now.user_ssh() != told.user_ssh() {
                tell(&spawner, &now).await;
                told = now;
            }
        }
    });
}

/// Serves what comes through the tunnels.
fn receive(node: Node, ground: &Ground, mut arrivals: Arrivals, scope: &Scope) {
    let (id, name) = (ground.id.clone(), ground.name.clone());
    let serve = scope.clone();
    scope.spawn("arrivals", async move {
        while let Some(Arrival { header, stream, proxy }) = arrivals.next().await {
            // The proxy says whom it looks for: it must be us.
            if !is_meant(&header.target, &id, &name) {
                tracing::warn!(target = %header.target, %proxy, trace = %header.trace, "a connection for somebody else");
                continue;
            }
            let (node, peer) = (node.clone(), Peer { client: header.client, local: None });
            let inner = serve.clone();
            serve.spawn_graceful("ssh connection", async move { node.serve(stream, peer, &inner).await });
        }
    });
}

/// Whether a target is this host. Names in any case, as the proxy takes them: stock clients ask in lower case.
fn is_meant(target: &Target, id: &NodeId, name: &NodeName) -> bool {
    match target {
        Target::Node(wanted) => wanted == id,
        Target::Name(wanted) => wanted.as_str().eq_ignore_ascii_case(name.as_str()),
    }
}

/// Serves the node's own port.
fn listen(node: Node, listener: TcpListener, scope: &Scope) {
    let serve = scope.clone();
    scope.spawn("ssh port", async move {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    client::socket::tune(&stream, client::socket::Use::Single);
                    let peer = Peer { client: Some(client), local: stream.local_addr().ok() };
                    let (node, inner) = (node.clone(), serve.clone());
                    serve.spawn_graceful(
                        "ssh connection",
                        async move { node.serve(stream, peer, &inner).await },
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
}

/// The node is ready while a tunnel is up.
fn ready_with(ground: &Ground, mut links: watch::Receiver<Vec<Link>>, scope: &Scope) {
    let readiness = ground.readiness.clone();
    scope.spawn("tunnel state", async move {
        loop {
            let state = {
                let links = links.borrow_and_update();
                match links.iter().find(|l| l.up) {
                    Some(_) => Some(State::Ready),
                    // Whoever looks for proxies says what that waits for.
                    None if links.is_empty() => None,
                    None => {
                        let why = links.iter().find_map(|l| l.last_error.clone());
                        let why = why.unwrap_or_else(|| "dialing".to_owned());
                        Some(State::Waiting(format!("no tunnel: {why}")))
                    }
                }
            };
            if let Some(state) = state {
                readiness.set("node", state);
            }
            if links.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Says what this node is: at once, when it changes, and every minute.
fn report(
    ground: &Ground,
    joined: &Joined,
    node: &Node,
    config: &config::Ssh,
    mut labels: watch::Receiver<model::Labels>,
    scope: &Scope,
) {
    let base = ReportNode {
        id: ground.id.clone(),
        name: ground.name.clone(),
        address: address(ground, config),
        labels: model::Labels::new(),
        version: model::VERSION.to_owned(),
        only_login: node.only_login().cloned(),
        seal_key: base64::engine::general_purpose::STANDARD.encode(joined.keys.seal_public()),
    };
    let (client, health, clock) = (joined.client.clone(), ground.health.clone(), ground.clock.clone());
    scope.spawn("node report", async move {
        loop {
            let now = ReportNode { labels: labels.borrow_and_update().clone(), ..base.clone() };
            let outcome = client.call(&now).await.map(drop).map_err(|e| identity::explained(&e));
            let pause = if outcome.is_ok() { REPORT } else { REPORT_AGAIN };
            if let Err(error) = &outcome {
                tracing::warn!(%error, "the authority does not hear what this node is");
            }
            health.ran("node report", clock.now(), outcome);
            let _ = tokio::time::timeout(pause, labels.changed()).await;
        }
    });
}

/// Where the node listens, as others reach it; empty behind a tunnel.
fn address(ground: &Ground, config: &config::Ssh) -> String {
    let Some(listen) = &config.listen else { return String::new() };
    let public = config.public_addrs.first().cloned();
    let advertised = ground.config.instance.advertise.as_ref().map(|a| a.with_port(listen.port()));
    public.or(advertised).unwrap_or_else(|| listen.clone()).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_meant_by_its_id_and_by_its_name_in_any_case() {
        let (id, other) = (NodeId::from_random([1; 16]), NodeId::from_random([2; 16]));
        let name: NodeName = "GPU-1".parse().unwrap();
        let meant = |target: &Target| is_meant(target, &id, &name);

        assert!(meant(&Target::Node(id.clone())) && !meant(&Target::Node(other)));
        assert!(meant(&Target::Name("gpu-1".parse().unwrap())) && meant(&Target::Name(name.clone())));
        assert!(!meant(&Target::Name("gpu-2".parse().unwrap())));
    }
}
