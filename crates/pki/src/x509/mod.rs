//! X.509: authorities' own certificates, leaves that carry the identity, and verifying both.
//!
//! The identity travels in one private extension, [`IDENTITY_OID`], as the bytes of `identity::encode` in an OCTET
//! STRING. Names in the subject are for people who look; nothing here reads them back.

mod issue;
mod spki;
mod verify;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

pub use issue::{Leaf, authority_certificate, issue, self_signed};
pub use spki::plain_key;
pub(crate) use spki::{SubjectKey, private_from_pkcs8, spki_der};
pub(crate) use verify::read_identity;
pub use verify::{expires_at, issued_at, key_of, pin, verify_client, verify_server};

use crate::{Error, MAX_BLOB};

/// Where the identity is found.
pub const IDENTITY_OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 58888, 1, 1];

/// The name proxies present to those who come by tunnel or route; fixed, so that a dialer needs no other.
pub const PROXY_NAME: &str = "proxy.moongate.internal";

/// The name authorities present.
pub const AUTH_NAME: &str = "auth.moongate.internal";

/// Wraps DER in PEM. It may be a private key: no copy of it is left behind.
#[must_use]
pub fn pem(label: &str, der: &[u8]) -> String {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    // Room for all of it, line ends included: what grows leaves what it was.
    let mut out = String::with_capacity(encoded.len() + encoded.len() / 64 + 2 * label.len() + 40);
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    for line in encoded.as_bytes().chunks(64) {
        out.extend(line.iter().copied().map(char::from));
        out.push('\n');
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

/// Takes the one DER of the given label out of PEM; text around it is ignored, a second block is refused.
///
/// # Errors
/// None, several, or malformed.
pub fn der_from_pem(label: &'static str, text: &str) -> Result<Vec<u8>, Error> {
    let mut all = ders_from_pem(label, text)?;
    match (all.pop(), all.is_empty()) {
        (Some(der), true) => Ok(der),
        (Some(_) | None, _) => Err(Error::Malformed(label)),
    }
}

fn ders_from_pem(label: &'static str, text: &str) -> Result<Vec<Vec<u8>>, Error> {
    if text.len() > MAX_BLOB {
        return Err(Error::TooLong(label, MAX_BLOB));
    }
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&begin) {
        let (body, after) = after.split_once(&end).ok_or(Error::Malformed(label))?;
        found.push(decode(body).ok_or(Error::Malformed(label))?);
        rest = after;
    }
    Ok(found)
}

/// Base64 with white space. It may be a private key: no copy of it is left behind.
pub(crate) fn decode(body: &str) -> Option<Vec<u8>> {
    let mut packed = Zeroizing::new(String::with_capacity(body.len()));
    packed.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
    STANDARD.decode(packed.as_bytes()).ok()
}

/// Reads one certificate from PEM.
///
/// # Errors
/// None, several, or malformed.
pub fn certificate_from_pem(text: &str) -> Result<CertificateDer<'static>, Error> {
    der_from_pem("CERTIFICATE", text).map(CertificateDer::from)
}
