//! SHA-256 hashes, Ed25519 public keys, and signing as something the caller brings.
//!
//! Private keys never enter this room: whoever holds one implements [`Sign`].

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::signature::{self, ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::{BASE64, HEXLOWER};

use crate::Error;

/// A SHA-256 hash; written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What comes before the first: 32 zero bytes.
    pub const ZERO: Hash = Hash([0; 32]);

    /// The hash of the parts, one after the other.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finish()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = Error::malformed("hash", "expected 64 lower-case hexadecimal digits");
        if text.len() != 64 {
            return Err(bad);
        }
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| bad.clone())?;
        bytes.try_into().map(Hash).map_err(|_| bad)
    }
}

/// Hashes what passes by.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// Has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&SHA256))
    }

    /// Takes more bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of everything seen.
    #[must_use]
    pub fn finish(self) -> Hash {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(self.0.finish().as_ref()) {
            *to = *from;
        }
        Hash(out)
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// Signs with an Ed25519 key that stays where it is.
pub trait Sign: Send + Sync {
    /// The public half, 32 bytes.
    fn public(&self) -> PublicKey;

    /// Signs `message`.
    ///
    /// # Errors
    /// The key is not there or refused.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], Error>;
}

impl Sign for Ed25519KeyPair {
    fn public(&self) -> PublicKey {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(self.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey(out)
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        Ed25519KeyPair::sign(self, message)
            .as_ref()
            .try_into()
            .map_err(|_| Error::Unsigned("signature has an odd length".to_owned()))
    }
}

impl<T: Sign + ?Sized> Sign for std::sync::Arc<T> {
    fn public(&self) -> PublicKey {
        (**self).public()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], Error> {
        (**self).sign(message)
    }
}

/// An Ed25519 public key; written as base64 of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// True when `signature` over `message` was made by this key.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let key: UnparsedPublicKey<&[u8]> = UnparsedPublicKey::new(&ED25519, &self.0);
        let outcome: Result<(), aws_lc_rs::error::Unspecified> = key.verify(message, signature);
        outcome.is_ok()
    }

    /// The same for a signature written as base64.
    #[must_use]
    pub fn verify_base64(&self, message: &[u8], signature: &str) -> bool {
        signature.len() == 88
            && BASE64.decode(signature.as_bytes()).is_ok_and(|bytes| self.verify(message, &bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = Error::malformed("public key", "expected base64 of 32 bytes");
        if text.len() != 44 {
            return Err(bad);
        }
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| bad.clone())?;
        bytes.try_into().map(PublicKey).map_err(|_| bad)
    }
}

/// Signs and writes the signature as base64.
pub(crate) fn sign_base64(sign: &dyn Sign, message: &[u8]) -> Result<String, Error> {
    Ok(BASE64.encode(&sign.sign(message)?))
}

/// A repeatable key pair for tests.
///
/// # Errors
/// Never for a 32-byte seed.
pub fn pair_from_seed(seed: &[u8; 32]) -> Result<Ed25519KeyPair, Error> {
    signature::Ed25519KeyPair::from_seed_unchecked(seed).map_err(|e| Error::Unsigned(e.to_string()))
}
