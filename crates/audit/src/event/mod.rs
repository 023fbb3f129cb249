//! Audit events: typed, in Teleport's names, codes and flat JSON shape.
//!
//! Fill a type of [`kinds`], [`seal`] it with a [`Stamp`], and emit what comes out. [`KINDS`] is the one registry of
//! names, codes and required fields; [`check`] refuses what is not in it. Events are at most [`MAX`] bytes of JSON:
//! longer ones are trimmed with a mark that says how much went. Control characters never reach the log raw, because
//! JSON escapes them.

mod bound;
mod declare;
mod details;
pub mod group;
pub mod kinds;
mod registry;

use model::api::audit::AuditEvent;
use model::{ClusterName, RequestId, SessionId, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Hash;

pub use bound::{MAX, bounded};
pub use group::{Connection, Resource, Server, SessionRef, Status, Who};
pub use registry::{KINDS, Kind, check, kind};

/// What every event carries beside its own fields.
#[derive(Clone, Debug)]
pub struct Stamp<'a> {
    /// When it happened.
    pub time: Timestamp,
    /// Names this event alone; the same id twice is kept once.
    pub uid: RequestId,
    /// The cluster.
    pub cluster: &'a ClusterName,
    /// Index within its session; 0 outside sessions.
    pub index: u64,
}

/// An event's type.
pub trait Event: Serialize {
    /// Its name, e.g. `session.start`.
    const NAME: &'static str;

    /// Its code: the last letter is its class (I info, W warning, E error, S stopped).
    fn code(&self) -> &'static str;
}

/// The id that an event which a session has once always has, as its host tells it: telling it twice is telling it once.
#[must_use]
pub fn once_for(session: &SessionId, name: &str) -> RequestId {
    let Hash(hash) = Hash::of(&[b"moongate session event\n", session.as_str().as_bytes(), name.as_bytes()]);
    let mut uid = [0; 16];
    for (to, from) in uid.iter_mut().zip(hash) {
        *to = from;
    }
    RequestId::from_random(uid)
}

/// Makes the flat JSON of an event; what is absent is left out.
#[must_use]
pub fn seal<E: Event>(event: &E, stamp: &Stamp<'_>) -> AuditEvent {
    let mut map = match serde_json::to_value(event) {
        Ok(Value::Object(map)) => map,
        Ok(_) | Err(_) => Map::new(),
    };
    map.retain(|_, value| !value.is_null());
    map.insert("event".to_owned(), E::NAME.into());
    map.insert("code".to_owned(), event.code().into());
    map.insert("time".to_owned(), stamp.time.to_string().into());
    map.insert("uid".to_owned(), stamp.uid.as_str().into());
    map.insert("ei".to_owned(), stamp.index.into());
    map.insert("cluster_name".to_owned(), stamp.cluster.as_str().into());
    bounded(AuditEvent(map))
}
