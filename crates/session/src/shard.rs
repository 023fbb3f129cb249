//! Which sessions have something new for a recorder: the list between the pumps and one recorder task.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::slot::{Recorder, Slot};

/// How many recorder tasks there are: so many sessions' disks are waited for at a time.
pub(crate) const SHARDS: usize = 4;

/// Sessions with something new, for one recorder task.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    dirty: Mutex<Vec<Arc<Slot>>>,
    stir: Notify,
    hurry: Notify,
}

impl Shard {
    /// Resolves when a session was added. Cancel safe.
    pub(crate) async fn stirred(&self) {
        self.stir.notified().await;
    }

    /// Resolves when somebody does not want to wait for the tick. Cancel safe.
    pub(crate) async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Takes the sessions that have something new.
    pub(crate) fn take(&self) -> Vec<Arc<Slot>> {
        std::mem::take(&mut self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True while one has.
    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Recorder for Shard {
    fn add(&self, slot: Arc<Slot>) {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        self.stir.notify_one();
    }

    fn hurry(&self) {
        self.hurry.notify_one();
    }
}
