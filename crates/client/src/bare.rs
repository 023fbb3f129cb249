//! TLS for the beginning of a conversation, bare bytes for the rest: for routes whose inside is sealed by itself.
//!
//! An SSH stream is encrypted and authenticated end to end. TLS around it hides who talks to whom while the key exchange
//! inside is in the clear; after that it costs a second encryption at every hop and protects nothing more. So each
//! direction leaves TLS by itself: once what its sender writes is sealed without it ([`Leave`]), the sender sends
//! `close_notify` (RFC 8446, 6.1) and goes on without; whoever reads `close_notify` reads on without. The alert is authenticated:
//! nobody on the way can end TLS early. What a stranger can do to the bare rest, cut or change it, the SSH inside
//! notices. Both ends of a route do this or neither: the route's name
//! says so, and inside a WebSocket, which knows no end of one direction, TLS stays.
//!
//! Holds one read ahead of at most 64 KiB, and nothing while quiet.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use runtime::Direct;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;
use wire::client_hello;
use wire::route::Route;
use wire::ssh::clear::Clear;

/// The most bytes read ahead of TLS.
const AHEAD: usize = 64 * 1024;
const LEAST: usize = 4 * 1024;

/// When a direction leaves TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leave {
    /// After so many bytes.
    After(u64),
    /// Once the SSH inside encrypts, as [`Clear`] sees it; where that is never seen, after so many bytes.
    OnceSealed(Clear, u64),
}

/// When each direction of `route` goes on bare; `None` where it never does.
#[must_use]
pub fn leaves_tls(route: Route) -> Option<Leave> {
    match route {
        // Host certificates and the names in the dial header are in front of the first new keys.
        Route::Ssh => Some(Leave::OnceSealed(Clear::behind_a_head(), 256 * 1024)),
        // The token and its answer: the stream's own beginning went through the tunnel.
        Route::Carrier => Some(Leave::After(1)),
        Route::Auth | Route::Tunnel => None,
    }
}

impl Leave {
    /// Notes what was written; true once it is time.
    fn is_due(&mut self, written: &[u8]) -> bool {
        let count = u64::try_from(written.len()).unwrap_or(u64::MAX);
        match self {
            Leave::After(left) => {
                *left = left.saturating_sub(count);
                *left == 0
            }
            Leave::OnceSealed(clear, left) => {
                *left = left.saturating_sub(count);
                clear.pass(written) || *left == 0
            }
        }
    }
}

/// Reads ahead in large pieces and hands TLS whole records only, so that what follows the last one is not lost in it.
#[derive(Debug)]
pub struct Records<S> {
    inner: S,
    ahead: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read filled what there was for it.
    more: bool,
    /// What is left of the record being handed over.
    left: usize,
    /// TLS is over in this direction.
    bare: bool,
}

impl<S: AsyncRead + Unpin> Records<S> {
    /// Reads from `inner`, whose next byte begins a record.
    pub fn new(inner: S) -> Self {
        Self { inner, ahead: Vec::new(), start: 0, end: 0, more: false, left: 0, bare: false }
    }

    fn unread(&self) -> &[u8] {
        self.ahead.get(self.start..self.end).unwrap_or_default()
    }

    /// How many of the unread bytes may be handed over now; none while a record's header is incomplete.
    fn whole(&mut self) -> usize {
        if self.bare {
            return self.end - self.start;
        }
        if self.left == 0
            && let Some(whole) = client_hello::record(self.unread())
        {
            self.left = whole;
        }
        self.left.min(self.end - self.start)
    }

    fn hand_over(&mut self, count: usize, out: &mut ReadBuf<'_>) {
        let count = count.min(out.remaining());
        out.put_slice(self.unread().get(..count).unwrap_or_default());
        self.start += count;
        if !self.bare {
            self.left -= count;
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads more behind what is unread; `Ok(false)` at the end.
    ///
    /// A keystroke's record must not cost a buffer: a first piece lands on the stack, as it is, and only what came is kept.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.end == 0 && !self.more && self.ahead.len() <= LEAST {
            self.ahead = Vec::new();
            let mut piece = [const { MaybeUninit::uninit() }; LEAST];
            let mut piece = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
            self.ahead.extend_from_slice(piece.filled());
            self.end = piece.filled().len();
            self.more = piece.remaining() == 0;
            return Poll::Ready(Ok(self.end > 0));
        }
        self.ahead.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let room = if self.more { AHEAD } else { LEAST };
        if self.ahead.len() < room {
            self.ahead.resize(room, 0);
        }
        let mut buffer = ReadBuf::new(self.ahead.get_mut(self.end..).unwrap_or_default());
        let read = Pin::new(&mut self.inner).poll_read(cx, &mut buffer);
        let count = buffer.filled().len();
        self.more = buffer.remaining() == 0;
        if read.is_pending() && self.end == 0 {
            self.ahead = Vec::new();
        }
        ready!(read)?;
        self.end += count;
        Poll::Ready(Ok(count > 0))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Records<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let whole = self.whole();
            if whole > 0 || out.remaining() == 0 {
                self.hand_over(whole, out);
                return Poll::Ready(Ok(()));
            }
            if self.bare {
                self.ahead = Vec::new();
                return Pin::new(&mut self.inner).poll_read(cx, out);
            }
            if !ready!(self.poll_more(cx))? {
                // The end: a header cut in two is TLS's to judge.
                let rest = self.end - self.start;
                self.left = rest;
                self.hand_over(rest, out);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Records<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<S: Direct> Direct for Records<S> {
    fn reads_directly(&self) -> bool {
        self.bare && self.start == self.end && self.inner.reads_directly()
    }
    fn read_now(&self, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.reads_directly() { self.inner.read_now(out) } else { Poll::Pending }
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

/// How far our direction is.
#[derive(Debug)]
enum Writing {
    Sealed(Leave),
    /// The next thing written leaves TLS first.
    Due,
    /// `close_notify` is on its way.
    Leaving,
    Bare,
}

/// A stream whose directions leave TLS. Flushing and shutting down work as on any stream.
#[derive(Debug)]
pub struct Bare<S> {
    tls: TlsStream<Records<S>>,
    writing: Writing,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bare<S> {
    /// A stream whose own direction leaves TLS as `leave` says.
    pub fn new(tls: impl Into<TlsStream<Records<S>>>, mut leave: Leave) -> Self {
        let writing = if leave.is_due(&[]) { Writing::Due } else { Writing::Sealed(leave) };
        Self { tls: tls.into(), writing }
    }

    fn below(&mut self) -> Pin<&mut Records<S>> {
        Pin::new(self.tls.get_mut().0)
    }

    /// Gets `close_notify` out; ready once our direction is bare.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Writing::Sealed(_) | Writing::Due = self.writing {
            self.tls.get_mut().1.send_close_notify();
            self.writing = Writing::Leaving;
        }
        if let Writing::Leaving = self.writing {
            ready!(Pin::new(&mut self.tls).poll_flush(cx))?;
            self.writing = Writing::Bare;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Bare<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.tls.get_ref().0.bare {
            let before = out.filled().len();
            ready!(Pin::new(&mut self.tls).poll_read(cx, out))?;
            if out.filled().len() > before || out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // An end without an error is `close_notify`.
            self.tls.get_mut().0.bare = true;
        }
        self.below().poll_read(cx, out)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Bare<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Writing::Sealed(leave) = &mut this.writing {
            let count = ready!(Pin::new(&mut this.tls).poll_write(cx, bytes))?;
            if leave.is_due(bytes.get(..count).unwrap_or_default()) {
                this.writing = Writing::Due;
            }
            return Poll::Ready(Ok(count));
        }
        ready!(self.poll_leave(cx))?;
        self.below().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.writing {
            Writing::Bare => self.below().poll_flush(cx),
            Writing::Sealed(_) | Writing::Due | Writing::Leaving => Pin::new(&mut self.tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_leave(cx))?;
        self.below().poll_shutdown(cx)
    }
}

impl<S: Direct> Direct for Bare<S> {
    fn reads_directly(&self) -> bool {
        self.tls.get_ref().0.reads_directly()
    }
    fn read_now(&self, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.tls.get_ref().0.read_now(out)
    }
    fn writes_directly(&self) -> bool {
        matches!(self.writing, Writing::Bare) && self.tls.get_ref().0.writes_directly()
    }
    fn into_socket(self: Box<Self>) -> Option<OwnedFd> {
        if !self.writes_directly() {
            return None;
        }
        let records = match self.tls {
            TlsStream::Client(tls) => tls.into_inner().0,
            TlsStream::Server(tls) => tls.into_inner().0,
        };
        Box::new(records).into_socket()
    }
}

#[cfg(test)]
mod tests;
