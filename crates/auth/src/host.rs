//! A host that joined, as kept: whose id it is, what it may be, the labels its token gave it.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

use model::{Labels, NodeId, NodeName, SystemRole, Timestamp};
use serde::{Deserialize, Serialize};

/// A host that joined.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) roles: BTreeSet<SystemRole>,
    /// Labels its token gave it: they win over what it says of itself.
    #[serde(default)]
    pub(crate) labels: Labels,
    /// Hex SHA-256 of its TLS key, as last certified.
    pub(crate) tls_key: String,
    /// The key it renewed with, when that was another: its certificate is good until the new one has arrived.
    #[serde(default)]
    pub(crate) earlier_key: Option<String>,
    /// When its certificates end.
    pub(crate) expires: Timestamp,
}

impl Host {
    /// Whether this key is the host's: an id that somebody else joined with since is not that of the key before.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.tls_key == key || self.earlier_key.as_deref() == Some(key)
    }
}

/// The hosts of this very process: the authority's own, and the services that run beside it.
#[derive(Debug, Default)]
pub(crate) struct OwnHosts(RwLock<BTreeSet<NodeId>>);

impl OwnHosts {
    pub(crate) fn add(&self, id: NodeId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    pub(crate) fn has(&self, id: &NodeId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}
