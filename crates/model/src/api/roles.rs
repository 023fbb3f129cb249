//! Roles.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verb::{Asker, Call, Done, Endpoint, Page, verb};
use crate::RoleName;
use crate::resource::{Kind, Role, Verb};

/// Lists roles.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListRoles {}

/// Reads one role.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GetRole {
    /// Which.
    pub name: RoleName,
}

/// Makes a role, or changes it when `replace` is set.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PutRole {
    /// Its name; must be the role's own.
    pub name: RoleName,
    /// The role.
    pub role: Role,
    /// Overwrite one that exists.
    #[serde(default)]
    pub replace: bool,
}

/// What became of a written role.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RoleWritten {
    /// The role as kept.
    pub role: Role,
    /// Keys that were kept but have no effect yet.
    pub not_in_effect: Vec<String>,
}

/// Removes a role nobody holds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeleteRole {
    /// Which.
    pub name: RoleName,
}

verb!(ListRoles, Get "/v1/roles", Asker::Granted(Kind::Role, Verb::List), Json => Page<Role>, "Every role.");
verb!(GetRole, Get "/v1/roles/{name}", Asker::Granted(Kind::Role, Verb::Read), Json => Role, "One role.");
verb!(PutRole, Put "/v1/roles/{name}", Asker::Granted(Kind::Role, Verb::Create), Json => RoleWritten, "Makes or changes a role.");
verb!(DeleteRole, Delete "/v1/roles/{name}", Asker::Granted(Kind::Role, Verb::Delete), Json => Done, "Removes a role nobody holds.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![ListRoles::endpoint(), GetRole::endpoint(), PutRole::endpoint(), DeleteRole::endpoint()]
}
