//! What stands between people and the port: balancers that end TLS, HTTP proxies, and wrongly set up ones of each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::dial::HostPort;
use runtime::Scope;
use runtime::direct::Wrapped;
use rustls::ServerConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::relay::relay;

/// How a front treats the upgrade.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temper {
    Passes,
    DropsUpgradeHeaders,
    AnswersItself,
}

fn here(at: SocketAddr) -> HostPort {
    HostPort { host: at.ip().to_string(), port: at.port() }
}

/// A front that ends TLS with a certificate nobody knows, knows no ALPN but the web's, and speaks plain HTTP behind.
pub(crate) async fn front(scope: &Scope, behind: SocketAddr, temper: Temper) -> HostPort {
    let made = rcgen::generate_simple_self_signed(["front.example".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let owner = scope.clone();
    scope.spawn("front", async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            owner.spawn("front connection", async move {
                let Ok(mut tls) = acceptor.accept(socket).await else { return };
                if temper == Temper::AnswersItself {
                    let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                    let _ = tls.shutdown().await;
                    return;
                }
                let mut back = TcpStream::connect(behind).await.unwrap();
                if temper == Temper::DropsUpgradeHeaders {
                    let head =
                        b"GET /webapi/connectionupgrade HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                    let mut request = [0; 4096];
                    let _ = tls.read(&mut request).await;
                    back.write_all(head).await.unwrap();
                }
                let _ = relay(Wrapped::new(tls), back, None).await;
            });
        }
    });
    here(at)
}

/// An HTTP proxy that CONNECTs everyone to `behind`, whatever they ask for.
pub(crate) async fn connect_proxy(scope: &Scope, behind: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let owner = scope.clone();
    scope.spawn("http proxy", async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            owner.spawn("http proxy connection", async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                assert!(head.starts_with(b"CONNECT gate.example:3080 HTTP/1.1\r\n"));
                let back = TcpStream::connect(behind).await.unwrap();
                socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = relay(socket, back, None).await;
            });
        }
    });
    at
}

/// Something on the way that breaks connections which ask for a route of ours, as many as `breaks` says by then.
pub(crate) async fn breaking(scope: &Scope, behind: SocketAddr, breaks: Arc<AtomicUsize>) -> HostPort {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let owner = scope.clone();
    scope.spawn("breaking", async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let breaks = breaks.clone();
            owner.spawn("breaking connection", async move {
                let mut hello = vec![0; 16 * 1024];
                let count = socket.read(&mut hello).await.unwrap_or(0);
                let ours = hello[..count].windows(9).any(|part| part == b"moongate-");
                let less = |left: usize| left.checked_sub(1);
                if ours && breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                    return;
                }
                let mut back = TcpStream::connect(behind).await.unwrap();
                back.write_all(&hello[..count]).await.unwrap();
                let _ = relay(socket, back, None).await;
            });
        }
    });
    here(at)
}
