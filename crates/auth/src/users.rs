//! Users: who there is, which roles and traits they have. Secrets are kept apart, under keys of their own.

use std::collections::BTreeSet;

use audit::event::Resource;
use audit::event::kinds::{ResetTokenCreate, UserCreate, UserDelete, UserUpdate};
use model::api::users::{CreateUser, DeleteUser, GetUser, InviteLink, ListUsers, ResetUser, UpdateUser};
use model::api::{Done, Page};
use model::resource::{Kind, Lock, LockTarget, User, Verb};
use model::{RequestId, RoleName, UserName};
use policy::Object;
use store::{Condition, StoreError, Txn};

use crate::account::{Secrets, find, secrets};
use crate::authority::Core;
use crate::db::{Doc, encode, key};
use crate::dispatch::Ctx;
use crate::gate;
use crate::invites::{self, NewInvite};
use crate::passkeys::disown;
use crate::refusal::{Answer, Refusal};
use crate::settings::LONGEST_USER_CERT;

/// The message of the lock that outlives a deleted user's certificates.
const DELETED: &str = "the user was deleted";

/// A user as shown.
async fn shown(core: &Core, doc: Doc<User>) -> Answer<User> {
    let secrets = secrets(core, &doc.value.name).await?.map(|d| d.value).unwrap_or_default();
    let now = core.now();
    Ok(User {
        locked_until: secrets.locked_until.filter(|at| *at > now),
        enrolled: secrets.password.is_some(),
        revision: Some(doc.revision.to_string()),
        ..doc.value
    })
}

/// Goes on when the caller may do it to this user.
fn require(ctx: &Ctx, verb: Verb, name: &UserName) -> Answer<()> {
    gate::require(&ctx.core, &ctx.pass, Kind::User, verb, &Object::named(name.as_str()))
}

pub(crate) async fn list(ctx: Ctx, _ask: ListUsers) -> Answer<Page<User>> {
    let mut items = Vec::new();
    for (_, doc) in ctx.core.db.all::<User>("users").await? {
        if require(&ctx, Verb::List, &doc.value.name).is_ok() {
            items.push(shown(&ctx.core, doc).await?);
        }
    }
    Ok(Page { items, next: String::new() })
}

pub(crate) async fn get(ctx: Ctx, ask: GetUser) -> Answer<User> {
    require(&ctx, Verb::Read, &ask.name)?;
    let doc = find(&ctx.core, &ask.name).await?.ok_or_else(Refusal::not_found)?;
    shown(&ctx.core, doc).await
}

/// All roles must exist, and there must be one: a user without roles could do nothing and would look broken.
async fn check_roles(core: &Core, roles: &BTreeSet<RoleName>) -> Answer<()> {
    if roles.is_empty() {
        return Err(Refusal::bad("a user needs at least one role"));
    }
    for role in roles {
        if core.db.get::<serde_json::Value>(&key("roles", role)?).await?.is_none() {
            return Err(Refusal::bad(format!("there is no role `{role}`")));
        }
    }
    Ok(())
}

fn check_traits(traits: &model::identity::Traits) -> Answer<()> {
    let values = traits.values().flatten();
    let size: usize = traits.keys().chain(values).map(String::len).sum();
    // Traits travel in every certificate, which has a bound of its own.
    if size > 8 * 1024 {
        return Err(Refusal::bad("traits are longer than 8 KiB together"));
    }
    let odd = |text: &&String| text.is_empty() || text.chars().any(char::is_control);
    match traits.keys().chain(traits.values().flatten()).find(odd) {
        Some(_) => Err(Refusal::bad("traits may not be empty or hold control characters")),
        None => Ok(()),
    }
}

pub(crate) async fn create(ctx: Ctx, ask: CreateUser) -> Answer<InviteLink> {
    let core = &ctx.core;
    require(&ctx, Verb::Create, &ask.name)?;
    check_roles(core, &ask.roles).await?;
    check_traits(&ask.traits)?;
    is_free(core, &ask.name).await?;
    let invite = invites::prepare(core, &ask.name, ask.ttl, false)?;
    let user = User {
        name: ask.name.clone(),
        roles: ask.roles,
        traits: ask.traits,
        created_by: ctx.pass.name(),
        created_at: core.now(),
        expires: None,
        locked_until: None,
        enrolled: false,
        revision: None,
    };
    let place = key("users", &user.name)?;
    let secrets = Secrets { invite: Some(invite.hash.clone()), ..Secrets::default() };
    let txn = Txn::new()
        .when(Condition::Absent(place.clone()))
        .put(place, encode(&user)?)
        .put(key("secrets", &user.name)?, encode(&secrets)?);
    core.db.commit(invite.add_to(txn)?).await.map_err(|e| match e {
        StoreError::Conflict(_) => Refusal::conflict(format!("there is a user `{}` already", ask.name)),
        other => other.into(),
    })?;
    let event = UserCreate {
        who: ctx.pass.who(),
        resource: Resource { name: ask.name.to_string(), ..Resource::default() },
        roles: user.roles.iter().map(ToString::to_string).collect(),
        connector: "local".into(),
    };
    core.note(&event).await?;
    finish_link(&ctx, invite, ask.name).await
}

/// Notes the link and shows it, once.
async fn finish_link(ctx: &Ctx, invite: NewInvite, user: UserName) -> Answer<InviteLink> {
    let event = ResetTokenCreate {
        who: ctx.pass.who(),
        resource: Resource {
            name: user.to_string(),
            expires: Some(invite.expires),
            updated_by: Some(ctx.pass.name()),
        },
        ttl: Some(model::time::Span(invite.ttl).to_string()),
    };
    ctx.core.note(&event).await?;
    let url = invites::url(&ctx.core, &invite).await?;
    Ok(InviteLink { user, secret: invite.secret, url, expires: invite.expires })
}

pub(crate) async fn update(ctx: Ctx, ask: UpdateUser) -> Answer<User> {
    let core = &ctx.core;
    require(&ctx, Verb::Update, &ask.name)?;
    let doc = find(core, &ask.name).await?.ok_or_else(Refusal::not_found)?;
    let mut user = doc.value;
    if let Some(roles) = ask.roles {
        check_roles(core, &roles).await?;
        user.roles = roles;
    }
    if let Some(traits) = ask.traits {
        check_traits(&traits)?;
        user.traits = traits;
    }
    let place = key("users", &user.name)?;
    let txn = Txn::new().when(Condition::At(place.clone(), doc.revision)).put(place, encode(&user)?);
    let revision = core.db.commit(txn).await?.revision;
    let event = UserUpdate {
        who: ctx.pass.who(),
        resource: Resource {
            name: user.name.to_string(),
            updated_by: Some(ctx.pass.name()),
            ..Resource::default()
        },
        roles: user.roles.iter().map(ToString::to_string).collect(),
        connector: "local".into(),
    };
    core.note(&event).await?;
    shown(core, Doc { value: user, revision }).await
}

pub(crate) async fn reset(ctx: Ctx, ask: ResetUser) -> Answer<InviteLink> {
    let core = &ctx.core;
    require(&ctx, Verb::Update, &ask.name)?;
    let doc = find(core, &ask.name).await?.ok_or_else(Refusal::not_found)?;
    let invite = invites::prepare(core, &ask.name, ask.ttl, true)?;
    let user = Condition::At(key("users", &ask.name)?, doc.revision);
    loop {
        let txn = start_over(core, &ask.name, &invite).await?.when(user.clone());
        match core.db.commit(txn).await {
            Ok(_) => return finish_link(&ctx, invite, ask.name).await,
            // Somebody tried to sign in, or it was reset, at the same time: what they left ends too.
            Err(StoreError::Conflict(place)) if place == key("secrets", &ask.name)? => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Password, second factor, passkeys and the link before end here, not when the new link is used.
async fn start_over(core: &Core, name: &UserName, invite: &NewInvite) -> Answer<Txn> {
    let place = key("secrets", name)?;
    let old = secrets(core, name).await?;
    let condition = match &old {
        Some(doc) => Condition::At(place.clone(), doc.revision),
        None => Condition::Absent(place.clone()),
    };
    let old = old.map(|doc| doc.value).unwrap_or_default();
    let new = Secrets { invite: Some(invite.hash.clone()), ..Secrets::default() };
    let mut txn = disown(Txn::new().when(condition).put(place, encode(&new)?), &old)?;
    if let Some(old) = old.invite {
        txn = txn.delete(key("invites", old)?);
    }
    invite.add_to(txn)
}

pub(crate) async fn delete(ctx: Ctx, ask: DeleteUser) -> Answer<Done> {
    let core = &ctx.core;
    require(&ctx, Verb::Delete, &ask.name)?;
    let doc = find(core, &ask.name).await?.ok_or_else(Refusal::not_found)?;
    if ctx.pass.user() == Some(&ask.name) {
        return Err(Refusal::conflict("you cannot delete yourself: ask another admin"));
    }
    let old = secrets(core, &ask.name).await?.map(|d| d.value).unwrap_or_default();
    let place = key("users", &ask.name)?;
    // Certificates out there live on for a while: a lock outlives them, and ends live sessions now.
    let lock = Lock {
        id: RequestId::from_random(core.random.bytes()),
        target: LockTarget { user: Some(ask.name.clone()), ..LockTarget::default() },
        message: DELETED.into(),
        expires: Some(core.now() + LONGEST_USER_CERT),
        created_at: core.now(),
        created_by: ctx.pass.name(),
    };
    let mut txn = Txn::new()
        .when(Condition::At(place.clone(), doc.revision))
        .delete(place)
        .delete(key("secrets", &ask.name)?)
        .put_until(key("locks", &lock.id)?, encode(&lock)?, lock.expires);
    txn = disown(txn, &old)?;
    if let Some(invite) = old.invite {
        txn = txn.delete(key("invites", invite)?);
    }
    core.db.commit(txn).await?;
    core.refresh_rules().await?;
    let resource = Resource { name: ask.name.to_string(), ..Resource::default() };
    core.note(&UserDelete { who: ctx.pass.who(), resource }).await?;
    Ok(Done {})
}

/// A certificate says no more than a name: those of a deleted user would be good again for a new one of that name. So
/// the name waits until the last of them has ended, as the lock does that keeps them from being used.
async fn is_free(core: &Core, name: &UserName) -> Answer<()> {
    let target = LockTarget { user: Some(name.clone()), ..LockTarget::default() };
    let locks = core.db.all::<Lock>("locks").await?;
    let mut locks = locks.into_iter().map(|(_, doc)| doc.value);
    match locks.find(|lock| lock.message == DELETED && lock.target == target) {
        Some(Lock { id, expires: Some(end), .. }) if end > core.now() => Err(Refusal::conflict(format!(
            "a user `{name}` was deleted, and certificates of theirs may be good until {end}: create the user after \
             that, or under another name. `mctl rm lock/{id}` frees the name now, and makes those certificates good again"
        ))),
        Some(_) | None => Ok(()),
    }
}
