//! The way to a node for one person: a stream through the tunnel, and an SSH client on it with the person's certificate.
//!
//! Nothing may be opened towards the browser: no agent, no X11, no forwards. Each step has [`DIAL`] to come about.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::NodeId;
use runtime::Scope;
use ssh::Connection;
use ssh::client::{Config, Connected};
use tokio::time::timeout;

use crate::session::{Person, Sessions};

/// How long each step of the way to the node may take.
pub(crate) const DIAL: Duration = Duration::from_secs(20);

/// How a node is told that the person agreed already to what it would ask them.
const AGREE: (&str, &str) = ("MOONGATE_AGREE", "yes");

/// Says on a channel, before its program, that the person agreed, where they did.
pub(crate) fn say_agreed(person: &Person, channel: &ssh::Channel) -> Result<(), ssh::Error> {
    if person.has_agreed() { channel.env(AGREE.0, AGREE.1) } else { Ok(()) }
}

/// A connection to a node's SSH service.
pub(crate) struct Reached {
    /// What the node says before anything else.
    pub(crate) banner: Option<String>,
    pub(crate) connection: Connection,
    /// What serves the connection lives here.
    pub(crate) scope: Scope,
}

/// Why there is none, in words for the person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoReach {
    /// The node, or the way to it, is at fault.
    #[error("{0}")]
    Node(String),
    /// The person may not be that account there.
    #[error("you may not log in as {0} there")]
    Login(String),
}

impl NoReach {
    /// What a person is told: whether the node or the login is at fault, and no more.
    pub(crate) fn from(error: &ssh::Error, login: &str) -> Self {
        match error {
            ssh::Error::Denied => Self::Login(login.to_owned()),
            ssh::Error::HostKey(why) => {
                tracing::warn!(%why, "a node is not the one meant");
                Self::Node("the node could not prove that it is the one meant".to_owned())
            }
            other => Self::Node(format!("the node did not let the session start: {other}")),
        }
    }
}

/// Reaches a node as an account of it. `what` names the scope.
pub(crate) async fn reach(
    person: &Person,
    sessions: &Sessions,
    (node, login): (&NodeId, &str),
    from: SocketAddr,
    what: &'static str,
) -> Result<Reached, NoReach> {
    let stream = timeout(DIAL, sessions.ways().node(node.clone(), &person.user, from))
        .await
        .map_err(|_| NoReach::Node("the node did not answer in time".to_owned()))?
        .map_err(|e| NoReach::Node(e.to_string()))?;
    let host = |key: &ssh::PublicKey| {
        client::person::verify_node(key.as_bytes(), &person.trust, node, sessions.now())
    };
    let config = Arc::new(Config { handshake: sessions.ways().dial_timeout() + DIAL, ..Config::default() });
    let Connected { banner, connection, incoming, driver, .. } =
        ssh::client::connect(stream, config, &host, login, &[person.credential()])
            .await
            .map_err(|error| NoReach::from(&error, login))?;
    drop(incoming);
    let scope = person.scope.child(what);
    scope.spawn(what, async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, what, "a connection to a node ended");
        }
    });
    Ok(Reached { banner, connection, scope })
}
