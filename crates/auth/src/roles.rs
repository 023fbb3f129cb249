//! Roles: reviewed before they are kept, so that a kept role means something.

use audit::event::Resource;
use audit::event::kinds::{RoleCreated, RoleDeleted, RoleNotice, RoleRecorded, RoleUpdated};
use model::RoleName;
use model::api::audit::AuditEvent;
use model::api::roles::{DeleteRole, GetRole, ListRoles, PutRole, RoleWritten};
use model::api::{Done, Page};
use model::resource::{Kind, Notice, RecordingMode, Role, User, Verb};
use policy::Object;
use store::{Condition, StoreError, Txn};

use crate::authority::Core;
use crate::db::{Doc, encode, key};
use crate::dispatch::Ctx;
use crate::gate;
use crate::refusal::{Answer, Refusal};

const MAX_ROLE: usize = 64 * 1024;

fn shown(doc: Doc<Role>) -> Role {
    let mut role = doc.value;
    role.metadata.revision = Some(doc.revision.to_string());
    role
}

/// Goes on when the caller may do it to this role.
fn require(ctx: &Ctx, verb: Verb, role: &Role) -> Answer<()> {
    let object = Object::labelled(role.metadata.name.clone(), role.metadata.labels.clone());
    gate::require(&ctx.core, &ctx.pass, Kind::Role, verb, &object)
}

async fn find(core: &Core, name: &RoleName) -> Answer<Option<Doc<Role>>> {
    Ok(core.db.get::<Role>(&key("roles", name)?).await?)
}

pub(crate) async fn list(ctx: Ctx, _ask: ListRoles) -> Answer<Page<Role>> {
    let all = ctx.core.db.all::<Role>("roles").await?;
    let listed =
        all.into_iter().map(|(_, doc)| doc).filter(|doc| require(&ctx, Verb::List, &doc.value).is_ok());
    Ok(Page { items: listed.map(shown).collect(), next: String::new() })
}

pub(crate) async fn get(ctx: Ctx, ask: GetRole) -> Answer<Role> {
    let doc = find(&ctx.core, &ask.name).await?.ok_or_else(Refusal::not_found)?;
    require(&ctx, Verb::Read, &doc.value)?;
    Ok(shown(doc))
}

pub(crate) async fn put(ctx: Ctx, ask: PutRole) -> Answer<RoleWritten> {
    let core = &ctx.core;
    if ask.role.metadata.name != ask.name.as_str() {
        return Err(Refusal::bad("the role's name and the path's differ"));
    }
    let review = policy::review_role(&ask.role);
    if !review.errors.is_empty() {
        return Err(Refusal::bad(format!("the role cannot be kept: {}", review.errors.join("; "))));
    }
    let known = find(core, &ask.name).await?;
    let mut role = ask.role;
    let expected = role.metadata.revision.take();
    match &known {
        None => require(&ctx, Verb::Create, &role)?,
        // Changing what others hold is another right than making something new: over what it is, and what it becomes.
        Some(doc) => {
            require(&ctx, Verb::Update, &doc.value)?;
            require(&ctx, Verb::Update, &role)?;
        }
    }
    let place = key("roles", &ask.name)?;
    let condition = match &known {
        None => Condition::Absent(place.clone()),
        Some(_) if !ask.replace => {
            return Err(Refusal::conflict(format!("there is a role `{}` already", ask.name)));
        }
        Some(doc) if expected.is_some_and(|r| r != doc.revision.to_string()) => {
            return Err(Refusal::conflict("the role changed since it was read: read it again"));
        }
        Some(doc) => Condition::At(place.clone(), doc.revision),
    };
    let value = encode(&role)?;
    if value.len() > MAX_ROLE {
        return Err(Refusal::bad("the role is larger than 64 KiB"));
    }
    let revision = core.db.commit(Txn::new().when(condition).put(place, value)).await?.revision;
    core.refresh_rules().await?;
    let resource =
        Resource { name: ask.name.to_string(), updated_by: Some(ctx.pass.name()), ..Resource::default() };
    let who = ctx.pass.who();
    let mut events = match &known {
        None => vec![core.stamped(&RoleCreated { who, resource })],
        Some(_) => vec![core.stamped(&RoleUpdated { who, resource })],
    };
    events.extend(notice_changed(&ctx, known.as_ref().map(|doc| &doc.value), &role));
    events.extend(mode_changed(&ctx, known.as_ref().map(|doc| &doc.value), &role));
    core.log.write(events).await?;
    Ok(RoleWritten { role: shown(Doc { value: role, revision }), not_in_effect: review.not_in_effect })
}

/// What a role tells of being recorded is an act of its own when it changes: above all when it falls silent.
fn notice_changed(ctx: &Ctx, before: Option<&Role>, after: &Role) -> Option<AuditEvent> {
    let said = |role: &Role| role.spec.options.record_session.as_ref().and_then(|r| r.notice);
    let (was, is) = (before.map(|role| said(role).unwrap_or_default()), said(after));
    // A new role without an opinion changes nothing; one that loses its opinion is silent.
    let changed = match was {
        None => is.is_some(),
        Some(was) => was != is.unwrap_or_default(),
    };
    changed.then(|| {
        ctx.core.stamped(&RoleNotice {
            who: ctx.pass.who(),
            resource: Resource { name: after.metadata.name.clone(), ..Resource::default() },
            before: was.map(Notice::as_str).unwrap_or_default().to_owned(),
            after: is.unwrap_or_default().as_str().to_owned(),
        })
    })
}

/// So is whether sessions are recorded at all.
fn mode_changed(ctx: &Ctx, before: Option<&Role>, after: &Role) -> Option<AuditEvent> {
    let said = |role: &Role| {
        let mode = role.spec.options.record_session.as_ref().and_then(|r| r.mode);
        mode.map(|mode| RecordingMode::from(mode).as_str()).unwrap_or_default()
    };
    let (was, is) = (before.map(said).unwrap_or_default(), said(after));
    (was != is).then(|| {
        ctx.core.stamped(&RoleRecorded {
            who: ctx.pass.who(),
            resource: Resource { name: after.metadata.name.clone(), ..Resource::default() },
            before: was.to_owned(),
            after: is.to_owned(),
        })
    })
}

pub(crate) async fn delete(ctx: Ctx, ask: DeleteRole) -> Answer<Done> {
    let core = &ctx.core;
    let doc = find(core, &ask.name).await?.ok_or_else(Refusal::not_found)?;
    require(&ctx, Verb::Delete, &doc.value)?;
    if policy::presets::all().iter().any(|preset| preset.metadata.name == ask.name.as_str()) {
        return Err(Refusal::conflict("a preset role cannot be removed; it can be changed"));
    }
    let users = core.db.all::<User>("users").await?;
    if let Some((name, _)) = users.iter().find(|(_, u)| u.value.roles.contains(&ask.name)) {
        return Err(Refusal::conflict(format!(
            "`{name}` and maybe others hold the role: take it from them first"
        )));
    }
    let place = key("roles", &ask.name)?;
    let txn = Txn::new().when(Condition::At(place.clone(), doc.revision)).delete(place);
    core.db.commit(txn).await.map_err(|e| match e {
        StoreError::Conflict(_) => Refusal::conflict("the role changed at the same time"),
        other => other.into(),
    })?;
    core.refresh_rules().await?;
    let resource = Resource { name: ask.name.to_string(), ..Resource::default() };
    core.note(&RoleDeleted { who: ctx.pass.who(), resource }).await?;
    Ok(Done {})
}
