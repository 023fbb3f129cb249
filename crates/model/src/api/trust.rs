//! Whom a cluster is believed by: the public halves of its authorities.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a certificate authority signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaKind {
    /// Hosts: agents, proxies, authorities.
    Host,
    /// People and robots.
    User,
}

/// One key of an authority: public halves only. An authority may have several; all that are listed are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaKey {
    /// What it signs.
    pub kind: CaKind,
    /// The SSH public key in OpenSSH's one-line form, without comment.
    pub ssh: String,
    /// The X.509 certificate as PEM.
    pub x509_pem: String,
    /// New certificates are signed with this key.
    pub active: bool,
}

/// Every trusted authority key of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustBundle {
    /// The keys.
    pub keys: Vec<CaKey>,
    /// The Ed25519 key (32 bytes, base64) that signs audit checkpoints and recording receipts.
    // Strangers may read it: its name on the wire says what it is no more than its bytes do.
    #[serde(default, rename = "statement_key", alias = "audit_key")]
    pub audit_key: String,
}
