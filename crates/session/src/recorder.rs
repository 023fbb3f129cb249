//! The recorder: a few shared tasks that move every session's frames from its ring to the spool.
//!
//! Sessions are spread over [`SHARDS`](crate::shard::SHARDS) shards. A shard sleeps while all its sessions are idle, looks every [`TICK`]
//! while one is not, and at once when a ring fills or a session ends. Disk work runs on blocking threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::SessionId;
use runtime::Scope;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::about::EndReason;
use crate::lane::{Lane, Step, TICK, Tools};
use crate::shard::Shard;
use crate::shared::Shared;
use crate::slot::Slot;

/// After being asked to stop: how long sessions may take to close.
const LAST_CALL: Duration = Duration::from_secs(15);

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
    let mut stop_at = None;
    loop {
        let ticking = lanes.values().any(Lane::needs_ticks) || shard.has_dirty();
        let idle = lanes.is_empty() && !shard.has_dirty();
        if stop_at.is_some_and(|at| idle || Instant::now() >= at) {
            if !idle {
                tracing::error!(
                    left = lanes.len(),
                    "recordings are not closed: the next start recovers them"
                );
            }
            return;
        }
        // All cancel safe: Notify keeps its permit, sleeping can begin again.
        tokio::select! {
            () = shard.hurried() => {}
            () = tokio::time::sleep(TICK), if ticking || stop_at.is_some() => {}
            () = shard.stirred(), if !ticking => continue,
            () = scope.cancelled(), if stop_at.is_none() => {
                stop_at = Some(Instant::now() + LAST_CALL);
                end_all(&shared);
            }
        }
        let work = gather(&shard, &mut lanes);
        for lane in step_all(work, &tools, &shared).await {
            lanes.insert(lane.slot.ledger.id.clone(), lane);
        }
    }
}

fn end_all(shared: &Shared) {
    for slot in shared.live() {
        slot.end(EndReason::Stopping);
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

/// Steps the lanes on a blocking thread, tells what came of it, and gives back those that are not done.
async fn step_all(work: Vec<Lane>, tools: &Tools, shared: &Arc<Shared>) -> Vec<Lane> {
    let slots: Vec<Arc<Slot>> = work.iter().map(|lane| lane.slot.clone()).collect();
    let tools = tools.clone();
    let steps = move || -> Vec<(Lane, Step)> {
        let step = |mut lane: Lane| {
            let step = lane.step(&tools);
            (lane, step)
        };
        work.into_iter().map(step).collect()
    };
    let Ok(stepped) = tokio::task::spawn_blocking(steps).await else {
        tracing::error!(
            "a recorder step panicked: its sessions end, and the next start recovers their recordings"
        );
        for slot in slots {
            slot.end(EndReason::Recording("the recorder failed".to_owned()));
            shared.closed(&slot).await;
        }
        return Vec::new();
    };
    let mut kept = Vec::new();
    for (lane, step) in stepped {
        report(shared, &lane, &step).await;
        if step.done {
            shared.closed(&lane.slot).await;
        } else {
            kept.push(lane);
        }
    }
    kept
}

async fn report(shared: &Shared, lane: &Lane, step: &Step) {
    for (n, last) in &step.sealed {
        shared.uploads.sealed(&lane.slot, *n, *last);
    }
    for (reason, frames, bytes) in &step.gaps {
        shared.gap(&lane.slot, *reason, *frames, *bytes).await;
    }
}
