//! The uploader: sealed segments from the spool to the authority while sessions run, and after.
//!
//! At most [`AT_ONCE`] recordings are on their way at a time, each in order. Failures are retried for ever, at a
//! bounded rate, each recording for itself: one bad one never blocks another. A segment is deleted here only when its
//! receipt names exactly these bytes and holds under the cluster's audit key.

use std::sync::Arc;
use std::time::Duration;

use audit::Hash;
use audit::recording::chain::receipt_holds;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use runtime::Scope;
use tokio::time::Instant;

use crate::authority::Trouble;
use crate::backlog::Job;
use crate::disk::in_words;
use crate::shared::Shared;

/// Recordings on their way at a time.
const AT_ONCE: usize = 4;
/// How long one segment may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// After being asked to stop: how long uploads may go on.
const LAST_CALL: Duration = Duration::from_secs(5);

/// Uploads until the scope is cancelled, and for a short while after.
pub(crate) async fn run(shared: Arc<Shared>, scope: Scope) {
    let mut jobs = FuturesUnordered::new();
    let mut stop_at = None;
    loop {
        while jobs.len() < AT_ONCE
            && let Some(job) = shared.uploads.pick(Instant::now())
        {
            jobs.push(one(&shared, job));
        }
        if stop_at
            .is_some_and(|at| Instant::now() >= at || (shared.uploads.waiting() == 0 && shared.is_quiet()))
        {
            return;
        }
        let due = shared.uploads.next_due().filter(|_| jobs.len() < AT_ONCE);
        let until = [due, stop_at].into_iter().flatten().min();
        // Cancel safe: jobs stay in the set; the rest can be asked again.
        tokio::select! {
            Some(()) = jobs.next() => {}
            () = shared.uploads.added() => {}
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            () = scope.cancelled(), if stop_at.is_none() => stop_at = Some(Instant::now() + LAST_CALL),
        }
    }
}

async fn one(shared: &Arc<Shared>, job: Job) {
    let outcome = attempt(shared, &job).await;
    shared.health.ran(
        "recording upload",
        shared.clock.now(),
        outcome.clone().map_err(|trouble| trouble.to_string()),
    );
    match outcome {
        Ok(()) => shared.uploads.done(&job),
        Err(trouble) => {
            tracing::warn!(session = %job.id, n = job.n, %trouble, "a recording is not uploaded yet");
            shared.uploads.failed(&job, matches!(trouble, Trouble::Refused(_)));
        }
    }
}

/// Sends one segment, checks its receipt, and deletes what is no longer needed.
async fn attempt(shared: &Arc<Shared>, job: &Job) -> Result<(), Trouble> {
    if job.leftover {
        resume_check(shared, job).await?;
    }
    let (spool, id, n) = (shared.spool.clone(), job.id.clone(), job.n);
    let bytes = blocking(move || spool.segment(&id, n)).await?;
    let hash = Hash::of(&[&bytes]);
    let sent = shared.authority.put_segment(&job.id, job.n, Bytes::from(bytes));
    let receipt = tokio::time::timeout(DEADLINE, sent)
        .await
        .map_err(|_| Trouble::Later("no receipt in time".to_owned()))??;
    let key =
        shared.audit_key().ok_or(Trouble::Later("the cluster's audit key is not known yet".to_owned()))?;
    if !receipt_holds(&receipt, &job.id, job.n, &hash, &key) {
        return Err(Trouble::Refused("the receipt does not hold: the recording stays here".to_owned()));
    }
    let (spool, id, n, last) = (shared.spool.clone(), job.id.clone(), job.n, job.last);
    // The newest segment stays until the recording is over: the next one must name it.
    blocking(move || match (last, n.checked_sub(1)) {
        (true, _) => spool.forget(&id),
        (false, Some(before)) => spool.remove(&id, before),
        (false, None) => Ok(()),
    })
    .await
}

/// A recording whose earlier segments the authority no longer has cannot go on; it stays here, visibly.
async fn resume_check(shared: &Arc<Shared>, job: &Job) -> Result<(), Trouble> {
    let state = tokio::time::timeout(DEADLINE, shared.authority.upload_state(&job.id))
        .await
        .map_err(|_| Trouble::Later("no answer in time".to_owned()))??;
    if state.next < job.n {
        let why = format!("the authority wants segment {} and this host has only {} on", state.next, job.n);
        return Err(Trouble::Refused(why));
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Trouble> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|e| Trouble::Later(e.to_string()))?.map_err(|e| Trouble::Later(in_words(&e)))
}
