//! A transport and its stream, during the handshake: one message at a time.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use wire::ssh::transport::Disconnect;

use crate::Error;
use crate::transport::Transport;

/// The most a peer may send before it is let in.
const MAX_BYTES: usize = 512 * 1024;

pub(crate) struct Link<S> {
    pub(crate) stream: S,
    pub(crate) transport: Box<Transport>,
    read: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    pub(crate) fn new(stream: S, transport: Transport) -> Self {
        Self { stream, transport: Box::new(transport), read: 0 }
    }

    /// Sends what waits.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| {
            ready!(poll_write(&mut self.transport, &mut self.stream, cx))?;
            Pin::new(&mut self.stream).poll_flush(cx).map_err(Error::from)
        })
        .await
    }

    /// Reads once, and sends what waits meanwhile: two sides that both speak first must not wait for each other.
    async fn fill(&mut self) -> Result<(), Error> {
        let read = poll_fn(|cx| {
            if let Poll::Ready(wrote) = poll_write(&mut self.transport, &mut self.stream, cx) {
                wrote?;
                if let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx) {
                    flushed?;
                }
            }
            self.transport.input().poll_fill(&mut self.stream, cx).map_err(Error::from)
        })
        .await?;
        self.read += read;
        match read {
            0 => Err(Error::Closed),
            _ if self.read > MAX_BYTES => Err(Error::Protocol("too much before authentication")),
            _ => Ok(()),
        }
    }

    /// The next message that is not the transport's own.
    pub(crate) async fn next(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(at) = self.transport.next()? {
                return Ok(self.transport.payload(at).to_vec());
            }
            self.fill().await?;
        }
    }

    /// Waits until the first key exchange is done.
    pub(crate) async fn ready(&mut self) -> Result<(), Error> {
        loop {
            if self.transport.next()?.is_some() {
                return Err(Error::Protocol("a message before its time"));
            }
            if self.transport.ready() {
                return self.flush().await;
            }
            self.fill().await?;
        }
    }

    /// Tells the peer why this ends, if it still listens. Called under the handshake's deadline.
    pub(crate) async fn goodbye(&mut self, error: &Error) {
        if let Some((reason, text)) = farewell(error)
            && self.transport.goodbye(reason, &text).is_ok()
        {
            drop(self.flush().await);
            drop(poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await);
        }
    }
}

/// Writes as much as the stream takes. Ready when nothing waits.
pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
    transport: &mut Transport,
    stream: &mut S,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Error>> {
    while !transport.output().is_empty() {
        let written = ready!(Pin::new(&mut *stream).poll_write(cx, transport.output()))?;
        if written == 0 {
            return Poll::Ready(Err(Error::Closed));
        }
        transport.written(written);
    }
    Poll::Ready(Ok(()))
}

/// What a peer is told of an error, if anything.
pub(crate) fn farewell(error: &Error) -> Option<(u32, String)> {
    let reason = match error {
        Error::Io(_) | Error::Closed | Error::Disconnected { .. } | Error::Unresponsive => return None,
        Error::Integrity => Disconnect::MAC_ERROR,
        Error::NoCommon(_) | Error::KeyExchange(_) => Disconnect::KEX_FAILED,
        Error::HostKey(_) => Disconnect::HOST_KEY,
        Error::Denied => Disconnect::NO_MORE_AUTH,
        _ => Disconnect::PROTOCOL_ERROR,
    };
    let text = match error {
        Error::Denied => "too many authentication failures".to_owned(),
        // Our own reasons for not liking a host are not the host's to know.
        Error::HostKey(_) => "host key not accepted".to_owned(),
        other => other.to_string(),
    };
    Some((reason, text))
}
