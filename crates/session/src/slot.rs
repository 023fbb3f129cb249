//! One session as the shared services see it: its ring, its counters, how it ended.
//!
//! The pump writes, the recorder drains, the warden ends. Locks are held for copies only, never across an await.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use audit::recording::Frame;
use audit::recording::writer::OLD;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::about::{EndReason, Ledger, Outcome, Taken, Terms};
use crate::ring::{CAPACITY, Ring};

/// What a watched session holds back at most.
const WATCHED: Duration = Duration::from_millis(750);

/// How a push went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Taken,
    Lost,
    Full,
}

/// Whoever records a session, as it sees them.
pub(crate) trait Recorder: Send + Sync {
    /// There is something new. Not called again before [`Slot::drain`]: a list of these is as long as sessions are
    /// many.
    fn add(&self, slot: Arc<Slot>);

    /// It should not wait.
    fn hurry(&self);
}

/// One session.
pub(crate) struct Slot {
    pub(crate) ledger: Ledger,
    pub(crate) terms: Terms,
    pub(crate) opened: Instant,
    ring: Mutex<Ring>,
    pub(crate) room: Notify,
    dirty: AtomicBool,
    begun: AtomicBool,
    watched: AtomicBool,
    recorder: Arc<dyn Recorder>,
    me: Weak<Slot>,
    active_ms: AtomicU64,
    tx: AtomicU64,
    rx: AtomicU64,
    /// Sealed segments without a receipt: what a synchronous session waits for.
    pub(crate) unacked: AtomicU64,
    reason: OnceLock<EndReason>,
    stop: CancellationToken,
    outcome: OnceLock<Outcome>,
    pub(crate) settled: CancellationToken,
    seat: Mutex<Option<Taken>>,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot({})", self.ledger.id)
    }
}

impl Slot {
    pub(crate) fn new(
        ledger: Ledger,
        terms: Terms,
        recorder: Arc<dyn Recorder>,
        stop: CancellationToken,
        seat: Option<Taken>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            ledger,
            terms,
            opened: Instant::now(),
            ring: Mutex::default(),
            room: Notify::new(),
            dirty: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            recorder,
            me: me.clone(),
            active_ms: AtomicU64::new(0),
            tx: AtomicU64::new(0),
            rx: AtomicU64::new(0),
            unacked: AtomicU64::new(0),
            reason: OnceLock::new(),
            stop,
            outcome: OnceLock::new(),
            settled: CancellationToken::new(),
            seat: Mutex::new(seat),
        })
    }

    /// Time since the session began.
    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a frame to the ring.
    pub(crate) fn offer(&self, frame: &Frame<'_>) -> Pushed {
        let mut ring = self.ring();
        let pushed = if !ring.is_full() {
            // Under the lock, so that times never run backwards.
            ring.push(self.age(), frame);
            Pushed::Taken
        } else if self.terms.recording.strict() {
            Pushed::Full
        } else {
            ring.lose(frame);
            Pushed::Lost
        };
        let pressing = ring.len() >= CAPACITY / 2;
        drop(ring);
        self.stir(pressing);
        pushed
    }

    /// Tells the recorder that there is something here; `pressing` asks it not to wait for its tick.
    pub(crate) fn stir(&self, pressing: bool) {
        if !self.dirty.swap(true, Ordering::AcqRel)
            && let Some(me) = self.me.upgrade()
        {
            self.recorder.add(me);
        }
        if pressing {
            self.recorder.hurry();
        }
    }

    /// Notes whether somebody watches.
    pub(crate) fn watch(&self, watched: bool) {
        if self.watched.swap(watched, Ordering::AcqRel) != watched {
            self.stir(false);
        }
    }

    /// How old a segment's first frame may be before it is sealed: younger while somebody watches.
    pub(crate) fn patience(&self) -> Duration {
        if self.watched.load(Ordering::Acquire) { WATCHED } else { OLD }
    }

    /// True for the first caller only: a session has one recorder in its life.
    pub(crate) fn begin(&self) -> bool {
        !self.begun.swap(true, Ordering::AcqRel)
    }

    /// Takes what the ring holds.
    pub(crate) fn drain(&self) -> Vec<u8> {
        self.dirty.store(false, Ordering::Release);
        let bytes = self.ring().drain(self.age());
        self.room.notify_waiters();
        bytes
    }

    /// Bytes waiting for the recorder.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.ring().len()
    }

    /// Counts bytes that moved and notes that the session is not idle.
    pub(crate) fn moved(&self, tx: u64, rx: u64) {
        self.tx.fetch_add(tx, Ordering::Relaxed);
        self.rx.fetch_add(rx, Ordering::Relaxed);
        let now = u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX);
        self.active_ms.store(now, Ordering::Relaxed);
    }

    /// Bytes to and from the person.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.tx.load(Ordering::Relaxed), self.rx.load(Ordering::Relaxed))
    }

    /// When something last moved.
    pub(crate) fn last_active(&self) -> Instant {
        self.opened + Duration::from_millis(self.active_ms.load(Ordering::Relaxed))
    }

    /// Ends the session; the first reason stands.
    pub(crate) fn end(&self, reason: EndReason) {
        if self.reason.set(reason).is_ok() {
            self.stop.cancel();
            self.room.notify_waiters();
        }
    }

    /// Lets go of whoever still waits on it, after it is closed.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
        self.room.notify_waiters();
    }

    /// Why it was ended, if it was.
    pub(crate) fn reason(&self) -> Option<&EndReason> {
        self.reason.get()
    }

    /// Resolves when the session must stop.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Notes how it went: from here on the recorder closes the recording. The first outcome stands.
    pub(crate) fn close(&self, outcome: Outcome) {
        if self.outcome.set(outcome).is_ok() {
            drop(self.seat.lock().unwrap_or_else(PoisonError::into_inner).take());
            if !self.terms.recording.off() {
                self.stir(true);
            }
        }
    }

    /// How it went, once it is over.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }
}
