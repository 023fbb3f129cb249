//! A session's life beside its bytes: opened with its start on record, recorded, limited, uploaded, ended.
//!
//! ```text
//! open ─ session.start acknowledged ─► Session { tap, … }          one per session, small
//! tap.push ─► ring (bounded) ─► recorder ─► spool ─► uploader ─► authority      shared services
//! warden: idle, expiry, policy, admins ─► session.ended()
//! ```
//! Bounds: a ring holds [`ring::CAPACITY`] bytes and nothing while idle; every queue here is bounded and says what
//! happens when it is full. Knows no pty and no SSH: `node` brings frames and asks when to stop.
#![forbid(unsafe_code)]

pub mod about;
pub mod authority;
mod backlog;
pub mod disk;
mod events;
mod lane;
mod life;
mod open;
mod outbox;
mod recorder;
mod recover;
pub mod ring;
mod sender;
mod shard;
mod shared;
mod slot;
mod spool;
pub mod stream;
pub mod tap;
mod told;
mod track;
mod upload;
mod warden;

pub use about::{About, EndReason, Kind, Outcome, Recording, Seat, ServerFacts, Terms, View};
pub use audit::event;
pub use audit::recording::{Frame, GapReason, Stream};
pub use authority::{Authority, Trouble};
pub use disk::{Disk, RealDisk};
pub use life::{Closing, Facts, Session};
pub use open::{Config, Deps, Sessions};
pub use stream::StreamTap;
pub use tap::Tap;

/// Why a session cannot be, or cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The authority did not acknowledge the start, and the session must be recorded strictly.
    #[error("this session must be recorded, and its start could not be put on record: {0}")]
    NotOnRecord(String),
    /// The spool cannot be written.
    #[error("this session must be recorded, and its recording cannot be written: {0}")]
    Spool(String),
    /// A limit was reached.
    #[error("{0}")]
    Limit(String),
    /// The session has ended.
    #[error("the session has ended: {0}")]
    Ended(EndReason),
    /// The room is shutting down.
    #[error("the service is stopping")]
    Stopping,
}

#[cfg(test)]
mod tests;
