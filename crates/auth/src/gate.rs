//! The one gate every verb passes: who asks, what the verb declares, one decision.
//!
//! A [`Pass`] can be made here only, and handlers get nothing without one. People are asked about with the roles
//! they hold now *and* held when their certificate was issued: less of both counts. The gate asks whether there is one
//! they may do it to; which one it is only handlers know, and they ask again about each with [`require`] or
//! [`allows_one`].

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use audit::event::Who;
use model::api::access::Told;
use model::api::{Asker, Endpoint};
use model::resource::{Kind, Node, Notice, User, Verb};
use model::{Identity, Login, NodeId, NodeName, RoleName, Subject, SystemRole, Timestamp, UserName};
use policy::{Action, Ask, Object, Of, Target};

use crate::account;
use crate::authority::Core;
use crate::db::key;
use crate::host::Host;
use crate::refusal::{Answer, Refusal};
use crate::tunnels::Ended;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// What their certificate says, verified in the handshake.
    pub(crate) identity: Option<Identity>,
    /// The key that it is over, as [`fingerprint`](crate::certs::fingerprint) names it.
    pub(crate) key: Option<String>,
    /// Where the connection comes from, where that is known.
    pub(crate) peer: Option<SocketAddr>,
    /// When the connection ended, once it has.
    pub(crate) ended: Ended,
}

impl Caller {
    /// A proxy calls, or a host that is one too.
    pub(crate) fn is_proxy(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.speaks_for(SystemRole::Proxy))
    }

    /// The address a person came from: a proxy is believed about it, nobody else. Never an IPv4 address in IPv6's
    /// clothes: what is told, pinned and counted has one name.
    pub(crate) fn vouched_address(&self, claimed: Option<IpAddr>) -> Option<IpAddr> {
        let peer = self.peer.map(|p| p.ip());
        let from = if self.is_proxy() { claimed.or(peer) } else { peer };
        from.map(|ip| ip.to_canonical())
    }
}

/// Proof that the gate let a caller through. Only [`admit`] makes one.
#[derive(Clone, Debug)]
pub(crate) struct Pass(Kept);

#[derive(Clone, Debug)]
enum Kept {
    Anyone,
    /// A user or the authority's own host, narrowed to what holds now.
    Granted(Identity, Option<IpAddr>),
    Host(Identity),
}

impl Pass {
    /// The person, when it is one.
    pub(crate) fn person(&self) -> Option<&Identity> {
        match &self.0 {
            Kept::Granted(identity, _) => identity.user().map(|_| identity),
            Kept::Anyone | Kept::Host(_) => None,
        }
    }

    /// The person's name, when it is one.
    pub(crate) fn user(&self) -> Option<&UserName> {
        self.person().and_then(Identity::user)
    }

    /// The host that asks.
    pub(crate) fn host(&self) -> Answer<(&NodeId, &NodeName, &BTreeSet<SystemRole>)> {
        match &self.0 {
            Kept::Host(Identity { subject: Subject::Host { id, name, roles }, .. }) => Ok((id, name, roles)),
            Kept::Anyone | Kept::Granted(..) | Kept::Host(_) => Err(Refusal::not_found()),
        }
    }

    /// A name for records: the user's, or `<id>.<cluster>`.
    pub(crate) fn name(&self) -> String {
        match &self.0 {
            Kept::Anyone => String::new(),
            Kept::Granted(identity, _) | Kept::Host(identity) => identity.display_name(),
        }
    }

    /// The same as events have it.
    pub(crate) fn who(&self) -> Who {
        match &self.0 {
            Kept::Anyone => Who::default(),
            Kept::Granted(identity, _) | Kept::Host(identity) => Who::of(identity),
        }
    }
}

/// Lets a caller through to a verb, or says no. What is forbidden looks like what does not exist.
pub(crate) async fn admit(core: &Core, endpoint: &Endpoint, caller: &Caller) -> Answer<Pass> {
    match endpoint.asker {
        Asker::Anyone => {
            if caller.identity.is_none() {
                core.spend(&core.limits.anyone, caller.peer.map(|p| p.ip()))?;
            }
            Ok(Pass(Kept::Anyone))
        }
        Asker::Granted(kind, verb) => {
            let identity = current(core, known(core, caller)?).await?;
            let from = caller.peer.map(|p| p.ip());
            decide(core, &identity, from, kind, verb, Of::Any)?;
            Ok(Pass(Kept::Granted(identity, from)))
        }
        Asker::Host => host(core, endpoint, caller, None).await,
        Asker::Proxy => host(core, endpoint, caller, Some(SystemRole::Proxy)).await,
    }
}

/// No to what is no verb: after the same look at the caller as for a verb that is not for them, so that how long it
/// takes does not tell which of the two it is.
pub(crate) async fn nothing(core: &Core, caller: &Caller) -> Refusal {
    let Ok(identity) = known(core, caller) else { return Refusal::not_found() };
    if let Ok(identity) = current(core, identity).await {
        drop(decide(core, &identity, caller.peer.map(|p| p.ip()), Kind::Own, Verb::Delete, Of::Any));
    }
    Refusal::not_found()
}

/// A caller with a certificate that is still good.
fn known<'c>(core: &Core, caller: &'c Caller) -> Answer<&'c Identity> {
    let identity = caller.identity.as_ref();
    let identity =
        identity.ok_or_else(|| Refusal::unauthenticated("sign in first: no certificate was shown"))?;
    // A connection lives longer than its handshake: the certificate's end counts for each request.
    if identity.expires_at <= core.now() {
        return Err(Refusal::unauthenticated("the certificate has expired: sign in again"));
    }
    Ok(identity)
}

/// What a host that was removed may still do: hand over what it has recorded. Everything else ends with its place.
const LAST_WORDS: [&str; 3] = ["EmitEvents", "PutSegment", "GetUpload"];

async fn host(core: &Core, endpoint: &Endpoint, caller: &Caller, role: Option<SystemRole>) -> Answer<Pass> {
    holds(core, caller, role, LAST_WORDS.contains(&endpoint.name)).await?;
    Ok(Pass(Kept::Host(known(core, caller)?.clone())))
}

/// Lets a connection through that passes on somebody else's: only a proxy of the cluster says whose it is.
pub(crate) async fn admit_relay(core: &Core, caller: &Caller) -> Answer<()> {
    holds(core, caller, Some(SystemRole::Proxy), false).await
}

/// A host that has its place still, or may do without, and speaks for the role. The place is that of a key: when another
/// host joined with the id of one that was removed, the certificate of the removed one is no better for it.
async fn holds(core: &Core, caller: &Caller, role: Option<SystemRole>, without_place: bool) -> Answer<()> {
    let identity = known(core, caller)?;
    let Some(id) = identity.host().filter(|_| role.is_none_or(|role| identity.speaks_for(role))) else {
        return Err(Refusal::not_found());
    };
    // A process is not shut out of itself: what a lock closes there is its node, and proxies and the node see to that. The
    // proxy beside it goes on, says who is connected, and hears of the next lock.
    if !core.own_hosts.has(id) && policy::lock_on(identity, core.rules.now().rules(), core.now()).is_some() {
        return Err(Refusal::not_found());
    }
    if without_place {
        return Ok(());
    }
    let host = core.db.get::<Host>(&key("hosts", id)?).await?;
    match host.zip(caller.key.as_ref()) {
        Some((host, key)) if host.value.has_key(key) => Ok(()),
        Some(_) | None => Err(Refusal::not_found()),
    }
}

/// The identity as far as it still holds: a deleted user has nothing, a taken role is gone at once.
async fn current(core: &Core, identity: &Identity) -> Answer<Identity> {
    let Subject::User { name, roles, traits, logins } = &identity.subject else {
        return Ok(identity.clone());
    };
    let user = account::find(core, name).await?.ok_or_else(Refusal::not_found)?.value;
    let roles = roles.intersection(&user.roles).cloned().collect();
    let subject = Subject::User { name: name.clone(), roles, traits: traits.clone(), logins: logins.clone() };
    Ok(Identity { subject, ..identity.clone() })
}

fn decide(
    core: &Core,
    who: &Identity,
    from: Option<IpAddr>,
    kind: Kind,
    verb: Verb,
    of: Of<'_>,
) -> Answer<()> {
    let ask = Ask { who, action: Action::Api { kind, verb, of }, from };
    match policy::decide(&ask, core.rules.now().rules(), core.now()) {
        Ok(_) => Ok(()),
        Err(denial) => {
            tracing::debug!(who = who.display_name(), ?kind, ?verb, %denial, "denied");
            Err(Refusal::not_found())
        }
    }
}

fn ask_again(core: &Core, pass: &Pass, kind: Kind, verb: Verb, of: Of<'_>) -> bool {
    match &pass.0 {
        Kept::Granted(identity, from) => decide(core, identity, *from, kind, verb, of).is_ok(),
        Kept::Anyone | Kept::Host(_) => false,
    }
}

/// Whether the same caller may do something else too, to some resource of a kind.
pub(crate) fn allows(core: &Core, pass: &Pass, kind: Kind, verb: Verb) -> bool {
    ask_again(core, pass, kind, verb, Of::Any)
}

/// Whether the same caller may do it to this one.
pub(crate) fn allows_one(core: &Core, pass: &Pass, kind: Kind, verb: Verb, object: &Object) -> bool {
    ask_again(core, pass, kind, verb, Of::One(object))
}

/// Goes on when the same caller may do it to this one. One that is not theirs looks like one that is not there.
pub(crate) fn require(core: &Core, pass: &Pass, kind: Kind, verb: Verb, object: &Object) -> Answer<()> {
    if allows_one(core, pass, kind, verb, object) { Ok(()) } else { Err(Refusal::not_found()) }
}

/// What the same caller may do, kind by kind.
pub(crate) fn may(core: &Core, who: &Identity) -> std::collections::BTreeMap<String, Vec<String>> {
    policy::may(who, core.rules.now().rules(), core.now())
}

/// What somebody with these roles is told before a session; nothing when they are to be told nothing.
pub(crate) fn told(core: &Core, roles: &BTreeSet<RoleName>) -> Option<Told> {
    let recording = core.rules.now().rules().options(roles).recording;
    (recording.notice != Notice::Silent)
        .then_some(Told { mode: recording.notice, keystrokes: recording.keystrokes })
}

/// The logins a person may use on a node.
pub(crate) fn node_logins(core: &Core, who: &Identity, node: &Node) -> Vec<String> {
    policy::logins_at(who, &Target::from(node), core.rules.now().rules(), core.now())
        .into_iter()
        .filter(|login| node.only_login.as_ref().is_none_or(|only| only == login))
        .map(|login| login.to_string())
        .collect()
}

/// What a new certificate of a user may say.
pub(crate) struct Grant {
    pub(crate) logins: BTreeSet<Login>,
    pub(crate) max_ttl: Duration,
    pub(crate) pin_ip: bool,
    pub(crate) permits: pki::ssh::Permits,
}

/// Works out what a user's roles give a certificate.
pub(crate) fn certificate_grant(core: &Core, user: &User) -> Grant {
    let rules = core.rules.now();
    let options = rules.rules().options(&user.roles);
    Grant {
        logins: policy::logins(&user.roles, &user.traits, rules.rules()),
        max_ttl: options.max_session_ttl,
        pin_ip: options.pin_source_ip,
        permits: pki::ssh::Permits {
            pty: true,
            port_forwarding: options.channels.port_forwarding,
            agent_forwarding: options.channels.agent_forwarding,
            x11_forwarding: options.channels.x11_forwarding,
        },
    }
}

/// Whether a lock keeps a user from getting certificates.
pub(crate) fn is_locked(core: &Core, user: &User) -> bool {
    let identity = Identity {
        subject: Subject::User {
            name: user.name.clone(),
            roles: user.roles.clone(),
            traits: user.traits.clone(),
            logins: BTreeSet::new(),
        },
        cluster: core.settings.cluster_name.clone(),
        expires_at: Timestamp::from_millis(i64::MAX),
        login_ip: None,
        pin_ip: false,
        mfa_at: None,
        impersonator: None,
        disallow_reissue: false,
    };
    policy::lock_on(&identity, core.rules.now().rules(), core.now()).is_some()
}
