//! What can go wrong on an SSH connection, grouped by whose fault it is.

use std::io;
use std::sync::Arc;

use thiserror::Error;
use wire::ssh::Malformed;

/// Why a connection, or something asked of it, failed. Cheap to clone: every channel of a dead connection tells it.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// The stream under the connection failed.
    #[error("the stream failed")]
    Io(#[source] Arc<io::Error>),
    /// The peer sent bytes that cannot be.
    #[error("malformed message from the peer")]
    Malformed(#[from] Malformed),
    /// The peer did what the protocol forbids.
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
    /// A packet was altered, or the keys differ.
    #[error("a packet failed its integrity check")]
    Integrity,
    /// The two sides share no algorithm of this kind.
    #[error("no {0} in common with the peer")]
    NoCommon(&'static str),
    /// A name in configuration that this room does not know.
    #[error("unknown {kind} {name:?}; known are {known}")]
    UnknownAlgorithm {
        /// Cipher, key exchange or MAC.
        kind: &'static str,
        /// As it was written.
        name: String,
        /// What would do.
        known: String,
    },
    /// A key exchange failed: a bad public value, or a bad signature of the host.
    #[error("the key exchange failed: {0}")]
    KeyExchange(&'static str),
    /// The caller did not accept the host's key.
    #[error("the host's key was not accepted: {0}")]
    HostKey(String),
    /// No key was good enough.
    #[error("permission denied (publickey)")]
    Denied,
    /// The handshake was not done in time.
    #[error("the handshake took too long")]
    Deadline,
    /// An open connection's keys were to be exchanged anew, and the peer did not do its part in time.
    #[error("the peer did not agree on new keys in time")]
    StaleKeys,
    /// The peer did not answer in time.
    #[error("the peer does not answer")]
    Unresponsive,
    /// The peer said goodbye.
    #[error("disconnected by the peer: {text}")]
    Disconnected {
        /// A number of RFC 4253 section 11.1.
        reason: u32,
        /// The peer's words, cleaned of control characters.
        text: String,
    },
    /// The connection or channel is over.
    #[error("closed")]
    Closed,
    /// The peer refused to open a channel.
    #[error("the peer refused the channel: {text}")]
    OpenRefused {
        /// A number of RFC 4254 section 5.1.
        reason: u32,
        /// The peer's words, cleaned of control characters.
        text: String,
    },
    /// The peer refused a request.
    #[error("the peer refused {0}")]
    RequestRefused(&'static str),
    /// Too much is waiting for a peer that does not read.
    #[error("too much is waiting to be sent")]
    Congested,
    /// A private key file or key that cannot be used.
    #[error("unusable key: {0}")]
    Key(&'static str),
    /// A signature could not be made.
    #[error("cannot sign: {0}")]
    Sign(String),
    /// The SSH agent said no, or is not one.
    #[error("the SSH agent refused")]
    Agent,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io(inner) => inner.kind(),
            Error::Closed | Error::Disconnected { .. } => io::ErrorKind::BrokenPipe,
            Error::Deadline | Error::StaleKeys | Error::Unresponsive => io::ErrorKind::TimedOut,
            Error::Denied | Error::HostKey(_) => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// A peer's words without anything a terminal could act on.
pub(crate) fn clean(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(512).collect()
}
