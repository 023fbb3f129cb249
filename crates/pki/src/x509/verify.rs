//! Decides whether to believe an X.509 certificate, by rustls-webpki, and takes the identity out of it.
//!
//! People's certificates count only under the user authority, hosts' only under the host authority.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use model::{Identity, Subject, Timestamp};
use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use webpki::aws_lc_rs as algorithms;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{IDENTITY_OID, pem};
use crate::{BACKDATE, Error, MAX_BLOB, Trust, identity};

const WHAT: &str = "certificate";

/// What our authorities sign with.
const SIGNED_WITH: &[&dyn SignatureVerificationAlgorithm] =
    &[algorithms::ED25519, algorithms::ECDSA_P256_SHA256];

/// Verifies a TLS client's certificate: a person's or a host's. Where the identity pins an address, comparing it is left
/// to the caller, who knows whether the one it sees is the person's or a proxy's.
///
/// # Errors
/// Says which check failed; to the peer all of them should look alike.
pub fn verify_client(cert: &CertificateDer<'_>, trust: &Trust, now: Timestamp) -> Result<Identity, Error> {
    let identity = match chains(cert, trust.user_roots(), now, KeyUsage::client_auth()) {
        Ok(()) => match read_identity(cert)? {
            identity @ Identity { subject: Subject::User { .. }, .. } => identity,
            Identity { subject: Subject::Host { .. }, .. } => return Err(Error::WrongKind("user")),
        },
        Err(Error::Untrusted) => {
            chains(cert, trust.host_roots(), now, KeyUsage::client_auth())?;
            host_identity(cert)?
        }
        Err(error) => return Err(error),
    };
    alive(identity, now)
}

/// Verifies a TLS server's certificate: a host's, for the name the caller meant to reach.
///
/// # Errors
/// Says which check failed.
pub fn verify_server(
    cert: &CertificateDer<'_>,
    trust: &Trust,
    name: &ServerName<'_>,
    now: Timestamp,
) -> Result<Identity, Error> {
    chains(cert, trust.host_roots(), now, KeyUsage::server_auth())?;
    EndEntityCert::try_from(cert)
        .and_then(|leaf| leaf.verify_is_valid_for_subject_name(name))
        .map_err(|_| Error::WrongPrincipal(name.to_str().into_owned()))?;
    alive(host_identity(cert)?, now)
}

/// `sha256:<hex>` over the certificate's SubjectPublicKeyInfo.
///
/// # Errors
/// Not a certificate.
pub fn pin(cert: &CertificateDer<'_>) -> Result<String, Error> {
    let parsed = parse(cert)?;
    Ok(format!("sha256:{}", HEXLOWER.encode(digest(&SHA256, parsed.public_key().raw).as_ref())))
}

/// The key that a certificate is over, PEM, as [`plain_key`](super::plain_key) writes it.
///
/// # Errors
/// Not a certificate.
pub fn key_of(cert: &CertificateDer<'_>) -> Result<String, Error> {
    Ok(pem("PUBLIC KEY", parse(cert)?.public_key().raw))
}

/// When a certificate of ours was issued: it is good from [`BACKDATE`] before.
///
/// # Errors
/// Not a certificate.
pub fn issued_at(cert: &CertificateDer<'_>) -> Result<Timestamp, Error> {
    Ok(Timestamp::from_secs(parse(cert)?.validity().not_before.timestamp()) + BACKDATE)
}

/// When a certificate ends, whoever issued it.
///
/// # Errors
/// Not a certificate.
pub fn expires_at(cert: &CertificateDer<'_>) -> Result<Timestamp, Error> {
    Ok(Timestamp::from_secs(parse(cert)?.validity().not_after.timestamp()))
}

fn parse<'a>(cert: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    if cert.len() > MAX_BLOB {
        return Err(Error::TooLong(WHAT, MAX_BLOB));
    }
    match X509Certificate::from_der(cert) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) | Err(_) => Err(Error::Malformed(WHAT)),
    }
}

fn chains(
    cert: &CertificateDer<'_>,
    roots: &[CertificateDer<'_>],
    now: Timestamp,
    usage: KeyUsage,
) -> Result<(), Error> {
    if cert.len() > MAX_BLOB {
        return Err(Error::TooLong(WHAT, MAX_BLOB));
    }
    let leaf = EndEntityCert::try_from(cert).map_err(|_| Error::Malformed(WHAT))?;
    let anchors: Vec<_> = roots
        .iter()
        .map(anchor_from_trusted_cert)
        .collect::<Result<_, _>>()
        .map_err(|_| Error::Malformed("trusted root"))?;
    let at = UnixTime::since_unix_epoch(now.since(Timestamp::from_millis(0)));
    leaf.verify_for_usage(SIGNED_WITH, &anchors, &[], at, usage, None, None)
        .map(|_| ())
        .map_err(|error| reason(&error, cert))
}

fn reason(error: &webpki::Error, cert: &CertificateDer<'_>) -> Error {
    let limits = |pick: fn(&X509Certificate<'_>) -> i64| {
        parse(cert).map_or(Timestamp::default(), |c| Timestamp::from_secs(pick(&c)))
    };
    match error {
        webpki::Error::CertExpired { .. } => Error::Expired(limits(|c| c.validity().not_after.timestamp())),
        webpki::Error::CertNotValidYet { .. } => {
            Error::NotYetValid(limits(|c| c.validity().not_before.timestamp()))
        }
        webpki::Error::UnsupportedCriticalExtension => Error::CriticalOption("X.509 extension".to_owned()),
        webpki::Error::RequiredEkuNotFoundContext(_) => Error::WrongKind("matching"),
        _ => Error::Untrusted,
    }
}

fn host_identity(cert: &CertificateDer<'_>) -> Result<Identity, Error> {
    match read_identity(cert)? {
        identity @ Identity { subject: Subject::Host { .. }, .. } => Ok(identity),
        Identity { subject: Subject::User { .. }, .. } => Err(Error::WrongKind("host")),
    }
}

/// The identity a certificate claims, verified by nobody.
pub(crate) fn read_identity(cert: &CertificateDer<'_>) -> Result<Identity, Error> {
    let parsed = parse(cert)?;
    let oid = IDENTITY_OID.map(|part| part.to_string()).join(".");
    let mut found = parsed.extensions().iter().filter(|e| e.oid.to_id_string() == oid);
    let (Some(extension), None) = (found.next(), found.next()) else {
        return Err(Error::Malformed("identity"));
    };
    identity::decode(octets(extension.value)?)
}

/// The bytes of one OCTET STRING that fills the whole value.
fn octets(value: &[u8]) -> Result<&[u8], Error> {
    match x509_parser::der_parser::parse_der(value) {
        Ok(([], object)) => match object.content {
            x509_parser::der_parser::ber::BerObjectContent::OctetString(bytes) => Ok(bytes),
            _ => Err(Error::Malformed("identity")),
        },
        Ok(_) | Err(_) => Err(Error::Malformed("identity")),
    }
}

fn alive(identity: Identity, now: Timestamp) -> Result<Identity, Error> {
    if now >= identity.expires_at { Err(Error::Expired(identity.expires_at)) } else { Ok(identity) }
}
