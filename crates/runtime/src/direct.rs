//! Streams that may be a socket and nothing else, and bytes that go from one socket to the next without being copied.
//!
//! A stream may begin inside TLS, a tunnel or a buffer and later be bare. [`Direct`] says when it is; from then on
//! whoever relays it lets the kernel move the bytes (`splice(2)`): measured, a third to a quarter of the processor time
//! that copying them takes. Where the kernel has no such call, or no more pipes to give, copying goes on as before.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest, ReadBuf};
use tokio::net::unix::pipe;
use tokio::net::{TcpStream, UnixStream};

/// What a pipe should hold: a socket's buffers come in pieces of up to 32 KiB, one slot each.
const ROOM: usize = 256 * 1024;

/// The most bytes moved by one call.
const MOST: usize = 128 * 1024;

/// The kernel, or whoever stands in front of it, does not do this: copying does.
#[must_use]
pub fn is_refused(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}

/// A stream that may be nothing but a TCP socket. Once a direction is, it stays so.
pub trait Direct {
    /// The socket whose next byte is the next one read here; `None` while anything is in between, or held.
    fn reads_from(&self) -> Option<&TcpStream> {
        None
    }

    /// The socket that the next byte written here goes to, everything before it having been handed over.
    fn writes_to(&self) -> Option<&TcpStream> {
        None
    }
}

impl Direct for TcpStream {
    fn reads_from(&self) -> Option<&TcpStream> {
        Some(self)
    }
    fn writes_to(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Direct for UnixStream {}
impl Direct for DuplexStream {}

impl<S: Direct + ?Sized> Direct for Box<S> {
    fn reads_from(&self) -> Option<&TcpStream> {
        (**self).reads_from()
    }
    fn writes_to(&self) -> Option<&TcpStream> {
        (**self).writes_to()
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

/// What is on its way from one socket to another: a pipe of the kernel, of at most 256 KiB, and two descriptors.
#[derive(Debug)]
pub struct Passage {
    entry: OwnedFd,
    exit: OwnedFd,
    held: usize,
}

impl Passage {
    /// An empty one.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Someone without privileges who has many pipes gets small ones: slower, not wrong.
        let _ = fcntl_setpipe_size(&entry, ROOM);
        Ok(Self { entry, exit, held: 0 })
    }

    /// Bytes taken and not yet handed on.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes what has arrived, up to 128 KiB; nothing at the socket's end. Only while nothing is held: a full pipe
    /// could not be told from a silent socket.
    ///
    /// # Errors
    /// The socket's; or the call is refused ([`is_refused`]), and nothing was taken.
    pub fn poll_take(&mut self, from: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let taken = ready!(poll_splice(from, Interest::READABLE, cx, || {
            Ok(splice(from, None, &self.entry, None, MOST, SpliceFlags::NONBLOCK)?)
        }))?;
        self.held += taken;
        Poll::Ready(Ok(taken))
    }

    /// Hands on some of what is held; says how much.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_give(&mut self, to: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let held = self.held;
        let given = ready!(poll_splice(to, Interest::WRITABLE, cx, || {
            Ok(splice(&self.exit, None, to, None, held, SpliceFlags::NONBLOCK)?)
        }))?;
        self.held = held.saturating_sub(given);
        Poll::Ready(Ok(given))
    }
}

fn poll_splice(
    socket: &TcpStream,
    interest: Interest,
    cx: &mut Context<'_>,
    mut call: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        if interest.is_readable() {
            ready!(socket.poll_read_ready(cx))?;
        } else {
            ready!(socket.poll_write_ready(cx))?;
        }
        match socket.try_io(interest, &mut call) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
    }
}

/// Moves what has arrived at a socket, up to 128 KiB, into a pipe whose reader may be slow; says how much, nothing at
/// the socket's end.
///
/// # Errors
/// The socket's, or that nobody reads the pipe any more; or the call is refused ([`is_refused`]), and nothing moved.
pub fn poll_into_pipe(
    from: &TcpStream,
    pipe: &pipe::Sender,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(pipe.poll_write_ready(cx))?;
        // Asked each time: a call that moves nothing does not say which of the two it waited for.
        match pipe.try_io(|| has_room(pipe)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
            Ok(()) => break,
        }
    }
    poll_splice(from, Interest::READABLE, cx, || {
        Ok(splice(from, None, pipe, None, MOST, SpliceFlags::NONBLOCK)?)
    })
}

fn has_room(pipe: &pipe::Sender) -> io::Result<()> {
    let mut asked = [PollFd::new(pipe, PollFlags::OUT)];
    let ready = poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if ready == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
