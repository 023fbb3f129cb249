//! Issues X.509 certificates: authorities' own (ten years), leaves with an identity, and the self-signed web
//! certificate a proxy starts with.

use std::net::IpAddr;
use std::time::Duration;

use model::api::cluster::CaKind;
use model::{ClusterName, Identity, Subject, SystemRole, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::spki::{Issuing, SubjectKey};
use super::{AUTH_NAME, IDENTITY_OID, PROXY_NAME, pem};
use crate::signer::Signer;
use crate::ssh::{WILD, host_principals, principal, shown};
use crate::{BACKDATE, Error, identity};

/// How long an authority's own certificate is good.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The domain of the fixed names.
const RESERVED: &str = ".moongate.internal";

/// What a leaf is made of.
#[derive(Debug)]
pub struct Leaf<'a> {
    /// SubjectPublicKeyInfo of the key to certify, PEM.
    pub key_pem: &'a str,
    /// Who holds it; the expiry is the certificate's.
    pub identity: &'a Identity,
    /// DNS names or addresses beyond a host's own names. Users get none.
    pub names: &'a [String],
    /// 16 random bytes.
    pub serial: [u8; 16],
    /// The time now.
    pub now: Timestamp,
}

/// Makes an authority's own certificate, PEM: what goes into the trust bundle.
///
/// # Errors
/// The library refused.
pub fn authority_certificate(
    ca: &dyn Signer,
    kind: CaKind,
    cluster: &ClusterName,
    serial: [u8; 16],
    now: Timestamp,
) -> Result<String, Error> {
    let mut params = authority_params(kind, cluster);
    params.serial_number = Some(positive(serial));
    params.not_before = time(now - BACKDATE)?;
    params.not_after = time(now + AUTHORITY_LIFE)?;
    let cert = params.self_signed(&Issuing(ca)).map_err(|_| Error::Crypto("sign the authority"))?;
    Ok(pem("CERTIFICATE", cert.der()))
}

/// The parts of an authority's certificate that its leaves repeat. Two keys of one authority have the same name;
/// verifiers try each.
fn authority_params(kind: CaKind, cluster: &ClusterName) -> CertificateParams {
    let mut params = CertificateParams::default();
    let word = match kind {
        CaKind::Host => "host",
        CaKind::User => "user",
    };
    params.distinguished_name = distinguished(&format!("{cluster} {word} authority"), cluster);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// Issues a leaf: for users as TLS clients, for hosts as TLS clients and servers.
///
/// # Errors
/// The key or a name is not acceptable, the expiry has passed, or signing failed.
pub fn issue(ca: &dyn Signer, leaf: &Leaf<'_>) -> Result<String, Error> {
    if leaf.identity.expires_at <= leaf.now {
        return Err(Error::Expired(leaf.identity.expires_at));
    }
    let key = SubjectKey::from_pem(leaf.key_pem)?;
    let cluster = &leaf.identity.cluster;
    let (kind, usages) = match &leaf.identity.subject {
        Subject::User { .. } => (CaKind::User, vec![ExtendedKeyUsagePurpose::ClientAuth]),
        Subject::Host { .. } => {
            (CaKind::Host, vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth])
        }
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(&leaf.identity.display_name(), cluster);
    params.serial_number = Some(positive(leaf.serial));
    params.not_before = time(leaf.now - BACKDATE)?;
    params.not_after = time(leaf.identity.expires_at)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages;
    params.subject_alt_names = alt_names(leaf)?;
    params.custom_extensions =
        vec![CustomExtension::from_oid_content(&IDENTITY_OID, octets(&identity::encode(leaf.identity)?))];
    let issuer = Issuer::new(authority_params(kind, cluster), Issuing(ca));
    let cert = params.signed_by(&key, &issuer).map_err(|_| Error::Crypto("sign the certificate"))?;
    Ok(pem("CERTIFICATE", cert.der()))
}

/// A self-signed server certificate for the web routes, PEM, good for a year: what a proxy without
/// `https_keypairs` shows browsers.
///
/// # Errors
/// A name is not acceptable, or signing failed.
pub fn self_signed(
    key: &dyn Signer,
    names: &[String],
    serial: [u8; 16],
    now: Timestamp,
) -> Result<CertificateDer<'static>, Error> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "Moongate self-signed");
    params.distinguished_name = subject;
    params.serial_number = Some(positive(serial));
    params.not_before = time(now - BACKDATE)?;
    params.not_after = time(now + Duration::from_secs(365 * 86_400))?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = names.iter().map(|n| alt_name(n)).collect::<Result<_, _>>()?;
    let cert = params.self_signed(&Issuing(key)).map_err(|_| Error::Crypto("sign the certificate"))?;
    Ok(cert.der().clone())
}

fn alt_names(leaf: &Leaf<'_>) -> Result<Vec<SanType>, Error> {
    let Subject::Host { id, name, roles } = &leaf.identity.subject else { return Ok(Vec::new()) };
    let own = host_principals(id, name, &leaf.identity.cluster);
    // The fixed names decide who is believed to be a proxy or an authority: they come with the role, nobody gets
    // them by asking, nor by calling a host so.
    if let Some(reserved) = own.iter().chain(leaf.names).find(|n| n.to_ascii_lowercase().ends_with(RESERVED))
    {
        return Err(Error::BadPrincipal(shown(reserved), "is kept for proxies and authorities"));
    }
    if let Some(wild) = leaf.names.iter().find(|n| n.contains('*')) {
        return Err(Error::BadPrincipal(shown(wild), WILD));
    }
    let mut fixed = Vec::new();
    if roles.contains(&SystemRole::Proxy) {
        fixed.push(PROXY_NAME.to_owned());
    }
    if roles.contains(&SystemRole::Auth) {
        fixed.push(AUTH_NAME.to_owned());
    }
    // A host or a cluster may be called what DNS does not allow (`rack..1`): SSH takes it, TLS does without.
    let own = own.iter().filter(|n| alt_name(n).is_ok());
    let mut seen = std::collections::BTreeSet::new();
    own.chain(leaf.names)
        .chain(&fixed)
        .filter(|n| seen.insert(n.to_ascii_lowercase()))
        .map(|n| alt_name(n))
        .collect()
}

fn alt_name(name: &str) -> Result<SanType, Error> {
    let name = principal(name)?;
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    let bad = || Error::BadPrincipal(shown(&name), "is neither a DNS name nor an address");
    let label = |l: &str| {
        !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_*".contains(&b))
    };
    if !name.split('.').all(label) {
        return Err(bad());
    }
    name.clone().try_into().map(SanType::DnsName).map_err(|_| bad())
}

/// Subject names: for people who look at a certificate, read by nothing of ours.
fn distinguished(common: &str, cluster: &ClusterName) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, cluster.to_string().chars().take(64).collect::<String>());
    name.push(DnType::CommonName, common);
    name
}

fn positive(mut serial: [u8; 16]) -> SerialNumber {
    // A serial is a positive number (RFC 5280 section 4.1.2.2): no sign bit, no leading zero.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&serial)
}

fn time(at: Timestamp) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp(at.secs()).map_err(|_| Error::Malformed("time"))
}

/// An OCTET STRING.
fn octets(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x04];
    let len = bytes.len();
    if len < 0x80 {
        out.push(u8::try_from(len).unwrap_or(0));
    } else {
        let digits: Vec<u8> = len.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
        out.extend_from_slice(&digits);
    }
    out.extend_from_slice(bytes);
    out
}
