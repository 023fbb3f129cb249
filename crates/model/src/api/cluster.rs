//! The cluster as a whole: what it is, its authorities, its settings, and the feed of changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::trust::{CaKey, CaKind, TrustBundle};
use super::verb::{Asker, Call, Endpoint, verb};
use crate::resource::{ClusterConfig, Kind, Lock, Role, Verb};
use crate::time::Span;
use crate::{ClusterName, Level, NodeId};

/// Asks what this cluster is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetCluster {}

/// What a cluster says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterInfo {
    /// Its name.
    pub name: ClusterName,
    /// The authority's version.
    pub version: String,
    /// The authority's protocol level.
    pub level: Level,
    /// `sha256:<hex>` of each trusted host CA's public key info.
    pub ca_pins: Vec<String>,
    /// Public addresses of the proxies, `host:port`.
    pub proxy_addrs: Vec<String>,
    /// Where agents find each proxy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<ProxyPlace>,
    /// What people read before they sign in; empty for nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message_of_the_day: String,
    /// How people sign in; absent where the authority is older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignInTerms>,
}

/// How people sign in to a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignInTerms {
    /// What is asked for beside the password.
    pub second_factor: SecondFactor,
    /// The name passkeys are made for; absent where there can be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passkey_name: Option<String>,
    /// How long a certificate lasts when nothing else says.
    pub default_ttl: Span,
}

/// What is asked for beside the password. Wherever a code is asked for, a passkey does instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactor {
    /// Everyone enrols a code and gives it at each sign-in.
    #[default]
    Otp,
    /// The same, with passkeys named in the configuration.
    On,
    /// Who enrolled one gives it.
    Optional,
    /// Nobody is asked.
    Off,
}

/// Where agents find a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyPlace {
    /// The id of its host: one tunnel is enough, whatever its addresses.
    pub id: NodeId,
    /// Its addresses, `host:port`; any of them will do.
    pub addrs: Vec<String>,
}

/// Asks for the trusted authorities.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetTrust {}

/// Asks for the cluster's settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetClusterConfig {}

/// Everything a service needs to decide by itself: a snapshot, and again after each change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicySnapshot {
    /// The store's revision it was taken at.
    pub revision: u64,
    /// Every role.
    pub roles: Vec<Role>,
    /// Every lock in force.
    pub locks: Vec<Lock>,
    /// The trusted authorities.
    pub trust: TrustBundle,
    /// The cluster's settings.
    pub config: ClusterConfig,
    /// Sessions an admin asked to end: the service that has one ends it.
    #[serde(default)]
    pub end_sessions: Vec<crate::api::access::EndSession>,
    /// Sessions somebody watches just now: the service that has one hands over what it records every second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<crate::SessionId>,
    /// Hosts that were removed and whose certificates are good still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<RemovedHost>,
}

/// A host that was removed: its certificates are void before they end. One that joins anew under its id gets a certificate
/// that ends later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedHost {
    /// Its id.
    pub id: NodeId,
    /// Certificates that end by then are void.
    pub until: crate::Timestamp,
}

/// Follows roles, locks, authorities and settings: the first line is the state now, each further line the state
/// after a change.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct WatchPolicy {}

/// Reports what a proxy listens on and is reached by, so that others can be told.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReportProxy {
    /// Public addresses, `host:port`.
    pub public_addrs: Vec<String>,
    /// Addresses for agents; none where those are the public ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tunnel_addrs: Vec<String>,
}

/// Health of one background job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobStatus {
    /// Its name.
    pub name: String,
    /// When it last ran, RFC 3339.
    pub last_run: Option<crate::Timestamp>,
    /// What went wrong last, if the last run failed.
    pub last_error: Option<String>,
}

/// Asks how the authority and its jobs are.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetStatus {}

/// How the authority is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster: ClusterInfo,
    /// Background jobs.
    pub jobs: Vec<JobStatus>,
    /// Counts by kind: users, roles, nodes online, nodes offline, live sessions.
    pub counts: std::collections::BTreeMap<String, u64>,
}

verb!(GetCluster, Get "/v1/cluster", Asker::Anyone, Json => ClusterInfo, "What this cluster is: name, version, CA pins.");
verb!(GetTrust, Get "/v1/trust", Asker::Anyone, Json => TrustBundle, "The public halves of every trusted authority key.");
verb!(GetClusterConfig, Get "/v1/config", Asker::Granted(Kind::ClusterConfig, Verb::Read), Json => ClusterConfig, "Settings of the whole cluster.");
verb!(WatchPolicy, Get "/v1/policy/watch", Asker::Host, Stream => PolicySnapshot, "Roles, locks, authorities and settings, now and after each change.");
verb!(ReportProxy, Put "/v1/proxy", Asker::Proxy, Json => super::Done, "Announces a proxy's public addresses.");
verb!(GetStatus, Get "/v1/status", Asker::Granted(Kind::ClusterConfig, Verb::Read), Json => ClusterStatus, "Health of the authority and its background jobs.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        GetCluster::endpoint(),
        GetTrust::endpoint(),
        GetClusterConfig::endpoint(),
        WatchPolicy::endpoint(),
        ReportProxy::endpoint(),
        GetStatus::endpoint(),
    ]
}
