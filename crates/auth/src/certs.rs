//! Certificates: a person's after signing in, a host's by joining and renewing.
//!
//! Renewing never widens: same id, same roles. An id belongs to whoever joined with it first, as long as their
//! certificate lives: another key under the same id is refused until an admin removes the node, and so is the first key
//! once another has joined. Whoever joins proves that they hold the key.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use audit::event::kinds::{CertCreate, InstanceJoin};
use audit::event::{Connection, Status, Who};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use model::api::audit::AuditEvent;
use model::api::certs::{HostCerts, Join, Renew, UserCerts};
use model::api::cluster::CaKind;
use model::resource::User;
use model::time::Span;
use model::{Identity, NodeId, Subject, SystemRole, Timestamp};
use pki::ssh::{HostRequest, PublicKey, UserRequest};
use pki::x509::Leaf;
use store::{Condition, Txn};

use crate::authority::Core;
use crate::db::{encode, key};
use crate::dispatch::Ctx;
use crate::host::Host;
use crate::refusal::{Answer, Refusal};
use crate::settings::LONGEST_USER_CERT;
use crate::{gate, removed, static_tokens, tokens};

/// The shortest life worth a certificate.
const SHORTEST: Duration = Duration::from_secs(60);
const MAX_PRINCIPALS: usize = 32;

/// What a person asks certificates over.
pub(crate) struct UserWish<'a> {
    pub(crate) ssh_key: &'a str,
    pub(crate) tls_key_pem: &'a str,
    pub(crate) ttl: Option<Span>,
}

/// Issues a person's certificates; gives the event to be written before they are handed out.
pub(crate) fn issue_user(
    core: &Core,
    user: &User,
    wish: &UserWish<'_>,
    from: Option<IpAddr>,
    mfa_at: Option<Timestamp>,
) -> Answer<(UserCerts, AuditEvent)> {
    let grant = gate::certificate_grant(core, user);
    let wanted = wish.ttl.map_or(core.settings.times.user_cert, |t| t.0);
    let ttl = wanted.min(grant.max_ttl).min(LONGEST_USER_CERT);
    if ttl < SHORTEST {
        return Err(Refusal::bad("a certificate lives at least one minute"));
    }
    if grant.pin_ip && from.is_none() {
        return Err(Refusal::bad("your roles bind certificates to an address, and yours is not known"));
    }
    let now = core.now();
    let identity = Identity {
        subject: Subject::User {
            name: user.name.clone(),
            roles: user.roles.clone(),
            traits: user.traits.clone(),
            logins: grant.logins,
        },
        cluster: core.settings.cluster_name.clone(),
        // Whole seconds, as certificates count.
        expires_at: Timestamp::from_secs((now + ttl).secs()),
        login_ip: from,
        pin_ip: grant.pin_ip,
        mfa_at,
        impersonator: None,
        disallow_reissue: false,
    };
    let ssh_key = parse_ssh(wish.ssh_key)?;
    let keys = core.keys.now();
    let ca = keys.signer(CaKind::User)?;
    let ssh_cert = pki::ssh::issue_user(
        &ca.ssh,
        &UserRequest {
            key: &ssh_key,
            identity: &identity,
            permits: grant.permits,
            serial: serial(core),
            nonce: core.random.bytes(),
            now,
        },
    )
    .map_err(unfit)?;
    let tls_cert_pem = leaf(core, &ca.tls, &identity, wish.tls_key_pem, &[])?;
    let event = core.stamped(&created(&identity, "user"));
    let certs = UserCerts {
        user: user.name.clone(),
        ssh_cert: ssh_cert.to_string(),
        tls_cert_pem,
        trust: keys.bundle().clone(),
        cluster: identity.cluster,
        expires: identity.expires_at,
    };
    Ok((certs, event))
}

/// What a host asks certificates over.
pub(crate) struct HostWish<'a> {
    pub(crate) host: &'a Host,
    pub(crate) principals: &'a [String],
    pub(crate) ssh_key: &'a str,
    pub(crate) tls_key_pem: &'a str,
}

/// Issues a host's certificates.
pub(crate) fn issue_host(core: &Core, wish: &HostWish<'_>) -> Answer<(HostCerts, AuditEvent)> {
    let now = core.now();
    let identity = Identity {
        subject: Subject::Host {
            id: wish.host.id.clone(),
            name: wish.host.name.clone(),
            roles: wish.host.roles.clone(),
        },
        cluster: core.settings.cluster_name.clone(),
        expires_at: Timestamp::from_secs(wish.host.expires.secs()),
        login_ip: None,
        pin_ip: false,
        mfa_at: None,
        impersonator: None,
        disallow_reissue: false,
    };
    let ssh_key = parse_ssh(wish.ssh_key)?;
    let keys = core.keys.now();
    let ca = keys.signer(CaKind::Host)?;
    let ssh_cert = pki::ssh::issue_host(
        &ca.ssh,
        &HostRequest {
            key: &ssh_key,
            identity: &identity,
            principals: wish.principals,
            serial: serial(core),
            nonce: core.random.bytes(),
            now,
        },
    )
    .map_err(unfit)?;
    let tls_cert_pem = leaf(core, &ca.tls, &identity, wish.tls_key_pem, wish.principals)?;
    let event = core.stamped(&created(&identity, "host"));
    let certs = HostCerts {
        ssh_cert: ssh_cert.to_string(),
        tls_cert_pem,
        trust: keys.bundle().clone(),
        cluster: identity.cluster,
        expires: identity.expires_at,
        labels: wish.host.labels.clone(),
    };
    Ok((certs, event))
}

fn parse_ssh(text: &str) -> Answer<PublicKey> {
    text.trim().parse().map_err(|e| Refusal::bad(format!("ssh_key: {e}")))
}

fn leaf(
    core: &Core,
    ca: &pki::Authority,
    identity: &Identity,
    key_pem: &str,
    names: &[String],
) -> Answer<String> {
    let leaf = Leaf { key_pem, identity, names, serial: core.random.bytes(), now: core.now() };
    pki::x509::issue(ca, &leaf).map_err(unfit)
}

fn unfit(error: pki::Error) -> Refusal {
    match error {
        pki::Error::Crypto(_) => Refusal::internal(error),
        other => Refusal::bad(other.to_string()),
    }
}

fn serial(core: &Core) -> u64 {
    u64::from_be_bytes(core.random.bytes())
}

fn created(identity: &Identity, cert_type: &str) -> CertCreate {
    let mut said = BTreeMap::new();
    let text = |items: Vec<String>| serde_json::Value::from(items);
    match &identity.subject {
        Subject::User { name, roles, logins, .. } => {
            said.insert("user".to_owned(), name.as_str().into());
            said.insert("roles".to_owned(), text(roles.iter().map(ToString::to_string).collect()));
            said.insert("logins".to_owned(), text(logins.iter().map(ToString::to_string).collect()));
        }
        Subject::Host { id, name, roles } => {
            said.insert("host_id".to_owned(), id.as_str().into());
            said.insert("node_name".to_owned(), name.as_str().into());
            said.insert("roles".to_owned(), text(roles.iter().map(ToString::to_string).collect()));
        }
    }
    said.insert("expires".to_owned(), identity.expires_at.to_string().into());
    CertCreate { who: Who::of(identity), cert_type: cert_type.into(), identity: said }
}

/// Names a host may be certified for beside its own: nobody else's, none of the cluster's.
async fn check_principals(core: &Core, host: &Host, principals: &[String]) -> Answer<()> {
    if principals.len() > MAX_PRINCIPALS {
        return Err(Refusal::bad(format!("a host has at most {MAX_PRINCIPALS} further names")));
    }
    if let Some(name) = principals.iter().find(|name| is_reserved(core, name)) {
        return Err(Refusal::bad(format!("`{name}` is not a name a host may have")));
    }
    let public = |name: &str| core.settings.public_names.iter().any(|public| is_same(public, name));
    let own = |name: &str| is_same(host.name.as_str(), name);
    let further: Vec<&String> = principals.iter().filter(|name| !own(name) && !public(name)).collect();
    if further.is_empty() {
        return Ok(());
    }
    let others = core.db.all::<Host>("hosts").await?;
    let is_others = |name: &str| others.iter().any(|(_, doc)| is_known_as(core, &doc.value, name));
    match further.into_iter().find(|name| is_others(name)) {
        Some(name) => Err(Refusal::bad(format!(
            "`{name}` is the name of another node, and no other host is certified for it: take it out of this \
             host's advertise_ip and public_addr, or remove that node first (mctl nodes rm)"
        ))),
        None => Ok(()),
    }
}

/// People reach this host by that name, and would believe another that is certified for it.
fn is_known_as(core: &Core, host: &Host, name: &str) -> bool {
    host.roles.contains(&SystemRole::Node) && host.expires > core.now() && is_same(host.name.as_str(), name)
}

/// Names are compared as DNS does.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}

fn is_reserved(core: &Core, name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let cluster = core.settings.cluster_name.as_str().to_ascii_lowercase();
    name.ends_with(".moongate.internal")
        || name == cluster
        || name.strip_suffix(&cluster).is_some_and(|rest| rest.ends_with('.'))
        || name.contains('*')
        || name.parse::<NodeId>().is_ok()
}

pub(crate) async fn join(ctx: Ctx, ask: Join) -> Answer<HostCerts> {
    let core = &ctx.core;
    let from = ctx.caller.vouched_address(None);
    // Guessing tokens is slowed by address, so a guess is not even looked at when too many went wrong; so is filling
    // the log with failures. What goes right costs nothing.
    core.has_left(&core.limits.join, from)?;
    let outcome = try_join(core, &ask).await;
    let status = match &outcome {
        Ok(_) => Status::ok(),
        Err(refusal) => Status::failed(refusal.message.clone()),
    };
    let joined = core.stamped(&InstanceJoin {
        status,
        connection: Connection {
            remote: from.map(|ip| ip.to_string()).unwrap_or_default(),
            ..Connection::default()
        },
        host_id: ask.id.to_string(),
        node_name: ask.name.to_string(),
        method: "token".into(),
        token_name: static_tokens::id_of(&ask.token),
        role: ask.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    });
    match outcome {
        Ok((certs, created)) => {
            core.log.write(vec![joined, created]).await?;
            Ok(certs)
        }
        Err(refusal) => {
            core.spend(&core.limits.join, from)?;
            core.log.write(vec![joined]).await?;
            Err(refusal)
        }
    }
}

async fn try_join(core: &Core, ask: &Join) -> Answer<(HostCerts, AuditEvent)> {
    let token = tokens::find(core, &ask.token).await?;
    // One answer for no token, an expired one, and one for other roles.
    let token = token
        .filter(|t| !ask.roles.is_empty() && ask.roles.is_subset(&t.roles))
        .ok_or_else(|| Refusal::unauthenticated("the token is unknown, expired, or not for these roles"))?;
    is_proven(ask)?;
    if is_reserved(core, ask.name.as_str()) {
        return Err(Refusal::bad(format!("`{}` is not a name a host may have", ask.name)));
    }
    let host = Host {
        id: ask.id.clone(),
        name: ask.name.clone(),
        roles: ask.roles.clone(),
        labels: token.labels,
        tls_key: key_name(&ask.tls_key_pem)?,
        earlier_key: None,
        expires: removed::outlived(core, &ask.id, core.now() + core.settings.times.host_cert).await?,
    };
    check_principals(core, &host, &ask.principals).await?;
    let place = key("hosts", &host.id)?;
    let known = core.db.get::<Host>(&place).await?;
    let condition = match &known {
        None => Condition::Absent(place.clone()),
        Some(doc) => Condition::At(place.clone(), doc.revision),
    };
    let taken = |old: &Host| old.tls_key != host.tls_key && old.expires > core.now();
    if known.is_some_and(|doc| taken(&doc.value)) {
        return Err(Refusal::conflict(format!(
            "the id {} belongs to a host that joined with another key: remove that node first (mctl nodes rm {}), \
             or give this host an id of its own by removing its host_id file",
            host.id, host.id
        )));
    }
    let wish = HostWish {
        host: &host,
        principals: &ask.principals,
        ssh_key: &ask.ssh_key,
        tls_key_pem: &ask.tls_key_pem,
    };
    let issued = issue_host(core, &wish)?;
    core.db.commit(Txn::new().when(condition).put(place, encode(&host)?)).await?;
    Ok(issued)
}

pub(crate) async fn renew(ctx: Ctx, ask: Renew) -> Answer<HostCerts> {
    let core = &ctx.core;
    let (id, _, roles) = ctx.pass.host()?;
    let place = key("hosts", id)?;
    // A host an admin removed must join again.
    let doc = core.db.get::<Host>(&place).await?.ok_or_else(Refusal::not_found)?;
    let mut host = doc.value;
    check_principals(core, &host, &ask.principals).await?;
    host.roles = host.roles.intersection(roles).copied().collect();
    host.tls_key = key_name(&ask.tls_key_pem)?;
    host.earlier_key = ctx.caller.key.clone().filter(|key| *key != host.tls_key);
    host.expires = removed::outlived(core, id, core.now() + core.settings.times.host_cert).await?;
    let wish = HostWish {
        host: &host,
        principals: &ask.principals,
        ssh_key: &ask.ssh_key,
        tls_key_pem: &ask.tls_key_pem,
    };
    let (certs, event) = issue_host(core, &wish)?;
    core.log.write(vec![event]).await?;
    let txn = Txn::new().when(Condition::At(place.clone(), doc.revision)).put(place, encode(&host)?);
    core.db.commit(txn).await?;
    Ok(certs)
}

/// A host's id and key are in the certificate it shows to everybody: whoever asks for another one holds the key too.
fn is_proven(ask: &Join) -> Answer<()> {
    if ask.proof.is_empty() {
        return Err(Refusal::bad(
            "the host does not prove that it holds its TLS key: its moongate is older than the authority's; update it \
             and join again",
        ));
    }
    pki::joining::check(ask).map_err(|e| Refusal::bad(format!("proof: {e}")))
}

/// Names a TLS key that somebody sent.
pub(crate) fn key_name(key_pem: &str) -> Answer<String> {
    Ok(fingerprint(&pki::x509::plain_key(key_pem).map_err(unfit)?))
}

/// Names a TLS key as certificates carry it: only the letters of its PEM count.
pub(crate) fn fingerprint(key_pem: &str) -> String {
    let body: String = key_pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .collect();
    HEXLOWER.encode(digest(&SHA256, body.as_bytes()).as_ref())
}
