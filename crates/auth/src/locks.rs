//! Locks: written here, obeyed everywhere through the policy feed.

use std::collections::BTreeMap;
use std::time::Duration;

use audit::event::Resource;
use audit::event::kinds::{LockCreated, LockDeleted};
use model::RequestId;
use model::api::locks::{CreateLock, DeleteLock, ListLocks};
use model::api::{Done, Page};
use model::resource::{Kind, Lock, LockTarget, Verb};
use policy::Object;
use store::{Condition, Txn};

use crate::db::{encode, key};
use crate::dispatch::Ctx;
use crate::gate;
use crate::refusal::{Answer, Refusal};

const MAX_MESSAGE: usize = 1024;
/// The longest lock that ends by itself; one for longer is one without an end.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Goes on when the caller may do it to this lock.
fn require(ctx: &Ctx, verb: Verb, id: &RequestId) -> Answer<()> {
    gate::require(&ctx.core, &ctx.pass, Kind::Lock, verb, &Object::named(id.to_string()))
}

pub(crate) async fn list(ctx: Ctx, _ask: ListLocks) -> Answer<Page<Lock>> {
    let all = ctx.core.db.all::<Lock>("locks").await?;
    let mut items: Vec<Lock> = all.into_iter().map(|(_, doc)| doc.value).collect();
    items.retain(|lock| require(&ctx, Verb::List, &lock.id).is_ok());
    Ok(Page { items, next: String::new() })
}

/// What a lock names, as words.
fn words(target: &LockTarget) -> BTreeMap<String, String> {
    [
        ("user", target.user.as_ref().map(ToString::to_string)),
        ("role", target.role.as_ref().map(ToString::to_string)),
        ("login", target.login.as_ref().map(ToString::to_string)),
        ("node", target.node.as_ref().map(ToString::to_string)),
    ]
    .into_iter()
    .filter_map(|(word, value)| value.map(|v| (word.to_owned(), v)))
    .collect()
}

pub(crate) async fn create(ctx: Ctx, ask: CreateLock) -> Answer<Lock> {
    let core = &ctx.core;
    let target = words(&ask.target);
    if target.is_empty() {
        return Err(Refusal::bad("a lock names at least one of user, role, login, node"));
    }
    if ask.message.len() > MAX_MESSAGE || ask.ttl.is_some_and(|t| t.0 < Duration::from_secs(1)) {
        return Err(Refusal::bad("the message is longer than 1 KiB, or the lock shorter than a second"));
    }
    if ask.ttl.is_some_and(|t| t.0 > LONGEST) {
        return Err(Refusal::bad(
            "a lock that ends by itself lasts at most 100 years: leave the ttl out for one without an end",
        ));
    }
    let lock = Lock {
        id: RequestId::from_random(core.random.bytes()),
        target: ask.target,
        message: ask.message,
        expires: ask.ttl.map(|t| core.now() + t.0),
        created_at: core.now(),
        created_by: ctx.pass.name(),
    };
    require(&ctx, Verb::Create, &lock.id)?;
    core.db.commit(Txn::new().put_until(key("locks", &lock.id)?, encode(&lock)?, lock.expires)).await?;
    core.refresh_rules().await?;
    let resource = Resource { name: lock.id.to_string(), expires: lock.expires, ..Resource::default() };
    core.note(&LockCreated { who: ctx.pass.who(), resource, target }).await?;
    Ok(lock)
}

pub(crate) async fn delete(ctx: Ctx, ask: DeleteLock) -> Answer<Done> {
    let core = &ctx.core;
    require(&ctx, Verb::Delete, &ask.id)?;
    let place = key("locks", &ask.id)?;
    let txn = Txn::new().when(Condition::Present(place.clone())).delete(place);
    core.db.commit(txn).await.map_err(|e| match e {
        store::StoreError::Conflict(_) => Refusal::not_found(),
        other => other.into(),
    })?;
    core.refresh_rules().await?;
    let resource = Resource { name: ask.id.to_string(), ..Resource::default() };
    core.note(&LockDeleted { who: ctx.pass.who(), resource }).await?;
    Ok(Done {})
}
