//! SSH public keys (RFC 4253 section 6.6, RFC 5656, RFC 8709) and signatures by them.
//!
//! A key is its blob: two keys are the same when their blobs are. Every blob held by [`PublicKey`] was checked:
//! known type, sane size, one encoding.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::bytes::{Reader, put_mpint, put_string};
use crate::signer::KeyType;
use crate::{Error, MAX_BLOB};

const WHAT: &str = "SSH public key";
pub(crate) const CERT_SUFFIX: &str = "-cert-v01@openssh.com";

/// The kinds of SSH keys we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256`
    EcdsaP256,
    /// `ecdsa-sha2-nistp384`
    EcdsaP384,
    /// `ecdsa-sha2-nistp521`
    EcdsaP521,
    /// `ssh-rsa`, 2048 to 8192 bits, signing with SHA-2 only.
    Rsa,
}

impl Algorithm {
    /// Every kind.
    pub const ALL: [Algorithm; 5] = [
        Algorithm::Ed25519,
        Algorithm::EcdsaP256,
        Algorithm::EcdsaP384,
        Algorithm::EcdsaP521,
        Algorithm::Rsa,
    ];

    /// The name in key blobs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "ssh-ed25519",
            Algorithm::EcdsaP256 => "ecdsa-sha2-nistp256",
            Algorithm::EcdsaP384 => "ecdsa-sha2-nistp384",
            Algorithm::EcdsaP521 => "ecdsa-sha2-nistp521",
            Algorithm::Rsa => "ssh-rsa",
        }
    }

    /// The name of certificates over such a key.
    #[must_use]
    pub fn cert_name(self) -> String {
        format!("{}{CERT_SUFFIX}", self.as_str())
    }

    pub(crate) fn parse(name: &str) -> Result<Self, Error> {
        if name.ends_with(CERT_SUFFIX) {
            return Err(Error::NestedCertificate);
        }
        Self::ALL.into_iter().find(|a| a.as_str() == name).ok_or_else(|| Error::UnsupportedKey(shown(name)))
    }

    /// The curve's name in the blob and the length of its numbers.
    fn curve(self) -> Option<(&'static str, usize)> {
        match self {
            Algorithm::EcdsaP256 => Some(("nistp256", 32)),
            Algorithm::EcdsaP384 => Some(("nistp384", 48)),
            Algorithm::EcdsaP521 => Some(("nistp521", 66)),
            Algorithm::Ed25519 | Algorithm::Rsa => None,
        }
    }
}

/// Text of a stranger, made safe to show.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}

/// A plain public key, never a certificate.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    algorithm: Algorithm,
    blob: Vec<u8>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.algorithm.as_str(), self.fingerprint())
    }
}

impl fmt::Display for PublicKey {
    /// OpenSSH's one-line form without comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm.as_str(), STANDARD.encode(&self.blob))
    }
}

impl std::str::FromStr for PublicKey {
    type Err = Error;

    /// Reads OpenSSH's one-line form; the comment is dropped.
    fn from_str(line: &str) -> Result<Self, Error> {
        let (name, blob) = one_line(line, WHAT)?;
        let key = Self::from_blob(&blob)?;
        if key.algorithm.as_str() == name { Ok(key) } else { Err(Error::Malformed(WHAT)) }
    }
}

/// Splits `name base64 [comment]`.
pub(crate) fn one_line<'a>(line: &'a str, what: &'static str) -> Result<(&'a str, Vec<u8>), Error> {
    if line.len() > MAX_BLOB.saturating_mul(2) {
        return Err(Error::TooLong(what, MAX_BLOB));
    }
    let line = line.trim();
    if line.contains(['\n', '\r', '\0']) {
        return Err(Error::Malformed(what));
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(name), Some(encoded)) = (words.next(), words.next()) else {
        return Err(Error::Malformed(what));
    };
    let blob = STANDARD.decode(encoded).map_err(|_| Error::Malformed(what))?;
    Ok((name, blob))
}

impl PublicKey {
    /// Reads a key blob.
    ///
    /// # Errors
    /// Malformed, weak, a kind we do not use, or a certificate.
    pub fn from_blob(blob: &[u8]) -> Result<Self, Error> {
        if blob.len() > MAX_BLOB {
            return Err(Error::TooLong(WHAT, MAX_BLOB));
        }
        let mut reader = Reader::new(WHAT, blob);
        let algorithm = Algorithm::parse(reader.text()?)?;
        let key = Self::read_fields(algorithm, &mut reader)?;
        reader.end()?;
        Ok(key)
    }

    /// Reads the fields that follow the name, in a key blob or in a certificate.
    pub(crate) fn read_fields(algorithm: Algorithm, reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut blob = Vec::new();
        put_string(&mut blob, algorithm.as_str().as_bytes());
        match algorithm {
            Algorithm::Ed25519 => {
                let point = reader.string()?;
                if point.len() != 32 {
                    return Err(Error::Malformed(WHAT));
                }
                put_string(&mut blob, point);
            }
            Algorithm::EcdsaP256 | Algorithm::EcdsaP384 | Algorithm::EcdsaP521 => {
                let (name, len) = algorithm.curve().ok_or(Error::Malformed(WHAT))?;
                let curve = reader.string()?;
                let point = reader.string()?;
                if curve != name.as_bytes() || point.len() != len * 2 + 1 || point.first() != Some(&4) {
                    return Err(Error::Malformed(WHAT));
                }
                put_string(&mut blob, curve);
                put_string(&mut blob, point);
            }
            Algorithm::Rsa => {
                let (e, n) = (reader.mpint()?, reader.mpint()?);
                let odd = |digits: &[u8]| digits.last().is_some_and(|b| b & 1 == 1);
                if e.len() > 4 || e == [1] || !odd(e) || !odd(n) {
                    return Err(Error::Malformed(WHAT));
                }
                if !(2048..=8192).contains(&bits(n)) {
                    return Err(Error::UnsupportedKey(format!("ssh-rsa with {} bits", bits(n))));
                }
                put_mpint(&mut blob, e);
                put_mpint(&mut blob, n);
            }
        }
        Ok(Self { algorithm, blob })
    }

    /// Takes the raw public key of one of our own signers.
    pub(crate) fn from_raw(key_type: KeyType, raw: &[u8]) -> Self {
        let algorithm = match key_type {
            KeyType::Ed25519 => Algorithm::Ed25519,
            KeyType::EcdsaP256 => Algorithm::EcdsaP256,
        };
        let mut blob = Vec::new();
        put_string(&mut blob, algorithm.as_str().as_bytes());
        if let Some((curve, _)) = algorithm.curve() {
            put_string(&mut blob, curve.as_bytes());
        }
        put_string(&mut blob, raw);
        Self { algorithm, blob }
    }

    /// What kind of key.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key as sent on the wire.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The fields after the name, as certificates repeat them.
    pub(crate) fn fields(&self) -> &[u8] {
        self.blob.get(4 + self.algorithm.as_str().len()..).unwrap_or_default()
    }

    /// The 32 raw bytes of an Ed25519 key.
    #[must_use]
    pub fn ed25519(&self) -> Option<[u8; 32]> {
        match self.algorithm {
            Algorithm::Ed25519 => self.fields().get(4..)?.try_into().ok(),
            Algorithm::EcdsaP256 | Algorithm::EcdsaP384 | Algorithm::EcdsaP521 | Algorithm::Rsa => None,
        }
    }

    /// `SHA256:` and the base64 digest, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, &self.blob)))
    }

    /// Checks a signature blob (algorithm name and signature) over `message`. SHA-1 is never accepted.
    ///
    /// # Errors
    /// Malformed, by another algorithm than the key's, or wrong.
    pub fn verify(&self, signature: &[u8], message: &[u8]) -> Result<(), Error> {
        if signature.len() > MAX_BLOB {
            return Err(Error::TooLong("SSH signature", MAX_BLOB));
        }
        let mut reader = Reader::new("SSH signature", signature);
        let (name, body) = (reader.text()?, reader.string()?);
        reader.end()?;
        let mut fields = Reader::new(WHAT, self.fields());
        match self.algorithm {
            Algorithm::Ed25519 => {
                expect_name(name, self.algorithm.as_str())?;
                check(&ED25519, fields.string()?, message, body)
            }
            Algorithm::EcdsaP256 | Algorithm::EcdsaP384 | Algorithm::EcdsaP521 => {
                expect_name(name, self.algorithm.as_str())?;
                let (_, len) = self.algorithm.curve().ok_or(Error::BadSignature)?;
                fields.string()?;
                let algorithm = match self.algorithm {
                    Algorithm::EcdsaP384 => &ECDSA_P384_SHA384_FIXED,
                    Algorithm::EcdsaP521 => &ECDSA_P521_SHA512_FIXED,
                    Algorithm::EcdsaP256 | Algorithm::Ed25519 | Algorithm::Rsa => &ECDSA_P256_SHA256_FIXED,
                };
                check(algorithm, fields.string()?, message, &fixed(body, len)?)
            }
            Algorithm::Rsa => {
                let parameters = match name {
                    "rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
                    "rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
                    _ => return Err(Error::BadSignature),
                };
                let (e, n) = (fields.mpint()?, fields.mpint()?);
                RsaPublicKeyComponents { n, e }
                    .verify(parameters, message, body)
                    .map_err(|_| Error::BadSignature)
            }
        }
    }
}

fn expect_name(found: &str, wanted: &str) -> Result<(), Error> {
    if found == wanted { Ok(()) } else { Err(Error::BadSignature) }
}

fn check(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), Error> {
    UnparsedPublicKey::new(algorithm, key).verify(message, signature).map_err(|_| Error::BadSignature)
}

/// How many bits a number has, given its big-endian bytes without leading zeros.
fn bits(digits: &[u8]) -> usize {
    let top = digits.first().map_or(0, |b| 8 - b.leading_zeros() as usize);
    digits.len().saturating_sub(1) * 8 + top
}

/// SSH's two mpints as the fixed-length pair the library wants.
fn fixed(body: &[u8], len: usize) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::new("SSH signature", body);
    let (r, s) = (reader.mpint()?, reader.mpint()?);
    reader.end()?;
    let mut out = Vec::with_capacity(len * 2);
    for number in [r, s] {
        let pad = len.checked_sub(number.len()).ok_or(Error::BadSignature)?;
        out.resize(out.len() + pad, 0);
        out.extend_from_slice(number);
    }
    Ok(out)
}

/// Writes a raw signature as SSH does.
pub(crate) fn signature_blob(key_type: KeyType, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match key_type {
        KeyType::Ed25519 => {
            put_string(&mut out, Algorithm::Ed25519.as_str().as_bytes());
            put_string(&mut out, raw);
        }
        KeyType::EcdsaP256 => {
            let (r, s) = raw.split_at(raw.len() / 2);
            let mut body = Vec::new();
            put_mpint(&mut body, r);
            put_mpint(&mut body, s);
            put_string(&mut out, Algorithm::EcdsaP256.as_str().as_bytes());
            put_string(&mut out, &body);
        }
    }
    out
}
