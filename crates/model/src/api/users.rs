//! Users and their invite links.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verb::{Asker, Call, Done, Endpoint, Page, verb};
use crate::identity::Traits;
use crate::resource::{Kind, User, Verb};
use crate::time::Span;
use crate::{RoleName, Secret, Timestamp, UserName};

/// Lists users.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListUsers {}

/// Reads one user.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GetUser {
    /// Whom.
    pub name: UserName,
}

/// Makes a user who has yet to set a password.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CreateUser {
    /// The name.
    pub name: UserName,
    /// The roles; all must exist.
    pub roles: BTreeSet<RoleName>,
    /// Traits, e.g. `logins`.
    #[serde(default)]
    pub traits: Traits,
    /// How long the link is good. Default 1 h, at most 48 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
}

/// A single-use link, shown once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InviteLink {
    /// For whom.
    pub user: UserName,
    /// The secret part: the page is `https://<proxy>/web/invite/<secret>` (or `/web/reset/`).
    pub secret: Secret,
    /// The whole link, with the first known public address of a proxy.
    pub url: Secret,
    /// When it ends.
    pub expires: Timestamp,
}

/// Changes a user's roles and traits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpdateUser {
    /// Whom.
    pub name: UserName,
    /// New roles; `None` leaves them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<BTreeSet<RoleName>>,
    /// New traits; `None` leaves them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traits: Option<Traits>,
}

/// Makes a reset link: the old password stops working at once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ResetUser {
    /// Whom.
    pub name: UserName,
    /// How long the link is good. Default 1 h, at most 48 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
}

/// Removes a user; live sessions end.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeleteUser {
    /// Whom.
    pub name: UserName,
}

verb!(ListUsers, Get "/v1/users", Asker::Granted(Kind::User, Verb::List), Json => Page<User>, "Every user.");
verb!(GetUser, Get "/v1/users/{name}", Asker::Granted(Kind::User, Verb::Read), Json => User, "One user.");
verb!(CreateUser, Post "/v1/users", Asker::Granted(Kind::User, Verb::Create), Json => InviteLink, "Makes a user and an invite link.");
verb!(UpdateUser, Put "/v1/users/{name}", Asker::Granted(Kind::User, Verb::Update), Json => User, "Changes a user's roles and traits.");
verb!(ResetUser, Post "/v1/users/{name}/reset", Asker::Granted(Kind::User, Verb::Update), Json => InviteLink, "Revokes a user's password and makes a reset link.");
verb!(DeleteUser, Delete "/v1/users/{name}", Asker::Granted(Kind::User, Verb::Delete), Json => Done, "Removes a user.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        ListUsers::endpoint(),
        GetUser::endpoint(),
        CreateUser::endpoint(),
        UpdateUser::endpoint(),
        ResetUser::endpoint(),
        DeleteUser::endpoint(),
    ]
}
