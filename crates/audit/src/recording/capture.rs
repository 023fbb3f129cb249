//! Keeps the first megabyte of a stream and counts and hashes all of it.
//!
//! Constant memory whatever the stream's length.

use super::frame::{Frame, Stream};
use crate::key::{Hash, Hasher};

/// How much of a stream is kept.
pub const KEPT: u64 = 1024 * 1024;

/// One stream going by.
#[derive(Clone, Debug)]
pub struct Capture {
    stream: Stream,
    bytes: u64,
    hasher: Hasher,
}

/// All of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// Which stream.
    pub stream: Stream,
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256.
    pub hash: Hash,
}

impl Capture {
    /// Has seen nothing of `stream`.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self { stream, bytes: 0, hasher: Hasher::new() }
    }

    /// Takes bytes going by; gives the part of them that is to be kept (often empty).
    pub fn pass<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.hasher.update(bytes);
        let room = usize::try_from(KEPT.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        bytes.get(..room).unwrap_or(bytes)
    }

    /// How many bytes have gone by.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What it came to.
    #[must_use]
    pub fn total(&self) -> Total {
        Total { stream: self.stream, bytes: self.bytes, hash: self.hasher.clone().finish() }
    }
}

impl Total {
    /// As a frame.
    #[must_use]
    pub fn frame(&self) -> Frame<'static> {
        Frame::Total { stream: self.stream, bytes: self.bytes, hash: self.hash }
    }
}
