//! The warden: ends sessions that are idle, expired, locked, no longer allowed, or that an admin wants ended.
//!
//! One task for all sessions: it sleeps until the next deadline, and asks every session's standing again whenever
//! the rules change. Deadlines are monotonic; certificates expire by the wall clock, looked at every [`LOOK`] too.

use std::sync::Arc;
use std::time::Duration;

use runtime::Scope;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::about::{EndReason, View};
use crate::shared::Shared;
use crate::slot::Slot;

/// Longest sleep while there are sessions: bounds what a step of the wall clock can hide.
const LOOK: Duration = Duration::from_secs(30);

/// Watches until the scope is cancelled.
pub(crate) async fn run(shared: Arc<Shared>, mut rules: watch::Receiver<Arc<View>>, scope: Scope) {
    let mut rules_known = true;
    loop {
        let next = look(&shared);
        // All cancel safe.
        tokio::select! {
            () = scope.cancelled() => return,
            () = shared.opened.notified() => {}
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            changed = rules.changed(), if rules_known => match changed {
                Ok(()) => ask_again(&shared),
                Err(_) => rules_known = false,
            },
        }
    }
}

fn ask_again(shared: &Shared) {
    let (view, now) = (shared.view(), shared.clock.now());
    for slot in shared.live() {
        slot.watch(view.watched.contains(&slot.ledger.id));
        if let Some(ended) = view.end.iter().find(|end| end.id == slot.ledger.id) {
            slot.end(EndReason::Admin(ended.reason.clone()));
        } else if let Err(reason) = slot.terms.still(&view, now) {
            slot.end(reason);
        }
    }
}

/// Ends what is over; gives the time of the next look, if there are sessions.
fn look(shared: &Shared) -> Option<Instant> {
    let now = Instant::now();
    let mut next = None;
    for slot in shared.live().iter().filter(|slot| slot.reason().is_none()) {
        match deadline(shared, slot, now) {
            Err(reason) => slot.end(reason),
            Ok(at) => next = Some(next.map_or(at, |next: Instant| next.min(at))),
        }
    }
    next
}

fn deadline(shared: &Shared, slot: &Slot, now: Instant) -> Result<Instant, EndReason> {
    let mut next = now + LOOK;
    if let Some(timeout) = slot.terms.idle_limit {
        let idle_at = slot.last_active() + timeout;
        if idle_at <= now {
            return Err(EndReason::Idle(timeout));
        }
        next = next.min(idle_at);
    }
    if let Some(expires) = slot.terms.ends_at {
        let left = expires.since(shared.clock.now());
        if left.is_zero() {
            return Err(EndReason::Expired);
        }
        next = next.min(now + left);
    }
    Ok(next)
}
