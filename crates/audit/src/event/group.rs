//! Fields that many events share.

use std::collections::BTreeMap;

use model::{Identity, Subject, Timestamp};
use serde::Serialize;

/// Who acted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Who {
    /// The user, as claimed when the claim failed.
    pub user: String,
    /// The local account.
    pub login: Option<String>,
    /// Who acted as the user, if not the user.
    pub impersonator: Option<String>,
    /// `user`, `bot` or `system`.
    pub user_kind: Option<String>,
}

impl Who {
    /// A user by name.
    #[must_use]
    pub fn user(name: impl Into<String>) -> Self {
        Self { user: name.into(), ..Self::default() }
    }

    /// Whoever holds a certificate.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        let kind = match identity.subject {
            Subject::User { .. } => "user",
            Subject::Host { .. } => "system",
        };
        Self {
            user: identity.display_name(),
            login: None,
            impersonator: identity.impersonator.as_ref().map(ToString::to_string),
            user_kind: Some(kind.to_owned()),
        }
    }

    /// The same acting as a local account.
    #[must_use]
    pub fn with_login(mut self, login: impl Into<String>) -> Self {
        self.login = Some(login.into());
        self
    }
}

/// Where it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Server {
    /// The host's id.
    pub server_id: String,
    /// Its name.
    pub server_hostname: String,
    /// Its address, if it has one.
    pub server_addr: Option<String>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub server_labels: BTreeMap<String, String>,
    /// Its build.
    pub server_version: Option<String>,
}

/// Over which connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// The person's address.
    #[serde(rename = "addr.remote")]
    pub remote: String,
    /// Our end.
    #[serde(rename = "addr.local")]
    pub local: Option<String>,
    /// `ssh`, `https` …
    pub proto: Option<String>,
}

/// In which session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SessionRef {
    /// The session's id.
    pub sid: String,
    /// How it is recorded.
    pub session_recording: Option<String>,
}

/// How it went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// It worked.
    pub success: bool,
    /// Why not.
    pub error: Option<String>,
}

impl Status {
    /// It worked.
    #[must_use]
    pub fn ok() -> Self {
        Self { success: true, error: None }
    }

    /// It did not.
    #[must_use]
    pub fn failed(why: impl Into<String>) -> Self {
        Self { success: false, error: Some(why.into()) }
    }
}

/// Which resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// Its name.
    pub name: String,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// Who changed it.
    pub updated_by: Option<String>,
}
