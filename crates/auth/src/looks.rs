//! Who has been seen looking at which recording: only the first look of each is an event.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use model::{SessionId, UserName};

/// Who has looked at what since the start: a second look at a segment is the same look. Bounded.
#[derive(Default)]
pub(crate) struct Looks(Mutex<BTreeSet<(UserName, SessionId)>>);

impl Looks {
    const MAX: usize = 10_000;

    /// True the first time.
    pub(crate) fn is_first(&self, who: &UserName, session: &SessionId) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= Self::MAX {
            seen.clear();
        }
        seen.insert((who.clone(), session.clone()))
    }
}
