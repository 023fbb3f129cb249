//! One channel, in the hands of the application.
//!
//! A channel is read and written through `&self`, by one reader and one writer at a time, so a pump can do both at
//! once: `tokio::join!(up(&channel), down(&channel))`, or [`Channel::clone`] into another task. Reading grants the
//! peer credit for what was read, and only that. Writing waits while [`Limits::send_buffer`](crate::Limits) bytes are
//! unsent. Dropping the last handle lets what was written leave and then closes the channel.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use wire::ssh::request::{Pty, RequestKind, Size};

use crate::Error;
use crate::hub::{Found, Out, Shared};

/// Standard error, as extended data.
pub const STDERR: u32 = 1;

/// A channel. Clones are the same channel.
#[derive(Clone)]
pub struct Channel(Arc<Held>);

struct Held {
    hub: Arc<Shared>,
    id: u32,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.hub.with(|hub| {
            hub.drop_channel(self.id);
            hub.release();
        });
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Channel({})", self.0.id)
    }
}

/// What came in on a channel.
#[derive(Debug)]
pub enum Received {
    /// Bytes: a session's standard input, a command's standard output, or a forwarded connection.
    Data(Bytes),
    /// Bytes of another kind: [`STDERR`].
    Extended(u32, Bytes),
    /// The peer asks for something. Requests overtake unread data.
    Request(Request),
    /// How the process ended: [`RequestKind::ExitStatus`] or [`RequestKind::ExitSignal`]. After all data read so far;
    /// more may still follow.
    Exit(RequestKind),
    /// No more data will come. Told once.
    Eof,
    /// The channel is closed. Always last, and told again whenever asked.
    Closed,
}

/// Something the peer asks of a channel. Dropping it refuses.
#[derive(Debug)]
pub struct Request {
    /// What is asked.
    pub kind: RequestKind,
    channel: Channel,
    id: u64,
    wants_reply: bool,
}

impl Request {
    /// Says yes.
    pub fn accept(mut self) {
        self.answer(true);
    }

    /// Says no.
    pub fn refuse(mut self) {
        self.answer(false);
    }

    /// Whether the peer waits for the answer.
    #[must_use]
    pub fn wants_reply(&self) -> bool {
        self.wants_reply
    }

    fn answer(&mut self, yes: bool) {
        if std::mem::take(&mut self.wants_reply) {
            let held = &self.channel.0;
            held.hub.with(|hub| hub.answer_request(held.id, self.id, yes));
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.answer(false);
    }
}

impl Channel {
    pub(crate) fn new(hub: &Arc<Shared>, id: u32) -> Self {
        hub.with(super::hub::Hub::retain);
        Self(Arc::new(Held { hub: hub.clone(), id }))
    }

    /// This side's number for it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id
    }

    // --- reading

    /// What comes next. Cancel-safe.
    ///
    /// # Errors
    /// The connection died.
    pub async fn recv(&self) -> Result<Received, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// [`Channel::recv`], polled.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Received, Error>> {
        let found = ready!(self.0.hub.with(|hub| hub.poll_recv(self.0.id, cx)))?;
        Poll::Ready(Ok(self.received(found)))
    }

    /// The next request, or [`Received::Closed`], passing over data that has come: for a reader that has nowhere to
    /// put data but must still hear the peer. Cancel-safe.
    ///
    /// # Errors
    /// The connection died.
    pub async fn urgent(&self) -> Result<Received, Error> {
        let found = poll_fn(|cx| self.0.hub.with(|hub| hub.poll_urgent(self.0.id, cx))).await?;
        Ok(self.received(found))
    }

    fn received(&self, found: Found) -> Received {
        match found {
            Found::Data(None, bytes) => Received::Data(bytes),
            Found::Data(Some(kind), bytes) => Received::Extended(kind, bytes),
            Found::Request { id, wants_reply, kind } => {
                Received::Request(Request { kind, channel: self.clone(), id, wants_reply })
            }
            Found::Exit(kind) => Received::Exit(kind),
            Found::Eof => Received::Eof,
            Found::Closed => Received::Closed,
        }
    }

    // --- writing

    /// Writes some of `bytes`, at least one, and says how many. Waits for room. Cancel-safe.
    ///
    /// # Errors
    /// The channel or the connection is closed.
    pub async fn write(&self, bytes: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.0.hub.with(|hub| hub.poll_write(self.0.id, None, bytes, cx))).await
    }

    /// Writes all of `bytes`. Not cancel-safe: some may have been written.
    ///
    /// # Errors
    /// The channel or the connection is closed.
    pub async fn write_all(&self, bytes: &[u8]) -> Result<(), Error> {
        self.write_kind(None, bytes).await
    }

    /// Writes all of `bytes` as standard error.
    ///
    /// # Errors
    /// The channel or the connection is closed.
    pub async fn write_stderr(&self, bytes: &[u8]) -> Result<(), Error> {
        self.write_kind(Some(STDERR), bytes).await
    }

    async fn write_kind(&self, kind: Option<u32>, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let written =
                poll_fn(|cx| self.0.hub.with(|hub| hub.poll_write(self.0.id, kind, bytes, cx))).await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until everything written was handed to the stream's buffer.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn flushed(&self) -> Result<(), Error> {
        poll_fn(|cx| self.0.hub.with(|hub| hub.poll_flushed(self.0.id, cx))).await
    }

    /// Says that no more data will follow, after what was written.
    pub fn eof(&self) {
        self.0.hub.with(|hub| hub.behind(self.0.id, Out::Eof));
    }

    /// Says how the process ended, after what was written.
    pub fn exit_status(&self, code: u32) {
        self.0.hub.with(|hub| hub.request_behind(self.0.id, RequestKind::ExitStatus(code)));
    }

    /// Says which signal (without `SIG`) ended the process, after what was written.
    pub fn exit_signal(&self, name: &str, core_dumped: bool, message: &str) {
        let kind =
            RequestKind::ExitSignal { name: name.to_owned(), core_dumped, message: message.to_owned() };
        self.0.hub.with(|hub| hub.request_behind(self.0.id, kind));
    }

    /// Closes the channel, after what was written. Further writes fail.
    pub fn close(&self) {
        self.0.hub.with(|hub| hub.behind(self.0.id, Out::Close));
    }

    // --- asking

    /// Asks the peer for something and waits for the answer.
    ///
    /// # Errors
    /// The channel or the connection is closed.
    pub async fn request(&self, kind: RequestKind) -> Result<bool, Error> {
        let (tell, told) = oneshot::channel();
        self.0.hub.with(|hub| hub.request(self.0.id, kind, Some(tell)))?;
        told.await.map_err(|_| Error::Closed)
    }

    /// Tells the peer something that needs no answer.
    ///
    /// # Errors
    /// The channel or the connection is closed, or the peer reads nothing.
    pub fn tell(&self, kind: RequestKind) -> Result<(), Error> {
        self.0.hub.with(|hub| hub.request(self.0.id, kind, None))
    }

    async fn must(&self, kind: RequestKind, what: &'static str) -> Result<(), Error> {
        if self.request(kind).await? { Ok(()) } else { Err(Error::RequestRefused(what)) }
    }

    /// Asks for a terminal.
    ///
    /// # Errors
    /// Refused, or closed.
    pub async fn request_pty(&self, pty: Pty) -> Result<(), Error> {
        self.must(RequestKind::Pty(pty), "a terminal").await
    }

    /// Asks for a login shell.
    ///
    /// # Errors
    /// Refused, or closed.
    pub async fn shell(&self) -> Result<(), Error> {
        self.must(RequestKind::Shell, "a shell").await
    }

    /// Asks to run a command.
    ///
    /// # Errors
    /// Refused, or closed.
    pub async fn exec(&self, command: impl Into<Vec<u8>>) -> Result<(), Error> {
        self.must(RequestKind::Exec { command: command.into() }, "the command").await
    }

    /// Asks for a subsystem such as `sftp`.
    ///
    /// # Errors
    /// Refused, or closed.
    pub async fn subsystem(&self, name: &str) -> Result<(), Error> {
        self.must(RequestKind::Subsystem { name: name.to_owned() }, "the subsystem").await
    }

    /// Sets an environment variable. Servers refuse most; no answer is asked for.
    ///
    /// # Errors
    /// Closed.
    pub fn env(&self, name: &str, value: impl Into<Vec<u8>>) -> Result<(), Error> {
        self.tell(RequestKind::Env { name: name.to_owned(), value: value.into() })
    }

    /// Tells the terminal's new size.
    ///
    /// # Errors
    /// Closed.
    pub fn window_change(&self, size: Size) -> Result<(), Error> {
        self.tell(RequestKind::WindowChange(size))
    }

    /// Sends a signal, named without `SIG`.
    ///
    /// # Errors
    /// Closed.
    pub fn signal(&self, name: &str) -> Result<(), Error> {
        self.tell(RequestKind::Signal { name: name.to_owned() })
    }

    /// Turns the channel into a stream of bytes, for forwards and subsystems. Requests are refused, extended data is
    /// dropped; shutting down sends an end of file.
    #[must_use]
    pub fn into_stream(self) -> Stream {
        Stream { channel: self, unread: Bytes::new(), ended: false }
    }
}

/// A channel as a stream of bytes.
#[derive(Debug)]
pub struct Stream {
    channel: Channel,
    unread: Bytes,
    ended: bool,
}

impl Stream {
    /// The channel under it.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while self.unread.is_empty() && !self.ended {
            match ready!(self.channel.poll_recv(cx))? {
                Received::Data(bytes) => self.unread = bytes,
                Received::Extended(..) | Received::Exit(_) => {}
                Received::Request(request) => request.refuse(),
                Received::Eof | Received::Closed => self.ended = true,
            }
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(self.unread.get(..length).unwrap_or_default());
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let held = &self.channel.0;
        let written = ready!(held.hub.with(|hub| hub.poll_write(held.id, None, bytes, cx)));
        Poll::Ready(written.map_err(Into::into))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        // The driver sends whatever is written without being asked.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.channel.eof();
        Poll::Ready(Ok(()))
    }
}
