//! Keys: make, load, save, sign, verify. All cryptography is aws-lc-rs.
//!
//! Private keys are Ed25519; public keys that may sign in are Ed25519, ECDSA (P-256, P-384, P-521), RSA with SHA-2,
//! and the two hardware kinds. What a certificate says is not looked at here.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use ssh_key::LineEnding;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use wire::ssh::key::{self, Offered};
use zeroize::Zeroizing;

use crate::Error;
pub use crate::verify::{USER_ALGORITHMS, verify};

/// An Ed25519 key that can sign. Does not print, and is wiped when dropped.
pub struct PrivateKey {
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
    comment: String,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public())
    }
}

impl PrivateKey {
    /// A fresh key of the operating system's randomness.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn generate(comment: &str) -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), seed.as_mut())
            .map_err(|_| Error::Key("no randomness"))?;
        Self::from_seed(&seed, comment)
    }

    /// The key of a seed.
    ///
    /// # Errors
    /// None for any seed in practice.
    pub fn from_seed(seed: &[u8; 32], comment: &str) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Error::Key("a bad seed"))?;
        Ok(Self { pair, seed: Zeroizing::new(*seed), comment: comment.to_owned() })
    }

    /// The 32 bytes the key is made of.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Reads an unencrypted OpenSSH private key file.
    ///
    /// # Errors
    /// It is not one, is encrypted, or holds another kind of key.
    pub fn from_openssh(text: &str) -> Result<Self, Error> {
        let key =
            ssh_key::PrivateKey::from_openssh(text).map_err(|_| Error::Key("not an OpenSSH private key"))?;
        if key.is_encrypted() {
            return Err(Error::Key("the private key is encrypted"));
        }
        let KeypairData::Ed25519(pair) = key.key_data() else {
            return Err(Error::Key("the private key is not Ed25519"));
        };
        let comment = String::from_utf8_lossy(key.comment().as_bytes()).into_owned();
        let read = Self::from_seed(pair.private.as_ref(), &comment)?;
        if read.pair.public_key().as_ref() != pair.public.0 {
            return Err(Error::Key("the two halves of the private key differ"));
        }
        Ok(read)
    }

    /// The OpenSSH private key file of this key, unencrypted.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_openssh(&self) -> Result<Zeroizing<String>, Error> {
        let private = Ed25519PrivateKey::from_bytes(&self.seed);
        let mut public = [0; 32];
        public.copy_from_slice(self.pair.public_key().as_ref());
        let pair = Ed25519Keypair { public: ssh_key::public::Ed25519PublicKey(public), private };
        ssh_key::PrivateKey::new(KeypairData::Ed25519(pair), self.comment.clone())
            .and_then(|key| key.to_openssh(LineEnding::LF))
            .map_err(|_| Error::Key("the private key cannot be written"))
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut blob = Vec::with_capacity(51);
        wire::ssh::put_string(&mut blob, b"ssh-ed25519");
        wire::ssh::put_string(&mut blob, self.pair.public_key().as_ref());
        PublicKey { blob }
    }

    /// Its comment.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Signs `data`: the signature as SSH packs it.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(data);
        let mut blob = Vec::with_capacity(83);
        key::Signature { algorithm: "ssh-ed25519", bytes: signature.as_ref(), hardware: None }
            .encode(&mut blob);
        blob
    }
}

/// A public key or certificate, as SSH packs it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    blob: Vec<u8>,
}

impl PublicKey {
    /// Takes a key's or certificate's bytes.
    ///
    /// # Errors
    /// They are not of a known kind.
    pub fn from_bytes(blob: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let blob = blob.into();
        Offered::decode(&blob)?;
        Ok(Self { blob })
    }

    /// Reads a line such as `ssh-ed25519 AAAA… comment`.
    ///
    /// # Errors
    /// It is not one of a known kind.
    pub fn from_openssh(line: &str) -> Result<Self, Error> {
        let mut words = line.split_ascii_whitespace();
        let (kind, encoded) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let blob =
            data_encoding::BASE64.decode(encoded.as_bytes()).map_err(|_| Error::Key("not a public key"))?;
        let key = Self::from_bytes(blob)?;
        if key.kind() == kind { Ok(key) } else { Err(Error::Key("not the kind of key it says")) }
    }

    /// The line such as `ssh-ed25519 AAAA…`, without a comment.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        format!("{} {}", self.kind(), data_encoding::BASE64.encode(&self.blob))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.blob
    }

    /// Its kind, such as `ssh-ed25519` or `ssh-ed25519-cert-v01@openssh.com`.
    #[must_use]
    pub fn kind(&self) -> &str {
        wire::ssh::Reader::new(&self.blob).text().unwrap_or_default()
    }

    /// It is a certificate.
    #[must_use]
    pub fn is_certificate(&self) -> bool {
        self.kind().ends_with(key::CERTIFICATE)
    }

    /// The plain key: itself, or the one inside the certificate.
    #[must_use]
    pub fn plain(&self) -> PublicKey {
        let mut blob = Vec::new();
        if let Ok(offered) = Offered::decode(&self.blob) {
            offered.key().encode(&mut blob);
        }
        Self { blob }
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it; of a certificate, that of the key inside.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.plain().blob);
        format!("SHA256:{}", data_encoding::BASE64_NOPAD.encode(digest.as_ref()))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.fingerprint())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A signature that is being made: perhaps elsewhere.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Error>> + Send + 'a>>;

/// Signs for a user: a key in memory, or an SSH agent.
pub trait Signer: Send + Sync {
    /// Signs `data` with `key` by `algorithm` (such as `ssh-ed25519` or `rsa-sha2-512`): the signature as SSH packs it.
    fn sign<'a>(&'a self, key: &'a PublicKey, algorithm: &'a str, data: &'a [u8]) -> Signing<'a>;
}

impl Signer for PrivateKey {
    fn sign<'a>(&'a self, _: &'a PublicKey, _: &'a str, data: &'a [u8]) -> Signing<'a> {
        Box::pin(std::future::ready(Ok(PrivateKey::sign(self, data))))
    }
}

/// A host's key, with the certificate that vouches for it.
#[derive(Debug, Clone)]
pub struct HostKey {
    pub(crate) key: Arc<PrivateKey>,
    pub(crate) plain: PublicKey,
    pub(crate) certificate: Option<PublicKey>,
}

impl HostKey {
    /// A plain host key.
    #[must_use]
    pub fn plain(key: Arc<PrivateKey>) -> Self {
        Self { plain: key.public(), key, certificate: None }
    }

    /// A host key and its certificate.
    ///
    /// # Errors
    /// The certificate is of another key.
    pub fn certified(key: Arc<PrivateKey>, certificate: PublicKey) -> Result<Self, Error> {
        if !certificate.is_certificate() || certificate.plain() != key.public() {
            return Err(Error::Key("the certificate is not of this key"));
        }
        Ok(Self { plain: key.public(), key, certificate: Some(certificate) })
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_survives_its_file() {
        let key = PrivateKey::generate("me@here").unwrap();

        let text = key.to_openssh().unwrap();
        let again = PrivateKey::from_openssh(&text).unwrap();

        assert_eq!(again.public(), key.public());
        assert_eq!(again.comment(), "me@here");
        assert_eq!(again.seed(), key.seed());
    }

    #[test]
    fn a_public_key_survives_its_line() {
        let key = PrivateKey::generate("x").unwrap().public();

        let line = key.to_openssh();

        assert_eq!(PublicKey::from_openssh(&format!("{line} a comment")).unwrap(), key);
        assert!(PublicKey::from_openssh(&line.replace("ssh-ed25519 ", "ssh-rsa ")).is_err());
        assert!(PublicKey::from_openssh("").is_err());
    }

    #[test]
    fn a_private_key_does_not_print() {
        let key = PrivateKey::from_seed(&[7; 32], "x").unwrap();
        assert!(!format!("{key:?}").contains("7, 7"));
    }

    #[test]
    fn only_the_signer_s_own_signature_verifies() {
        let (key, other) = (PrivateKey::generate("a").unwrap(), PrivateKey::generate("b").unwrap());
        let signature = key.sign(b"hello");

        assert!(verify(key.public().as_bytes(), "ssh-ed25519", b"hello", &signature).is_ok());
        assert!(verify(key.public().as_bytes(), "ssh-ed25519", b"hellO", &signature).is_err());
        assert!(verify(other.public().as_bytes(), "ssh-ed25519", b"hello", &signature).is_err());
    }
}
