//! What is told of every session: that it lives, and that it is over; `session.start`, and at its end `session.leave`,
//! `session.data`, `session.end`.
//!
//! The events' ids follow from the session's, so that telling one twice (after a crash) is telling it once.

use audit::event::{self, Event, Server, Stamp, kinds};
use model::Timestamp;
use model::api::access::{LiveSession, TrackSession};
use model::api::audit::AuditEvent;

use crate::about::{Ledger, Outcome};

fn fixed<E: Event>(ledger: &Ledger, event: &E, index: u64, time: Timestamp) -> AuditEvent {
    let stamp =
        Stamp { time, uid: event::once_for(&ledger.id, E::NAME), cluster: &ledger.server.cluster, index };
    event::seal(event, &stamp)
}

pub(crate) fn start_event(ledger: &Ledger, server: Server) -> AuditEvent {
    let event = kinds::SessionStart {
        who: ledger.about.who(),
        server,
        connection: ledger.about.connection(),
        session: ledger.session(),
        login: ledger.about.login.to_string(),
        size: ledger.about.size.map(|(cols, rows)| format!("{cols}:{rows}")),
        initial_command: ledger.about.words(),
        interactive: ledger.about.interactive(),
        policy_revision: ledger.about.revision,
        roles: ledger.about.roles.clone(),
        notice: Some(ledger.recording.notice.as_str().to_owned()),
    };
    fixed(ledger, &event, 0, ledger.started)
}

/// `session.leave`, `session.data` where it is known how much `moved` to and from the person, `session.end`.
pub(crate) fn end_events(
    ledger: &Ledger,
    outcome: &Outcome,
    moved: Option<(u64, u64)>,
    now: Timestamp,
) -> (Vec<AuditEvent>, AuditEvent) {
    let (who, server, session) = (ledger.about.who(), ledger.server.server(), ledger.session());
    let connection = ledger.about.connection();
    let leave = kinds::SessionLeave { who: who.clone(), server: server.clone(), session: session.clone() };
    let mut before = vec![fixed(ledger, &leave, 1, now)];
    if let Some((tx, rx)) = moved {
        let (who, server) = (who.clone(), server.clone());
        let (connection, session) = (connection.clone(), session.clone());
        let data = kinds::SessionData { who, server, connection, session, tx, rx };
        before.push(fixed(ledger, &data, 2, now));
    }
    let end = kinds::SessionEnd {
        who,
        server,
        connection,
        session,
        session_start: ledger.started,
        session_stop: now,
        interactive: ledger.about.interactive(),
        enhanced_recording: false,
        participants: vec![ledger.about.user.to_string()],
        reason: (!outcome.reason.is_empty()).then(|| outcome.reason.clone()),
        initial_command: ledger.about.words(),
    };
    (before, fixed(ledger, &end, 3, now))
}

/// What a live session looks like from outside.
pub(crate) fn alive(ledger: &Ledger) -> TrackSession {
    let session = LiveSession {
        id: ledger.id.clone(),
        user: ledger.about.user.clone(),
        login: ledger.about.login.clone(),
        node: ledger.server.id.clone(),
        node_name: ledger.server.name.clone(),
        started: ledger.started,
        command: ledger.about.command.clone(),
        interactive: ledger.about.interactive(),
        client_addr: ledger.about.client_addr.clone(),
    };
    TrackSession { id: ledger.id.clone(), session: Some(session) }
}

/// That it is over.
pub(crate) fn over(ledger: &Ledger) -> TrackSession {
    TrackSession { id: ledger.id.clone(), session: None }
}
