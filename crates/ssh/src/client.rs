//! The client's side of the handshake: is it the right host, then sign in.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use wire::ssh::userauth::{Banner, Failure, Method, Request, signed_data};
use wire::ssh::{Reader, number, put_string};

use crate::connection::{Connection, Incoming};
pub use crate::driver::{Driver, Keepalive, Rekey};
use crate::hub::{Role, Shared};
use crate::keys::Signer;
use crate::link::Link;
use crate::transport::{MAX_PACKET, Transport};
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
    let transport = Transport::new(Role::Client, config.algorithms.clone(), Vec::new(), &config.software);
    let mut link = Link::new(stream, transport);
    let greeted = timeout(config.handshake, async {
        let outcome = greet(&mut link, host, login, credentials).await;
        if let Err(error) = &outcome {
            link.goodbye(error).await;
        }
        outcome
    });
    let (key, banner) = greeted.await.map_err(|_| Error::Deadline)??;
    link.transport.max_packet = MAX_PACKET;
    let hub = Shared::new(Role::Client, config.limits.clone());
    let (connection, incoming) = (Connection::new(&hub), Incoming::new(&hub));
    let driver = Driver::new(link, hub, config.rekey, config.keepalive);
    Ok(Connected { host: key, banner, connection, incoming, driver })
}

const CONNECTION: &[u8] = b"ssh-connection";

async fn greet<S: AsyncRead + AsyncWrite + Unpin + Send>(
    link: &mut Link<S>,
    host: &dyn Host,
    login: &str,
    credentials: &[Credential],
) -> Result<(PublicKey, Option<String>), Error> {
    link.ready().await?;
    let key = link.transport.host_key().cloned().ok_or(Error::KeyExchange("the host has no key"))?;
    host.verify(&key).map_err(Error::HostKey)?;
    link.transport.send(|out| {
        out.push(number::SERVICE_REQUEST);
        put_string(out, b"ssh-userauth");
    })?;
    let mut banner = None;
    for credential in credentials {
        // A single credential is signed with at once; of several, the server is asked first which would do.
        if credentials.len() > 1 {
            attempt(link, login, credential, false).await?;
            if !answer(link, &mut banner).await? {
                continue;
            }
        }
        attempt(link, login, credential, true).await?;
        if answer(link, &mut banner).await? {
            return Ok((key, banner));
        }
    }
    if credentials.is_empty() {
        let request = Request { user: login, service: CONNECTION, method: Method::None };
        link.transport.send(|out| request.encode(out))?;
        if answer(link, &mut banner).await? {
            return Ok((key, banner));
        }
    }
    Err(Error::Denied)
}

/// Offers a key, with its signature or without.
async fn attempt<S>(
    link: &mut Link<S>,
    login: &str,
    credential: &Credential,
    sign: bool,
) -> Result<(), Error> {
    let blob = credential.key.as_bytes();
    let algorithm = algorithm(&credential.key, link.transport.signatures.as_deref());
    let signature = if sign {
        let data = signed_data(link.transport.session(), login, CONNECTION, algorithm, blob);
        Some(credential.signer.sign(&credential.key, algorithm, &data).await?)
    } else {
        None
    };
    let method = Method::PublicKey { algorithm, key: blob, signature: signature.as_deref() };
    link.transport.send(|out| Request { user: login, service: CONNECTION, method }.encode(out))
}

/// RSA keys sign with SHA-2, by what the server says it takes; every other kind has one algorithm.
fn algorithm<'k>(key: &'k PublicKey, taken: Option<&str>) -> &'k str {
    let small = taken.is_some_and(|names| !names.split(',').any(|name| name == "rsa-sha2-512"));
    match key.kind() {
        "ssh-rsa" if small => "rsa-sha2-256",
        "ssh-rsa" => "rsa-sha2-512",
        "ssh-rsa-cert-v01@openssh.com" if small => "rsa-sha2-256-cert-v01@openssh.com",
        "ssh-rsa-cert-v01@openssh.com" => "rsa-sha2-512-cert-v01@openssh.com",
        other => other,
    }
}

/// The server's answer: whether it likes what was offered.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    link: &mut Link<S>,
    banner: &mut Option<String>,
) -> Result<bool, Error> {
    loop {
        let message = link.next().await?;
        let mut from = Reader::new(&message);
        match message.first().copied().unwrap_or_default() {
            number::SERVICE_ACCEPT => {}
            number::USERAUTH_SUCCESS | number::USERAUTH_PK_OK => return Ok(true),
            number::USERAUTH_FAILURE => {
                Failure::decode(&mut from)?;
                return Ok(false);
            }
            number::USERAUTH_BANNER => {
                let text = String::from_utf8_lossy(Banner::decode(&mut from)?.text).into_owned();
                let kept = banner.get_or_insert_default();
                if kept.len() + text.len() <= MAX_BANNER {
                    kept.extend(text.chars().filter(|c| *c == '\n' || !c.is_control()));
                }
            }
            _ => return Err(Error::Protocol("a message before its time")),
        }
    }
}

/// The longest banner kept.
const MAX_BANNER: usize = 64 * 1024;
