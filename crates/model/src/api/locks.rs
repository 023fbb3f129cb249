//! Locks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verb::{Asker, Call, Done, Endpoint, Page, verb};
use crate::RequestId;
use crate::resource::{Kind, Lock, LockTarget, Verb};
use crate::time::Span;

/// Lists locks.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListLocks {}

/// Makes a lock.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CreateLock {
    /// Who or what; at least one field.
    pub target: LockTarget,
    /// For admins.
    #[serde(default)]
    pub message: String,
    /// How long; until removed when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
}

/// Removes a lock.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeleteLock {
    /// Which.
    pub id: RequestId,
}

verb!(ListLocks, Get "/v1/locks", Asker::Granted(Kind::Lock, Verb::List), Json => Page<Lock>, "Every lock in force.");
verb!(CreateLock, Post "/v1/locks", Asker::Granted(Kind::Lock, Verb::Create), Json => Lock, "Stops a user, role, login or node at once.");
verb!(DeleteLock, Delete "/v1/locks/{id}", Asker::Granted(Kind::Lock, Verb::Delete), Json => Done, "Removes a lock.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![ListLocks::endpoint(), CreateLock::endpoint(), DeleteLock::endpoint()]
}
