//! Private keys that sign. A certificate authority's private key exists in [`Authority`] only, and leaves it only
//! sealed (AES-256-GCM) under a key the caller keeps elsewhere.
//!
//! Randomness is an argument: a key is made from a 32-byte seed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::{Error, ssh};

/// The kinds of keys we make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA over NIST P-256 with SHA-256.
    EcdsaP256,
}

/// Something that signs with a private key it does not show.
pub trait Signer: Send + Sync + fmt::Debug {
    /// What kind of key.
    fn key_type(&self) -> KeyType;

    /// The public key, raw: 32 bytes for Ed25519, the 65-byte uncompressed point for P-256.
    fn public_key(&self) -> &[u8];

    /// Signs; 64 bytes for both kinds (for P-256 the two numbers, big-endian, one after the other).
    ///
    /// # Errors
    /// The library refused.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;

    /// The public key as SSH writes it.
    fn ssh_public(&self) -> ssh::PublicKey {
        ssh::PublicKey::from_raw(self.key_type(), self.public_key())
    }

    /// Signs and writes the signature as SSH does: the algorithm's name and the signature.
    ///
    /// # Errors
    /// The library refused.
    fn ssh_sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(ssh::signature_blob(self.key_type(), &self.sign(message)?))
    }
}

/// A private key of either kind, with the bytes it was made from for exporting.
pub(crate) struct Private {
    kind: Kind,
    secret: Zeroizing<[u8; 32]>,
    public: Vec<u8>,
}

enum Kind {
    Ed25519(Ed25519KeyPair),
    EcdsaP256(EcdsaKeyPair),
}

impl Private {
    /// Makes a key from a seed; the same seed gives the same key.
    pub(crate) fn generate(key_type: KeyType, seed: &[u8; 32]) -> Result<Self, Error> {
        match key_type {
            KeyType::Ed25519 => Self::from_secret(key_type, seed),
            // A 256-bit number is no valid P-256 scalar once in 2^32 times: hash on until one is.
            KeyType::EcdsaP256 => (0..8u8)
                .find_map(|round| {
                    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
                    context.update(b"moongate p256 key");
                    context.update(&[round]);
                    context.update(seed);
                    let digest = context.finish();
                    let scalar = Zeroizing::new(<[u8; 32]>::try_from(digest.as_ref()).ok()?);
                    Self::from_secret(key_type, &scalar).ok()
                })
                .ok_or(Error::Crypto("make a P-256 key")),
        }
    }

    /// Takes the Ed25519 seed or the P-256 scalar.
    pub(crate) fn from_secret(key_type: KeyType, secret: &[u8; 32]) -> Result<Self, Error> {
        let kept = Zeroizing::new(*secret);
        match key_type {
            KeyType::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(secret)
                    .map_err(|_| Error::Crypto("use an Ed25519 key"))?;
                let public = pair.public_key().as_ref().to_vec();
                Ok(Self { kind: Kind::Ed25519(pair), secret: kept, public })
            }
            KeyType::EcdsaP256 => {
                let der = sec1(secret);
                let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
                    .map_err(|_| Error::Crypto("use a P-256 key"))?;
                let public = pair.public_key().as_ref().to_vec();
                Ok(Self { kind: Kind::EcdsaP256(pair), secret: kept, public })
            }
        }
    }

    pub(crate) fn key_type(&self) -> KeyType {
        match self.kind {
            Kind::Ed25519(_) => KeyType::Ed25519,
            Kind::EcdsaP256(_) => KeyType::EcdsaP256,
        }
    }

    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.kind {
            Kind::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Kind::EcdsaP256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|s| s.as_ref().to_vec())
                .map_err(|_| Error::Crypto("sign with a P-256 key")),
        }
    }

    /// PKCS#8 (RFC 5958), as rustls and OpenSSL read it.
    pub(crate) fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let document = match &self.kind {
            Kind::Ed25519(pair) => pair.to_pkcs8v1(),
            Kind::EcdsaP256(pair) => pair.to_pkcs8v1(),
        };
        document.map(|d| Zeroizing::new(d.as_ref().to_vec())).map_err(|_| Error::Crypto("export the key"))
    }
}

/// An ECPrivateKey (RFC 5915) over P-256 without its public half, which the library then computes.
fn sec1(scalar: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let curve = [0xa0, 10, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    Zeroizing::new([&[0x30, 49, 0x02, 1, 1, 0x04, 32][..], scalar, &curve].concat())
}

/// One private key of a certificate authority (or the cluster's audit key).
pub struct Authority(Private);

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({:?}, {})", self.0.key_type(), self.ssh_public().fingerprint())
    }
}

impl Signer for Authority {
    fn key_type(&self) -> KeyType {
        self.0.key_type()
    }

    fn public_key(&self) -> &[u8] {
        self.0.public()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message)
    }
}

/// First bytes of a sealed key: format and version (docs/formats/sealed-key.md).
const SEALED: &[u8; 8] = b"mgsealk1";
const NONCE: usize = 12;

impl Authority {
    /// Makes a key from 32 random bytes.
    ///
    /// # Errors
    /// The library refused.
    pub fn generate(key_type: KeyType, seed: &[u8; 32]) -> Result<Self, Error> {
        Private::generate(key_type, seed).map(Self)
    }

    /// The private key, encrypted under `sealing_key`: the only form in which it leaves this type. `nonce` must be
    /// random and never used twice with one sealing key.
    ///
    /// # Errors
    /// The library refused.
    pub fn seal(&self, sealing_key: &[u8; 32], nonce: [u8; NONCE]) -> Result<Vec<u8>, Error> {
        let mut head = SEALED.to_vec();
        head.push(match self.0.key_type() {
            KeyType::Ed25519 => 1,
            KeyType::EcdsaP256 => 2,
        });
        let mut body = Zeroizing::new(self.0.secret().to_vec());
        let tag = aead(sealing_key)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(&head),
                body.as_mut_slice(),
            )
            .map_err(|_| Error::Crypto("seal a key"))?;
        let mut out = head;
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&body);
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens what [`Authority::seal`] made.
    ///
    /// # Errors
    /// Not a sealed key, another sealing key, or changed bytes.
    pub fn unseal(sealing_key: &[u8; 32], sealed: &[u8]) -> Result<Self, Error> {
        let (head, rest) = sealed.split_at_checked(SEALED.len() + 1).ok_or(Error::Sealed)?;
        let (nonce, body) = rest.split_at_checked(NONCE).ok_or(Error::Sealed)?;
        let key_type = match head.strip_prefix(SEALED) {
            Some([1]) => KeyType::Ed25519,
            Some([2]) => KeyType::EcdsaP256,
            _ => return Err(Error::Sealed),
        };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Sealed)?;
        let mut body = Zeroizing::new(body.to_vec());
        let secret =
            aead(sealing_key)?.open_in_place(nonce, Aad::from(head), &mut body).map_err(|_| Error::Sealed)?;
        let secret = Zeroizing::new(<[u8; 32]>::try_from(&*secret).map_err(|_| Error::Sealed)?);
        Private::from_secret(key_type, &secret).map(Self)
    }
}

fn aead(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| Error::Crypto("use a sealing key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_authority_opens_with_its_key_only() {
        for key_type in [KeyType::Ed25519, KeyType::EcdsaP256] {
            let ca = Authority::generate(key_type, &[7; 32]).unwrap();

            let sealed = ca.seal(&[1; 32], [2; 12]).unwrap();

            let again = Authority::unseal(&[1; 32], &sealed).unwrap();
            assert_eq!(again.public_key(), ca.public_key());
            assert_eq!(Authority::unseal(&[3; 32], &sealed).unwrap_err(), Error::Sealed);
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(Authority::unseal(&[1; 32], &changed).unwrap_err(), Error::Sealed, "byte {at}");
            }
            assert!(!sealed.windows(32).any(|w| w == ca.0.secret()));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_key() {
        for key_type in [KeyType::Ed25519, KeyType::EcdsaP256] {
            let a = Authority::generate(key_type, &[7; 32]).unwrap();
            let b = Authority::generate(key_type, &[7; 32]).unwrap();
            let c = Authority::generate(key_type, &[8; 32]).unwrap();

            assert_eq!(a.public_key(), b.public_key());
            assert_ne!(a.public_key(), c.public_key());
        }
    }

    #[test]
    fn a_key_does_not_print_its_secret() {
        let ca = Authority::generate(KeyType::Ed25519, &[7; 32]).unwrap();
        let shown = format!("{ca:?}");
        assert!(shown.starts_with("Authority(Ed25519, SHA256:"), "{shown}");
    }
}
