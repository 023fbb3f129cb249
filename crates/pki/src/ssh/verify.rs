//! Decides whether to believe an SSH certificate.
//!
//! In this order: kind, authority (a plain key, by raw bytes), signature, time, form of the names, critical options, the
//! name wanted, identity. What a certificate says twice must agree.

use std::net::IpAddr;

use model::{Identity, Login, Subject, Timestamp};

use super::cert::{CertKind, Certificate, seconds};
use super::key::{PublicKey, shown};
use super::{IDENTITY_EXTENSION, Permits};
use crate::bytes::Reader;
use crate::{Error, Trust, identity};

/// A person, as a verified certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedUser {
    /// Who.
    pub identity: Identity,
    /// The key whose signatures speak for them.
    pub key: PublicKey,
    /// Local accounts it is good for: the identity's logins, each of them a name of the certificate too.
    pub principals: Vec<String>,
    /// What it lets servers allow.
    pub permits: Permits,
    /// The certificate's serial.
    pub serial: u64,
    /// When it stops being good: the earlier of the certificate's and the identity's end.
    pub expires_at: Timestamp,
}

impl VerifiedUser {
    /// True when the certificate is good for this account. Policy has the last word.
    #[must_use]
    pub fn has_login(&self, login: &Login) -> bool {
        self.principals.iter().any(|name| name == login.as_str())
    }
}

/// A host, as a verified certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHost {
    /// Which.
    pub identity: Identity,
    /// The key whose signatures speak for it.
    pub key: PublicKey,
    /// The names it is good for.
    pub principals: Vec<String>,
    /// When it stops being good.
    pub expires_at: Timestamp,
}

/// Verifies a user certificate. `peer` is the address the connection comes from, where it is known: a certificate
/// pinned to an address is refused from another, and from an unknown one.
///
/// # Errors
/// Says which check failed; to the peer all of them should look alike.
pub fn verify_user(
    cert: &Certificate,
    trust: &Trust,
    peer: Option<IpAddr>,
    now: Timestamp,
) -> Result<VerifiedUser, Error> {
    believe(cert, CertKind::User, trust.user_ssh(), now)?;
    let body = cert.body();
    for (name, data) in &body.critical {
        match name.as_str() {
            "source-address" => from_address(data, peer)?,
            other => return Err(Error::CriticalOption(shown(other))),
        }
    }
    let identity = read_identity(cert)?;
    let Subject::User { name, logins, .. } = &identity.subject else { return Err(Error::WrongKind("user")) };
    if name.as_str() != body.key_id {
        return Err(Error::Contradiction("key id and identity name different users"));
    }
    if logins.iter().any(|login| !body.principals.iter().any(|p| p == login.as_str())) {
        return Err(Error::Contradiction("a login of the identity is no principal"));
    }
    if identity.pin_ip && (peer.is_none() || peer.map(canonical) != identity.login_ip.map(canonical)) {
        return Err(Error::WrongAddress);
    }
    let expires_at = live_until(&identity, cert, now)?;
    let has = |word| cert.extension(word).is_some();
    let permits = Permits {
        pty: has("permit-pty"),
        port_forwarding: has("permit-port-forwarding"),
        agent_forwarding: has("permit-agent-forwarding"),
        x11_forwarding: has("permit-X11-forwarding"),
    };
    Ok(VerifiedUser {
        key: body.key.clone(),
        principals: logins.iter().map(ToString::to_string).collect(),
        permits,
        serial: body.serial,
        expires_at,
        identity,
    })
}

/// Verifies a host certificate for the name the caller meant to reach. `None` accepts any name: the caller then
/// compares the identity's id itself.
///
/// # Errors
/// Says which check failed.
pub fn verify_host(
    cert: &Certificate,
    trust: &Trust,
    name: Option<&str>,
    now: Timestamp,
) -> Result<VerifiedHost, Error> {
    believe(cert, CertKind::Host, trust.host_ssh(), now)?;
    let body = cert.body();
    if let Some((option, _)) = body.critical.first() {
        return Err(Error::CriticalOption(shown(option)));
    }
    if let Some(wanted) = name
        && !body.principals.iter().any(|p| p.eq_ignore_ascii_case(wanted))
    {
        return Err(Error::WrongPrincipal(shown(wanted)));
    }
    let identity = read_identity(cert)?;
    let Subject::Host { id, .. } = &identity.subject else { return Err(Error::WrongKind("host")) };
    if format!("{id}.{}", identity.cluster) != body.key_id {
        return Err(Error::Contradiction("key id and identity name different hosts"));
    }
    let expires_at = live_until(&identity, cert, now)?;
    Ok(VerifiedHost { key: body.key.clone(), principals: body.principals.clone(), expires_at, identity })
}

/// Kind, authority, signature, time and the form of the names.
fn believe(
    cert: &Certificate,
    kind: CertKind,
    authorities: &[PublicKey],
    now: Timestamp,
) -> Result<(), Error> {
    let body = cert.body();
    if body.kind != kind {
        return Err(Error::WrongKind(kind.word()));
    }
    let authority = authorities.iter().find(|ca| **ca == body.authority).ok_or(Error::Untrusted)?;
    authority.verify(cert.signature(), cert.signed_bytes())?;
    if now < seconds(body.valid_after) {
        return Err(Error::NotYetValid(seconds(body.valid_after)));
    }
    if now >= seconds(body.valid_before) {
        return Err(Error::Expired(seconds(body.valid_before)));
    }
    if body.principals.is_empty() {
        return Err(Error::NoPrincipal);
    }
    body.principals.iter().try_for_each(|name| super::issue::principal(name).map(drop))
}

/// The identity a certificate claims, verified by nobody: for showing people their own.
///
/// # Errors
/// It carries none, or one that is malformed.
pub fn claimed_identity(cert: &Certificate) -> Result<Identity, Error> {
    read_identity(cert)
}

fn read_identity(cert: &Certificate) -> Result<Identity, Error> {
    let data = cert.extension(IDENTITY_EXTENSION).ok_or(Error::Malformed("identity"))?;
    let mut reader = Reader::new("identity", data);
    let encoded = reader.string()?;
    reader.end()?;
    identity::decode(encoded)
}

fn live_until(identity: &Identity, cert: &Certificate, now: Timestamp) -> Result<Timestamp, Error> {
    if now >= identity.expires_at {
        return Err(Error::Expired(identity.expires_at));
    }
    Ok(identity.expires_at.min(cert.expires_at()))
}

/// The `source-address` option: a list of addresses and networks.
pub(crate) fn from_address(data: &[u8], peer: Option<IpAddr>) -> Result<(), Error> {
    let mut reader = Reader::new("source-address", data);
    let list = reader.text()?;
    reader.end()?;
    let peer = canonical(peer.ok_or(Error::WrongAddress)?);
    for part in list.split(',') {
        if network_has(part, peer)? {
            return Ok(());
        }
    }
    Err(Error::WrongAddress)
}

fn network_has(part: &str, peer: IpAddr) -> Result<bool, Error> {
    let malformed = Error::Malformed("source-address");
    let (address, bits) = part.split_once('/').map_or((part, None), |(a, b)| (a, Some(b)));
    let network: IpAddr = address.parse().map_err(|_| malformed.clone())?;
    let (network, peer, width) = match (network, peer) {
        (IpAddr::V4(n), IpAddr::V4(p)) => (u128::from(n.to_bits()), u128::from(p.to_bits()), 32u32),
        (IpAddr::V6(n), IpAddr::V6(p)) => (n.to_bits(), p.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Ok(false),
    };
    let bits = match bits {
        Some(text) => text.parse::<u32>().ok().filter(|b| *b <= width).ok_or(malformed)?,
        None => width,
    };
    Ok((network ^ peer).checked_shr(width.saturating_sub(bits)).unwrap_or(0) == 0)
}

/// `::ffff:192.0.2.1` is 192.0.2.1.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
