//! The ways out for people who are signed in with a browser: to the authority with their own certificates, and to
//! nodes through the tunnels of this proxy.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::proxy::AuthDial;
use client::connect::Route;
use client::{BoxFuture, BoxStream, Connect, ConnectError, Keyring};
use model::NodeId;
use runtime::Random;
use tokio_rustls::TlsConnector;
use tunnel::Registry;
use web::{NoWay, Ways};
use wire::dial::{Class, DialHeader, Target, TraceId};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The ways out of this proxy.
pub(crate) struct Browsers {
    /// Where the authority is.
    pub(crate) authority: Arc<dyn AuthDial>,
    /// The tunnels.
    pub(crate) registry: Registry,
    /// Names each connection.
    pub(crate) random: Random,
}

impl Ways for Browsers {
    fn authority(&self, keyring: Keyring, client: IpAddr) -> Arc<dyn Connect> {
        Arc::new(Own { authority: self.authority.clone(), keyring, client })
    }

    fn node(&self, id: NodeId, client: SocketAddr) -> BoxFuture<'_, Result<BoxStream, NoWay>> {
        let trace = TraceId(self.random.bytes());
        let header = DialHeader {
            client: Some(client),
            ..DialHeader::new(Target::Node(id), trace, Class::Interactive)
        };
        let dialed = self.registry.dial(&header);
        Box::pin(async move {
            match dialed {
                Ok(stream) => Ok(Box::new(stream) as BoxStream),
                Err(error) => Err(NoWay(error.to_string())),
            }
        })
    }

    fn carrier(&self, id: &NodeId) -> Option<String> {
        self.registry.list().into_iter().find(|tunnel| tunnel.id == *id).map(|tunnel| tunnel.carrier)
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
            Ok(Ok(stream)) => Ok(Box::new(stream)),
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
