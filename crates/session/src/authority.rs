//! The authority as this room needs it: five questions, answered by `client::Client`, or by a stand-in in tests.
//!
//! Each implementation bounds its own waiting; callers here add their own deadlines where they need shorter ones.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use model::SessionId;
use model::api::Fault;
use model::api::access::TrackSession;
use model::api::audit::{AuditEvent, EmitEvents};
use model::api::recordings::{GetUpload, SegmentReceipt, UploadState};

/// A future of no particular type.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'a>>;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Not now; the same may work later.
    #[error("{0}")]
    Later(String),
    /// Never, as it stands.
    #[error("refused: {0}")]
    Refused(String),
}

/// What the authority does for sessions.
pub trait Authority: Send + Sync + 'static {
    /// Writes events durably, in order; the same `uid` twice is kept once.
    fn emit(&self, events: Vec<AuditEvent>) -> Answer<'_, ()>;

    /// Takes one sealed segment.
    fn put_segment<'a>(&'a self, id: &'a SessionId, n: u64, bytes: Bytes) -> Answer<'a, SegmentReceipt>;

    /// How far a recording has come.
    fn upload_state<'a>(&'a self, id: &'a SessionId) -> Answer<'a, UploadState>;

    /// Announces that a session lives or has ended.
    fn track(&self, session: TrackSession) -> Answer<'_, ()>;
}

impl Authority for client::Client {
    fn emit(&self, events: Vec<AuditEvent>) -> Answer<'_, ()> {
        Box::pin(async move { self.call(&EmitEvents { events }).await.map(drop).map_err(trouble) })
    }

    fn put_segment<'a>(&'a self, id: &'a SessionId, n: u64, bytes: Bytes) -> Answer<'a, SegmentReceipt> {
        Box::pin(async move { client::Client::put_segment(self, id, n, bytes).await.map_err(trouble) })
    }

    fn upload_state<'a>(&'a self, id: &'a SessionId) -> Answer<'a, UploadState> {
        Box::pin(async move { self.call(&GetUpload { id: id.clone() }).await.map_err(trouble) })
    }

    fn track(&self, session: TrackSession) -> Answer<'_, ()> {
        Box::pin(async move { self.call(&session).await.map(drop).map_err(trouble) })
    }
}

/// Only bytes that the authority will never take are refused for good. A certificate that has lapsed or a host that is
/// not known just now are mended elsewhere, and nothing may be given up meanwhile.
fn trouble(error: client::CallError) -> Trouble {
    let text = runtime::causes(&error);
    match error.fault() {
        Some(Fault::BadRequest | Fault::Conflict | Fault::TooLarge) => Trouble::Refused(text),
        Some(
            Fault::Unauthenticated | Fault::NotFound | Fault::TooMany | Fault::Internal | Fault::Unavailable,
        )
        | None => Trouble::Later(text),
    }
}
