//! The janitor: completes recordings whose node stayed away, and says so.
//!
//! A recording is abandoned when no live session announces it and no segment has come for a while.

use audit::event::Who;
use audit::event::kinds::{RecordingAbandoned, SessionEnd};
use model::SessionId;
use model::api::access::LiveSession;
use model::api::recordings::{RecordingInfo, RecordingState};
use store::{Condition, StoreError, Txn};

use crate::authority::Core;
use crate::db::{encode, key};
use crate::recordings::{self, reference, server, stamped_as};
use crate::refusal::Answer;

/// Looks at every open recording once; says how many were given up.
pub(crate) async fn sweep(core: &Core) -> Answer<usize> {
    let mut given_up = 0;
    for (_, open) in core.db.all::<SessionId>("open").await? {
        given_up += usize::from(look_at(core, &open.value).await?);
    }
    Ok(given_up)
}

async fn look_at(core: &Core, id: &SessionId) -> Answer<bool> {
    let Some(doc) = recordings::find(core, id).await? else { return Ok(false) };
    let quiet = core.now().since(doc.value.last_segment_at) >= core.settings.times.abandoned;
    let lives = core.db.get::<LiveSession>(&key("live", id)?).await?.is_some();
    if !quiet || lives || doc.value.info.state != RecordingState::Live {
        return Ok(false);
    }
    let mut recording = doc.value;
    recording.info.state = RecordingState::Abandoned;
    recording.info.ended = Some(recording.last_segment_at);
    // Their ids follow from where the recording stands: done again after a crash, they are noted once.
    let seed = format!("{id} {}", recording.info.segments);
    let events = vec![
        stamped_as(core, &session_end(&recording.info), &seed),
        stamped_as(core, &abandoned(&recording.info), &seed),
    ];
    core.log.write(events).await?;
    recordings::close(core, &mut recording).await?;
    let place = key("recordings", id)?;
    let txn = Txn::new()
        .quiet()
        .when(Condition::At(place.clone(), doc.revision))
        .put(place, encode(&recording)?)
        .delete(key("open", id)?);
    match core.db.commit(txn).await {
        Ok(_) => Ok(true),
        // A segment came at this very moment: it is not abandoned after all.
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
        reason: Some("abandoned: the node stayed away".into()),
        initial_command: Some(info.command.clone()).filter(|c| !c.is_empty()).into_iter().collect(),
        ..SessionEnd::default()
    }
}

fn abandoned(info: &RecordingInfo) -> RecordingAbandoned {
    RecordingAbandoned { server: server(info), session: reference(info), segments: info.segments }
}
