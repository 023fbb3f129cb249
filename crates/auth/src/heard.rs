//! A stream whose first bytes have been read and are read again: enough to tell HTTP/2 from HTTP/1.
//!
//! Reads at most the 24 bytes of HTTP/2's preface, and stops where they differ from it. The caller sets the deadline;
//! without this step a peer that stays silent would wait in the version detection for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// How an HTTP/2 connection begins (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// See the module.
pub(crate) struct Heard<S> {
    first: Vec<u8>,
    stream: S,
}

impl<S: AsyncRead + Unpin> Heard<S> {
    /// Reads until the version can be told.
    pub(crate) async fn begin(mut stream: S) -> io::Result<Self> {
        let mut first = Vec::with_capacity(PREFACE.len());
        while first.is_empty() || (first.len() < PREFACE.len() && PREFACE.starts_with(&first)) {
            let mut buffer = [0; PREFACE.len()];
            let room = buffer.get_mut(first.len()..).unwrap_or_default();
            let count = stream.read(room).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            first.extend_from_slice(room.get(..count).unwrap_or_default());
        }
        Ok(Self { first, stream })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = self.first.len().min(buffer.remaining());
        let rest = self.first.split_off(count);
        buffer.put_slice(&self.first);
        self.first = rest;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_heard_is_read_again() {
        for text in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", b"PRO"] {
            let (mut near, far) = tokio::io::duplex(64);
            near.write_all(text).await.unwrap();
            drop(near);

            let mut heard = Heard::begin(far).await.unwrap();
            let mut again = Vec::new();
            heard.read_to_end(&mut again).await.unwrap();

            assert_eq!(again, text);
        }
    }

    #[tokio::test]
    async fn half_a_preface_is_not_enough() {
        let (mut near, far) = tokio::io::duplex(64);
        near.write_all(b"PRI * HT").await.unwrap();
        drop(near);

        assert!(Heard::begin(far).await.is_err());
    }
}
