//! Speaks to an SSH agent (draft-miller-ssh-agent): list, sign, add, remove.
//!
//! Over any stream: the socket of `SSH_AUTH_SOCK`, or an agent channel. Answers are at most 256 KiB and must come
//! within ten seconds, signatures within a minute, since a person may have to touch a key.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::timeout;
use wire::ssh::agent::{Answer, Ask, MAX};
use wire::ssh::{Reader, put_string};
use zeroize::Zeroizing;

use crate::keys::{Signer, Signing};
use crate::{Error, PrivateKey, PublicKey};

const PROMPT: Duration = Duration::from_secs(10);
const TOUCHED: Duration = Duration::from_secs(60);

/// Asks RSA for SHA-256.
const RSA_SHA256: u32 = 2;
/// Asks RSA for SHA-512.
const RSA_SHA512: u32 = 4;

/// An agent at the other end of a stream.
#[derive(Debug)]
pub struct Agent<S> {
    stream: S,
}

/// A key an agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The key or certificate.
    pub key: PublicKey,
    /// Its comment.
    pub comment: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Agent<S> {
    /// An agent that listens on `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream }
    }

    async fn ask(&mut self, ask: &Ask<'_>, within: Duration) -> Result<Vec<u8>, Error> {
        let mut message = Zeroizing::new(vec![0; 4]);
        ask.encode(&mut message);
        let length = u32::try_from(message.len() - 4).map_err(|_| Error::Agent)?;
        if let Some(head) = message.first_chunk_mut() {
            *head = length.to_be_bytes();
        }
        let answer = timeout(within, async {
            self.stream.write_all(&message).await?;
            self.stream.flush().await?;
            let length = self.stream.read_u32().await? as usize;
            if length > MAX {
                return Err(Error::Agent);
            }
            let mut answer = vec![0; length];
            self.stream.read_exact(&mut answer).await?;
            Ok(answer)
        });
        answer.await.map_err(|_| Error::Deadline)?
    }

    async fn done(&mut self, ask: &Ask<'_>) -> Result<(), Error> {
        let answer = self.ask(ask, PROMPT).await?;
        match Answer::decode(&mut Reader::new(&answer))? {
            Answer::Success => Ok(()),
            Answer::Failure | Answer::Identities(_) | Answer::Signature(_) => Err(Error::Agent),
        }
    }

    /// The keys it holds, of the kinds known here.
    ///
    /// # Errors
    /// It refused, is gone, or is no agent.
    pub async fn list(&mut self) -> Result<Vec<Identity>, Error> {
        let answer = self.ask(&Ask::List, PROMPT).await?;
        let Answer::Identities(keys) = Answer::decode(&mut Reader::new(&answer))? else {
            return Err(Error::Agent);
        };
        let known = keys.into_iter().filter_map(|found| {
            let comment = String::from_utf8_lossy(found.comment).into_owned();
            Some(Identity { key: PublicKey::from_bytes(found.key).ok()?, comment })
        });
        Ok(known.collect())
    }

    /// Signs `data` by `algorithm` with `key`, which may be a certificate it holds.
    ///
    /// # Errors
    /// It does not hold the key, its owner said no, or it is gone.
    pub async fn sign(&mut self, key: &PublicKey, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, Error> {
        let flags = match algorithm {
            name if name.starts_with("rsa-sha2-256") => RSA_SHA256,
            name if name.starts_with("rsa-sha2-512") => RSA_SHA512,
            _ => 0,
        };
        let answer = self.ask(&Ask::Sign { key: key.as_bytes(), data, flags }, TOUCHED).await?;
        match Answer::decode(&mut Reader::new(&answer))? {
            Answer::Signature(signature) => Ok(signature.to_vec()),
            Answer::Failure | Answer::Success | Answer::Identities(_) => Err(Error::Agent),
        }
    }

    /// Gives it a key, with its certificate if there is one, to forget after `lifetime`.
    ///
    /// # Errors
    /// It refused, or is gone.
    pub async fn add(
        &mut self,
        key: &PrivateKey,
        certificate: Option<&PublicKey>,
        comment: &str,
        lifetime: Option<Duration>,
    ) -> Result<(), Error> {
        let plain = key.public();
        let public = plain.as_bytes().last_chunk::<32>().ok_or(Error::Key("not Ed25519"))?;
        let mut private = Zeroizing::new([0; 64]);
        let (seed, half) = private.split_at_mut(32);
        seed.copy_from_slice(key.seed());
        half.copy_from_slice(public);
        let mut fields = Zeroizing::new(Vec::with_capacity(2048));
        put_string(&mut fields, certificate.unwrap_or(&plain).kind().as_bytes());
        if let Some(certificate) = certificate {
            put_string(&mut fields, certificate.as_bytes());
        }
        put_string(&mut fields, public);
        put_string(&mut fields, private.as_ref());
        put_string(&mut fields, comment.as_bytes());
        let lifetime = lifetime.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        self.done(&Ask::Add { key: &fields, lifetime }).await
    }

    /// Makes it forget a key or certificate.
    ///
    /// # Errors
    /// It does not hold it, or is gone.
    pub async fn remove(&mut self, key: &PublicKey) -> Result<(), Error> {
        self.done(&Ask::Remove { key: key.as_bytes() }).await
    }
}

/// An agent that signs in for the client.
#[derive(Debug)]
pub struct AgentSigner<S>(Mutex<Agent<S>>);

impl<S> AgentSigner<S> {
    /// Signs with what `agent` holds.
    pub fn new(agent: Agent<S>) -> Self {
        Self(Mutex::new(agent))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Signer for AgentSigner<S> {
    fn sign<'a>(&'a self, key: &'a PublicKey, algorithm: &'a str, data: &'a [u8]) -> Signing<'a> {
        Box::pin(async move { self.0.lock().await.sign(key, algorithm, data).await })
    }
}
