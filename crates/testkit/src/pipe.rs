//! An in-memory network of one server: each dial makes a pipe, hands one end to the server and does TLS on the other.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use client::connect::{BoxFuture, BoxStream, Connect, ConnectError, Route};
use client::tls::Keyring;
use runtime::direct::Wrapped;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio_rustls::TlsConnector;

type Serve = dyn Fn(DuplexStream, SocketAddr) + Send + Sync;

/// Dials one server. Clones share the cut and the silence.
#[derive(Clone)]
pub struct Pipe {
    keyring: Keyring,
    from: SocketAddr,
    serve: Arc<Serve>,
    cut: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
}

impl Pipe {
    /// Dials from `from`, trusting and showing what `keyring` has; `serve` gets the far end of each pipe.
    pub fn new(
        keyring: Keyring,
        from: SocketAddr,
        serve: impl Fn(DuplexStream, SocketAddr) + Send + Sync + 'static,
    ) -> Self {
        Self { keyring, from, serve: Arc::new(serve), cut: Arc::default(), silent: Arc::default() }
    }

    /// While cut, dials fail. Connections that stand are not touched.
    pub fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    /// From now on bytes vanish both ways and nobody is told, also on connections that stand.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }
}

/// The dialer's end.
struct End {
    inner: DuplexStream,
    silent: Arc<AtomicBool>,
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.silent.load(Ordering::SeqCst) {
            Poll::Pending
        } else {
            Pin::new(&mut self.inner).poll_read(cx, out)
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.silent.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
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
            let near = End { inner: near, silent: self.silent.clone() };
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
