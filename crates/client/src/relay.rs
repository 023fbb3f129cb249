//! How a proxy passes a stranger's connection on to the authority, and says whose it is.
//!
//! The proxy's own mutual TLS (ALPN [`RELAY_ALPN`]) goes around the stranger's, which stays sealed: first a PROXY
//! header (version 2) with their address, then their bytes as they come. The authority believes the header because a
//! proxy's certificate signed the handshake around it. Deadline: 10 s, also where several addresses are tried.

use std::net::SocketAddr;
use std::time::Duration;

use runtime::direct::Wrapped;
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use wire::proxy_header::ProxyHeader;
use wire::route::{AUTH_SERVER_NAME, RELAY_ALPN};

use crate::connect::{BoxStream, ConnectError};
use crate::hop;
use crate::proxy_env::HostPort;
use crate::socket::Use;
use crate::tls::Keyring;
use crate::web_trust::secure;

/// How long all addresses together may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// An address that has not answered for this long is not waited for alone: the next is tried beside it.
const STAGGER: Duration = Duration::from_secs(1);

/// A fresh connection to the authority for the bytes of `client`, at the first of `addresses` that takes one.
///
/// # Errors
/// None does; what the last one failed with.
pub async fn dial(
    addresses: &[HostPort],
    keyring: &Keyring,
    client: SocketAddr,
) -> Result<BoxStream, ConnectError> {
    let everywhere = || addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let unreachable = |why: String| ConnectError::Unreachable { to: everywhere(), why };
    let attempts = addresses.iter().map(|to| async move {
        let raw = hop::tcp(to, Use::Single).await?;
        wrap(Box::new(raw), to, keyring, client).await
    });
    timeout(DEADLINE, hop::race(attempts, STAGGER))
        .await
        .map_err(|_| unreachable(format!("no answer within {DEADLINE:?}")))?
        .map_err(|last| last.unwrap_or_else(|| unreachable("no address is configured".to_owned())))
}

/// Wraps `raw`, a fresh connection to the authority at `to`, for the bytes of `client`.
///
/// # Errors
/// The far end is not the authority, does not take proxies, or hangs up.
pub async fn wrap(
    raw: BoxStream,
    to: &HostPort,
    keyring: &Keyring,
    client: SocketAddr,
) -> Result<BoxStream, ConnectError> {
    let broken = |why: String| ConnectError::Unreachable { to: to.to_string(), why };
    let config = keyring.current().config(RELAY_ALPN).map_err(|e| broken(e.to_string()))?;
    let name = ServerName::try_from(AUTH_SERVER_NAME).map_err(|e| broken(e.to_string()))?;
    let mut stream = secure(raw, config, name, to).await?;
    if stream.get_ref().1.alpn_protocol() != Some(RELAY_ALPN) {
        let why = "it takes no connections from proxies for others".to_owned();
        return Err(ConnectError::Refused { by: to.to_string(), why });
    }
    let mut header = Vec::new();
    ProxyHeader::Proxied { source: client, destination: client }.encode_v2(&mut header);
    // Goes out with the first bytes that follow.
    stream.write_all(&header).await.map_err(|e| broken(e.to_string()))?;
    Ok(Box::new(Wrapped::new(stream)))
}
