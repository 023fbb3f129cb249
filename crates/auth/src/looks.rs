//! Who has been seen looking at which recording or along the log: only the first look of each is an event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::{SessionId, Timestamp, UserName};

/// Which sessions are followed just now, as far as this server noted it. Bounded.
#[derive(Default)]
pub(crate) struct Watches(Mutex<BTreeMap<SessionId, Timestamp>>);

impl Watches {
    const MAX: usize = 1_000;
    const EVERY: Duration = Duration::from_secs(10);

    /// True when it is time to note it again; then it counts as noted.
    pub(crate) fn is_due(&self, session: &SessionId, now: Timestamp) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(session).is_some_and(|at| now.since(*at) < Self::EVERY) {
            return false;
        }
        if noted.len() >= Self::MAX {
            noted.clear();
        }
        noted.insert(session.clone(), now);
        true
    }
}

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

/// Where everyone who takes the log piece by piece has come to. Bounded.
#[derive(Default)]
pub(crate) struct Exports(Mutex<BTreeMap<String, u64>>);

impl Exports {
    const MAX: usize = 1_000;

    /// True when a piece from `from` on follows the one this caller was given last.
    pub(crate) fn goes_on(&self, who: &str, from: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(who) == Some(&from)
    }

    /// Notes where the caller's next piece begins.
    pub(crate) fn reached(&self, who: &str, next: u64) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() >= Self::MAX {
            noted.clear();
        }
        noted.insert(who.to_owned(), next);
    }
}
