//! The service itself: one connection after another, each let in by a certificate and asked about at every step.
//!
//! ```text
//! serve(stream) ─ door: certificate, principals, policy ─► visit: channels, listeners, what ends them
//!                                                             ├ channel: a shell, a command, a subsystem
//!                                                             └ forward: connections from here and to here
//! ```
//! Bounds: [`Settings::handshakes`] half-open connections, [`Settings::connections`] open ones, channels by
//! `ssh::Limits`, sessions by the roles' own limit. It does not know how a certificate is verified ([`Verify`]).

mod agent;
mod channel;
mod door;
mod files;
mod forward;
mod keep;
mod listen;
mod notice;
mod record;
mod report;
mod start;
mod visit;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Identity, Labels, UserName};
use policy::Target;
use runtime::{Clock, Scope};
use session::{ServerFacts, Sessions, View};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};

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
            handshakes: 256,
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
pub struct Node(Arc<Inner>);

struct Inner {
    settings: Settings,
    deps: Deps,
    handshakes: Semaphore,
    connections: Arc<Semaphore>,
    /// Told once: how long what is open may go on.
    leaving: watch::Sender<Option<Duration>>,
    /// Connections of each user, for the roles' limit.
    users: Mutex<BTreeMap<UserName, u32>>,
    /// Shells that wait for their people.
    stays: keep::Stays,
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
            handshakes: Semaphore::new(settings.handshakes),
            connections: Arc::new(Semaphore::new(settings.connections)),
            leaving: watch::Sender::new(None),
            users: Mutex::default(),
            stays: keep::Stays::default(),
            settings,
            deps,
        }))
    }

    /// Serves one connection to its end. Everything it starts lives in `scope`; when that is cancelled, sessions are
    /// told why they end and the connection is closed in order.
    pub async fn serve<S>(&self, stream: S, peer: Peer, scope: &Scope)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.0.leaving.borrow().is_some() {
            return tracing::debug!("stopping: a connection was closed");
        }
        // Full: whoever is being greeted goes first, and a stranger is not told why.
        let Ok(_place) = self.0.connections.clone().try_acquire_owned() else {
            tracing::warn!("too many connections");
            return;
        };
        let Ok(greeting) = self.0.handshakes.try_acquire() else {
            tracing::warn!("too many handshakes");
            return;
        };
        let protocol = self.0.deps.protocol.borrow().clone();
        let door = door::Door::new(self, &peer);
        let accepted = tokio::select! {
            accepted = ssh::server::accept(stream, protocol, &door) => accepted,
            () = scope.cancelled() => return,
        };
        drop(greeting);
        match accepted {
            Ok(accepted) => visit::run(self, accepted, peer, scope).await,
            Err(error) => tracing::debug!(%error, client = ?peer.client, "no connection"),
        }
    }

    /// Takes no more connections, tells the sessions on terminals that they have `grace` left, and waits that long
    /// for every connection to end. Says whether all did. Cancels nothing.
    pub async fn leave(&self, grace: Duration) -> bool {
        self.0.leaving.send_replace(Some(grace));
        let all = u32::try_from(self.0.settings.connections).unwrap_or(u32::MAX);
        tokio::time::timeout(grace, self.0.connections.acquire_many(all)).await.is_ok()
    }

    /// Resolves once the node was told to leave. Cancel safe.
    async fn left_with(&self) -> Duration {
        let mut leaving = self.0.leaving.subscribe();
        let told = leaving.wait_for(Option::is_some).await.ok().and_then(|told| *told);
        match told {
            Some(grace) => grace,
            None => std::future::pending().await,
        }
    }

    /// Who the rules see when they look at this host.
    fn target(&self) -> Target {
        let host = &self.0.deps.host;
        Target { id: host.id.clone(), name: host.name.clone(), labels: self.0.deps.labels.borrow().clone() }
    }

    /// The only account sessions can have, when the service is not root; for `ReportNode`.
    #[must_use]
    pub fn only_login(&self) -> Option<&model::Login> {
        self.0.deps.spawner.only_login()
    }

    /// Counts a user's connection; `None` when `max` are open.
    fn connected(&self, user: &UserName, max: Option<u32>) -> Option<Counted> {
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
struct Counted {
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
