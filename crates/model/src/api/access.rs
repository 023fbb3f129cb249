//! Signing in, one's own sign-ins, and the sessions going on now.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certs::UserCerts;
use super::verb::{Asker, Call, Done, Endpoint, Page, verb};
use crate::resource::{Kind, Notice, Verb};
use crate::time::Span;
use crate::{Login, NodeId, NodeName, Secret, SessionId, Timestamp, UserName};

/// Signs in with password and one-time code and asks for certificates over two public keys.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignIn {
    /// The user; empty when a passkey says who it is.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// The six digits; empty when the cluster asks for none.
    #[serde(default)]
    pub otp: String,
    /// A passkey's answer, instead of the code or, with no password, instead of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passkey: Option<super::passkeys::PasskeyAnswer>,
    /// SSH public key in OpenSSH's one-line form.
    pub ssh_key: String,
    /// SubjectPublicKeyInfo of the TLS key, PEM.
    pub tls_key_pem: String,
    /// How long the certificates shall live; policy may give less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// The address the person came from, as the proxy saw it. Ignored unless a proxy asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_addr: Option<std::net::IpAddr>,
}

/// Proves once more who one is, for a browser that was locked: as for signing in. Issues nothing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Unlock {
    /// Whose browser it is: nobody else's proof counts.
    pub user: UserName,
    /// The password.
    #[serde(default)]
    pub password: Secret,
    /// The six digits; empty when the cluster asks for none.
    #[serde(default)]
    pub otp: String,
    /// A passkey's answer, instead of the code or, with no password, instead of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passkey: Option<super::passkeys::PasskeyAnswer>,
    /// The address the person came from, as the proxy saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_addr: Option<std::net::IpAddr>,
}

/// Looks at an invite or reset link before showing its page.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GetInvite {
    /// The secret part of the link.
    pub secret: Secret,
}

/// What the page behind a link shows.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Invite {
    /// For whom.
    pub user: UserName,
    /// `true` for a reset, `false` for a first invitation.
    pub reset: bool,
    /// When the link ends.
    pub expires: Timestamp,
    /// The `otpauth://` URI of the second factor offered; the same for the life of the link.
    pub otp_uri: Secret,
    /// The same as an SVG picture.
    pub otp_qr_svg: Secret,
}

/// Sets the password and second factor by an invite or reset link, and uses the link up.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AcceptInvite {
    /// The secret part of the link.
    pub secret: Secret,
    /// The password wanted.
    pub password: Secret,
    /// A code from the new authenticator, to prove it was set up.
    pub otp: String,
    /// The address the person came from, as the proxy saw it. Ignored unless a proxy asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_addr: Option<std::net::IpAddr>,
}

/// Asks who one is, as the authority sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {}

/// Who one is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// The user.
    pub user: UserName,
    /// Roles held now.
    pub roles: Vec<crate::RoleName>,
    /// Logins one may ask for, over all roles.
    pub logins: Vec<String>,
    /// What one may do: `kind` to verbs. Kinds with none are left out.
    pub may: std::collections::BTreeMap<String, Vec<String>>,
    /// What is told before each session of one's own; absent when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Told>,
}

/// What is told before a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// How.
    pub mode: Notice,
    /// What is typed is kept too.
    pub keystrokes: bool,
}

/// A session going on now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LiveSession {
    /// Its id.
    pub id: SessionId,
    /// Who.
    pub user: UserName,
    /// As which local account.
    pub login: Login,
    /// Where.
    pub node: NodeId,
    /// Its name.
    pub node_name: NodeName,
    /// Since when.
    pub started: Timestamp,
    /// The command, empty for a shell.
    #[serde(default)]
    pub command: String,
    /// Has a terminal.
    pub interactive: bool,
    /// The client's address.
    #[serde(default)]
    pub client_addr: String,
}

/// Lists sessions going on now.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListLive {}

/// Announces a session's life: sent by the service that has it, again every 30 s; gone 90 s after the last.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TrackSession {
    /// The session.
    pub id: SessionId,
    /// What it is; `None` says it ended.
    pub session: Option<LiveSession>,
}

/// Ends a live session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndSession {
    /// The session.
    pub id: SessionId,
    /// Why; goes into the audit log.
    #[serde(default)]
    pub reason: String,
}

verb!(SignIn, Post "/v1/sign-in", Asker::Anyone, Json => UserCerts, "Signs in with password and one-time code; issues short-lived certificates.");
verb!(Unlock, Post "/v1/unlock", Asker::Proxy, Json => Done, "Proves once more who one is, for a browser that was locked.");
verb!(GetInvite, Post "/v1/invite", Asker::Anyone, Json => Invite, "What an invite or reset link is for.");
verb!(AcceptInvite, Post "/v1/invite/accept", Asker::Anyone, Json => Done, "Sets password and second factor by an invite or reset link, once.");
verb!(WhoAmI, Get "/v1/me", Asker::Granted(Kind::Own, Verb::Read), Json => Me, "Who the caller is and what they may do.");
verb!(ListLive, Get "/v1/live", Asker::Granted(Kind::SessionTracker, Verb::List), Json => Page<LiveSession>, "Sessions going on now.");
verb!(TrackSession, Put "/v1/live/{id}", Asker::Host, Json => Done, "Announces that a session lives or has ended.");
verb!(EndSession, Post "/v1/live/{id}/end", Asker::Granted(Kind::SessionTracker, Verb::Delete), Json => Done, "Ends a live session.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        SignIn::endpoint(),
        Unlock::endpoint(),
        GetInvite::endpoint(),
        AcceptInvite::endpoint(),
        WhoAmI::endpoint(),
        ListLive::endpoint(),
        TrackSession::endpoint(),
        EndSession::endpoint(),
    ]
}
