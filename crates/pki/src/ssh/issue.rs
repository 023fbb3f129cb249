//! Issues SSH certificates. Serial, nonce and time are given; what the certificate says comes from the identity.

use model::{ClusterName, Identity, NodeId, NodeName, Subject, Timestamp};

use super::cert::{Body, CertKind, Certificate};
use super::key::{PublicKey, shown};
use super::{IDENTITY_EXTENSION, Permits};
use crate::bytes::put_string;
use crate::{BACKDATE, Error, Signer, identity};

/// Stands in for the logins of somebody who has none: no account can have this name (it begins with a dash), and
/// a certificate without any principal would be good for every account on servers that do not look closely.
const NO_LOGIN: &str = "-moongate-nologin";

/// Why a name with `*`, `?` or `!` is refused.
pub(crate) const WILD: &str = "has a wildcard and would be good for others too";

/// The longest name, in bytes: DNS allows no longer one (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;

/// What a user certificate is made of.
#[derive(Debug)]
pub struct UserRequest<'a> {
    /// The key to certify.
    pub key: &'a PublicKey,
    /// Who holds it; logins become principals, the expiry the certificate's.
    pub identity: &'a Identity,
    /// What stock servers may allow.
    pub permits: Permits,
    /// Names the certificate in lists.
    pub serial: u64,
    /// 32 random bytes.
    pub nonce: [u8; 32],
    /// The time now.
    pub now: Timestamp,
}

/// What a host certificate is made of.
#[derive(Debug)]
pub struct HostRequest<'a> {
    /// The key to certify.
    pub key: &'a PublicKey,
    /// Which host.
    pub identity: &'a Identity,
    /// Names beyond those of [`host_principals`].
    pub principals: &'a [String],
    /// Names the certificate in lists.
    pub serial: u64,
    /// 32 random bytes.
    pub nonce: [u8; 32],
    /// The time now.
    pub now: Timestamp,
}

/// Issues a user certificate.
///
/// # Errors
/// The identity is not a user's, a login cannot be a principal, the expiry has passed, or signing failed.
pub fn issue_user(ca: &dyn Signer, request: &UserRequest<'_>) -> Result<Certificate, Error> {
    let Subject::User { name, logins, .. } = &request.identity.subject else {
        return Err(Error::WrongKind("user"));
    };
    let principals = if logins.is_empty() {
        vec![NO_LOGIN.to_owned()]
    } else {
        logins.iter().map(|login| principal(login.as_str())).collect::<Result<_, _>>()?
    };
    let critical = match (request.identity.pin_ip, request.identity.login_ip) {
        (true, Some(ip)) => {
            // A listener for both kinds sees 192.0.2.1 as ::ffff:192.0.2.1; whoever checks it sees the address itself.
            let ip = ip.to_canonical();
            let bits = if ip.is_ipv4() { 32 } else { 128 };
            vec![("source-address".to_owned(), nested(format!("{ip}/{bits}").as_bytes()))]
        }
        (true, None) => return Err(Error::Contradiction("pinned to an address, but to none")),
        (false, _) => Vec::new(),
    };
    let mut extensions = vec![(IDENTITY_EXTENSION.to_owned(), nested(&identity::encode(request.identity)?))];
    let permits = request.permits;
    for (granted, word) in [
        (permits.x11_forwarding, "permit-X11-forwarding"),
        (permits.agent_forwarding, "permit-agent-forwarding"),
        (permits.port_forwarding, "permit-port-forwarding"),
        (permits.pty, "permit-pty"),
    ] {
        if granted {
            extensions.push((word.to_owned(), Vec::new()));
        }
    }
    let body = Body {
        nonce: request.nonce.to_vec(),
        key: request.key.clone(),
        serial: request.serial,
        kind: CertKind::User,
        key_id: name.to_string(),
        principals,
        valid_after: valid_after(request.now),
        valid_before: valid_before(request.identity, request.now)?,
        critical,
        extensions,
        authority: ca.ssh_public(),
    };
    sign(ca, &body)
}

/// Issues a host certificate.
///
/// # Errors
/// The identity is not a host's, a name cannot be a principal, the expiry has passed, or signing failed.
pub fn issue_host(ca: &dyn Signer, request: &HostRequest<'_>) -> Result<Certificate, Error> {
    let Subject::Host { id, name, .. } = &request.identity.subject else {
        return Err(Error::WrongKind("host"));
    };
    let mut principals = host_principals(id, name, &request.identity.cluster);
    for extra in request.principals {
        let extra = principal(extra)?;
        // Stock clients read a host's names as patterns: `gpu-?` would be a good name for nine other hosts.
        if extra.contains(['*', '?', '!']) {
            return Err(Error::BadPrincipal(shown(&extra), WILD));
        }
        if !principals.contains(&extra) {
            principals.push(extra);
        }
    }
    let body = Body {
        nonce: request.nonce.to_vec(),
        key: request.key.clone(),
        serial: request.serial,
        kind: CertKind::Host,
        key_id: format!("{id}.{}", request.identity.cluster),
        principals,
        valid_after: valid_after(request.now),
        valid_before: valid_before(request.identity, request.now)?,
        critical: Vec::new(),
        extensions: vec![(IDENTITY_EXTENSION.to_owned(), nested(&identity::encode(request.identity)?))],
        authority: ca.ssh_public(),
    };
    sign(ca, &body)
}

/// The names every host is certified for: `<id>`, `<id>.<cluster>`, `<name>`, `<name>.<cluster>`; those with capital
/// letters in small ones too, because that is what stock clients look for, whatever was typed.
#[must_use]
pub fn host_principals(id: &NodeId, name: &NodeName, cluster: &ClusterName) -> Vec<String> {
    let mut names =
        vec![id.to_string(), format!("{id}.{cluster}"), name.to_string(), format!("{name}.{cluster}")];
    for n in 0..names.len() {
        let small = names.get(n).map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        if !names.contains(&small) {
            names.push(small);
        }
    }
    names
}

/// Lets a name become a principal, or says why not.
pub(crate) fn principal(name: &str) -> Result<String, Error> {
    let parts = |c: char| c == ',' || c.is_whitespace() || c.is_control();
    let why = match name {
        "" => "is empty",
        long if long.len() > MAX_NAME => "is longer than 255 bytes",
        cut if cut.contains(parts) => "has a comma, space or control character",
        good => return Ok(good.to_owned()),
    };
    Err(Error::BadPrincipal(shown(name), why))
}

fn nested(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, data);
    out
}

fn valid_after(now: Timestamp) -> u64 {
    u64::try_from((now - BACKDATE).secs()).unwrap_or(0)
}

fn valid_before(identity: &Identity, now: Timestamp) -> Result<u64, Error> {
    if identity.expires_at <= now {
        return Err(Error::Expired(identity.expires_at));
    }
    u64::try_from(identity.expires_at.secs()).map_err(|_| Error::Expired(identity.expires_at))
}

fn sign(ca: &dyn Signer, body: &Body) -> Result<Certificate, Error> {
    let mut blob = body.to_be_signed();
    let signature = ca.ssh_sign(&blob)?;
    put_string(&mut blob, &signature);
    Certificate::from_blob(&blob)
}
