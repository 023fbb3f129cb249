//! The words of the multiplexer: sides, bounds, events, outcomes. Data only; every bound has its default here.

use std::time::Duration;

use super::frame::{LIFT_TOKEN, ResetCode, StreamId};
use crate::dial::Class;

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that dialed: its streams are odd.
    Dialer,
    /// The end that was dialed: its streams are even.
    Listener,
}

/// Bounds of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Streams the peer may have open at a time. Zero where only we open them.
    pub max_incoming: usize,
    /// Streams we may have open at a time.
    pub max_outgoing: usize,
    /// What all windows together may have grown beyond their first size.
    pub budget: u32,
    /// The most one stream queues for sending.
    pub queue: usize,
    /// A peer silent this long is pinged, and pinged again.
    pub quiet: Duration,
    /// A peer silent this long is gone.
    pub dead: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_incoming: 16 * 1024,
            max_outgoing: 16 * 1024,
            budget: 64 * 1024 * 1024,
            queue: 256 * 1024,
            quiet: Duration::from_millis(1500),
            dead: Duration::from_secs(5),
        }
    }
}

/// Something the shell should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer opened a stream. Whoever takes the event must in the end [`super::Mux::release`] it.
    Opened {
        /// The stream.
        id: StreamId,
        /// Its priority.
        class: Class,
        /// What it is for.
        metadata: Vec<u8>,
    },
    /// A read that found nothing may find something now.
    Readable(StreamId),
    /// A write that found no room may find some now.
    Writable(StreamId),
    /// The peer wants us to dial a connection for this stream alone, and to name the token there.
    Lifted {
        /// The stream.
        id: StreamId,
        /// Names the stream on its connection.
        token: [u8; LIFT_TOKEN],
    },
    /// The peer takes no new streams and will go.
    GoingAway,
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet: [`Event::Readable`] will tell.
    Blocked,
    /// The peer has finished.
    End,
    /// The peer goes on over the stream's own connection.
    Moved,
}

/// Why a stream cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Either end cut it off.
    #[error("the stream was reset: {0:?}")]
    Reset(ResetCode),
    /// Written to after its end.
    #[error("the stream was already finished")]
    Finished,
}

/// Why no stream was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The peer takes no new streams, or we are leaving.
    #[error("the tunnel is closing")]
    Leaving,
    /// As many as there may be are open.
    #[error("too many streams on the tunnel")]
    TooMany,
    /// Metadata beyond its bound.
    #[error("the stream's metadata is too long")]
    Metadata,
}

/// The peer has been silent for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer has not been heard for {0:?}")]
pub struct Dead(pub Duration);
