//! Join tokens: kept by the SHA-256 of their secret, shown once; those of the configuration file only in memory.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use audit::event::Resource;
use audit::event::kinds::{TokenCreate, TokenDelete};
use data_encoding::HEXLOWER;
use model::api::tokens::{CreateToken, DeleteToken, ListTokens, NewToken};
use model::api::{Done, Page};
use model::resource::Token;
use model::{Secret, SystemRole};
use store::{Condition, Txn};
use subtle::ConstantTimeEq;

use crate::authority::Core;
use crate::cluster;
use crate::db::{encode, key};
use crate::dispatch::Ctx;
use crate::error::Error;
use crate::invites::hash;
use crate::refusal::{Answer, Refusal};
use crate::settings::{StaticToken, TokenValue};

const DEFAULT_TTL: Duration = Duration::from_secs(30 * 60);
const MAX_TTL: Duration = Duration::from_secs(30 * 86_400);
const MIN_SECRET: usize = 16;
const ID: usize = 12;

/// Names a token in lists and events without giving it away.
pub(crate) fn id_of(secret: &Secret) -> String {
    short(&hash(secret))
}

fn short(hash: &str) -> String {
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

    /// Those that count now.
    pub(crate) fn now(&self) -> Arc<[StaticHash]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
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

/// A token by its secret, if it is good now.
pub(crate) async fn find(core: &Core, secret: &Secret) -> Answer<Option<Token>> {
    let hash = hash(secret);
    let mut found = None;
    for token in core.static_tokens.now().iter() {
        if bool::from(token.hash.as_bytes().ct_eq(hash.as_bytes())) {
            found = Some(shown_static(token));
        }
    }
    // Looked up by hash: what a guess takes says nothing about the secret.
    let kept = core.db.get::<Token>(&key("tokens", &hash)?).await?;
    Ok(found.or(kept.map(|doc| doc.value)))
}

fn shown_static(token: &StaticHash) -> Token {
    Token {
        id: short(&token.hash),
        roles: token.roles.clone(),
        labels: model::Labels::new(),
        expires: None,
        is_static: true,
    }
}

fn check_roles(roles: &BTreeSet<SystemRole>) -> Answer<()> {
    if roles.is_empty() {
        return Err(Refusal::bad("a token needs at least one role (node, proxy, app, db, kube)"));
    }
    // Whoever speaks for the authority may do everything: that is given by hand, never by a token.
    match roles.iter().find(|r| matches!(r, SystemRole::Auth | SystemRole::Bot)) {
        Some(role) => Err(Refusal::bad(format!("a join token cannot be for `{role}`"))),
        None => Ok(()),
    }
}

pub(crate) async fn list(ctx: Ctx, _ask: ListTokens) -> Answer<Page<Token>> {
    let mut items: Vec<Token> = ctx.core.static_tokens.now().iter().map(shown_static).collect();
    items.extend(ctx.core.db.all::<Token>("tokens").await?.into_iter().map(|(_, doc)| doc.value));
    Ok(Page { items, next: String::new() })
}

pub(crate) async fn create(ctx: Ctx, ask: CreateToken) -> Answer<NewToken> {
    let core = &ctx.core;
    check_roles(&ask.roles)?;
    let ttl = ask.ttl.map_or(DEFAULT_TTL, |t| t.0);
    if ttl.is_zero() || ttl > MAX_TTL {
        return Err(Refusal::bad("a token is good for at most 30 days"));
    }
    let secret = match ask.value {
        Some(value) if value.expose().len() < MIN_SECRET || value.expose().len() > 256 => {
            return Err(Refusal::bad(format!("a token has {MIN_SECRET} to 256 characters")));
        }
        Some(value) => value,
        None => Secret::new(HEXLOWER.encode(&core.random.bytes::<16>())),
    };
    let expires = core.now() + ttl;
    let token = Token {
        id: id_of(&secret),
        roles: ask.roles,
        labels: ask.labels,
        expires: Some(expires),
        is_static: false,
    };
    let place = key("tokens", hash(&secret))?;
    let txn =
        Txn::new().when(Condition::Absent(place.clone())).put_until(place, encode(&token)?, Some(expires));
    core.db.commit(txn).await?;
    let event = TokenCreate {
        who: ctx.pass.who(),
        resource: Resource { name: token.id.clone(), expires: Some(expires), ..Resource::default() },
        roles: token.roles.iter().map(ToString::to_string).collect(),
        join_method: "token".into(),
    };
    core.note(&event).await?;
    Ok(NewToken {
        secret,
        id: token.id,
        roles: token.roles,
        expires,
        ca_pins: core.keys.now().trust().ca_pins().to_vec(),
        proxy_addrs: cluster::proxy_addrs(core).await?,
    })
}

pub(crate) async fn delete(ctx: Ctx, ask: DeleteToken) -> Answer<Done> {
    let core = &ctx.core;
    let by_secret = hash(&Secret::new(ask.id.clone()));
    let is_it = |hash: &str| hash == by_secret || short(hash) == ask.id;
    if core.static_tokens.now().iter().any(|t| is_it(&t.hash)) {
        return Err(Refusal::conflict(
            "that token is in the configuration file: remove it there and send SIGHUP",
        ));
    }
    let all = core.db.all::<Token>("tokens").await?;
    let (hash, doc) = all.into_iter().find(|(hash, _)| is_it(hash)).ok_or_else(Refusal::not_found)?;
    let place = key("tokens", hash)?;
    core.db.commit(Txn::new().when(Condition::At(place.clone(), doc.revision)).delete(place)).await?;
    let resource = Resource { name: doc.value.id, ..Resource::default() };
    core.note(&TokenDelete { who: ctx.pass.who(), resource }).await?;
    Ok(Done {})
}
