//! The janitor: completes recordings and ends sessions whose node stayed away, and says so.
//!
//! A recording is abandoned when no live session announces it and no segment has come for a while; a session of which
//! nothing was ever received ends when nobody announced it for as long. Only time in which the authority could hear
//! counts: after a start, or a suspended machine, nodes announce their sessions anew first.
//!
//! What is given up is noted in one transaction with the events that say so, and these are told after it: none is told
//! of what did not happen, and after a crash they are told all the same.

use std::collections::BTreeSet;
use std::time::Duration;

use audit::event::kinds::{RecordingAbandoned, SessionEnd};
use audit::event::{Connection, Event as _, Server, SessionRef, Who, once_for};
use model::api::access::LiveSession;
use model::api::audit::AuditEvent;
use model::api::recordings::{RecordingInfo, RecordingState};
use model::{NodeId, SessionId, Timestamp};
use store::{Condition, Key, StoreError, Txn};

use crate::authority::Core;
use crate::db::{Doc, encode, key};
use crate::live::Begun;
use crate::recordings::{self, reference, server, stamped_as};
use crate::refusal::Answer;
use crate::sink::{field, told_by};

const REASON: &str = "abandoned: the node stayed away";

/// For how long the authority has been able to hear nodes, without a break.
pub(crate) struct Hearing {
    lease: Duration,
    since: Timestamp,
    last: Timestamp,
}

impl Hearing {
    /// From now on, with what a session's announcement is good for.
    pub(crate) fn begin(now: Timestamp, lease: Duration) -> Self {
        Self { lease, since: now, last: now }
    }

    /// Told that time goes on; says whether those who are silent now are absent. Announcements come every third of a
    /// lease, so a longer break swallows some; two leases are enough for a node to find the authority again.
    pub(crate) fn may_judge(&mut self, now: Timestamp) -> bool {
        if now < self.last || now.since(self.last) > self.lease / 3 {
            self.since = now;
        }
        self.last = now;
        now.since(self.since) >= self.lease * 2
    }
}

/// Looks once at every open recording and at every session that is not said to be over.
pub(crate) async fn sweep(core: &Core) -> Answer<()> {
    tell_rest(core).await?;
    for (_, open) in core.db.all::<SessionId>("open").await? {
        look_at(core, &open.value).await?;
    }
    let begun = core.db.all::<Begun>("begun").await?;
    let live = core.db.all::<LiveSession>("live").await?;
    let announced: BTreeSet<String> = live.into_iter().map(|(id, _)| id).collect();
    for (_, silent) in begun.into_iter().filter(|(id, _)| !announced.contains(id)) {
        look_after(core, silent).await?;
    }
    Ok(())
}

/// Tells what was given up before a crash and not told any more.
pub(crate) async fn tell_rest(core: &Core) -> Answer<()> {
    for (name, rest) in core.db.all::<Vec<AuditEvent>>("untold").await? {
        tell(core, key("untold", name)?, rest.value).await?;
    }
    Ok(())
}

async fn look_at(core: &Core, id: &SessionId) -> Answer<()> {
    let Some(doc) = recordings::find(core, id).await? else { return Ok(()) };
    let quiet = core.now().since(doc.value.last_segment_at) >= core.settings.times.abandoned;
    let lives = core.db.get::<LiveSession>(&key("live", id)?).await?.is_some();
    if !quiet || lives || doc.value.info.state != RecordingState::Live {
        return Ok(());
    }
    let mut recording = doc.value;
    recording.info.state = RecordingState::Abandoned;
    recording.info.ended = Some(recording.last_segment_at);
    // Their ids follow from where the recording stands: told again after a crash, they are noted once.
    let seed = format!("{id} {}", recording.info.segments);
    let mut events = Vec::new();
    if !end_is_told(core, &recording.info.node, id).await? {
        events.push(stamped_as(core, &session_end(&recording.info), &seed));
    }
    events.push(stamped_as(core, &abandoned(&recording.info), &seed));
    events.push(recordings::close(core, &mut recording)?);
    let place = recordings::place(id)?;
    let txn = Txn::new()
        .when(Condition::At(place.clone(), doc.revision))
        .put(place, encode(&recording)?)
        .delete(key("open", id)?);
    give_up(core, id, txn, events).await
}

/// Ends a session that nobody announces any more, unless its recording ends it.
async fn look_after(core: &Core, begun: Doc<Begun>) -> Answer<()> {
    let session = begun.value.session;
    let id = session.id.clone();
    let place = key("begun", &id)?;
    let txn = Txn::new()
        .quiet()
        .when(Condition::At(place.clone(), begun.revision))
        .when(Condition::Absent(key("live", &id)?));
    let Some(since) = begun.value.silent_since else {
        let silent = Begun { session, silent_since: Some(core.now()) };
        return attempt(core, txn.put(place, encode(&silent)?)).await.map(|_| ());
    };
    if core.now().since(since) < core.settings.times.abandoned {
        return Ok(());
    }
    let recording = recordings::find(core, &id).await?;
    let recorded = recordings::place(&id)?;
    let (as_found, state) = match recording {
        None => (Condition::Absent(recorded), None),
        Some(doc) => (Condition::At(recorded, doc.revision), Some(doc.value.info.state)),
    };
    let txn = txn.when(as_found).delete(place);
    let ends = match state {
        Some(RecordingState::Live | RecordingState::Abandoned) => false,
        Some(RecordingState::Complete) | None => !end_is_told(core, &session.node, &id).await?,
    };
    match ends {
        false => attempt(core, txn).await.map(|_| ()),
        true => {
            let end = stamped_as(core, &silent_end(&session, since), &format!("{id} 0"));
            give_up(core, &id, txn, vec![end]).await
        }
    }
}

/// Whether its node said that the session ended. What it told under that id may be something else.
async fn end_is_told(core: &Core, node: &NodeId, id: &SessionId) -> Answer<bool> {
    let told = told_by(&core.db, node, &once_for(id, SessionEnd::NAME)).await?;
    let is_end = |e: &AuditEvent| field(e, "event") == SessionEnd::NAME && field(e, "sid") == id.as_str();
    Ok(told.is_some_and(|event| is_end(&event)))
}

/// Does what `txn` says, and tells `events` if that could be done.
async fn give_up(core: &Core, id: &SessionId, txn: Txn, events: Vec<AuditEvent>) -> Answer<()> {
    let place = key("untold", id)?;
    let txn = txn.quiet().when(Condition::Absent(place.clone())).put(place.clone(), encode(&events)?);
    match attempt(core, txn).await? {
        true => tell(core, place, events).await,
        false => Ok(()),
    }
}

async fn tell(core: &Core, place: Key, events: Vec<AuditEvent>) -> Answer<()> {
    core.log.write(events).await?;
    core.db.commit(Txn::new().quiet().delete(place)).await?;
    Ok(())
}

/// False when something came at this very moment: what is not given up after all.
async fn attempt(core: &Core, txn: Txn) -> Answer<bool> {
    match core.db.commit(txn).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn session_end(info: &RecordingInfo) -> SessionEnd {
    SessionEnd {
        who: Who { login: Some(info.login.to_string()), ..Who::user(info.user.as_str()) },
        server: server(info),
        session: reference(info),
        session_start: info.started,
        session_stop: info.ended.unwrap_or(info.started),
        interactive: info.kind == "shell",
        participants: vec![info.user.to_string()],
        reason: Some(REASON.into()),
        initial_command: Some(info.command.clone()).filter(|c| !c.is_empty()).into_iter().collect(),
        ..SessionEnd::default()
    }
}

/// The end of a session of which no recording came.
fn silent_end(session: &LiveSession, since: Timestamp) -> SessionEnd {
    SessionEnd {
        who: Who { login: Some(session.login.to_string()), ..Who::user(session.user.as_str()) },
        server: Server {
            server_id: session.node.to_string(),
            server_hostname: session.node_name.to_string(),
            ..Server::default()
        },
        connection: Connection { remote: session.client_addr.clone(), ..Connection::default() },
        session: SessionRef { sid: session.id.to_string(), session_recording: None },
        session_start: session.started,
        session_stop: since,
        interactive: session.interactive,
        participants: vec![session.user.to_string()],
        reason: Some(REASON.into()),
        initial_command: Some(session.command.clone()).filter(|c| !c.is_empty()).into_iter().collect(),
        ..SessionEnd::default()
    }
}

fn abandoned(info: &RecordingInfo) -> RecordingAbandoned {
    RecordingAbandoned { server: server(info), session: reference(info), segments: info.segments }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_judged_only_over_time_without_a_break() {
        // When the janitor looks, in seconds since the start, and whether it may judge then. A lease is 90 s.
        let steady = |from: i64| (from..).step_by(5);
        let table: [(&str, Vec<i64>, bool); 6] = [
            ("at the start", vec![0], false),
            ("while announcements may still come", steady(0).take_while(|s| *s < 180).collect(), false),
            ("when they would have come", steady(0).take_while(|s| *s <= 180).collect(), true),
            (
                "after a break",
                steady(0).take_while(|s| *s <= 180).chain(steady(211).take_while(|s| *s < 391)).collect(),
                false,
            ),
            (
                "long after a break",
                steady(0).take_while(|s| *s <= 180).chain(steady(211).take_while(|s| *s <= 391)).collect(),
                true,
            ),
            (
                "when the clock was set back",
                steady(0).take_while(|s| *s <= 180).chain([100]).collect(),
                false,
            ),
        ];
        for (what, looks, wanted) in table {
            let mut hearing = Hearing::begin(Timestamp::from_secs(0), Duration::from_secs(90));

            let judged = looks.into_iter().map(|s| hearing.may_judge(Timestamp::from_secs(s))).last();

            assert_eq!(judged, Some(wanted), "{what}");
        }
    }
}
