//! One connection's first steps: is there a place, who is it, and then the visit.

use runtime::Scope;
use tokio::io::{AsyncRead, AsyncWrite};

use super::door::Door;
use super::node::{Node, Peer};
use super::rooms;

impl Node {
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
        let Some(greeting) = self.0.handshakes.take(peer.client.map(|client| client.ip())) else {
            tracing::warn!(client = ?peer.client, "too many handshakes");
            return;
        };
        let protocol = self.0.deps.protocol.borrow().clone();
        let door = Door::new(self, &peer);
        let accepted = tokio::select! {
            accepted = ssh::server::accept(stream, protocol, &door) => accepted,
            () = scope.cancelled() => return,
        };
        drop(greeting);
        match accepted {
            Ok(accepted) => rooms::run(self, accepted, peer, scope).await,
            Err(error) => tracing::debug!(%error, client = ?peer.client, "no connection"),
        }
    }
}
