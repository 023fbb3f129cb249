//! Web sessions: people signed in with a browser, their keys in memory and nowhere else.
//!
//! A session is a random token in a `__Host-` cookie, kept here as a hash; it ends with its certificates, when its
//! person was away for too long, when they sign out, and with this process. Away for less long it is locked, and does
//! nothing until they prove who they are ([`IdleLimits`]). Bounds: [`MAX_SESSIONS`] in all, [`MAX_PER_USER`] a person.
//! Decides nothing: each call is made with the person's own certificate.

mod api;
pub(crate) mod guard;
mod idle;
pub(crate) mod login;
pub(crate) mod own;
mod parts;
mod person;
mod table;
mod token;
pub(crate) mod unlock;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use client::tls::Keyring;
use client::{BoxFuture, BoxStream, Connect};
use model::{NodeId, UserName};

pub(crate) use api::pass;
pub use idle::IdleLimits;
pub(crate) use idle::State as IdleState;
pub(crate) use parts::Part;
pub(crate) use person::{Keep, Opens, Person, lock};
pub use table::Sessions;
pub(crate) use token::{hash as token_hash, token as token_of};

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

    /// How long the first word of a node is waited for, as the cluster wants it now; longer than that no stream of
    /// [`Ways::node`] stays silent.
    fn dial_timeout(&self) -> Duration;

    /// How long browsers are left alone, as the cluster wants it now.
    fn idle(&self) -> IdleLimits;
}

/// Why there is no stream to a node, in words for the person.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct NoWay(pub String);
