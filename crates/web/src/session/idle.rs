//! How long a browser is left alone before it is locked, and before it is signed out.
//!
//! What its person does counts, as its page reports it, and nothing else: a page asks by itself, and a program in a
//! terminal makes it answer. The lock is kept here and not in the page: it holds in every tab and over a reload, until
//! [`Idle::unlock`]. What was begun goes on, and what moves keeps the session: transfers of files put off its end, not
//! the lock.

use std::time::Duration;

use model::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

/// How often a wait looks whether the limits have changed.
const LOOK: Duration = Duration::from_secs(60);

/// How long a browser is left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleLimits {
    /// Until it is locked; `None` never.
    pub lock: Option<Duration>,
    /// Until it is signed out; `None` not before its certificates end.
    pub end: Option<Duration>,
}

/// When somebody was there last, and whether the browser is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    seen: Timestamp,
    /// When something of theirs moved last.
    busy: Timestamp,
    pub(crate) locked: bool,
}

/// One browser's person: there or not.
pub(crate) struct Idle(watch::Sender<State>);

impl Idle {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self(watch::channel(State { seen: now, busy: now, locked: false }).0)
    }

    pub(crate) fn seen(&self) -> Timestamp {
        self.0.borrow().seen
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    /// Whether it is locked now; locks it when it is time.
    pub(crate) fn is_locked(&self, now: Timestamp, limits: IdleLimits) -> bool {
        let mut locked = true;
        self.0.send_if_modified(|state| {
            let due = limits.lock.is_some_and(|after| now.since(state.seen) >= after);
            let falls = due && !state.locked;
            state.locked |= due;
            locked = state.locked;
            falls
        });
        locked
    }

    /// It was left alone for so long that it is over.
    pub(crate) fn is_over(&self, now: Timestamp, limits: IdleLimits) -> bool {
        let last = { *self.0.borrow() };
        limits.end.is_some_and(|after| now.since(last.seen.max(last.busy)) >= after)
    }

    /// The person did something, now. Opens nothing that is locked.
    pub(crate) fn touch(&self, now: Timestamp) {
        self.0.send_if_modified(|state| {
            state.seen = if state.locked { state.seen } else { now };
            false
        });
    }

    /// Something that was begun moves.
    pub(crate) fn note_busy(&self, now: Timestamp) {
        self.0.send_if_modified(|state| {
            state.busy = now;
            false
        });
    }

    pub(crate) fn lock(&self) {
        self.0.send_if_modified(|state| !std::mem::replace(&mut state.locked, true));
    }

    /// The person has proved who they are.
    pub(crate) fn unlock(&self, now: Timestamp) {
        self.0.send_replace(State { seen: now, busy: now, locked: false });
    }

    /// Resolves when it is locked. `tell` gives the time and the limits as they are.
    pub(crate) async fn falls(&self, tell: impl Fn() -> (Timestamp, IdleLimits)) {
        let mut state = self.watch();
        loop {
            let (now, limits) = tell();
            if self.is_locked(now, limits) {
                return;
            }
            let left = limits.lock.map_or(LOOK, |after| after.saturating_sub(now.since(self.seen())));
            drop(timeout(left.min(LOOK), state.wait_for(|state| state.locked)).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const LIMITS: IdleLimits =
        IdleLimits { lock: Some(Duration::from_secs(15 * 60)), end: Some(Duration::from_secs(2 * 3600)) };
    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn it_is_locked_when_nobody_was_there_and_not_before() {
        let idle = Idle::new(START);

        assert!(!idle.is_locked(START + 14 * MINUTE, LIMITS));
        idle.touch(START + 14 * MINUTE);
        assert!(!idle.is_locked(START + 28 * MINUTE, LIMITS));
        assert!(idle.is_locked(START + 29 * MINUTE, LIMITS));
    }

    #[test]
    fn a_lock_stays_until_it_is_opened() {
        let idle = Idle::new(START);
        idle.lock();

        idle.touch(START + MINUTE);
        assert!(idle.is_locked(START + MINUTE, LIMITS), "nothing that is done opens it");
        assert!(idle.is_locked(START + MINUTE, IdleLimits::default()), "nor do other limits");
        assert_eq!(idle.seen(), START, "and it counts as nothing");

        idle.unlock(START + 2 * MINUTE);
        assert!(!idle.is_locked(START + 16 * MINUTE, LIMITS));
        assert!(idle.is_locked(START + 17 * MINUTE, LIMITS));
    }

    #[test]
    fn it_is_over_later_locked_or_not() {
        let idle = Idle::new(START);
        idle.lock();

        assert!(!idle.is_over(START + 119 * MINUTE, LIMITS));
        assert!(idle.is_over(START + 120 * MINUTE, LIMITS));
        idle.note_busy(START + 100 * MINUTE);
        assert!(!idle.is_over(START + 219 * MINUTE, LIMITS));
        assert!(idle.is_over(START + 220 * MINUTE, LIMITS));
        assert!(!idle.is_over(START + 9999 * MINUTE, IdleLimits::default()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_lock_hears_of_it() {
        let idle = Idle::new(START);
        let began = tokio::time::Instant::now();
        let now = || (START + began.elapsed(), LIMITS);

        idle.falls(now).await;
        assert_eq!(began.elapsed().as_secs(), 15 * 60);

        idle.unlock(now().0);
        let by_hand = async {
            tokio::time::sleep(MINUTE).await;
            idle.lock();
        };
        tokio::join!(idle.falls(now), by_hand);
        assert_eq!(began.elapsed().as_secs(), 16 * 60);
    }
}
