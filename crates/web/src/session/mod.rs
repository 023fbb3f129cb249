//! Web sessions: people signed in with a browser, their keys in memory and nowhere else.
//!
//! A session is a random token in a `__Host-` cookie, kept here as a hash; it ends with its certificates, after
//! [`IDLE`] without a sign of life, when its owner signs out, and with this process. Bounds: [`MAX_SESSIONS`] in all,
//! [`MAX_PER_USER`] a person. Decides nothing: each call is made with the person's own certificate.

mod api;
pub(crate) mod guard;
pub(crate) mod login;
pub(crate) mod own;
mod parts;
mod person;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use client::tls::Keyring;
use client::{BoxFuture, BoxStream, Connect};
use model::{NodeId, UserName};

pub(crate) use api::pass;
pub(crate) use parts::Part;
pub(crate) use person::{Keep, Opens, Person, lock};
pub use table::Sessions;
pub(crate) use table::{hash as token_hash, token as token_of};

/// A session without a sign of life for this long is over.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// How many sessions there may be.
pub const MAX_SESSIONS: usize = 10_000;
/// How many sessions one person may have; the oldest makes room.
pub const MAX_PER_USER: usize = 20;
/// How long a ticket for a terminal is good.
pub const TICKET_LIFE: Duration = Duration::from_secs(30);
/// How many unused tickets a session may have.
pub const MAX_TICKETS: usize = 64;

/// The ways out of this room for one person: given by whoever knows the network.
pub trait Ways: Send + Sync + 'static {
    /// A way to the authority that shows what `keyring` holds. `client` is where the person signed in from.
    fn authority(&self, keyring: Keyring, client: IpAddr) -> Arc<dyn Connect>;

    /// A stream to the SSH service of a node for `user`. `client` is where the person is.
    fn node(
        &self,
        id: NodeId,
        user: &UserName,
        client: SocketAddr,
    ) -> BoxFuture<'_, Result<BoxStream, NoWay>>;

    /// What carries the node's tunnel to this gate, in a word; `None` when there is none now.
    fn carrier(&self, id: &NodeId) -> Option<String>;
}

/// Why there is no stream to a node, in words for the person.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct NoWay(pub String);
