//! Key exchange: both halves, the exchange hash, and the keys that come of it (RFC 4253 sections 7 and 8, 5656, 8731,
//! draft-ietf-sshm-mlkem-hybrid-kex).

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384, ECDH_P521, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use wire::ssh::{put_mpint, put_string};
use zeroize::Zeroizing;

use super::cipher::{Material, key_lengths};
use crate::Error;
use crate::algorithms::{Cipher, Kex, Mac};

/// An ML-KEM-768 encapsulation key.
const KEM_KEY: usize = 1184;
/// An ML-KEM-768 ciphertext.
const KEM_TEXT: usize = 1088;

/// A shared secret, packed as the exchange hash and the key derivation take it.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

fn failed<E>(_: E) -> Error {
    Error::KeyExchange("a bad public value")
}

fn curve(kex: Kex) -> (&'static agreement::Algorithm, usize) {
    match kex {
        Kex::MlKem768X25519 | Kex::Curve25519 | Kex::Curve25519Libssh => (&X25519, 32),
        Kex::P256 => (&ECDH_P256, 65),
        Kex::P384 => (&ECDH_P384, 97),
        Kex::P521 => (&ECDH_P521, 133),
    }
}

/// The hash that goes with a method.
pub(crate) fn hash(kex: Kex) -> &'static digest::Algorithm {
    match kex {
        Kex::MlKem768X25519 | Kex::Curve25519 | Kex::Curve25519Libssh | Kex::P256 => &SHA256,
        Kex::P384 => &SHA384,
        Kex::P521 => &SHA512,
    }
}

/// Agrees with the peer's public value; `use_secret` gets the raw secret.
fn agree<R>(
    kex: Kex,
    private: &PrivateKey,
    public: &[u8],
    use_secret: impl FnOnce(&[u8]) -> R,
) -> Result<R, Error> {
    let (algorithm, length) = curve(kex);
    if public.len() != length || (length > 32 && public.first() != Some(&4)) {
        return Err(failed(()));
    }
    agreement::agree(private, UnparsedPublicKey::new(algorithm, public), failed(()), |secret| {
        Ok(use_secret(secret))
    })
}

fn number(secret: &[u8]) -> Secret {
    let mut packed = Zeroizing::new(Vec::with_capacity(secret.len() + 5));
    put_mpint(&mut packed, secret);
    packed
}

/// The hybrid's secret is a hash, packed as a string.
fn hybrid(kem: &[u8], curve: &[u8]) -> Secret {
    let mut context = digest::Context::new(&SHA256);
    context.update(kem);
    context.update(curve);
    let mut packed = Zeroizing::new(Vec::with_capacity(36));
    put_string(&mut packed, context.finish().as_ref());
    packed
}

/// The client's half while it waits for the server's.
pub(crate) struct Ephemeral {
    kex: Kex,
    private: PrivateKey,
    kem: Option<DecapsulationKey>,
    /// What the client sent.
    pub(crate) public: Vec<u8>,
}

impl Ephemeral {
    pub(crate) fn generate(kex: Kex) -> Result<Self, Error> {
        let private = PrivateKey::generate(curve(kex).0).map_err(failed)?;
        let mut public = Vec::new();
        let kem = if kex == Kex::MlKem768X25519 {
            let kem = DecapsulationKey::generate(&ML_KEM_768).map_err(failed)?;
            let key = kem.encapsulation_key().map_err(failed)?;
            public.extend_from_slice(key.key_bytes().map_err(failed)?.as_ref());
            Some(kem)
        } else {
            None
        };
        public.extend_from_slice(private.compute_public_key().map_err(failed)?.as_ref());
        Ok(Self { kex, private, kem, public })
    }

    /// The secret shared with a server that answered `theirs`.
    pub(crate) fn finish(&self, theirs: &[u8]) -> Result<Secret, Error> {
        let Some(kem) = &self.kem else { return agree(self.kex, &self.private, theirs, number) };
        let (text, point) = theirs.split_at_checked(KEM_TEXT).ok_or(failed(()))?;
        let first = kem.decapsulate(Ciphertext::from(text)).map_err(failed)?;
        agree(self.kex, &self.private, point, |second| hybrid(first.as_ref(), second))
    }
}

/// The server's half: what it answers to `theirs`, and the secret.
pub(crate) fn respond(kex: Kex, theirs: &[u8]) -> Result<(Vec<u8>, Secret), Error> {
    let private = PrivateKey::generate(curve(kex).0).map_err(failed)?;
    let point = private.compute_public_key().map_err(failed)?;
    if kex != Kex::MlKem768X25519 {
        return Ok((point.as_ref().to_vec(), agree(kex, &private, theirs, number)?));
    }
    let (key, their_point) = theirs.split_at_checked(KEM_KEY).ok_or(failed(()))?;
    let key = EncapsulationKey::new(&ML_KEM_768, key).map_err(failed)?;
    let (text, first) = key.encapsulate().map_err(failed)?;
    let secret = agree(kex, &private, their_point, |second| hybrid(first.as_ref(), second))?;
    let mut answer = text.as_ref().to_vec();
    answer.extend_from_slice(point.as_ref());
    Ok((answer, secret))
}

/// All that the exchange hash covers but the secret.
pub(crate) struct Transcript<'a> {
    pub(crate) client_version: &'a str,
    pub(crate) server_version: &'a str,
    pub(crate) client_init: &'a [u8],
    pub(crate) server_init: &'a [u8],
    pub(crate) host_key: &'a [u8],
    pub(crate) client_public: &'a [u8],
    pub(crate) server_public: &'a [u8],
}

impl Transcript<'_> {
    /// The exchange hash.
    pub(crate) fn hash(&self, kex: Kex, secret: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(4096);
        for part in [
            self.client_version.as_bytes(),
            self.server_version.as_bytes(),
            self.client_init,
            self.server_init,
            self.host_key,
            self.client_public,
            self.server_public,
        ] {
            put_string(&mut packed, part);
        }
        let mut context = digest::Context::new(hash(kex));
        context.update(&packed);
        context.update(secret);
        context.finish().as_ref().to_vec()
    }
}

/// What keys are made of.
pub(crate) struct Derivation<'a> {
    pub(crate) kex: Kex,
    pub(crate) secret: &'a [u8],
    pub(crate) exchange: &'a [u8],
    pub(crate) session: &'a [u8],
}

impl Derivation<'_> {
    /// The material from client to server, or from server to client.
    pub(crate) fn material(&self, to_server: bool, cipher: Cipher, mac: Mac) -> Material {
        let (key, iv, mac) = key_lengths(cipher, mac);
        let letters = if to_server { *b"ACE" } else { *b"BDF" };
        let [for_iv, for_key, for_mac] = letters;
        Material {
            iv: self.stretch(for_iv, iv),
            key: self.stretch(for_key, key),
            mac: self.stretch(for_mac, mac),
        }
    }

    fn stretch(&self, letter: u8, length: usize) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(128));
        while out.len() < length {
            let mut context = digest::Context::new(hash(self.kex));
            context.update(self.secret);
            context.update(self.exchange);
            if out.is_empty() {
                context.update(&[letter]);
                context.update(self.session);
            } else {
                context.update(&out);
            }
            out.extend_from_slice(context.finish().as_ref());
        }
        out.truncate(length);
        out
    }
}
