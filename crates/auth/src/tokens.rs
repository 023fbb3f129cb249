//! Join tokens: kept by the SHA-256 of their secret, shown once, beside those of the configuration file.

use std::time::Duration;

use audit::event::Resource;
use audit::event::kinds::{TokenCreate, TokenDelete};
use data_encoding::HEXLOWER;
use model::Secret;
use model::api::tokens::{CreateToken, DeleteToken, ListTokens, NewToken};
use model::api::{Done, Page};
use model::resource::{Kind, Token, Verb};
use policy::Object;
use store::{Condition, Txn};

use crate::authority::Core;
use crate::cluster;
use crate::db::{encode, key};
use crate::dispatch::Ctx;
use crate::gate;
use crate::refusal::{Answer, Refusal};
use crate::static_tokens::{MIN_SECRET, check_roles, id_of, short};
use crate::vault::hash;

const DEFAULT_TTL: Duration = Duration::from_secs(30 * 60);
const MAX_TTL: Duration = Duration::from_secs(30 * 86_400);

/// A token by its secret, if it is good now.
pub(crate) async fn find(core: &Core, secret: &Secret) -> Answer<Option<Token>> {
    let hash = hash(secret);
    let found = core.static_tokens.find(&hash);
    // Looked up by hash: what a guess takes says nothing about the secret.
    let kept = core.db.get::<Token>(&key("tokens", &hash)?).await?;
    Ok(found.or(kept.map(|doc| doc.value)))
}

/// Goes on when the caller may do it to this token.
fn require(ctx: &Ctx, verb: Verb, token: &Token) -> Answer<()> {
    let object = Object::labelled(token.id.clone(), token.labels.clone());
    gate::require(&ctx.core, &ctx.pass, Kind::Token, verb, &object)
}

pub(crate) async fn list(ctx: Ctx, _ask: ListTokens) -> Answer<Page<Token>> {
    let mut items: Vec<Token> = ctx.core.static_tokens.shown();
    items.extend(ctx.core.db.all::<Token>("tokens").await?.into_iter().map(|(_, doc)| doc.value));
    items.retain(|token| require(&ctx, Verb::List, token).is_ok());
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
    require(&ctx, Verb::Create, &token)?;
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
    if let Some(token) = core.static_tokens.named(is_it) {
        require(&ctx, Verb::Delete, &token)?;
        return Err(Refusal::conflict(
            "that token is in the configuration file: remove it there and send SIGHUP",
        ));
    }
    let all = core.db.all::<Token>("tokens").await?;
    let (hash, doc) = all.into_iter().find(|(hash, _)| is_it(hash)).ok_or_else(Refusal::not_found)?;
    require(&ctx, Verb::Delete, &doc.value)?;
    let place = key("tokens", hash)?;
    core.db.commit(Txn::new().when(Condition::At(place.clone(), doc.revision)).delete(place)).await?;
    let resource = Resource { name: doc.value.id, ..Resource::default() };
    core.note(&TokenDelete { who: ctx.pass.who(), resource }).await?;
    Ok(Done {})
}
