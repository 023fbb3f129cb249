//! The janitor: completes recordings whose node stayed away, and says so.
//!
//! A recording is abandoned when no live session announces it and no segment has come for a while. Only time in which the
//! authority could hear counts: after a start, or a suspended machine, nodes announce their sessions anew first.

use std::time::Duration;

use audit::event::Who;
use audit::event::kinds::{RecordingAbandoned, SessionEnd};
use model::api::access::LiveSession;
use model::api::recordings::{RecordingInfo, RecordingState};
use model::{SessionId, Timestamp};
use store::{Condition, StoreError, Txn};

use crate::authority::Core;
use crate::db::{encode, key};
use crate::recordings::{self, reference, server, stamped_as};
use crate::refusal::Answer;

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
