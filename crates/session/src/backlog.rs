//! What waits to be uploaded, and when each is tried again: a few bytes a segment; the segments themselves are on disk.
//!
//! Waits grow from [`FIRST_WAIT`] to [`LONGEST_WAIT`], each recording for itself. Knows no authority and no disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use model::SessionId;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::slot::Slot;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A synchronous session stands still meanwhile.
const LONGEST_WHEN_WAITED_FOR: Duration = Duration::from_secs(2);

/// Recordings that are not all with the authority.
#[derive(Default)]
pub(crate) struct Uploads {
    pending: Mutex<BTreeMap<SessionId, Pending>>,
    wake: Notify,
}

#[derive(Debug)]
struct Pending {
    segments: VecDeque<(u64, bool)>,
    slot: Weak<Slot>,
    due: Instant,
    wait: Duration,
    busy: bool,
    /// Sealed before this service started: ask first how far it had come.
    leftover: bool,
}

/// One segment to be sent.
pub(crate) struct Job {
    pub(crate) id: SessionId,
    pub(crate) n: u64,
    pub(crate) last: bool,
    /// Sealed before this service started.
    pub(crate) leftover: bool,
}

impl Uploads {
    /// A segment is on disk.
    pub(crate) fn sealed(&self, slot: &Arc<Slot>, n: u64, last: bool) {
        self.add(&slot.ledger.id, Arc::downgrade(slot), &[(n, last)], false);
    }

    /// Segments of a session that is over were found on disk.
    pub(crate) fn leftover(&self, id: &SessionId, segments: &[(u64, bool)]) {
        self.add(id, Weak::new(), segments, true);
    }

    fn add(&self, id: &SessionId, slot: Weak<Slot>, segments: &[(u64, bool)], leftover: bool) {
        if segments.is_empty() {
            return;
        }
        let mut pending = self.lock();
        let entry = pending.entry(id.clone()).or_insert_with(|| Pending {
            segments: VecDeque::new(),
            slot,
            due: Instant::now(),
            wait: FIRST_WAIT,
            busy: false,
            leftover,
        });
        entry.segments.extend(segments);
        drop(pending);
        self.wake.notify_one();
    }

    /// Resolves when something was added. Cancel safe.
    pub(crate) async fn added(&self) {
        self.wake.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many recordings wait or are on their way.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().len()
    }

    /// The segment to send now, if one is due. Its recording is busy until [`Uploads::done`] or [`Uploads::failed`].
    pub(crate) fn pick(&self, now: Instant) -> Option<Job> {
        let mut pending = self.lock();
        let (id, entry) =
            pending.iter_mut().filter(|(_, p)| !p.busy && p.due <= now).min_by_key(|(_, p)| p.due)?;
        let (n, last) = entry.segments.front().copied()?;
        entry.busy = true;
        Some(Job { id: id.clone(), n, last, leftover: entry.leftover })
    }

    /// When the next will be due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.lock().values().filter(|p| !p.busy).map(|p| p.due).min()
    }

    /// Notes that a segment is with the authority.
    pub(crate) fn done(&self, job: &Job) {
        let mut pending = self.lock();
        let Some(entry) = pending.get_mut(&job.id) else { return };
        entry.segments.pop_front();
        entry.busy = false;
        entry.leftover = false;
        entry.wait = FIRST_WAIT;
        entry.due = Instant::now();
        if let Some(slot) = entry.slot.upgrade() {
            slot.unacked.fetch_sub(1, Ordering::AcqRel);
            // A synchronous session may be waiting for this.
            slot.stir(slot.terms.recording.sync());
        }
        if entry.segments.is_empty() {
            pending.remove(&job.id);
        }
    }

    /// Notes that one is not: later again, or as late as can be after a final word.
    pub(crate) fn failed(&self, job: &Job, final_word: bool) {
        if let Some(entry) = self.lock().get_mut(&job.id) {
            entry.busy = false;
            let waited_for = entry.slot.upgrade().is_some_and(|slot| slot.terms.recording.sync());
            let longest = if waited_for { LONGEST_WHEN_WAITED_FOR } else { LONGEST_WAIT };
            entry.wait = if final_word { longest } else { (entry.wait * 2).min(longest) };
            entry.due = Instant::now() + entry.wait;
        }
    }
}
