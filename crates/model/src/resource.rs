//! Resources in Teleport's shape: `kind`, `version`, `metadata`, `spec`. What people write as YAML and read back.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::identity::Traits;
pub use crate::settings::{ClusterConfig, RecordingMode, RoleRecording, RoutingStrategy};
use crate::time::Span;
use crate::{Labels, Login, NodeId, NodeName, RequestId, RoleName, SystemRole, Timestamp, UserName};

/// The kinds of resources rules speak about; the names are those of role YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// People who can sign in.
    User,
    /// Roles.
    Role,
    /// Hosts with an SSH service.
    Node,
    /// Join tokens.
    Token,
    /// Locks.
    Lock,
    /// Certificate authorities (public halves only).
    CertAuthority,
    /// Recordings of ended sessions.
    Session,
    /// Sessions going on now.
    SessionTracker,
    /// The audit log.
    Event,
    /// Settings of the whole cluster.
    ClusterConfig,
    /// One's own account and sign-ins.
    Own,
}

impl Kind {
    /// Every kind, in the order tables list them.
    pub const ALL: [Kind; 11] = [
        Kind::User,
        Kind::Role,
        Kind::Node,
        Kind::Token,
        Kind::Lock,
        Kind::CertAuthority,
        Kind::Session,
        Kind::SessionTracker,
        Kind::Event,
        Kind::ClusterConfig,
        Kind::Own,
    ];

    /// The name in role YAML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Role => "role",
            Kind::Node => "node",
            Kind::Token => "token",
            Kind::Lock => "lock",
            Kind::CertAuthority => "cert_authority",
            Kind::Session => "session",
            Kind::SessionTracker => "session_tracker",
            Kind::Event => "event",
            Kind::ClusterConfig => "cluster_config",
            Kind::Own => "own",
        }
    }
}

/// What may be done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// See that it exists, among others.
    List,
    /// Make a new one.
    Create,
    /// See it whole.
    Read,
    /// Change it.
    Update,
    /// Remove it.
    Delete,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Verb; 5] = [Verb::List, Verb::Create, Verb::Read, Verb::Update, Verb::Delete];

    /// The name in role YAML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::List => "list",
            Verb::Create => "create",
            Verb::Read => "read",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }
}

/// What every resource carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The name, unique within its kind.
    pub name: String,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// When the resource is to end by itself. No role does: one that says so is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// The store's revision when it was read; sent back on update to refuse lost changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// One value or several: `env: prod` and `env: [prod, dev]` mean what they look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One value.
    One(String),
    /// Several values, any of which will do.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The values as a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values,
        }
    }
}

/// A selector over labels: every key must match one of its values. Empty matches nothing; `'*': '*'` everything.
pub type LabelSelector = BTreeMap<String, OneOrMany>;

/// A role: what its holders may and may not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Always `role`.
    pub kind: RoleKind,
    /// `v3` to `v8`; what later versions add is accepted where it is understood.
    pub version: String,
    /// Name, description, labels.
    pub metadata: Metadata,
    /// The rules.
    pub spec: RoleSpec,
}

/// The word `role`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleKind {
    /// `role`.
    #[default]
    Role,
}

/// What a role says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleSpec {
    /// How sessions under this role behave.
    #[serde(default)]
    pub options: RoleOptions,
    /// What is granted.
    #[serde(default)]
    pub allow: Conditions,
    /// What is refused whatever else grants it.
    #[serde(default)]
    pub deny: Conditions,
}

/// How strictly a session must be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strictness {
    /// When recording cannot go on, write a gap and let the session live.
    BestEffort,
    /// When recording cannot go on, end the session.
    Strict,
}

/// What the person is told about being recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Nothing.
    #[default]
    Silent,
    /// A line before the session.
    Banner,
    /// A page or question to be agreed to first.
    Consent,
}

impl Notice {
    /// Its name, as in YAML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Notice::Silent => "silent",
            Notice::Banner => "banner",
            Notice::Consent => "consent",
        }
    }
}

/// `record_session` of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordSession {
    /// For every kind of session without its own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Strictness>,
    /// For SSH sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Strictness>,
    /// For remote desktops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desktop: Option<bool>,
    /// Whether and how they are recorded. A role without a word keeps to the cluster's; the most careful wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RoleRecording>,
    /// Record what is typed too, not only what is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keystrokes: Option<bool>,
    /// What the person is told. The loudest wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// Options of a role. Absent means "this role has no opinion".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleOptions {
    /// Longest life of a certificate. Default 30 h; the smallest of many roles wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_session_ttl: Option<Span>,
    /// May forward an SSH agent. Any role's yes is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_agent: Option<bool>,
    /// May forward ports. Default yes; any role's yes is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_forwarding: Option<bool>,
    /// May move files (sftp, scp). Default yes; every role must agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_file_copy: Option<bool>,
    /// May forward X11. Any role's yes is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permit_x11_forwarding: Option<bool>,
    /// End a session that has been quiet this long. The smallest wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_idle_timeout: Option<Span>,
    /// End sessions when the certificate expires. Any role's yes is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect_expired_cert: Option<bool>,
    /// Most sessions at a time over one connection. The smallest wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Most connections at a time. The smallest wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Certificates are good from the login's address only. Any role's yes is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_source_ip: Option<bool>,
    /// How sessions are recorded. The strictest wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_session: Option<RecordSession>,
    /// Keys of the language that have no effect yet: kept, shown as written, named when the role is created.
    #[serde(flatten)]
    pub later: BTreeMap<String, serde_json::Value>,
}

/// One side (allow or deny) of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conditions {
    /// Local accounts. Templates such as `{{internal.logins}}` take the user's traits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<String>,
    /// Which nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_labels: LabelSelector,
    /// Rules about the control plane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Keys of the language that have no effect yet: kept, shown as written, named when the role is created.
    #[serde(flatten)]
    pub later: BTreeMap<String, serde_json::Value>,
}

/// A rule about control-plane resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Kinds by name, or `*`.
    pub resources: Vec<String>,
    /// Verbs by name, or `*`.
    pub verbs: Vec<String>,
    /// A predicate that must hold.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// A person or robot who can sign in. Secrets are kept apart and never part of this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// The roles held.
    pub roles: BTreeSet<RoleName>,
    /// Traits, e.g. `logins`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub traits: Traits,
    /// Who made the user.
    #[serde(default)]
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When the user can no longer sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Locked out by wrong tries until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<Timestamp>,
    /// Has set a password (and second factor) and can sign in.
    #[serde(default)]
    pub enrolled: bool,
    /// The store's revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Whether a node can be reached, judged by its tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// A tunnel (or a direct address that answered) is up.
    Online,
    /// No tunnel.
    Offline,
}

/// A host with an SSH service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// What people call it. Two nodes may share a name; then the id tells them apart.
    pub name: NodeName,
    /// Where it listens, if it does; empty for nodes behind a tunnel.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Static and command labels.
    #[serde(default)]
    pub labels: Labels,
    /// The build it runs.
    pub version: String,
    /// The user its sessions run as when it cannot become others (not root); `None` when it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_login: Option<Login>,
    /// When it last reported.
    pub last_seen: Timestamp,
    /// Whether its tunnel is up, as the proxies report.
    pub liveness: Liveness,
    /// Since when liveness has been so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Raw 32-byte Ed25519 public key, base64, that seals this node's recordings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub seal_key: String,
}

/// A join token. The secret is hashed at rest, so it is shown once, when made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Names the token in lists: the first characters of its hash.
    pub id: String,
    /// What may join with it.
    pub roles: BTreeSet<SystemRole>,
    /// Labels a node gets when it joins with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// When it ends; `None` for tokens of the configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Comes from the configuration file.
    #[serde(default)]
    pub is_static: bool,
}

/// Who or what a lock stops. Every field given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockTarget {
    /// A user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// Everyone holding a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// A local account on any target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// A node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
}

/// Stops whoever it names, at once and until it expires: no new certificate, no new session, live ones end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lock {
    /// Its id.
    pub id: RequestId,
    /// Who or what.
    pub target: LockTarget,
    /// Shown to admins; shown to the person only if policy says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it ends; `None` until removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
}
