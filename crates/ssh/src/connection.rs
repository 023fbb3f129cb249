//! A connection after its handshake, the same from both ends: open channels, ask things, hear what the peer wants.
//!
//! [`Connection`] is the handle to ask with, [`Incoming`] the one place where the peer's wishes come out. Nothing the
//! peer wants happens unless the application says so: dropping an [`Opening`] or a [`Listen`] refuses it.

use std::future::poll_fn;
use std::sync::Arc;

use wire::ssh::connection::{ChannelKind, OpenFailed, TcpPath};
use wire::ssh::request::{GlobalKind, GlobalRequest};
use wire::ssh::transport::Disconnect;

use crate::Error;
use crate::channel::Channel;
use crate::hub::{GlobalAnswer, GlobalReply, Shared, Wanted};

/// A handle to the connection. Clones are the same connection; when the last handle, [`Incoming`] and channel are
/// dropped the connection ends in order.
pub struct Connection(Arc<Shared>);

impl Connection {
    pub(crate) fn new(hub: &Arc<Shared>) -> Self {
        hub.with(crate::hub::Hub::retain);
        Self(hub.clone())
    }

    /// Opens a channel of any kind and waits for the peer's answer.
    ///
    /// # Errors
    /// The peer refused ([`Error::OpenRefused`]), or the connection died.
    pub async fn open(&self, kind: ChannelKind) -> Result<Channel, Error> {
        let (id, answer) = self.0.with(|hub| hub.open(kind))?;
        let channel = Channel::new(&self.0, id);
        match answer.await {
            Ok(answer) => answer.map(|()| channel),
            Err(_) => Err(Error::Closed),
        }
    }

    /// Opens a session (clients).
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_session(&self) -> Result<Channel, Error> {
        self.open(ChannelKind::Session).await
    }

    /// Asks the server to connect to `host:port` (clients). `origin` is where our side of it came from.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_direct_tcp(
        &self,
        host: &str,
        port: u16,
        origin: (&str, u16),
    ) -> Result<Channel, Error> {
        self.open(ChannelKind::DirectTcp(path(host, port, origin))).await
    }

    /// Hands the client a connection that came in at a port it asked for (servers). `host` and `port` are those of the
    /// client's request.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open_forwarded_tcp(
        &self,
        host: &str,
        port: u16,
        origin: (&str, u16),
    ) -> Result<Channel, Error> {
        self.open(ChannelKind::ForwardedTcp(path(host, port, origin))).await
    }

    async fn ask(&self, kind: GlobalKind) -> Result<GlobalReply, Error> {
        let request = GlobalRequest { wants_reply: true, kind };
        let told = self.0.with(|hub| hub.request_global(&request))?;
        told.await.map_err(|_| Error::Closed)
    }

    /// Asks the server to listen on `host:port` and forward what comes in. Returns the port, which the server chose
    /// when `port` is zero.
    ///
    /// # Errors
    /// Refused, or closed.
    pub async fn listen(&self, host: &str, port: u16) -> Result<u16, Error> {
        let kind = GlobalKind::Listen { host: host.to_owned(), port: u32::from(port) };
        match self.ask(kind).await? {
            Some(chosen) if port == 0 => {
                chosen.and_then(|port| port.try_into().ok()).ok_or(Error::Protocol("no port in the answer"))
            }
            Some(_) => Ok(port),
            None => Err(Error::RequestRefused("to listen")),
        }
    }

    /// Asks the server to stop listening on `host:port`.
    ///
    /// # Errors
    /// Refused, or closed.
    pub async fn unlisten(&self, host: &str, port: u16) -> Result<(), Error> {
        let kind = GlobalKind::Unlisten { host: host.to_owned(), port: u32::from(port) };
        self.ask(kind).await?.map(drop).ok_or(Error::RequestRefused("to stop listening"))
    }

    /// Asks the server to listen on a Unix socket and forward what comes in.
    ///
    /// # Errors
    /// Refused, or closed.
    pub async fn listen_unix(&self, path: &str) -> Result<(), Error> {
        let kind = GlobalKind::ListenUnix { path: path.to_owned() };
        self.ask(kind).await?.map(drop).ok_or(Error::RequestRefused("to listen"))
    }

    /// Asks the peer whether it is there. Any answer is a yes. The caller sets the deadline; the driver does this by
    /// itself when its keepalive interval is set.
    ///
    /// # Errors
    /// Closed.
    pub async fn ping(&self) -> Result<(), Error> {
        self.ask(GlobalKind::Keepalive).await.map(drop)
    }

    /// Ends the connection: what is already on its way out is sent, then a goodbye.
    pub fn disconnect(&self, text: &str) {
        self.0.with(|hub| hub.leave(Disconnect::BY_APPLICATION, text));
    }

    /// How many bytes of data the connection holds for its channels, both ways: bounded by the windows.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.with(|hub| hub.held())
    }
}

fn path(host: &str, port: u16, (origin, origin_port): (&str, u16)) -> TcpPath {
    TcpPath {
        host: host.to_owned(),
        port: u32::from(port),
        origin: origin.to_owned(),
        origin_port: u32::from(origin_port),
    }
}

impl Clone for Connection {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.with(crate::hub::Hub::release);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// Where the peer's wishes come out. Dropping it refuses them all from then on.
pub struct Incoming(Arc<Shared>);

/// Something the peer wants of the connection.
#[derive(Debug)]
pub enum Event {
    /// A channel.
    Open(Opening),
    /// That this side listens somewhere, or stops.
    Listen(Listen),
}

impl Incoming {
    pub(crate) fn new(hub: &Arc<Shared>) -> Self {
        hub.with(crate::hub::Hub::retain);
        Self(hub.clone())
    }

    /// The next wish; `None` when the connection is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        let wanted = poll_fn(|cx| self.0.with(|hub| hub.poll_wanted(cx))).await?;
        Some(match wanted {
            Wanted::Open { id, kind } => Event::Open(Opening {
                kind,
                channel: Channel::new(&self.0, id),
                hub: self.0.clone(),
                open: true,
            }),
            Wanted::Global { id, kind } => {
                Event::Listen(Listen { kind, id, hub: self.0.clone(), open: true })
            }
        })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.0.with(|hub| {
            hub.stop_listening();
            hub.release();
        });
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Incoming")
    }
}

/// A channel the peer wants. Dropping it refuses.
pub struct Opening {
    /// What for.
    pub kind: ChannelKind,
    channel: Channel,
    hub: Arc<Shared>,
    open: bool,
}

impl Opening {
    /// Opens it.
    ///
    /// # Errors
    /// The connection died.
    pub fn accept(mut self) -> Result<Channel, Error> {
        self.open = false;
        self.hub.with(|hub| hub.accept(self.channel.id()))?;
        Ok(self.channel.clone())
    }

    /// Refuses it as not allowed.
    pub fn prohibit(self, text: &str) {
        self.refuse(OpenFailed::PROHIBITED, text);
    }

    /// Refuses it because its target could not be reached.
    pub fn unreachable(self, text: &str) {
        self.refuse(OpenFailed::CONNECT_FAILED, text);
    }

    /// Refuses it with a number of RFC 4254 section 5.1 and words for the person.
    pub fn refuse(mut self, reason: u32, text: &str) {
        self.open = false;
        self.hub.with(|hub| hub.refuse(self.channel.id(), reason, text));
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if self.open {
            self.hub.with(|hub| hub.refuse(self.channel.id(), OpenFailed::PROHIBITED, "not allowed"));
        }
    }
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opening({:?})", self.kind)
    }
}

/// A wish to listen, or to stop. Dropping it refuses.
pub struct Listen {
    /// [`GlobalKind::Listen`], [`GlobalKind::Unlisten`], [`GlobalKind::ListenUnix`] or [`GlobalKind::UnlistenUnix`].
    pub kind: GlobalKind,
    id: u64,
    hub: Arc<Shared>,
    open: bool,
}

impl Listen {
    /// Says yes. `port` is the port listened on, told only when the peer left the choice to us.
    pub fn accept(mut self, port: u16) {
        let answer = match self.kind {
            GlobalKind::Listen { port: 0, .. } => GlobalAnswer::Port(u32::from(port)),
            _ => GlobalAnswer::Yes,
        };
        self.answer(answer);
    }

    /// Says no.
    pub fn refuse(mut self) {
        self.answer(GlobalAnswer::No);
    }

    fn answer(&mut self, answer: GlobalAnswer) {
        if std::mem::take(&mut self.open) {
            self.hub.with(|hub| hub.answer_global(self.id, answer));
        }
    }
}

impl Drop for Listen {
    fn drop(&mut self) {
        self.answer(GlobalAnswer::No);
    }
}

impl std::fmt::Debug for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listen({:?})", self.kind)
    }
}
