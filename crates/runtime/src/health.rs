//! What a process says of itself: background jobs with name, last run and last error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::Timestamp;

/// One job's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// When it last ran.
    pub last_run: Option<Timestamp>,
    /// Why the last run failed; `None` after a good run.
    pub last_error: Option<String>,
}

/// The jobs of a process. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Job>>>);

impl Health {
    /// Notes that `job` ran, and how it went.
    pub fn ran(&self, job: &str, now: Timestamp, outcome: Result<(), String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(job.to_owned(), Job { last_run: Some(now), last_error: outcome.err() });
    }

    /// Every job by name.
    #[must_use]
    pub fn jobs(&self) -> BTreeMap<String, Job> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
