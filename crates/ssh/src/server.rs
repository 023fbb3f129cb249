//! The server's side of the handshake: keys, then who the user is.
//!
//! Only the key that *signed* counts: [`Gate::admit`] is asked about a key after its signature was verified, and never
//! about a key that was merely offered. Bounds before a user is in: [`Config::handshake`] for the whole handshake,
//! [`Config::max_tries`] attempts, packets of 35,000 bytes, 512 KiB in all. Every refused signature is answered at the
//! same distance from its question, whatever made it wrong.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tracing::debug;
use wire::ssh::transport::Disconnect;
use wire::ssh::userauth::{Banner, Failure, KeyOk, Method, Request as UserRequest};
use wire::ssh::{NameList, Reader, number, put_string};

use crate::connection::{Connection, Incoming};
pub use crate::driver::{Driver, Keepalive, Rekey};
use crate::hub::{Role, Shared};
use crate::keys::USER_ALGORITHMS;
use crate::link::Link;
use crate::proof::CONNECTION;
pub use crate::proof::Proof;
use crate::transport::{MAX_PACKET, Transport};
use crate::verify::fits;
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
    /// The signature, for somebody else to check.
    pub proof: Proof,
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
    let transport =
        Transport::new(Role::Server, config.algorithms.clone(), config.host_keys.clone(), &config.software);
    let mut link = Link::new(stream, transport);
    let greeted = timeout(config.handshake, async {
        let outcome = Door { link: &mut link, config: &config, gate }.greet().await;
        if let Err(error) = &outcome {
            link.goodbye(error).await;
        }
        outcome
    });
    let (key, proof, who) = greeted.await.map_err(|_| Error::Deadline)??;
    link.transport.max_packet = MAX_PACKET;
    let client = link.transport.peer_version().to_owned();
    let hub = Shared::new(Role::Server, config.limits.clone());
    let (connection, incoming) = (Connection::new(&hub), Incoming::new(&hub));
    let driver = Driver::new(link, hub, config.rekey, config.keepalive);
    let login = proof.login.clone();
    Ok(Accepted { login, key, proof, who, client, connection, incoming, driver })
}

/// Questions and attempts together.
const MAX_REQUESTS: usize = 64;

/// A peer that is not in yet.
struct Door<'a, S, G> {
    link: &'a mut Link<S>,
    config: &'a Config,
    gate: &'a G,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send, G: Gate> Door<'_, S, G> {
    async fn greet(&mut self) -> Result<(PublicKey, Proof, G::Who), Error> {
        let request = self.link.next().await?;
        asks_to_sign_in(&request)?;
        if let Err(text) = self.gate.open() {
            self.link.transport.goodbye(Disconnect::NOT_ALLOWED, &text)?;
            self.link.flush().await?;
            return Err(Error::Closed);
        }
        self.accept_service()?;
        if let Some(banner) = &self.config.banner {
            self.link.transport.send(|out| Banner { text: banner.as_bytes() }.encode(out))?;
        }
        let mut tries = 0;
        for _ in 0..MAX_REQUESTS {
            let message = self.link.next().await?;
            let asked = Instant::now();
            // Some clients ask for the service before every attempt (paramiko does); it is answered until one is in.
            if message.first() == Some(&number::SERVICE_REQUEST) {
                asks_to_sign_in(&message)?;
                self.accept_service()?;
                continue;
            }
            let request = UserRequest::decode(&mut Reader::new(&message))?;
            if request.service != CONNECTION {
                return Err(Error::Protocol("another service than ssh-connection"));
            }
            match self.judge(&request).await? {
                Verdict::In(key, proof, who) => {
                    self.link.transport.send(|out| out.push(number::USERAUTH_SUCCESS))?;
                    self.link.flush().await?;
                    return Ok((key, proof, who));
                }
                Verdict::WorthSigning => continue,
                Verdict::No => {}
                Verdict::Refused => {
                    tries += 1;
                    // Not a wait for a condition: refusals take the same time whatever was wrong.
                    tokio::time::sleep_until(asked + self.config.refusal_delay).await;
                    if tries >= self.config.max_tries {
                        return Err(Error::Denied);
                    }
                }
            }
            let methods = NameList::new(b"publickey")?;
            self.link.transport.send(|out| Failure { methods, partial: false }.encode(out))?;
        }
        Err(Error::Denied)
    }

    fn accept_service(&mut self) -> Result<(), Error> {
        self.link.transport.send(|out| {
            out.push(number::SERVICE_ACCEPT);
            put_string(out, USERAUTH);
        })
    }

    async fn judge(&mut self, request: &UserRequest<'_>) -> Result<Verdict<G::Who>, Error> {
        let Method::PublicKey { algorithm, key: blob, signature } = request.method else {
            return Ok(Verdict::No);
        };
        let known = USER_ALGORITHMS.contains(&algorithm) && fits(algorithm, blob);
        let key = PublicKey::from_bytes(blob).ok().filter(|_| known);
        let worth = key.filter(|key| self.gate.worth_signing(request.user, key));
        let (key, signature) = match (worth, signature) {
            (Some(key), Some(signature)) => (key, signature),
            (Some(_), None) => {
                let ok = KeyOk { algorithm: algorithm.as_bytes(), key: blob };
                self.link.transport.send(|out| ok.encode(out))?;
                return Ok(Verdict::WorthSigning);
            }
            (None, Some(_)) => return Ok(Verdict::Refused),
            (None, None) => return Ok(Verdict::No),
        };
        let proof = Proof {
            session: self.link.transport.session().to_vec(),
            login: request.user.to_owned(),
            algorithm: algorithm.to_owned(),
            key: blob.to_vec(),
            signature: signature.to_vec(),
        };
        if proof.check().is_err() {
            debug!(login = ?request.user, %key, "wrong signature");
            return Ok(Verdict::Refused);
        }
        Ok(match self.gate.admit(request.user, &key).await {
            Some(who) => Verdict::In(key, proof, who),
            None => {
                debug!(login = ?request.user, %key, "not admitted");
                Verdict::Refused
            }
        })
    }
}

/// The one service before a user is in (RFC 4253 section 10).
const USERAUTH: &[u8] = b"ssh-userauth";

fn asks_to_sign_in(message: &[u8]) -> Result<(), Error> {
    let mut from = Reader::new(message);
    from.expect(number::SERVICE_REQUEST)?;
    if from.string()? != USERAUTH {
        return Err(Error::Protocol("another service than ssh-userauth"));
    }
    Ok(())
}

/// What became of one request.
enum Verdict<W> {
    In(PublicKey, Proof, W),
    WorthSigning,
    /// Not an attempt: nothing was signed.
    No,
    Refused,
}
