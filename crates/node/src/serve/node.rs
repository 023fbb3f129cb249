//! The service as a value: what a host is, what it needs, what it allows, and what is counted across connections.
//!
//! Serving a connection is `greet`'s work, and of those it hands on to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Identity, Labels, UserName};
use policy::Target;
use runtime::{Clock, Places};
use session::{ServerFacts, Sessions, View};
use tokio::sync::{Semaphore, watch};

use super::keep::Stays;
use crate::Spawner;

/// Says whose certificate this is, or why it is not good: the bytes as SSH packs them, and the client's address.
/// The possession of its key was proven before.
pub type Verify = Arc<dyn Fn(&[u8], Option<IpAddr>) -> Result<Identity, String> + Send + Sync>;

/// What the host's own configuration allows at most; roles may only allow less.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Any forwarding of ports and sockets.
    pub port_forwarding: bool,
    /// sftp, scp, rsync.
    pub file_copy: bool,
    /// Listeners of `-R` may bind other addresses than loopback.
    pub public_listeners: bool,
    /// Handshakes at a time.
    pub handshakes: usize,
    /// The same, from one address: the client's own, also where a proxy brings the connection.
    pub handshakes_each: u32,
    /// Connections at a time.
    pub connections: usize,
    /// How long a shell whose client asked for it waits for somebody to come back; zero keeps none.
    pub session_grace: Duration,
    /// The proxy's public address, for `SSH_SESSION_WEBPROXY_ADDR`; empty when unknown.
    pub web_proxy: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port_forwarding: true,
            file_copy: true,
            public_listeners: false,
            handshakes: 512,
            handshakes_each: 128,
            connections: 8192,
            session_grace: Duration::from_secs(300),
            web_proxy: String::new(),
        }
    }
}

/// What the service needs from outside.
pub struct Deps {
    /// This host.
    pub host: ServerFacts,
    /// Its labels now.
    pub labels: watch::Receiver<Labels>,
    /// Verifies certificates.
    pub verify: Verify,
    /// Keys, algorithms and limits of the protocol now: host certificates are renewed.
    pub protocol: watch::Receiver<Arc<ssh::server::Config>>,
    /// The rules now.
    pub view: watch::Receiver<Arc<View>>,
    /// Opens sessions.
    pub sessions: Sessions,
    /// Starts programs.
    pub spawner: Spawner,
    /// The time.
    pub clock: Clock,
}

/// Where a connection comes from.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The person's address, as whoever brought the connection vouches for it.
    pub client: Option<SocketAddr>,
    /// Our end, if there is one.
    pub local: Option<SocketAddr>,
}

/// A host's SSH service. Cheap to clone.
#[derive(Clone)]
pub struct Node(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) deps: Deps,
    pub(super) handshakes: Places,
    pub(super) connections: Arc<Semaphore>,
    /// Told once: how long what is open may go on.
    pub(super) leaving: watch::Sender<Option<Duration>>,
    /// Connections of each user, for the roles' limit.
    users: Mutex<BTreeMap<UserName, u32>>,
    /// Shells that wait for their people.
    pub(super) stays: Stays,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.0.deps.host.name)
    }
}

impl Node {
    /// Builds the service. Nothing runs yet.
    #[must_use]
    pub fn new(settings: Settings, deps: Deps) -> Self {
        Self(Arc::new(Inner {
            handshakes: Places::new(settings.handshakes, settings.handshakes_each),
            connections: Arc::new(Semaphore::new(settings.connections)),
            leaving: watch::Sender::new(None),
            users: Mutex::default(),
            stays: Stays::default(),
            settings,
            deps,
        }))
    }

    /// Takes no more connections, tells the sessions on terminals that they have `grace` left, and waits that long
    /// for every connection to end. Says whether all did. Cancels nothing.
    pub async fn leave(&self, grace: Duration) -> bool {
        self.0.leaving.send_replace(Some(grace));
        let all = u32::try_from(self.0.settings.connections).unwrap_or(u32::MAX);
        tokio::time::timeout(grace, self.0.connections.acquire_many(all)).await.is_ok()
    }

    /// Resolves once the node was told to leave. Cancel safe.
    pub(super) async fn left_with(&self) -> Duration {
        let mut leaving = self.0.leaving.subscribe();
        let told = leaving.wait_for(Option::is_some).await.ok().and_then(|told| *told);
        match told {
            Some(grace) => grace,
            None => std::future::pending().await,
        }
    }

    /// Who the rules see when they look at this host.
    pub(super) fn target(&self) -> Target {
        let host = &self.0.deps.host;
        Target { id: host.id.clone(), name: host.name.clone(), labels: self.0.deps.labels.borrow().clone() }
    }

    /// The only account sessions can have, when the service is not root; for `ReportNode`.
    #[must_use]
    pub fn only_login(&self) -> Option<&model::Login> {
        self.0.deps.spawner.only_login()
    }

    /// Counts a user's connection; `None` when `max` are open.
    pub(super) fn connected(&self, user: &UserName, max: Option<u32>) -> Option<Counted> {
        let mut users = self.0.users.lock().unwrap_or_else(PoisonError::into_inner);
        let open = users.entry(user.clone()).or_insert(0);
        if max.is_some_and(|max| *open >= max) {
            return None;
        }
        *open += 1;
        Some(Counted { node: self.clone(), user: user.clone() })
    }
}

/// A user's connection, counted while it lives.
pub(super) struct Counted {
    node: Node,
    user: UserName,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut users = self.node.0.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = users.get_mut(&self.user) {
            *open -= 1;
            if *open == 0 {
                users.remove(&self.user);
            }
        }
    }
}
