//! People, hosts, nodes and roles for tests.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses its part")]

use std::collections::BTreeSet;

use model::resource::{Metadata, Role, RoleKind, RoleSpec};
use model::{Identity, NodeId, Subject, SystemRole, Timestamp};
use policy::Target;

pub fn user(name: &str, roles: &[&str]) -> Identity {
    user_with(name, roles, &["root", "ann", "dev"])
}

pub fn user_with(name: &str, roles: &[&str], logins: &[&str]) -> Identity {
    Identity {
        subject: Subject::User {
            name: name.parse().unwrap(),
            roles: roles.iter().map(|r| r.parse().unwrap()).collect(),
            traits: [("logins".to_owned(), logins.iter().map(ToString::to_string).collect())].into(),
            logins: logins.iter().map(|l| l.parse().unwrap()).collect(),
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

pub fn host(role: SystemRole) -> Identity {
    Identity {
        subject: Subject::Host {
            id: NodeId::from_random([9; 16]),
            name: "box".parse().unwrap(),
            roles: BTreeSet::from([role]),
        },
        ..user("x", &[])
    }
}

pub fn node(name: &str, labels: &[(&str, &str)]) -> Target {
    Target {
        id: NodeId::from_random([name.len() as u8; 16]),
        name: name.parse().unwrap(),
        labels: labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
    }
}

/// A role from JSON of its spec.
pub fn role(name: &str, spec: serde_json::Value) -> Role {
    Role {
        kind: RoleKind::Role,
        version: "v7".to_owned(),
        metadata: Metadata { name: name.to_owned(), ..Metadata::default() },
        spec: serde_json::from_value::<RoleSpec>(spec).unwrap(),
    }
}
