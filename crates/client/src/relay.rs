//! How a proxy passes a stranger's connection on to the authority, and says whose it is.
//!
//! The proxy's own mutual TLS (ALPN [`RELAY_ALPN`]) goes around the stranger's, which stays sealed: first a PROXY
//! header (version 2) with their address, then their bytes as they come. The authority believes the header because a
//! proxy's certificate signed the handshake around it. Deadline: 10 s for that handshake.

use std::net::SocketAddr;

use runtime::direct::Wrapped;
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use wire::proxy_header::ProxyHeader;
use wire::route::{AUTH_SERVER_NAME, RELAY_ALPN};

use crate::connect::{BoxStream, ConnectError};
use crate::proxy_env::HostPort;
use crate::tls::Keyring;
use crate::web_trust::secure;

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
