//! A stream whose first bytes were looked at and are read again by whoever comes next.
//!
//! Holds no more than the looker's bound, and only until those bytes are read.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use runtime::Direct;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// A stream and the bytes already taken from it.
#[derive(Debug)]
pub(crate) struct Rewind<S> {
    seen: Vec<u8>,
    start: usize,
    inner: S,
}

impl<S: AsyncRead + Unpin> Rewind<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { seen: Vec::new(), start: 0, inner }
    }

    /// What was taken and not yet read again.
    pub(crate) fn seen(&self) -> &[u8] {
        self.seen.get(self.start..).unwrap_or_default()
    }

    /// Takes what has arrived, up to `bound` bytes in all; says whether there was any. Cancel-safe.
    pub(crate) async fn look(&mut self, bound: usize) -> io::Result<bool> {
        let room = bound.saturating_sub(self.seen().len());
        let mut chunk = [0; 2048];
        let part = chunk.get_mut(..room.min(2048)).unwrap_or_default();
        let count = self.inner.read(part).await?;
        self.seen.extend(part.iter().take(count));
        Ok(count > 0)
    }

    /// Drops `count` bytes of what was taken: they were for us.
    pub(crate) fn skip(&mut self, count: usize) {
        self.start = (self.start + count).min(self.seen.len());
        self.forget();
    }

    fn forget(&mut self) {
        if self.start == self.seen.len() {
            self.seen = Vec::new();
            self.start = 0;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.seen().is_empty() {
            return Pin::new(&mut this.inner).poll_read(cx, out);
        }
        let count = this.seen().len().min(out.remaining());
        out.put_slice(this.seen().get(..count).unwrap_or_default());
        this.skip(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

impl<S: Direct> Direct for Rewind<S> {
    fn reads_directly(&self) -> bool {
        self.start == self.seen.len() && self.inner.reads_directly()
    }
    fn writes_directly(&self) -> bool {
        self.inner.writes_directly()
    }
    fn into_socket(self: Box<Self>) -> Option<OwnedFd> {
        if !self.reads_directly() {
            return None;
        }
        Box::new(self.inner).into_socket()
    }
}
