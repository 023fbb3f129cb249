//! The bytes read and not yet understood: one buffer that grows with the peer's speed and is given back when idle.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// What an idle connection reads into.
const SMALL: usize = 4 * 1024;
/// What a busy one may grow to.
const LARGE: usize = 256 * 1024;

pub(crate) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    wanted: usize,
}

impl Input {
    pub(crate) fn new() -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, wanted: SMALL }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// The first `bytes` are done with.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// A whole packet of `bytes` must fit.
    pub(crate) fn expect(&mut self, bytes: usize) {
        self.wanted = self.wanted.max(bytes);
    }

    /// Reads once. Zero bytes are the stream's end.
    pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        self.make_room();
        let mut room = ReadBuf::new(self.buffer.get_mut(self.end..).unwrap_or_default());
        let before = room.remaining();
        ready!(Pin::new(stream).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.end += read;
        if read == before {
            // The stream had more than there was room for.
            self.wanted = (self.wanted * 2).min(LARGE.max(self.wanted));
        }
        Poll::Ready(Ok(read))
    }

    /// Takes bytes from memory instead of a stream.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.truncate(self.end);
        self.buffer.extend_from_slice(bytes);
        self.end = self.buffer.len();
    }

    fn make_room(&mut self) {
        if self.start > 0 && (self.end == self.buffer.len() || self.wanted > self.buffer.len()) {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.wanted > self.buffer.len() {
            self.buffer.resize(self.wanted, 0);
        } else if self.end == self.buffer.len() {
            self.wanted = self.buffer.len() * 2;
            self.buffer.resize(self.wanted, 0);
        }
    }

    pub(crate) fn swollen(&self) -> bool {
        self.buffer.len() > SMALL
    }

    pub(crate) fn shrink(&mut self) {
        if self.start == self.end {
            *self = Self::new();
        }
    }
}
