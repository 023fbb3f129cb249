//! OpenSSH certificates as bytes (OpenSSH's PROTOCOL.certkeys, version 01).
//!
//! Reading checks form only: lengths, order of options, one encoding. Whether to believe one is `verify`'s work.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key::{Algorithm, CERT_SUFFIX, PublicKey, one_line, shown};
use crate::bytes::{Reader, put_string, put_u32, put_u64};
use crate::{Error, MAX_BLOB};

const WHAT: &str = "SSH certificate";
/// OpenSSH's own bound on principals.
const MAX_PRINCIPALS: usize = 256;

/// Whom a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertKind {
    /// A person.
    User,
    /// A host.
    Host,
}

impl CertKind {
    fn number(self) -> u32 {
        match self {
            CertKind::User => 1,
            CertKind::Host => 2,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            CertKind::User => "user",
            CertKind::Host => "host",
        }
    }
}

/// What a certificate says, before or after signing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) nonce: Vec<u8>,
    pub(crate) key: PublicKey,
    pub(crate) serial: u64,
    pub(crate) kind: CertKind,
    pub(crate) key_id: String,
    pub(crate) principals: Vec<String>,
    pub(crate) valid_after: u64,
    pub(crate) valid_before: u64,
    pub(crate) critical: Vec<(String, Vec<u8>)>,
    pub(crate) extensions: Vec<(String, Vec<u8>)>,
    pub(crate) authority: PublicKey,
}

impl Body {
    /// The bytes that are signed.
    pub(crate) fn to_be_signed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(&mut out, self.key.algorithm().cert_name().as_bytes());
        put_string(&mut out, &self.nonce);
        out.extend_from_slice(self.key.fields());
        put_u64(&mut out, self.serial);
        put_u32(&mut out, self.kind.number());
        put_string(&mut out, self.key_id.as_bytes());
        let mut names = Vec::new();
        for name in &self.principals {
            put_string(&mut names, name.as_bytes());
        }
        put_string(&mut out, &names);
        put_u64(&mut out, self.valid_after);
        put_u64(&mut out, self.valid_before);
        put_string(&mut out, &options_blob(&self.critical));
        put_string(&mut out, &options_blob(&self.extensions));
        put_string(&mut out, b"");
        put_string(&mut out, self.authority.blob());
        out
    }
}

fn options_blob(options: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, data) in options {
        put_string(&mut out, name.as_bytes());
        put_string(&mut out, data);
    }
    out
}

/// A certificate that is well-formed. It says nothing until verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    blob: Vec<u8>,
    signed: usize,
    signature: Vec<u8>,
    body: Body,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("kind", &self.body.kind)
            .field("key_id", &shown(&self.body.key_id))
            .field("serial", &self.body.serial)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Certificate {
    /// OpenSSH's one-line form without comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.body.key.algorithm().cert_name(), STANDARD.encode(&self.blob))
    }
}

impl std::str::FromStr for Certificate {
    type Err = Error;

    /// Reads OpenSSH's one-line form; the comment is dropped.
    fn from_str(line: &str) -> Result<Self, Error> {
        let (name, blob) = one_line(line, WHAT)?;
        let cert = Self::from_blob(&blob)?;
        if cert.body.key.algorithm().cert_name() == name { Ok(cert) } else { Err(Error::Malformed(WHAT)) }
    }
}

impl Certificate {
    /// True when a key blob is a certificate's (of whatever kind of key).
    #[must_use]
    pub fn is_certificate(blob: &[u8]) -> bool {
        Reader::new(WHAT, blob).text().is_ok_and(|name| name.ends_with(CERT_SUFFIX))
    }

    /// Reads a certificate's blob.
    ///
    /// # Errors
    /// Malformed, too long, or over a kind of key we do not use.
    pub fn from_blob(blob: &[u8]) -> Result<Self, Error> {
        if blob.len() > MAX_BLOB {
            return Err(Error::TooLong(WHAT, MAX_BLOB));
        }
        let mut reader = Reader::new(WHAT, blob);
        let name = reader.text()?;
        let plain = name.strip_suffix(CERT_SUFFIX).ok_or(Error::Malformed(WHAT))?;
        let algorithm = Algorithm::parse(plain)?;
        let nonce = reader.string()?.to_vec();
        let key = PublicKey::read_fields(algorithm, &mut reader)?;
        let serial = reader.u64()?;
        let kind = match reader.u32()? {
            1 => CertKind::User,
            2 => CertKind::Host,
            _ => return Err(Error::Malformed(WHAT)),
        };
        let key_id = reader.text()?.to_owned();
        let principals = read_principals(reader.string()?)?;
        let (valid_after, valid_before) = (reader.u64()?, reader.u64()?);
        let critical = read_options(reader.string()?)?;
        let extensions = read_options(reader.string()?)?;
        reader.string()?;
        let authority = PublicKey::from_blob(reader.string()?)?;
        let signed = blob.len().saturating_sub(reader.remaining());
        let signature = reader.string()?.to_vec();
        reader.end()?;
        let body = Body {
            nonce,
            key,
            serial,
            kind,
            key_id,
            principals,
            valid_after,
            valid_before,
            critical,
            extensions,
            authority,
        };
        Ok(Self { blob: blob.to_vec(), signed, signature, body })
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    /// The bytes under the signature, as received.
    pub(crate) fn signed_bytes(&self) -> &[u8] {
        self.blob.get(..self.signed).unwrap_or_default()
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The certificate as sent on the wire.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The name of this kind of certificate, e.g. `ssh-ed25519-cert-v01@openssh.com`.
    #[must_use]
    pub fn algorithm_name(&self) -> String {
        self.body.key.algorithm().cert_name()
    }

    /// The key it is about: the only key whose signatures speak for the holder.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.body.key
    }

    /// The key that claims to have signed it.
    #[must_use]
    pub fn authority(&self) -> &PublicKey {
        &self.body.authority
    }

    /// For people or for hosts.
    #[must_use]
    pub fn kind(&self) -> CertKind {
        self.body.kind
    }

    /// The serial number.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.body.serial
    }

    /// What the authority calls the holder. Unverified: for logs, escape it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.body.key_id
    }

    /// The names it is good for.
    #[must_use]
    pub fn principals(&self) -> &[String] {
        &self.body.principals
    }

    /// When it stops being good.
    #[must_use]
    pub fn expires_at(&self) -> model::Timestamp {
        seconds(self.body.valid_before)
    }

    /// An extension's raw data.
    #[must_use]
    pub fn extension(&self, name: &str) -> Option<&[u8]> {
        self.body.extensions.iter().find(|(n, _)| n == name).map(|(_, data)| data.as_slice())
    }
}

/// SSH's seconds as ours; "for ever" and the like saturate.
pub(crate) fn seconds(secs: u64) -> model::Timestamp {
    model::Timestamp::from_secs(i64::try_from(secs).unwrap_or(i64::MAX))
}

fn read_principals(packed: &[u8]) -> Result<Vec<String>, Error> {
    let mut reader = Reader::new(WHAT, packed);
    let mut names = Vec::new();
    while !reader.is_empty() {
        if names.len() == MAX_PRINCIPALS {
            return Err(Error::TooMany("principals", MAX_PRINCIPALS));
        }
        names.push(reader.text()?.to_owned());
    }
    Ok(names)
}

/// Options are sorted by name and none comes twice, as the format demands.
fn read_options(packed: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut reader = Reader::new(WHAT, packed);
    let mut options: Vec<(String, Vec<u8>)> = Vec::new();
    while !reader.is_empty() {
        let (name, data) = (reader.text()?, reader.string()?);
        if options.last().is_some_and(|(last, _)| last.as_str() >= name) {
            return Err(Error::Malformed(WHAT));
        }
        options.push((name.to_owned(), data.to_vec()));
    }
    Ok(options)
}
