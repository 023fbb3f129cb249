//! Recordings that grew and have not been looked through: told when a segment is taken, and never waited for.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use model::SessionId;
use tokio::sync::Notify;

/// Recordings that grew. One entry a recording, so as long as they are many.
#[derive(Default)]
pub(crate) struct Grown {
    waiting: Mutex<BTreeSet<SessionId>>,
    wake: Notify,
}

impl Grown {
    /// A segment came.
    pub(crate) fn tell(&self, id: &SessionId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        self.wake.notify_one();
    }

    /// One of them.
    pub(crate) fn take(&self) -> Option<SessionId> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first()
    }

    /// Resolves when one may be waiting. Cancel safe.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}
