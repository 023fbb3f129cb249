//! Accounts: a user and their secrets as kept, for whoever signs them in, invites them or asks what they may.

use audit::event::Who;
use model::resource::User;
use model::{Timestamp, UserName};
use serde::{Deserialize, Serialize};

use crate::authority::Core;
use crate::db::{Doc, key};
use crate::password::Hashed;
use crate::refusal::Answer;
use crate::settings::SecondFactor;

/// What is kept about a user and shown to nobody.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Secrets {
    /// The password; none until the invite is accepted, none after a reset.
    pub(crate) password: Option<Hashed>,
    /// The second factor's key, sealed for `secrets/<name>`.
    pub(crate) totp: Option<String>,
    /// The last time step a code was used of.
    #[serde(default)]
    pub(crate) last_step: i64,
    /// Tries since the last good one.
    #[serde(default)]
    pub(crate) tries: u32,
    /// When the last of them was.
    #[serde(default)]
    pub(crate) last_try: Timestamp,
    /// Locked out until then.
    #[serde(default)]
    pub(crate) locked_until: Option<Timestamp>,
    /// The invite or reset link that is open, by the hash of its secret.
    #[serde(default)]
    pub(crate) invite: Option<String>,
    /// Passkeys, as many as were added.
    #[serde(default)]
    pub(crate) passkeys: Vec<Passkey>,
    /// What authenticators know the user by; made with the first passkey.
    #[serde(default)]
    pub(crate) handle: Option<String>,
}

/// A passkey as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Passkey {
    /// Its id, base64url.
    pub(crate) id: String,
    /// Its public key, as `pki` writes it, base64.
    pub(crate) key: String,
    pub(crate) counter: u32,
    pub(crate) name: String,
    pub(crate) added: Timestamp,
    #[serde(default)]
    pub(crate) used: Option<Timestamp>,
}

/// Reads one user.
pub(crate) async fn find(core: &Core, name: &UserName) -> Answer<Option<Doc<User>>> {
    Ok(core.db.get::<User>(&key("users", name)?).await?)
}

/// Reads one user's secrets; empty ones when there are none.
pub(crate) async fn secrets(core: &Core, name: &UserName) -> Answer<Option<Doc<Secrets>>> {
    Ok(core.db.get::<Secrets>(&key("secrets", name)?).await?)
}

/// Whether this user must give a code when signing in.
pub(crate) fn needs_code(core: &Core, secrets: &Secrets) -> bool {
    match core.settings.second_factor {
        SecondFactor::Otp | SecondFactor::On => true,
        SecondFactor::Optional => secrets.totp.is_some() || !secrets.passkeys.is_empty(),
        SecondFactor::Off => false,
    }
}

/// Who did something by signing in or by a link: the user themself.
pub(crate) fn themself(name: &str) -> Who {
    Who { user_kind: Some("user".into()), ..Who::user(name) }
}
