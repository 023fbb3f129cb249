//! The ways out for people who are signed in with a browser: to the authority with their own certificates, and to
//! nodes through the tunnels of this proxy.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::proxy::{AuthDial, People, TOO_MANY_PEOPLE};
use client::connect::Route;
use client::watch::Feed;
use client::{BoxFuture, BoxStream, Connect, ConnectError, Keyring};
use model::resource::ClusterConfig;
use model::time::Span;
use model::{NodeId, UserName};
use runtime::Random;
use runtime::direct::Wrapped;
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

impl Browsers {
    /// What the cluster wants, as far as it is known.
    fn cluster(&self) -> ClusterConfig {
        let snapshot = self.feed.borrow().snapshot.clone();
        snapshot.map(|snapshot| snapshot.config.clone()).unwrap_or_default()
    }
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
                    Ok(stream) => Ok(Box::new(Wrapped::keeping(stream, presence)) as BoxStream),
                    Err(error) => Err(NoWay(error.to_string())),
                }
            });
        Box::pin(std::future::ready(dialed))
    }

    fn carrier(&self, id: &NodeId) -> Option<String> {
        self.registry.list().into_iter().find(|tunnel| tunnel.id == *id).map(|tunnel| tunnel.carrier)
    }

    fn dial_timeout(&self) -> Duration {
        self.cluster().ssh_dial_timeout.0
    }

    fn idle(&self) -> IdleLimits {
        let config = self.cluster();
        let length = |span: Option<Span>| span.map(|span| span.0).filter(|length| !length.is_zero());
        IdleLimits { lock: length(config.web_lock_timeout), end: length(config.web_idle_timeout) }
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
            Ok(Ok(stream)) => Ok(Box::new(Wrapped::new(stream))),
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
