//! Streams that may be a socket and nothing else.
//!
//! A stream may begin inside TLS, a tunnel or a buffer and later be bare. [`Direct`] says when it is; from then on
//! whoever relays it can have the socket and leave the rest to [`Shunt`](crate::Shunt).

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A stream that may be nothing but a TCP socket. Once a direction is, it stays so.
pub trait Direct {
    /// True when the next byte read here is the socket's next; false while anything is in between, or held.
    fn reads_directly(&self) -> bool {
        false
    }

    /// True when the next byte written here goes to the socket, everything before it having been handed over.
    fn writes_directly(&self) -> bool {
        false
    }

    /// The socket itself, where both directions are nothing else; everything around it is gone then. `None`, and the
    /// stream lost, where [`Direct::reads_directly`] or [`Direct::writes_directly`] said no, or the runtime does not let
    /// it go.
    fn into_socket(self: Box<Self>) -> Option<OwnedFd> {
        None
    }
}

impl Direct for TcpStream {
    fn reads_directly(&self) -> bool {
        true
    }
    fn writes_directly(&self) -> bool {
        true
    }
    fn into_socket(self: Box<Self>) -> Option<OwnedFd> {
        self.into_std().ok().map(OwnedFd::from)
    }
}

impl Direct for UnixStream {}
impl Direct for DuplexStream {}

impl<S: Direct + ?Sized> Direct for Box<S> {
    fn reads_directly(&self) -> bool {
        (**self).reads_directly()
    }
    fn writes_directly(&self) -> bool {
        (**self).writes_directly()
    }
    fn into_socket(self: Box<Self>) -> Option<OwnedFd> {
        (*self).into_socket()
    }
}

/// A stream that is never only a socket, such as one inside TLS; and what is to live as long as it.
#[derive(Debug)]
pub struct Wrapped<S, K = ()> {
    stream: S,
    _kept: K,
}

impl<S> Wrapped<S> {
    /// The stream alone.
    pub fn new(stream: S) -> Self {
        Self { stream, _kept: () }
    }
}

impl<S, K> Wrapped<S, K> {
    /// Drops `kept` with the stream.
    pub fn keeping(stream: S, kept: K) -> Self {
        Self { stream, _kept: kept }
    }
}

impl<S, K> Direct for Wrapped<S, K> {}

impl<S: AsyncRead + Unpin, K: Unpin> AsyncRead for Wrapped<S, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin, K: Unpin> AsyncWrite for Wrapped<S, K> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
