//! Who somebody is, as a certificate says: the one thing `pki` encodes and `policy` reads.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{ClusterName, Login, NodeId, NodeName, RoleName, Timestamp, UserName};

/// Traits of a user: name to values, e.g. `logins` to `[root, ubuntu]`.
pub type Traits = BTreeMap<String, Vec<String>>;

/// What part of the system a host certificate speaks for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SystemRole {
    /// The authority itself.
    Auth,
    /// A proxy: the one port.
    Proxy,
    /// A host's SSH service.
    Node,
    /// An HTTP or TCP application service.
    App,
    /// A database service.
    #[serde(alias = "database")]
    Db,
    /// A Kubernetes service.
    #[serde(alias = "kubernetes")]
    Kube,
    /// A robot's credentials.
    Bot,
}

impl SystemRole {
    /// Every system role.
    pub const ALL: [SystemRole; 7] = [
        SystemRole::Auth,
        SystemRole::Proxy,
        SystemRole::Node,
        SystemRole::App,
        SystemRole::Db,
        SystemRole::Kube,
        SystemRole::Bot,
    ];

    /// The role's name in configuration, tokens and certificates.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SystemRole::Auth => "auth",
            SystemRole::Proxy => "proxy",
            SystemRole::Node => "node",
            SystemRole::App => "app",
            SystemRole::Db => "db",
            SystemRole::Kube => "kube",
            SystemRole::Bot => "bot",
        }
    }
}

impl std::fmt::Display for SystemRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for SystemRole {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auth" => Ok(SystemRole::Auth),
            "proxy" => Ok(SystemRole::Proxy),
            "node" | "ssh" => Ok(SystemRole::Node),
            "app" => Ok(SystemRole::App),
            "db" | "database" => Ok(SystemRole::Db),
            "kube" | "kubernetes" => Ok(SystemRole::Kube),
            "bot" => Ok(SystemRole::Bot),
            other => Err(format!(
                "`{other}` is not a role (expected one of auth, proxy, node, app, db, kube, bot)"
            )),
        }
    }
}

/// Who a certificate speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Subject {
    /// A person (or a robot acting as a user).
    User {
        /// The user's name.
        name: UserName,
        /// The roles granted when the certificate was issued.
        roles: BTreeSet<RoleName>,
        /// The user's traits when the certificate was issued.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        traits: Traits,
        /// Local accounts the certificate is good for; never more than policy allows at the target.
        logins: BTreeSet<Login>,
    },
    /// An agent, proxy or authority.
    Host {
        /// Its id.
        id: NodeId,
        /// What people call it.
        name: NodeName,
        /// The parts of the system it may speak for.
        roles: BTreeSet<SystemRole>,
    },
}

/// Everything a certificate says about its holder. Constraints only ever tighten when a certificate leads to
/// another (see `pki::identity::narrow`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Identity {
    /// Who.
    pub subject: Subject,
    /// In which cluster.
    pub cluster: ClusterName,
    /// When the certificate stops being good.
    pub expires_at: Timestamp,
    /// The address the login came from, as text; pinned only when `pin_ip` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_ip: Option<std::net::IpAddr>,
    /// The certificate is good from `login_ip` only.
    #[serde(default)]
    pub pin_ip: bool,
    /// When a second factor was last verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa_at: Option<Timestamp>,
    /// Who is acting as the subject, if not the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonator: Option<UserName>,
    /// This certificate must not lead to another.
    #[serde(default)]
    pub disallow_reissue: bool,
}

impl Identity {
    /// The user's name, for a user.
    #[must_use]
    pub fn user(&self) -> Option<&UserName> {
        match &self.subject {
            Subject::User { name, .. } => Some(name),
            Subject::Host { .. } => None,
        }
    }

    /// The host's id, for a host.
    #[must_use]
    pub fn host(&self) -> Option<&NodeId> {
        match &self.subject {
            Subject::Host { id, .. } => Some(id),
            Subject::User { .. } => None,
        }
    }

    /// True when this is a host that may speak for `role`.
    #[must_use]
    pub fn speaks_for(&self, role: SystemRole) -> bool {
        match &self.subject {
            Subject::Host { roles, .. } => roles.contains(&role),
            Subject::User { .. } => false,
        }
    }

    /// A name for logs and audit: the user's name, or `<host id>.<cluster>`.
    #[must_use]
    pub fn display_name(&self) -> String {
        match &self.subject {
            Subject::User { name, .. } => name.to_string(),
            Subject::Host { id, .. } => format!("{id}.{}", self.cluster),
        }
    }
}
