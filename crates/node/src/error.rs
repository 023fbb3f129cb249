//! What goes wrong in this room.

use std::io;

use crate::codec::Malformed;

/// Why a host's SSH service could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The privileged half said no, in words fit for the person.
    #[error("{0}")]
    Refused(String),
    /// The privileged half is gone; nothing can be started any more.
    #[error("the privileged half of this service is gone")]
    SpawnerGone,
    /// The two halves disagree: a defect or a break-in.
    #[error("the two halves of this service disagree: {0}")]
    Protocol(&'static str),
    /// Bytes that are not what they claim to be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The operating system said no.
    #[error("{0}")]
    Io(&'static str, #[source] io::Error),
}

impl Error {
    /// Puts an operating system's error into words: `.map_err(Error::io("reading"))`.
    pub(crate) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io(what, error)
    }
}
