//! A byte stream inside the binary frames of a WebSocket, either end: the carrier through fronts that end TLS.
//!
//! Frames are at most [`MAX_FRAME`] bytes; one is held while it is read. The carrier means nothing: what runs inside
//! is TLS again, so a truncated carrier is noticed there, and shutting down one direction only flushes it.
//!
//! Reading writes too: pings, and what a writer left unflushed. The WebSocket knows one waker for writing, so both
//! sides stand behind a waker that wakes both: a reader never takes the place of a writer that waits.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use futures_util::{Sink, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The largest frame accepted.
pub const MAX_FRAME: usize = 256 * 1024;

/// The largest frame sent.
const FRAME: usize = 64 * 1024;

/// How often the client's end pings, so that fronts with a 60 s idle limit keep the connection.
const PING: Duration = Duration::from_secs(20);

/// How both ends set the library up.
#[must_use]
pub fn settings() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(64 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MAX_FRAME)
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME))
}

/// Who waits until more can be written: the reading side, the writing side, or both, in tasks of their own.
#[derive(Debug, Default)]
struct Turns {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Wake for Turns {
    fn wake(self: Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
    }
}

/// A byte stream over a WebSocket. Its halves may live in two tasks.
#[derive(Debug)]
pub struct Carrier<S> {
    socket: WebSocketStream<S>,
    unread: Bytes,
    /// Something may still be on this side.
    unflushed: bool,
    turns: Arc<Turns>,
    /// What writing waits with: wakes both turns.
    both: Waker,
    ping: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Carrier<S> {
    /// The client's end of a WebSocket that stands: it pings.
    #[must_use]
    pub fn client(socket: WebSocketStream<S>) -> Self {
        Self::new(socket, Some(Box::pin(tokio::time::sleep(PING))))
    }

    /// The server's end of a WebSocket that stands.
    #[must_use]
    pub fn server(socket: WebSocketStream<S>) -> Self {
        Self::new(socket, None)
    }

    /// The server's end of a connection that an HTTP server has already upgraded.
    pub async fn upgraded(stream: S) -> Self {
        Self::server(WebSocketStream::from_raw_socket(stream, Role::Server, Some(settings())).await)
    }

    fn new(socket: WebSocketStream<S>, ping: Option<Pin<Box<Sleep>>>) -> Self {
        let turns = Arc::new(Turns::default());
        let both = Waker::from(turns.clone());
        Self { socket, unread: Bytes::new(), unflushed: false, turns, both, ping }
    }

    /// Sends a ping when one is due, unless the connection is full of other bytes: those keep it awake as well.
    fn poll_ping(&mut self, cx: &mut Context<'_>) {
        let Some(timer) = self.ping.as_mut() else { return };
        while timer.as_mut().poll(cx).is_ready() {
            timer.as_mut().reset(Instant::now() + PING);
            self.turns.reader.register(cx.waker());
            let mut socket = Pin::new(&mut self.socket);
            if socket.as_mut().poll_ready(&mut Context::from_waker(&self.both)).is_ready()
                && socket.start_send(Message::Ping(Bytes::new())).is_ok()
            {
                self.unflushed = true;
            }
        }
    }

    /// Gets out what is left on this side: whoever wrote it may be waiting for an answer to it. A fault is left to
    /// whoever reads or writes next.
    fn poll_leftover(&mut self, cx: &mut Context<'_>) {
        if !self.unflushed {
            return;
        }
        self.turns.reader.register(cx.waker());
        let mut both = Context::from_waker(&self.both);
        if Pin::new(&mut self.socket).poll_flush(&mut both).is_ready() {
            self.unflushed = false;
            // It waits for what was just done.
            self.turns.writer.wake();
        }
    }
}

fn as_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// True when the far end is simply gone: an end of file, which TLS inside judges.
fn is_end(error: &Error) -> bool {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => true,
        Error::Protocol(why) => {
            matches!(why, tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)
        }
        _ => false,
    }
}

impl<S> runtime::Direct for Carrier<S> {}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Carrier<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_ping(cx);
        this.poll_leftover(cx);
        while this.unread.is_empty() {
            match ready!(Pin::new(&mut this.socket).poll_next(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(Message::Binary(bytes))) => this.unread = bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Ok(Message::Text(_))) => {
                    let why = "a text message where only binary ones belong";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
                }
                Some(Err(error)) if is_end(&error) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(as_io(error))),
            }
        }
        let part = this.unread.split_to(this.unread.len().min(out.remaining()));
        out.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Carrier<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.turns.writer.register(cx.waker());
        let mut both = Context::from_waker(&this.both);
        ready!(Pin::new(&mut this.socket).poll_ready(&mut both)).map_err(as_io)?;
        let part = bytes.get(..bytes.len().min(FRAME)).unwrap_or(bytes);
        let message = Message::Binary(Bytes::copy_from_slice(part));
        this.unflushed = true;
        Pin::new(&mut this.socket).start_send(message).map_err(as_io)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.turns.writer.register(cx.waker());
        let mut both = Context::from_waker(&this.both);
        ready!(Pin::new(&mut this.socket).poll_flush(&mut both)).map_err(as_io)?;
        this.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests;
