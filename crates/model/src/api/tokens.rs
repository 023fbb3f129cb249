//! Join tokens.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verb::{Asker, Call, Done, Endpoint, Page, verb};
use crate::resource::{Kind, Token, Verb};
use crate::time::Span;
use crate::{Labels, Secret, SystemRole, Timestamp};

/// Lists tokens, without their secrets.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListTokens {}

/// Makes a token.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CreateToken {
    /// What may join with it.
    pub roles: BTreeSet<SystemRole>,
    /// How long it is good. Default 30 min.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// The secret wanted; made from 16 random bytes when absent. At least 16 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Secret>,
    /// Labels for nodes that join with it.
    #[serde(default)]
    pub labels: Labels,
}

/// A token, shown once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewToken {
    /// The secret.
    pub secret: Secret,
    /// Its id in lists.
    pub id: String,
    /// What may join with it.
    pub roles: BTreeSet<SystemRole>,
    /// When it ends.
    pub expires: Timestamp,
    /// `sha256:<hex>` pins of the host CA.
    pub ca_pins: Vec<String>,
    /// Public addresses of proxies to join through.
    pub proxy_addrs: Vec<String>,
}

/// Removes a token.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeleteToken {
    /// The id from the list, or the secret itself.
    pub id: String,
}

verb!(ListTokens, Get "/v1/tokens", Asker::Granted(Kind::Token, Verb::List), Json => Page<Token>, "Every join token, without secrets.");
verb!(CreateToken, Post "/v1/tokens", Asker::Granted(Kind::Token, Verb::Create), Json => NewToken, "Makes a join token and shows it once.");
verb!(DeleteToken, Delete "/v1/tokens/{id}", Asker::Granted(Kind::Token, Verb::Delete), Json => Done, "Removes a join token.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![ListTokens::endpoint(), CreateToken::endpoint(), DeleteToken::endpoint()]
}
