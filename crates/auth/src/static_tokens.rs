//! Join tokens of the configuration file: hashed, kept in memory only, replaced whole when the file is read again.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use model::resource::Token;
use model::{Secret, SystemRole};
use subtle::ConstantTimeEq;

use crate::error::Error;
use crate::refusal::{Answer, Refusal};
use crate::settings::{StaticToken, TokenValue};
use crate::vault::hash;

/// The fewest characters of a secret worth the name.
pub(crate) const MIN_SECRET: usize = 16;
const ID: usize = 12;

/// Names a token in lists and events without giving it away.
pub(crate) fn id_of(secret: &Secret) -> String {
    short(&hash(secret))
}

/// The same, from the hash.
pub(crate) fn short(hash: &str) -> String {
    hash.chars().take(ID).collect()
}

/// A static token, hashed.
#[derive(Clone, Debug)]
pub(crate) struct StaticHash {
    hash: String,
    roles: BTreeSet<SystemRole>,
}

/// The tokens of the configuration file, replaced as a whole when it is read again.
#[derive(Debug)]
pub(crate) struct StaticTokens(RwLock<Arc<[StaticHash]>>);

impl StaticTokens {
    pub(crate) fn new(tokens: Vec<StaticHash>) -> Self {
        Self(RwLock::new(tokens.into()))
    }

    fn now(&self) -> Arc<[StaticHash]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one with this hash. What it takes says nothing about the hashes it is not.
    pub(crate) fn find(&self, hash: &str) -> Option<Token> {
        let mut found = None;
        for token in self.now().iter() {
            if bool::from(token.hash.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(shown(token));
            }
        }
        found
    }

    /// One of them with such a hash.
    pub(crate) fn named(&self, is_it: impl Fn(&str) -> bool) -> Option<Token> {
        self.now().iter().find(|token| is_it(&token.hash)).map(shown)
    }

    /// All of them, as shown.
    pub(crate) fn shown(&self) -> Vec<Token> {
        self.now().iter().map(shown).collect()
    }

    /// Only these count from now on.
    pub(crate) fn replace(&self, tokens: Vec<StaticHash>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
    }
}

/// Reads the tokens of the configuration file.
pub(crate) fn read_static(tokens: &[StaticToken]) -> Result<Vec<StaticHash>, Error> {
    tokens
        .iter()
        .map(|token| {
            check_roles(&token.roles).map_err(|refusal| Error::Setting(refusal.message))?;
            let secret = match &token.value {
                TokenValue::Plain(secret) => secret.clone(),
                TokenValue::File(path) => {
                    let text = std::fs::read_to_string(path)
                        .map_err(|error| Error::Disk { path: path.clone(), error })?;
                    Secret::new(text.trim())
                }
            };
            if secret.expose().is_empty() {
                return Err(Error::Setting("a static join token is empty".into()));
            }
            if secret.expose().len() < MIN_SECRET {
                tracing::warn!(id = id_of(&secret), "a static join token is shorter than 16 characters");
            }
            Ok(StaticHash { hash: hash(&secret), roles: token.roles.clone() })
        })
        .collect()
}

fn shown(token: &StaticHash) -> Token {
    Token {
        id: short(&token.hash),
        roles: token.roles.clone(),
        labels: model::Labels::new(),
        expires: None,
        is_static: true,
    }
}

/// Says no to roles that no token can give.
pub(crate) fn check_roles(roles: &BTreeSet<SystemRole>) -> Answer<()> {
    if roles.is_empty() {
        return Err(Refusal::bad("a token needs at least one role (node, proxy, app, db, kube)"));
    }
    // Whoever speaks for the authority may do everything: that is given by hand, never by a token.
    match roles.iter().find(|r| matches!(r, SystemRole::Auth | SystemRole::Bot)) {
        Some(role) => Err(Refusal::bad(format!("a join token cannot be for `{role}`"))),
        None => Ok(()),
    }
}
