//! Roles every cluster starts with. People may change them; what they mean here is what a new cluster gets.

use model::resource::{
    Conditions, Kind, Metadata, Notice, OneOrMany, RecordSession, Role, RoleKind, RoleOptions, RoleSpec,
    Rule, Strictness, Verb,
};
use model::time::Span;

/// Every preset.
#[must_use]
pub fn all() -> Vec<Role> {
    vec![access(), editor(), auditor(), vendor(), admin()]
}

/// Connects everywhere with the logins of one's traits. Knows nothing of recordings.
#[must_use]
pub fn access() -> Role {
    let allow = Conditions { rules: vec![rule(&[Kind::Node], &[Verb::List, Verb::Read])], ..everywhere() };
    let options = RoleOptions {
        max_session_ttl: Some(Span(std::time::Duration::from_secs(30 * 3600))),
        forward_agent: Some(true),
        port_forwarding: Some(true),
        ..RoleOptions::default()
    };
    role(
        "access",
        "Connects to every node with the logins of the user's traits.",
        options,
        allow,
        Conditions::default(),
    )
}

/// Runs the cluster: users, roles, nodes, tokens, locks, settings, and who is connected now. Reads no recordings and
/// no audit log.
#[must_use]
pub fn editor() -> Role {
    let kinds = [Kind::User, Kind::Role, Kind::Node, Kind::Token, Kind::Lock, Kind::ClusterConfig];
    let allow = Conditions {
        rules: vec![
            rule(&kinds, &Verb::ALL),
            rule(&[Kind::CertAuthority], &[Verb::List, Verb::Read]),
            rule(&[Kind::SessionTracker], &[Verb::List, Verb::Read, Verb::Delete]),
        ],
        ..Conditions::default()
    };
    role(
        "editor",
        "Runs the cluster; reads neither recordings nor the audit log.",
        RoleOptions::default(),
        allow,
        Conditions::default(),
    )
}

/// Sees what happened: recordings, the audit log, sessions going on. Changes nothing.
#[must_use]
pub fn auditor() -> Role {
    let kinds = [Kind::Session, Kind::Event, Kind::SessionTracker];
    let allow = Conditions { rules: vec![rule(&kinds, &[Verb::List, Verb::Read])], ..Conditions::default() };
    role(
        "auditor",
        "Reads recordings, the audit log and the list of live sessions.",
        RoleOptions::default(),
        allow,
        Conditions::default(),
    )
}

/// Connects like `access`, and must not learn that recordings exist, whatever other roles say.
#[must_use]
pub fn vendor() -> Role {
    let deny = Conditions {
        rules: vec![rule(&[Kind::Session, Kind::SessionTracker, Kind::Event], &Verb::ALL)],
        ..Conditions::default()
    };
    let options = RoleOptions {
        forward_agent: Some(false),
        port_forwarding: Some(true),
        record_session: Some(RecordSession {
            default: Some(Strictness::Strict),
            notice: Some(Notice::Silent),
            ..RecordSession::default()
        }),
        ..RoleOptions::default()
    };
    role(
        "vendor",
        "Connects to every node with the logins of the user's traits, and to nothing else.",
        options,
        everywhere(),
        deny,
    )
}

/// `access`, `editor` and `auditor` in one: for a cluster run by one or two people, and for the name that older
/// guides use.
#[must_use]
pub fn admin() -> Role {
    let mut allow = access().spec.allow;
    allow.rules.extend(editor().spec.allow.rules);
    allow.rules.extend(auditor().spec.allow.rules);
    let options = access().spec.options;
    role(
        "admin",
        "Connects everywhere, runs the cluster and reads its records.",
        options,
        allow,
        Conditions::default(),
    )
}

fn everywhere() -> Conditions {
    Conditions {
        logins: vec!["{{internal.logins}}".to_owned()],
        node_labels: [("*".to_owned(), OneOrMany::One("*".to_owned()))].into(),
        ..Conditions::default()
    }
}

fn rule(kinds: &[Kind], verbs: &[Verb]) -> Rule {
    Rule {
        resources: kinds.iter().map(|k| k.as_str().to_owned()).collect(),
        verbs: verbs.iter().map(|v| v.as_str().to_owned()).collect(),
        condition: None,
    }
}

fn role(name: &str, description: &str, options: RoleOptions, allow: Conditions, deny: Conditions) -> Role {
    Role {
        kind: RoleKind::Role,
        version: "v7".to_owned(),
        metadata: Metadata {
            name: name.to_owned(),
            description: description.to_owned(),
            ..Metadata::default()
        },
        spec: RoleSpec { options, allow, deny },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use model::{Identity, Subject, Timestamp};

    /// A user with these roles, the logins `root` and `ann`, good for an hour.
    pub(crate) fn user(name: &str, roles: &[&str]) -> Identity {
        Identity {
            subject: Subject::User {
                name: name.parse().unwrap(),
                roles: roles.iter().map(|r| r.parse().unwrap()).collect(),
                traits: [("logins".to_owned(), vec!["root".to_owned(), "ann".to_owned()])].into(),
                logins: BTreeSet::from(["root".parse().unwrap(), "ann".parse().unwrap()]),
            },
            cluster: "gate".parse().unwrap(),
            expires_at: Timestamp::from_secs(3600),
            login_ip: None,
            pin_ip: false,
            mfa_at: None,
            impersonator: None,
            disallow_reissue: false,
        }
    }

    #[test]
    fn presets_are_good_roles() {
        for role in super::all() {
            let review = crate::review_role(&role);
            assert_eq!(review, crate::Review::default(), "{}", role.metadata.name);
        }
    }
}
