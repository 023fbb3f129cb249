//! The listeners: every port leads to the same gate.
//!
//! The accept loop waits for nobody: each connection is a task. Asked to stop, the proxy stops accepting, tells agents to
//! go elsewhere, lets conversations finish for a grace, and then cuts what is left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::socket::{Use, tune};
use runtime::{Fault, Scope, Service};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Error;
use crate::gate::{Gate, Settings};
use crate::report::{Report, keep_reporting};

/// A proxy that is bound and will run.
pub struct Proxy {
    listeners: Vec<TcpListener>,
    settings: Settings,
    report: Arc<dyn Report>,
    reload_every: Duration,
    grace: Duration,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({:?})", self.addresses())
    }
}

/// How often certificate files are looked at unless told otherwise.
const RELOAD: Duration = Duration::from_secs(60);

/// How long conversations may go on after the proxy was asked to stop, unless told otherwise.
const GRACE: Duration = Duration::from_secs(20);

impl Proxy {
    /// Takes over bound listeners. Must be called within a runtime.
    ///
    /// # Errors
    /// A listener or a certificate is unusable.
    pub fn build(
        listeners: Vec<std::net::TcpListener>,
        settings: Settings,
        report: Arc<dyn Report>,
    ) -> Result<Self, Error> {
        let take = |listener: std::net::TcpListener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listeners =
            listeners.into_iter().map(take).collect::<Result<Vec<_>, _>>().map_err(Error::Listen)?;
        Ok(Self { listeners, settings, report, reload_every: RELOAD, grace: GRACE })
    }

    /// How often certificate files are looked at.
    #[must_use]
    pub fn reload_every(mut self, every: Duration) -> Self {
        self.reload_every = every;
        self
    }

    /// How long conversations may go on after the proxy was asked to stop.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }
}

impl Service for Proxy {
    const NAME: &'static str = "proxy";

    async fn run(self, scope: Scope) -> Result<(), Fault> {
        // Connections outlive the scope's cancellation by the grace: they have a word of their own.
        let cut = CancellationToken::new();
        let _cut_on_drop = cut.clone().drop_guard();
        let connections = TaskTracker::new();
        let scope_of_connections = scope.apart("proxy connections");
        let gate = Gate::new(self.settings, scope_of_connections.clone()).map_err(Fault::new)?;
        for listener in self.listeners {
            let (gate, cut) = (gate.clone(), cut.clone());
            let (owner, connections) = (scope_of_connections.clone(), connections.clone());
            scope.spawn("accept", async move { accept(&listener, &gate, &owner, &connections, &cut).await });
        }
        let (registry, report) = (gate.registry().clone(), self.report);
        scope.spawn("report tunnels", async move { keep_reporting(registry, report.as_ref()).await });
        let (certs, every) = (gate.web_certs().clone(), self.reload_every);
        scope.spawn("reload certificates", async move {
            loop {
                tokio::time::sleep(every).await;
                certs.reload(false);
            }
        });
        scope.cancelled().await;
        tracing::info!(connections = connections.len(), "draining");
        gate.registry().drain();
        connections.close();
        let quiet = async {
            while !gate.registry().is_quiet() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let _ = tokio::time::timeout(self.grace, quiet).await;
        gate.registry().close();
        // What is neither a tunnel nor in one (calls to the authority, web pages) gets a moment to finish.
        let _ = tokio::time::timeout(Duration::from_secs(1), connections.wait()).await;
        cut.cancel();
        connections.wait().await;
        scope_of_connections.drain(Duration::from_secs(1)).await;
        Ok(())
    }
}

async fn accept(
    listener: &TcpListener,
    gate: &Gate,
    owner: &Scope,
    connections: &TaskTracker,
    cut: &CancellationToken,
) {
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: closing connections is what helps, not trying harder.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = gate.connection(peer.ip()) else {
            tracing::debug!(%peer, "too many connections");
            continue;
        };
        // It may become a tunnel; and whoever else comes may type beside a copy.
        tune(&socket, Use::Tunnel);
        let (gate, cut) = (gate.clone(), cut.clone());
        let work = connections.track_future(async move {
            cut.run_until_cancelled(gate.take(Box::new(socket), peer, place)).await;
        });
        owner.spawn("connection", work);
    }
}
