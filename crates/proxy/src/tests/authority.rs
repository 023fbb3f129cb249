//! The authority at several addresses, not all of which answer.

use std::sync::Arc;

use client::dial::HostPort;
use model::SystemRole;
use runtime::Scope;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use wire::Reader;
use wire::proxy_header::ProxyHeader;
use wire::route::RELAY_ALPN;

use super::world::Cluster;
use crate::gate::AUTH_DIAL;
use crate::{AuthAddresses, AuthDial as _};

/// The authority's end of a proxy's connection.
fn authority(cluster: &Cluster) -> TlsAcceptor {
    let keyring = cluster.keyring(&cluster.host_identity(1, "auth", SystemRole::Auth)).current();
    let shown = keyring.certified().unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(shown.chain().to_vec(), shown.key())
        .unwrap();
    config.alpn_protocols = vec![RELAY_ALPN.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn an_authority_is_reached_past_an_address_that_swallows_and_one_that_refuses() {
    let cluster = Cluster::new(1);
    let scope = Scope::root("authority");
    let bind = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
    let (swallows, refuses, answers) = (bind().await, bind().await, bind().await);
    let addresses = [&swallows, &refuses, &answers].map(|at| at.local_addr().unwrap());
    let addresses = addresses.map(|at| HostPort { host: at.ip().to_string(), port: at.port() });
    drop(refuses);
    let acceptor = authority(&cluster);
    let heard = scope.spawn("authority", async move {
        let (socket, _) = answers.accept().await.unwrap();
        let mut stream = acceptor.accept(socket).await.unwrap();
        let mut heard = vec![0; 33];
        stream.read_exact(&mut heard).await.unwrap();
        heard
    });
    let keyring = cluster.keyring(&cluster.host_identity(2, "gate", SystemRole::Proxy));
    let auth = AuthAddresses { addresses: addresses.to_vec(), keyring };
    let peer = "203.0.113.9:1111".parse().unwrap();

    let mut stream = timeout(AUTH_DIAL, auth.connect(peer)).await.unwrap().unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();

    let heard = heard.await.unwrap().unwrap();
    let mut reader = Reader::new(&heard);
    let header = ProxyHeader::decode(&mut reader).unwrap().unwrap();
    assert_eq!((header.source(), &heard[heard.len() - reader.remaining()..]), (Some(peer), &b"hello"[..]));
}
