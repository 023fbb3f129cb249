//! The ways out for people who are signed in with a browser: to the authority with their own certificates, and to
//! nodes through the tunnels of this proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::proxy::{AuthDial, People, Presence, TOO_MANY_PEOPLE};
use client::connect::Route;
use client::watch::Feed;
use client::{BoxFuture, BoxStream, Connect, ConnectError, Keyring};
use model::time::Span;
use model::{NodeId, UserName};
use runtime::Direct;
use runtime::Random;
use runtime::direct::Wrapped;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tunnel::Registry;
use web::{IdleLimits, NoWay, Ways};
use wire::dial::{Class, DialHeader, Target, TraceId};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The ways out of this proxy.
pub(crate) struct Browsers {
    /// Where the authority is.
    pub(crate) authority: Arc<dyn AuthDial>,
    /// The tunnels.
    pub(crate) registry: Registry,
    /// Who is connected to nodes.
    pub(crate) people: People,
    /// Names each connection.
    pub(crate) random: Random,
    /// What the cluster wants.
    pub(crate) feed: watch::Receiver<Feed>,
}

impl Ways for Browsers {
    fn authority(&self, keyring: Keyring, client: IpAddr) -> Arc<dyn Connect> {
        Arc::new(Own { authority: self.authority.clone(), keyring, client })
    }

    fn node(
        &self,
        id: NodeId,
        user: &UserName,
        client: SocketAddr,
    ) -> BoxFuture<'_, Result<BoxStream, NoWay>> {
        let presence = self.people.enter(user);
        let trace = TraceId(self.random.bytes());
        let header = DialHeader {
            client: Some(client),
            ..DialHeader::new(Target::Node(id), trace, Class::Interactive)
        };
        let dialed =
            presence.ok_or_else(|| NoWay(TOO_MANY_PEOPLE.to_owned())).and_then(|presence| {
                match self.registry.dial(&header) {
                    Ok(stream) => Ok(Box::new(Counted { stream, _presence: presence }) as BoxStream),
                    Err(error) => Err(NoWay(error.to_string())),
                }
            });
        Box::pin(std::future::ready(dialed))
    }

    fn carrier(&self, id: &NodeId) -> Option<String> {
        self.registry.list().into_iter().find(|tunnel| tunnel.id == *id).map(|tunnel| tunnel.carrier)
    }

    fn idle(&self) -> IdleLimits {
        let snapshot = self.feed.borrow().snapshot.clone();
        let config = snapshot.map(|snapshot| snapshot.config.clone()).unwrap_or_default();
        let length = |span: Option<Span>| span.map(|span| span.0).filter(|length| !length.is_zero());
        IdleLimits { lock: length(config.web_lock_timeout), end: length(config.web_idle_timeout) }
    }
}

/// A person's stream to a node: they are connected while it is there.
struct Counted {
    stream: tunnel::Stream,
    _presence: Presence,
}

impl Direct for Counted {}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A person's own connection to the authority.
struct Own {
    authority: Arc<dyn AuthDial>,
    keyring: Keyring,
    client: IpAddr,
}

impl Own {
    async fn dial(&self, route: Route) -> Result<BoxStream, ConnectError> {
        let to = "the authority";
        let why = |why: String| ConnectError::Unreachable { to: to.to_owned(), why };
        let config = self.keyring.current().config(route.alpn()).map_err(|e| why(e.to_string()))?;
        let name =
            rustls_pki_types::ServerName::try_from(route.server_name()).map_err(|e| why(e.to_string()))?;
        let raw =
            self.authority.connect(SocketAddr::new(self.client, 0)).await.map_err(|e| why(e.to_string()))?;
        match tokio::time::timeout(HANDSHAKE, TlsConnector::from(config).connect(name, raw)).await {
            Ok(Ok(stream)) => Ok(Box::new(Wrapped(stream))),
            Ok(Err(error)) => Err(ConnectError::from_handshake(to, &error)),
            Err(_) => Err(why("no handshake within 10s".to_owned())),
        }
    }
}

impl Connect for Own {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<BoxStream, ConnectError>> {
        Box::pin(self.dial(route))
    }
}
