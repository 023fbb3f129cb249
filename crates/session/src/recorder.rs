//! The recorder: a few shared tasks that move every session's frames from its ring to the spool.
//!
//! Sessions are spread over [`SHARDS`] shards. A shard sleeps while all its sessions are idle, looks every [`TICK`]
//! while one is not, and at once when a ring fills or a session ends. Disk work runs on blocking threads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::SessionId;
use runtime::Scope;
use tokio::sync::Notify;
use tokio_util::sync::DropGuard;

use crate::lane::{Lane, Step, Tools};
use crate::open::Shared;
use crate::slot::Slot;

/// How many sessions' disks are waited for at a time.
pub(crate) const SHARDS: usize = 4;
/// How long frames may wait before they are in the journal; with the disk's own time this stays under a second.
pub(crate) const TICK: Duration = Duration::from_millis(500);

/// Sessions with something new, for one recorder task.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    dirty: Mutex<Vec<Arc<Slot>>>,
    stir: Notify,
    hurry: Notify,
}

impl Shard {
    /// Adds a session; it is not in the list yet (its dirty flag says so), so the list is as long as sessions are many.
    pub(crate) fn add(&self, slot: Arc<Slot>) {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        self.stir.notify_one();
    }

    /// Asks not to wait for the tick.
    pub(crate) fn hurry(&self) {
        self.hurry.notify_one();
    }

    fn take(&self) -> Vec<Arc<Slot>> {
        std::mem::take(&mut self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has_dirty(&self) -> bool {
        !self.dirty.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Runs one shard until the scope is cancelled and every session here is closed.
pub(crate) async fn run(
    shard: Arc<Shard>,
    shared: Arc<Shared>,
    tools: Tools,
    scope: Scope,
    done: Arc<DropGuard>,
) {
    // The last recorder to end tells the event sender that nobody is left to speak.
    let _done = done;
    let mut lanes: BTreeMap<SessionId, Lane> = BTreeMap::new();
    loop {
        let ticking = lanes.values().any(Lane::needs_ticks) || shard.has_dirty();
        let stopping = scope.is_cancelled();
        if stopping && lanes.is_empty() && !shard.has_dirty() {
            return;
        }
        // All cancel safe: Notify keeps its permit, sleeping can begin again.
        tokio::select! {
            () = shard.hurry.notified() => {}
            () = tokio::time::sleep(TICK), if ticking => {}
            () = shard.stir.notified(), if !ticking => continue,
            () = scope.cancelled(), if !stopping => end_all(&shared),
        }
        let work = gather(&shard, &mut lanes);
        let tools = tools.clone();
        let Ok(stepped) = tokio::task::spawn_blocking(move || step_all(work, &tools)).await else {
            tracing::error!(
                "a recorder step panicked: its sessions' recordings are recovered at the next start"
            );
            continue;
        };
        for (lane, step) in stepped {
            report(&shared, &lane, &step).await;
            if step.done {
                shared.closed(&lane.slot).await;
            } else {
                lanes.insert(lane.slot.ledger.id.clone(), lane);
            }
        }
    }
}

fn end_all(shared: &Shared) {
    for slot in shared.live() {
        slot.end(crate::EndReason::Stopping);
    }
}

/// Takes the lanes that have work: what is dirty, and what waits for time. A session whose recording is closed may
/// still be in the list; it gets no second lane.
fn gather(shard: &Shard, lanes: &mut BTreeMap<SessionId, Lane>) -> Vec<Lane> {
    let mut work: Vec<Lane> = Vec::new();
    for slot in shard.take() {
        match lanes.remove(&slot.ledger.id) {
            Some(lane) => work.push(lane),
            None if slot.begin() => work.push(Lane::new(slot)),
            None => {}
        }
    }
    let waiting: Vec<SessionId> =
        lanes.iter().filter(|(_, lane)| lane.needs_ticks()).map(|(id, _)| id.clone()).collect();
    work.extend(waiting.iter().filter_map(|id| lanes.remove(id)));
    work
}

fn step_all(work: Vec<Lane>, tools: &Tools) -> Vec<(Lane, Step)> {
    work.into_iter()
        .map(|mut lane| {
            let step = lane.step(tools);
            (lane, step)
        })
        .collect()
}

async fn report(shared: &Shared, lane: &Lane, step: &Step) {
    for (n, last) in &step.sealed {
        shared.uploads.sealed(&lane.slot, *n, *last);
    }
    for (reason, frames, bytes) in &step.gaps {
        shared.gap(&lane.slot, *reason, *frames, *bytes).await;
    }
}
