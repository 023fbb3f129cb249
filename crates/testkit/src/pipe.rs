//! An in-memory network of one server: each dial makes a pipe, hands one end to the server and does TLS on the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use client::connect::{BoxFuture, BoxStream, Connect, ConnectError, Route};
use client::tls::Keyring;
use runtime::direct::Wrapped;
use rustls_pki_types::ServerName;
use tokio::io::DuplexStream;
use tokio_rustls::TlsConnector;

type Serve = dyn Fn(DuplexStream, SocketAddr) + Send + Sync;

/// Dials one server. Clones share the cut.
#[derive(Clone)]
pub struct Pipe {
    keyring: Keyring,
    from: SocketAddr,
    serve: Arc<Serve>,
    cut: Arc<AtomicBool>,
}

impl Pipe {
    /// Dials from `from`, trusting and showing what `keyring` has; `serve` gets the far end of each pipe.
    pub fn new(
        keyring: Keyring,
        from: SocketAddr,
        serve: impl Fn(DuplexStream, SocketAddr) + Send + Sync + 'static,
    ) -> Self {
        Self { keyring, from, serve: Arc::new(serve), cut: Arc::default() }
    }

    /// While cut, dials fail. Connections that stand are not touched.
    pub fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }
}

impl Connect for Pipe {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<BoxStream, ConnectError>> {
        Box::pin(async move {
            let to = route.server_name();
            if self.cut.load(Ordering::SeqCst) {
                return Err(ConnectError::Unreachable { to: to.to_owned(), why: "the pipe is cut".into() });
            }
            let (near, far) = tokio::io::duplex(256 * 1024);
            (self.serve)(far, self.from);
            let failed =
                |e: &dyn std::fmt::Display| ConnectError::Refused { by: to.to_owned(), why: e.to_string() };
            let config = self.keyring.current().config(route.alpn()).map_err(|e| failed(&e))?;
            let name = ServerName::try_from(to).map_err(|e| failed(&e))?;
            let stream = TlsConnector::from(config).connect(name, near).await;
            let stream = stream.map_err(|e| ConnectError::from_handshake(to, &e))?;
            Ok(Box::new(Wrapped::new(stream)) as BoxStream)
        })
    }
}
