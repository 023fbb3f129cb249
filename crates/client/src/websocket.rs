//! A byte stream inside the binary frames of a WebSocket, either end: the carrier through fronts that end TLS.
//!
//! Frames are at most [`MAX_FRAME`] bytes; one is held while it is read. The carrier means nothing: what runs inside
//! is TLS again, so a truncated carrier is noticed there, and shutting down one direction only flushes it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
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

/// A byte stream over a WebSocket.
#[derive(Debug)]
pub struct Carrier<S> {
    socket: WebSocketStream<S>,
    unread: Bytes,
    ping: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Carrier<S> {
    /// The client's end of a WebSocket that stands: it pings.
    #[must_use]
    pub fn client(socket: WebSocketStream<S>) -> Self {
        Self { socket, unread: Bytes::new(), ping: Some(Box::pin(tokio::time::sleep(PING))) }
    }

    /// The server's end of a WebSocket that stands.
    #[must_use]
    pub fn server(socket: WebSocketStream<S>) -> Self {
        Self { socket, unread: Bytes::new(), ping: None }
    }

    /// The server's end of a connection that an HTTP server has already upgraded.
    pub async fn upgraded(stream: S) -> Self {
        Self::server(WebSocketStream::from_raw_socket(stream, Role::Server, Some(settings())).await)
    }

    /// Sends a ping when one is due. Cancel-safe: nothing is lost when the write half is busy.
    fn poll_ping(&mut self, cx: &mut Context<'_>) {
        let Some(timer) = self.ping.as_mut() else { return };
        while timer.as_mut().poll(cx).is_ready() {
            timer.as_mut().reset(Instant::now() + PING);
            let mut socket = Pin::new(&mut self.socket);
            if socket.as_mut().poll_ready(cx).is_ready()
                && socket.as_mut().start_send(Message::Ping(Bytes::new())).is_ok()
            {
                let _ = socket.poll_flush(cx);
            }
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
        ready!(Pin::new(&mut this.socket).poll_ready(cx)).map_err(as_io)?;
        let part = bytes.get(..bytes.len().min(FRAME)).unwrap_or(bytes);
        let message = Message::Binary(Bytes::copy_from_slice(part));
        Pin::new(&mut this.socket).start_send(message).map_err(as_io)?;
        Poll::Ready(Ok(part.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx).map_err(as_io)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    async fn pair() -> (Carrier<DuplexStream>, Carrier<DuplexStream>) {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let client = WebSocketStream::from_raw_socket(near, Role::Client, Some(settings())).await;
        (Carrier::client(client), Carrier::upgraded(far).await)
    }

    #[tokio::test]
    async fn bytes_cross_in_both_directions_however_they_are_cut() {
        let (mut near, mut far) = pair().await;
        let sent: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = sent.clone();

        let write = async {
            near.write_all(&sent).await.unwrap();
            near.flush().await.unwrap();
            let mut answer = [0; 5];
            near.read_exact(&mut answer).await.unwrap();
            answer
        };
        let read = async {
            let mut got = vec![0; expected.len()];
            far.read_exact(&mut got).await.unwrap();
            far.write_all(b"thank").await.unwrap();
            far.flush().await.unwrap();
            got
        };
        let (answer, got) = tokio::join!(write, read);

        assert_eq!(got, expected);
        assert_eq!(&answer, b"thank");
    }

    #[tokio::test]
    async fn the_far_end_going_away_is_an_end_of_file() {
        let (near, mut far) = pair().await;
        drop(near);

        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_frame_beyond_the_bound_is_refused() {
        let (mut near, far) = tokio::io::duplex(1024);
        let mut far = Carrier::upgraded(far).await;
        near.write_all(&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]).await.unwrap();

        assert!(far.read(&mut [0; 8]).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_client_pings() {
        let (mut near, far) = pair().await;
        let mut raw = far.socket.into_inner();
        let waiting = async { near.read(&mut [0; 1]).await };
        tokio::select! {
            _ = waiting => unreachable!(),
            first = raw.read_u8() => assert_eq!(first.unwrap(), 0x89),
        }
    }
}
