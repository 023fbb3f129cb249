//! Passkeys, and the devices one proves oneself with (W3C Web Authentication Level 2).
//!
//! Bytes travel as base64url without padding, as browsers' own JSON form has them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verb::{Asker, Call, Endpoint, verb};
use super::{Done, Page};
use crate::resource::{Kind, Verb};
use crate::{Secret, Timestamp};

/// Asks for a challenge to sign in with.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct BeginPasskeySignIn {
    /// The address the person came from, as the proxy saw it. Ignored unless a proxy asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_addr: Option<std::net::IpAddr>,
}

/// A challenge: good once, for five minutes, for what it was asked for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PasskeyChallenge {
    /// What is to be signed.
    pub challenge: String,
    /// The relying party's id: a host name.
    pub party: String,
}

/// What a browser answers to a challenge for signing in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PasskeyAnswer {
    /// The passkey's id.
    pub id: String,
    /// `clientDataJSON`.
    pub client_data: String,
    /// `authenticatorData`.
    pub authenticator_data: String,
    /// `signature`.
    pub signature: String,
}

/// Asks for a challenge to add a passkey with.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct BeginPasskey {}

/// What a new passkey is made for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewPasskey {
    /// What is to be signed.
    pub challenge: String,
    /// The relying party's id: a host name.
    pub party: String,
    /// What to call the relying party: the cluster's name.
    pub party_name: String,
    /// The user's handle.
    pub user_id: String,
    /// The user's name.
    pub user: String,
    /// COSE numbers of the keys taken, best first.
    pub algorithms: Vec<i64>,
    /// Ids of the passkeys there are: an authenticator that holds one makes no second.
    pub exclude: Vec<String>,
}

/// Adds a passkey.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AddPasskey {
    /// What to call it.
    pub name: String,
    /// The password, once more.
    pub password: Secret,
    /// `clientDataJSON`.
    pub client_data: String,
    /// `attestationObject`.
    pub attestation: String,
}

/// What kind of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// An authenticator that shows six digits.
    Totp,
    /// A passkey.
    Passkey,
}

/// Something one proves oneself with.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What kind it is.
    pub kind: DeviceKind,
    /// Since when it is there, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<Timestamp>,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Timestamp>,
}

/// Lists one's devices.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListDevices {}

/// Gives a passkey another name.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RenamePasskey {
    /// Which.
    pub id: String,
    /// What to call it.
    pub name: String,
}

/// Removes a passkey.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RemovePasskey {
    /// Which.
    pub id: String,
    /// The password, once more.
    pub password: Secret,
}

verb!(BeginPasskeySignIn, Post "/v1/sign-in/passkey", Asker::Anyone, Json => PasskeyChallenge, "A challenge to sign in with a passkey.");
verb!(BeginPasskey, Post "/v1/me/passkeys/begin", Asker::Granted(Kind::Own, Verb::Create), Json => NewPasskey, "A challenge to add a passkey with.");
verb!(AddPasskey, Post "/v1/me/passkeys", Asker::Granted(Kind::Own, Verb::Create), Json => Device, "Adds a passkey.");
verb!(ListDevices, Get "/v1/me/devices", Asker::Granted(Kind::Own, Verb::List), Json => Page<Device>, "The caller's devices.");
verb!(RenamePasskey, Put "/v1/me/passkeys/{id}", Asker::Granted(Kind::Own, Verb::Update), Json => Done, "Gives a passkey another name.");
verb!(RemovePasskey, Post "/v1/me/passkeys/{id}/remove", Asker::Granted(Kind::Own, Verb::Delete), Json => Done, "Removes a passkey.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        BeginPasskeySignIn::endpoint(),
        BeginPasskey::endpoint(),
        AddPasskey::endpoint(),
        ListDevices::endpoint(),
        RenamePasskey::endpoint(),
        RemovePasskey::endpoint(),
    ]
}
