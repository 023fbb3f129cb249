//! Joining and renewing: how hosts get certificates.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::trust::TrustBundle;
use super::verb::{Asker, Call, Endpoint, verb};
use crate::{Labels, NodeId, NodeName, Secret, SystemRole};

/// A person's certificates.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserCerts {
    /// Whose they are.
    pub user: crate::UserName,
    /// The SSH certificate in OpenSSH's one-line form.
    pub ssh_cert: String,
    /// The X.509 certificate, PEM.
    pub tls_cert_pem: String,
    /// Whom to trust.
    pub trust: TrustBundle,
    /// The cluster's name.
    pub cluster: crate::ClusterName,
    /// When both certificates end.
    pub expires: crate::Timestamp,
}

/// Joins with a token: asks for a host's first certificates over two public keys.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Join {
    /// The token.
    pub token: Secret,
    /// The host's id, made by the host and kept for life.
    pub id: NodeId,
    /// What to call it.
    pub name: NodeName,
    /// The parts of the system it asks to speak for; all must be the token's.
    pub roles: BTreeSet<SystemRole>,
    /// Further names to be certified (public addresses).
    #[serde(default)]
    pub principals: Vec<String>,
    /// SSH public key in OpenSSH's one-line form (Ed25519: it also seals recordings).
    pub ssh_key: String,
    /// SubjectPublicKeyInfo of the TLS key, PEM.
    pub tls_key_pem: String,
    /// Signature by the TLS key over all of the above (docs/formats/join-proof.md), base64; without it nobody joins.
    #[serde(default)]
    pub proof: String,
}

/// Renews a host's certificates over new or the same keys, before they end.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Renew {
    /// SSH public key in OpenSSH's one-line form.
    pub ssh_key: String,
    /// SubjectPublicKeyInfo of the TLS key, PEM.
    pub tls_key_pem: String,
    /// Further names to be certified.
    #[serde(default)]
    pub principals: Vec<String>,
}

/// A host's certificates.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HostCerts {
    /// The SSH host certificate in OpenSSH's one-line form.
    pub ssh_cert: String,
    /// The X.509 certificate, PEM.
    pub tls_cert_pem: String,
    /// Whom to trust.
    pub trust: TrustBundle,
    /// The cluster's name.
    pub cluster: crate::ClusterName,
    /// When both certificates end.
    pub expires: crate::Timestamp,
    /// Labels the token gives the host.
    #[serde(default)]
    pub labels: Labels,
}

verb!(Join, Post "/v1/join", Asker::Anyone, Json => HostCerts, "Joins a host with a token; issues its first certificates.");
verb!(Renew, Post "/v1/renew", Asker::Host, Json => HostCerts, "Renews the caller's own host certificates.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![Join::endpoint(), Renew::endpoint()]
}
