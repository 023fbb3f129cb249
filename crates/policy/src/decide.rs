//! The walk: locks, the certificate's own bounds, every deny, then the first allow.
//!
//! The order of roles never matters: they are walked by name, every deny of every role comes before any allow, and
//! labels and logins count together only within one role.

use std::collections::{BTreeMap, BTreeSet};

use model::identity::Traits;
use model::resource::{Kind, Lock, Verb};
use model::{Identity, Login, RoleName, Subject, SystemRole, Timestamp};

use crate::ask::{Action, Ask, Fact, Object, Of, SshAction, Target};
use crate::options::{Obligations, Options};
use crate::permit::{Denial, Permit};
use crate::rules::{GoodRole, ReadRole, ReadRule, Rules, Side};

/// Decides.
///
/// # Errors
/// Why not. The caller tells the person [`Denial::PUBLIC`] and nothing more.
pub fn decide(ask: &Ask<'_>, rules: &Rules, now: Timestamp) -> Result<Permit, Denial> {
    walk(ask, rules, now, &mut |_| ())
}

/// What was decided, and every step to it.
#[derive(Debug, PartialEq)]
pub struct Explanation {
    /// The answer, the same that [`decide`] gives.
    pub answer: Result<Permit, Denial>,
    /// The steps, in order.
    pub notes: Vec<String>,
}

/// Decides and keeps notes.
#[must_use]
pub fn explain(ask: &Ask<'_>, rules: &Rules, now: Timestamp) -> Explanation {
    let mut notes = Vec::new();
    let answer = walk(ask, rules, now, &mut |note: &dyn Fn() -> String| notes.push(note()));
    Explanation { answer, notes }
}

type Notes<'n> = dyn FnMut(&dyn Fn() -> String) + 'n;

fn walk(ask: &Ask<'_>, rules: &Rules, now: Timestamp, note: &mut Notes<'_>) -> Result<Permit, Denial> {
    let outcome = steps(ask, rules, now, note);
    match &outcome {
        Ok(permit) => note(&|| format!("granted by role `{}`", permit.granted_by())),
        Err(denial) => note(&|| format!("denied: {denial}")),
    }
    outcome
}

fn steps(ask: &Ask<'_>, rules: &Rules, now: Timestamp, note: &mut Notes<'_>) -> Result<Permit, Denial> {
    within_certificate(ask, now)?;
    if let Some(lock) = rules.locks().iter().find(|lock| lock_stops(lock, ask, now)) {
        return Err(Denial::Locked(lock.id.clone()));
    }
    note(&|| "no lock is in force".to_owned());
    let Subject::User { roles, traits, .. } = &ask.who.subject else {
        return host(ask, rules, now, note);
    };
    let held = held_roles(roles, rules, note)?;
    for (name, role) in &held {
        if denies(&role.deny, ask, traits) {
            return Err(Denial::DeniedBy((*name).clone()));
        }
        note(&|| format!("role `{name}` does not deny it"));
    }
    let mut granting = None;
    for (name, role) in &held {
        let grants = allows(&role.allow, ask, traits);
        note(&|| format!("role `{name}` {}", if grants { "grants it" } else { "does not grant it" }));
        if grants && granting.is_none() {
            granting = Some((*name).clone());
        }
    }
    let by = match granting {
        Some(name) => name,
        None if own(ask) => {
            note(&|| "everybody may read what is their own".to_owned());
            implicit("own")?
        }
        None => return Err(Denial::NotGranted),
    };
    let options = rules.options(roles);
    channel_on(ask, &options)?;
    Ok(Permit::new(ask, obligations(&options, ask.who), by, rules, now))
}

/// The certificate's time, pin and logins bound everything.
fn within_certificate(ask: &Ask<'_>, now: Timestamp) -> Result<(), Denial> {
    if now >= ask.who.expires_at {
        return Err(Denial::Expired(ask.who.expires_at));
    }
    if ask.who.pin_ip {
        let pinned = ask.who.login_ip.map(|ip| ip.to_canonical());
        if pinned.is_none() || ask.from.map(|ip| ip.to_canonical()) != pinned {
            return Err(Denial::OtherAddress);
        }
    }
    if let (Action::Ssh { login, .. }, Subject::User { logins, .. }) = (&ask.action, &ask.who.subject)
        && !logins.contains(*login)
    {
        return Err(Denial::NotInCertificate((*login).clone()));
    }
    Ok(())
}

/// A host speaks for the control plane when it is the authority itself (`mctl` on its machine); never for people.
fn host(ask: &Ask<'_>, rules: &Rules, now: Timestamp, note: &mut Notes<'_>) -> Result<Permit, Denial> {
    match ask.action {
        Action::Api { .. } if ask.who.speaks_for(SystemRole::Auth) => {
            note(&|| "the authority's own host may do everything of the control plane".to_owned());
            let options = rules.options([]);
            Ok(Permit::new(ask, obligations(&options, ask.who), implicit("authority")?, rules, now))
        }
        Action::Api { .. } | Action::Ssh { .. } => Err(Denial::NotForHosts),
    }
}

/// The names under which grants without a role appear; `@` keeps them apart from roles people write.
fn implicit(word: &str) -> Result<RoleName, Denial> {
    format!("@{word}").parse().map_err(|_| Denial::NotGranted)
}

/// The roles held that exist, by name. One that cannot be understood denies everything.
fn held_roles<'r>(
    names: &'r BTreeSet<RoleName>,
    rules: &'r Rules,
    note: &mut Notes<'_>,
) -> Result<Vec<(&'r RoleName, &'r GoodRole)>, Denial> {
    let mut held = Vec::new();
    for name in names {
        match rules.role(name) {
            Some(ReadRole::Good(role)) => held.push((name, &**role)),
            Some(ReadRole::Broken) => return Err(Denial::BrokenRole(name.clone())),
            None => note(&|| format!("role `{name}` does not exist any more")),
        }
    }
    Ok(held)
}

fn denies(side: &Side, ask: &Ask<'_>, traits: &Traits) -> bool {
    match &ask.action {
        // Either is enough: a denied label hides the node, a denied login is denied everywhere.
        Action::Ssh { target, login, what: _ } => {
            side.nodes.matches(&target.labels, traits)
                || side.logins.iter().any(|p| p.matches(login.as_str(), traits))
        }
        Action::Api { kind, verb, of } => {
            let mut about = side.rules.iter().filter(|rule| rule.is_about(*kind, *verb));
            about.any(|rule| holds(rule, ask.who, *of).unwrap_or(!is_asked_again(*kind, *of)))
        }
    }
}

fn allows(side: &Side, ask: &Ask<'_>, traits: &Traits) -> bool {
    match &ask.action {
        Action::Ssh { target, login, what: _ } => {
            side.nodes.matches(&target.labels, traits)
                && side.logins.iter().any(|p| p.matches(login.as_str(), traits))
        }
        Action::Api { kind, verb, of } => {
            let mut about = side.rules.iter().filter(|rule| rule.is_about(*kind, *verb));
            about.any(|rule| holds(rule, ask.who, *of).unwrap_or(is_asked_again(*kind, *of)))
        }
    }
}

/// Whether a rule's condition holds; `None` when that cannot be known.
fn holds(rule: &ReadRule, who: &Identity, of: Of<'_>) -> Option<bool> {
    match (&rule.condition, of) {
        (None, _) => Some(true),
        (Some(condition), Of::One(object)) => condition.holds(who, Some(object)),
        (Some(condition), Of::Any) => condition.holds(who, None),
    }
}

/// What cannot be known yet is left to the question about each one, where there will be such questions. Everywhere else
/// it grants nothing, and denies.
fn is_asked_again(kind: Kind, of: Of<'_>) -> bool {
    match of {
        Of::One(_) => false,
        Of::Any => !Fact::of(kind).is_empty(),
    }
}

/// What needs no role: seeing oneself, and keeping one's own devices.
fn own(ask: &Ask<'_>) -> bool {
    match ask.action {
        Action::Api { kind: Kind::Own, .. } => true,
        Action::Api { .. } | Action::Ssh { .. } => false,
    }
}

fn channel_on(ask: &Ask<'_>, options: &Options) -> Result<(), Denial> {
    let Action::Ssh { what, .. } = &ask.action else { return Ok(()) };
    let channels = options.channels;
    let (on, word) = match what {
        SshAction::Shell | SshAction::Exec => (true, "sessions"),
        SshAction::FileCopy => (channels.file_copy, "copying files"),
        SshAction::ForwardLocal | SshAction::ForwardRemote => (channels.port_forwarding, "forwarding ports"),
        SshAction::AgentForward => (channels.agent_forwarding, "forwarding the agent"),
        SshAction::X11 => (channels.x11_forwarding, "forwarding X11"),
    };
    if on { Ok(()) } else { Err(Denial::ChannelOff(word)) }
}

fn obligations(options: &Options, who: &Identity) -> Obligations {
    Obligations {
        recording: options.recording,
        idle_limit: options.idle_limit,
        ends_at: options.disconnect_expired_cert.then_some(who.expires_at),
        certificate_ends_at: who.expires_at,
        max_sessions: options.max_sessions,
        max_connections: options.max_connections,
        channels: options.channels,
    }
}

/// Every field a lock names must match. A lock that names nothing stops nobody.
fn lock_stops(lock: &Lock, ask: &Ask<'_>, now: Timestamp) -> bool {
    let (target, login) = match &ask.action {
        Action::Ssh { target, login, .. } => (Some(&target.id), Some(*login)),
        Action::Api { .. } => (ask.who.host(), None),
    };
    matches_lock(lock, ask.who, target, login, now)
}

fn matches_lock(
    lock: &Lock,
    who: &Identity,
    node: Option<&model::NodeId>,
    login: Option<&Login>,
    now: Timestamp,
) -> bool {
    let named = &lock.target;
    if lock.expires.is_some_and(|end| now >= end) || *named == model::resource::LockTarget::default() {
        return false;
    }
    let holds_role = |role: &RoleName| match &who.subject {
        Subject::User { roles, .. } => roles.contains(role),
        Subject::Host { .. } => false,
    };
    named.user.as_ref().is_none_or(|user| who.user() == Some(user))
        && named.role.as_ref().is_none_or(holds_role)
        && named.login.as_ref().is_none_or(|l| login == Some(l))
        && named.node.as_ref().is_none_or(|n| node == Some(n))
}

/// The lock that stops this identity whatever it does: asked before a certificate is issued, and for connections
/// that have no target yet.
#[must_use]
pub fn lock_on<'r>(who: &Identity, rules: &'r Rules, now: Timestamp) -> Option<&'r Lock> {
    rules.locks().iter().find(|lock| matches_lock(lock, who, who.host(), None, now))
}

/// The logins a new certificate of these roles and traits may have: what allow sides name, less what deny sides
/// match. Values that are no names (`*`, globs) cannot become principals and give none.
#[must_use]
pub fn logins(roles: &BTreeSet<RoleName>, traits: &Traits, rules: &Rules) -> BTreeSet<Login> {
    let held: Vec<&GoodRole> = roles
        .iter()
        .filter_map(|name| match rules.role(name)? {
            ReadRole::Good(role) => Some(&**role),
            ReadRole::Broken => None,
        })
        .collect();
    let denied =
        |login: &str| held.iter().flat_map(|role| &role.deny.logins).any(|p| p.matches(login, traits));
    held.iter()
        .flat_map(|role| &role.allow.logins)
        .flat_map(|pattern| pattern.literals(traits))
        .filter(|login| !denied(login))
        .filter_map(|login| login.parse().ok())
        .collect()
}

/// The logins somebody may open a shell with on a node: [`decide`] asked about each in their certificate.
#[must_use]
pub fn logins_at(who: &Identity, target: &Target, rules: &Rules, now: Timestamp) -> Vec<Login> {
    let Subject::User { logins, .. } = &who.subject else { return Vec::new() };
    // Pins bind where the certificate is used, not what is listed: take the address it is pinned to.
    let from = who.login_ip;
    let may = |login: &&Login| {
        decide(&Ask { who, action: Action::Ssh { target, login, what: SshAction::Shell }, from }, rules, now)
            .is_ok()
    };
    logins.iter().filter(may).cloned().collect()
}

/// Whether a node shows in somebody's lists: they can log in to it, or a rule lets them list nodes.
#[must_use]
pub fn visible(who: &Identity, target: &Target, rules: &Rules, now: Timestamp) -> bool {
    let object = Object {
        name: Some(target.name.to_string()),
        labels: Some(target.labels.clone()),
        participants: None,
    };
    let action = Action::Api { kind: Kind::Node, verb: Verb::List, of: Of::One(&object) };
    !logins_at(who, target, rules, now).is_empty()
        || decide(&Ask { who, action, from: who.login_ip }, rules, now).is_ok()
}

/// What somebody may do to some resource of each kind: `kind` to verbs. Kinds with none are left out.
#[must_use]
pub fn may(who: &Identity, rules: &Rules, now: Timestamp) -> BTreeMap<String, Vec<String>> {
    let mut out = BTreeMap::new();
    for kind in Kind::ALL {
        let verbs: Vec<String> = Verb::ALL
            .into_iter()
            .filter(|verb| {
                let action = Action::Api { kind, verb: *verb, of: Of::Any };
                decide(&Ask { who, action, from: who.login_ip }, rules, now).is_ok()
            })
            .map(|verb| verb.as_str().to_owned())
            .collect();
        if !verbs.is_empty() {
            out.insert(kind.as_str().to_owned(), verbs);
        }
    }
    out
}
