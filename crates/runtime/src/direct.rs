//! Streams that may be a socket and nothing else.
//!
//! A stream may begin inside TLS, a tunnel or a buffer and later be bare. [`Direct`] says when it is; from then on
//! whoever relays it can have the socket and leave the rest to [`Shunt`](crate::Shunt).

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::RecvFlags;
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

    /// Reads what has arrived at the socket, past the runtime's own watch over it; pending when nothing has, or where
    /// [`Direct::reads_directly`] says no. Wakes nobody: for a task that is at it anyway. Where all threads are busy, the one that watches hears
    /// of a byte late.
    ///
    /// # Errors
    /// The socket's.
    fn read_now(&self, _out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    /// What to set while the stream carries copies, and to clear when it no longer does, for whoever takes its socket;
    /// `None` where nobody asks.
    fn copies(&self) -> Option<Arc<AtomicBool>> {
        None
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
    fn read_now(&self, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match rustix::net::recv(self, out.initialize_unfilled(), RecvFlags::DONTWAIT) {
            Ok((_, count)) => {
                out.advance(count);
                Poll::Ready(Ok(()))
            }
            Err(Errno::AGAIN | Errno::INTR) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error.into())),
        }
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
    fn read_now(&self, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        (**self).read_now(out)
    }
    fn copies(&self) -> Option<Arc<AtomicBool>> {
        (**self).copies()
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    /// Reads past the runtime where there is something, and through it where there is not; says how often past it.
    async fn hear(mut socket: TcpStream) -> (Vec<u8>, usize) {
        let (mut heard, mut past) = (Vec::new(), 0);
        loop {
            let mut room = [0; 1000];
            let mut out = ReadBuf::new(&mut room);
            let count = match socket.read_now(&mut out) {
                Poll::Ready(read) => {
                    read.unwrap();
                    past += 1;
                    out.filled().len()
                }
                Poll::Pending => poll_fn(|cx| {
                    let mut out = ReadBuf::new(&mut room);
                    let read = Pin::new(&mut socket).poll_read(cx, &mut out);
                    read.map_ok(|()| out.filled().len())
                })
                .await
                .unwrap(),
            };
            if count == 0 {
                return (heard, past);
            }
            heard.extend_from_slice(&room[..count]);
        }
    }

    #[tokio::test]
    async fn whoever_reads_past_the_runtime_loses_nothing_and_is_still_woken() {
        let (mut near, far) = sockets().await;
        let said: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[1]).collect();
        let speak = async {
            for piece in said.chunks(7_001) {
                near.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            near.shutdown().await.unwrap();
        };

        let ((heard, past), ()) = tokio::join!(hear(far), speak);

        assert!(heard == said && past > 0, "{past}");
    }

    #[tokio::test]
    async fn a_reset_is_told() {
        let (near, mut far) = sockets().await;
        far.write_all(b"unread").await.unwrap();
        near.readable().await.unwrap();
        drop(near);
        far.readable().await.unwrap();

        let mut room = [0; 10];
        let read = far.read_now(&mut ReadBuf::new(&mut room));

        assert!(matches!(read, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset));
    }
}
