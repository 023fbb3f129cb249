//! The shared fields of events about a connection that are not of a session.

use session::event::{Connection, Server, SessionRef, Status, Who, kinds};

use super::node::{Node, Peer};
use super::visit::Visit;

/// This host, for events.
pub(super) fn server_of(node: &Node) -> Server {
    let mut server = node.0.deps.host.server();
    server.server_labels = node.0.deps.labels.borrow().clone();
    server
}

/// This connection, for events.
pub(super) fn connection_of(peer: &Peer) -> Connection {
    Connection {
        remote: peer.client.map(|client| client.to_string()).unwrap_or_default(),
        local: peer.local.map(|local| local.to_string()),
        proto: Some("ssh".to_owned()),
    }
}

/// Somebody was let in, whatever they then open, or nothing at all.
pub(super) async fn connected(node: &Node, peer: &Peer, who: Who) {
    let (server, connection) = (server_of(node), connection_of(peer));
    let event = kinds::SessionConnect { who, server, connection };
    node.0.deps.sessions.note_ahead(&event).await;
}

/// What is known of a forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Local,
    Remote,
    Socket,
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Direction::Local => "local",
            Direction::Remote => "remote",
            Direction::Socket => "socket",
        }
    }
}

impl Visit {
    /// Who is here, for events.
    pub(super) fn who(&self) -> Who {
        Who::of(&self.who).with_login(self.login.as_str())
    }

    fn port(&self, direction: Direction, addr: &str, status: Status) -> kinds::Port {
        kinds::Port {
            who: self.who(),
            server: server_of(&self.node),
            connection: connection_of(&self.peer),
            session: SessionRef::default(),
            status,
            addr: addr.to_owned(),
            direction: direction.as_str().to_owned(),
            stopped: false,
        }
    }

    /// A forward began, or could not.
    pub(super) async fn forwarded(&self, direction: Direction, addr: &str, status: Status) {
        self.emit(&self.port(direction, addr, status)).await;
    }

    /// A forward that had begun has stopped.
    pub(super) async fn unforwarded(&self, direction: Direction, addr: &str) {
        self.emit(&kinds::Port { stopped: true, ..self.port(direction, addr, Status::ok()) }).await;
    }

    /// The connection was cut.
    pub(super) async fn cut(&self, reason: &str) {
        self.emit(&kinds::ClientDisconnect {
            who: self.who(),
            server: server_of(&self.node),
            connection: connection_of(&self.peer),
            session: SessionRef::default(),
            reason: reason.to_owned(),
        })
        .await;
    }

    pub(super) async fn emit<E: session::event::Event>(&self, event: &E) {
        if let Err(error) = self.node.0.deps.sessions.emit(event).await {
            tracing::error!(%error, event = E::NAME, "an event is not on record");
        }
    }
}
