//! The service itself: one connection after another, each let in by a certificate and asked about at every step.
//!
//! ```text
//! greet ─ door: certificate, principals, policy ─► rooms: channels, listeners, what ends them
//!                                                     ├ channel ─ wishes ─► start: a shell, a command, a subsystem
//!                                                     └ forward, listen: connections from here and to here
//! node, visit: what all connections share, and what the channels of one do
//! ```
//! Bounds: [`Settings::handshakes`] half-open connections, of which one address may have
//! [`Settings::handshakes_each`], [`Settings::connections`] open ones, channels by `ssh::Limits`, sessions by the
//! roles' own limit. It does not know how a certificate is verified ([`Verify`]).

mod agent;
mod channel;
mod door;
mod files;
mod forward;
mod greet;
mod keep;
mod listen;
mod node;
mod notice;
mod record;
mod report;
mod rooms;
mod start;
mod visit;
mod wishes;

pub use node::{Deps, Node, Peer, Settings, Verify};
