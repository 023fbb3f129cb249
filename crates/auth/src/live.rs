//! Sessions going on now: leases their nodes renew, and the wish that one end.
//!
//! A lease ends by itself; what was begun and not said to be over stays, until the janitor ends it.

use std::time::Duration;

use audit::event::kinds::SessionTerminate;
use audit::event::{SessionRef, Who};
use model::Timestamp;
use model::api::access::{EndSession, ListLive, LiveSession, TrackSession};
use model::api::{Done, Page};
use model::resource::{Kind, Verb};
use policy::Object;
use serde::{Deserialize, Serialize};
use store::{Condition, Txn};

use crate::db::{encode, key};
use crate::dispatch::Ctx;
use crate::gate;
use crate::refusal::{Answer, Refusal};

/// How long a wish to end a session is repeated to its node.
const ENDS_KEPT: Duration = Duration::from_secs(600);
const MAX_REASON: usize = 1024;

/// A session that was announced and not said to be over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Begun {
    pub(crate) session: LiveSession,
    /// Since when nobody announces it; set by the janitor.
    pub(crate) silent_since: Option<Timestamp>,
}

/// The session as policy looks at it.
fn object(live: &LiveSession) -> Object {
    Object { name: Some(live.id.to_string()), ..Object::session(vec![live.user.clone()]) }
}

pub(crate) async fn list(ctx: Ctx, _ask: ListLive) -> Answer<Page<LiveSession>> {
    let shown = |live: &LiveSession| {
        gate::allows_one(&ctx.core, &ctx.pass, Kind::SessionTracker, Verb::List, &object(live))
    };
    let all = ctx.core.db.all::<LiveSession>("live").await?;
    let mut items: Vec<LiveSession> = all.into_iter().map(|(_, doc)| doc.value).filter(shown).collect();
    items.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
    Ok(Page { items, next: String::new() })
}

pub(crate) async fn track(ctx: Ctx, ask: TrackSession) -> Answer<Done> {
    let core = &ctx.core;
    let (id, _, _) = ctx.pass.host()?;
    let place = key("live", &ask.id)?;
    let known = core.db.get::<LiveSession>(&place).await?;
    // A session is its node's: another host can neither announce nor end it.
    if known.as_ref().is_some_and(|doc| doc.value.node != *id) {
        return Err(Refusal::not_found());
    }
    let condition = match &known {
        None => Condition::Absent(place.clone()),
        Some(doc) => Condition::At(place.clone(), doc.revision),
    };
    let txn = match ask.session {
        Some(session) if session.node != *id || session.id != ask.id => return Err(Refusal::not_found()),
        Some(session) => {
            let until = core.now() + core.settings.times.live_session;
            let txn = Txn::new().when(condition).put_until(place, encode(&session)?, Some(until));
            match known {
                Some(_) => txn,
                None => txn.put(key("begun", &ask.id)?, encode(&Begun { session, silent_since: None })?),
            }
        }
        None if known.is_none() => return Ok(Done {}),
        None => {
            let txn = Txn::new().when(condition).delete(place);
            txn.delete(key("begun", &ask.id)?).delete(key("ends", &ask.id)?)
        }
    };
    core.db.commit(txn).await?;
    Ok(Done {})
}

pub(crate) async fn end(ctx: Ctx, ask: EndSession) -> Answer<Done> {
    let core = &ctx.core;
    if ask.reason.len() > MAX_REASON {
        return Err(Refusal::bad("the reason is longer than 1 KiB"));
    }
    let live = core.db.get::<LiveSession>(&key("live", &ask.id)?).await?.ok_or_else(Refusal::not_found)?;
    gate::require(core, &ctx.pass, Kind::SessionTracker, Verb::Delete, &object(&live.value))?;
    let event = SessionTerminate {
        who: Who { login: Some(live.value.login.to_string()), ..ctx.pass.who() },
        session: SessionRef { sid: ask.id.to_string(), session_recording: None },
        reason: Some(ask.reason.clone()).filter(|r| !r.is_empty()),
    };
    core.note(&event).await?;
    let until = core.now() + ENDS_KEPT;
    core.db.commit(Txn::new().put_until(key("ends", &ask.id)?, encode(&ask)?, Some(until))).await?;
    core.refresh_rules().await?;
    Ok(Done {})
}
