//! The one port: whatever speaks to it is told apart, authenticated where that is ours to do, and passed on sealed.
//!
//! ```text
//! port ─ PROXY header ─ sniff ┬ TLS ─ ALPN ┬ moongate-auth    raw bytes on to the authority
//!                             │            ├ moongate-tunnel  an agent: registered
//!                             │            ├ moongate-ssh     a person: dial header, tunnel, relay
//!                             │            └ h2, http/1.1     the web handler, or the upgrade: the same again inside
//!                             ├ SSH, or silence               the jump host
//!                             └ HTTP                          redirected, or the upgrade
//! ```
//!
//! Never holds a plaintext session byte, a role or a recording. Authenticates, never authorizes. The accept loop waits
//! for nobody; half-open connections, handshakes and idle buffers are bounded.
#![forbid(unsafe_code)]

mod address;
mod error;
mod gate;
mod jump;
mod limits;
mod look;
mod plain;
pub mod port;
pub mod relay;
pub mod report;
mod rewind;
mod tls;
pub mod web_cert;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use client::Keyring;
use client::proxy_env::HostPort;

pub use address::{BadNetwork, Network, ProxyHeaders};
pub use client::{BoxStream, Stream};
pub use error::Error;
pub use gate::{Settings, WayBack};
pub use limits::{Limits, People, Presence, Rate, TOO_MANY_PEOPLE};
pub use port::Proxy;
pub use report::Report;
pub use tls::cipher_suites;
pub use web_cert::{KeyPairFiles, WebCerts};

/// A future that may be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection of the web route, TLS already off.
pub struct WebConn {
    /// Its bytes: HTTP.
    pub stream: BoxStream,
    /// Where the browser is.
    pub peer: SocketAddr,
    /// HTTP/2 was negotiated; else HTTP/1.1.
    pub http2: bool,
    /// For a connection that asks, later, for the upgrade path. Holds the connection's place: to be kept until it is over.
    pub back: WayBack,
}

/// Serves the web route.
pub trait WebHandler: Send + Sync + 'static {
    /// Serves one connection to its end. Keeps its own deadlines.
    fn serve(&self, conn: WebConn) -> BoxFuture<'static, ()>;
}

/// Reaches the authority: the bytes of the route `moongate-auth` go there unread.
pub trait AuthDial: Send + Sync + 'static {
    /// A fresh connection on which `peer`'s TLS can begin; the authority takes `peer` for who is at the other end.
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'_, io::Result<BoxStream>>;
}

/// The authority at fixed addresses, tried in order, the next one beside those that do not answer at once. It believes us
/// about who a connection comes from because our host certificate goes around it.
#[derive(Debug, Clone)]
pub struct AuthAddresses {
    /// Where.
    pub addresses: Vec<HostPort>,
    /// Our host certificate, as it is renewed.
    pub keyring: Keyring,
}

impl AuthDial for AuthAddresses {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async move {
            client::relay::dial(&self.addresses, &self.keyring, peer).await.map_err(io::Error::other)
        })
    }
}

#[cfg(test)]
mod tests;
