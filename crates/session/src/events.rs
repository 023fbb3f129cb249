//! Audit events on their way to the authority: in order, at least once, kept on disk while it is away.
//!
//! One sender owns the order. While the authority answers, events go straight to it in batches. When it does not,
//! they are written to `<spool>/events/` and every later event goes behind them, until all have been sent. An event
//! the authority refuses for good is set aside and never blocks the rest. Full (at [`MAX_FILES`] files): new events
//! that only need to be durable are refused to their caller, so no session starts unrecorded. Refused sign-ins, of which
//! strangers can make any number, have [`MAX_REFUSALS`] of those places at most: they keep no session out.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit::event::{Event as _, kinds};
use model::api::audit::AuditEvent;
use runtime::{Clock, Health, Scope};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, Trouble};
use crate::disk::{Disk, in_words};

/// Events waiting for the sender. Full means that whoever has an event waits.
const QUEUE: usize = 1024;
/// Most events in one call.
const BATCH: usize = 200;
/// Most batches on disk.
const MAX_FILES: usize = 10_000;
/// Most refused sign-ins that wait on disk at a time. What is beyond is counted in the log and not kept.
const MAX_REFUSALS: usize = 1_000;
/// Longest batch file worth reading.
const MAX_FILE: u64 = 32 * 1024 * 1024;
/// How long the authority may take before events go to disk.
const DEADLINE: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Where an event has to be before its caller goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// With the authority.
    Authority,
    /// With the authority, or on this host's disk.
    Durable,
}

struct Item {
    event: AuditEvent,
    want: Want,
    ack: Option<oneshot::Sender<Result<(), String>>>,
}

/// Hands events to the sender. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Events(mpsc::Sender<Item>);

impl Events {
    /// Hands an event over and waits until it is where it has to be.
    pub(crate) async fn put(&self, event: AuditEvent, want: Want) -> Result<(), String> {
        let (ack, answer) = oneshot::channel();
        let item = Item { event, want, ack: Some(ack) };
        self.0.send(item).await.map_err(|_| "the service is stopping".to_owned())?;
        answer.await.unwrap_or_else(|_| Err("the service is stopping".to_owned()))
    }

    /// Hands an event over; waits only for room in the queue.
    pub(crate) async fn note(&self, event: AuditEvent) {
        let item = Item { event, want: Want::Durable, ack: None };
        if self.0.send(item).await.is_err() {
            tracing::error!("an audit event came after the service had stopped");
        }
    }
}

/// Makes the queue and its sender; events left over on disk are the sender's first work. `silent` says that nobody is
/// left to speak. Blocks.
pub(crate) fn queue(
    authority: Arc<dyn Authority>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    clock: Clock,
    health: Health,
    silent: CancellationToken,
) -> std::io::Result<(Events, Sender)> {
    let (to, from) = mpsc::channel(QUEUE);
    let names = disk.list(&dir)?;
    let numbered = |ending: &str| -> BTreeSet<u64> {
        names.iter().filter_map(|n| n.strip_suffix(ending)?.parse().ok()).collect()
    };
    let (backlog, aside) = (numbered(".json"), numbered(".refused"));
    // Behind what was set aside too: that is a person's to look at and must not be written over.
    let next = backlog.last().max(aside.last()).map_or(0, |last| last + 1);
    let backlog = backlog.into_iter().collect();
    let sender = Sender {
        authority,
        disk,
        dir,
        clock,
        health,
        silent,
        from,
        backlog,
        next,
        refusals: 0,
        lost: 0,
        retry_at: Instant::now(),
        wait: FIRST_WAIT,
    };
    Ok((Events(to), sender))
}

/// Owns the order of events.
pub(crate) struct Sender {
    authority: Arc<dyn Authority>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    clock: Clock,
    health: Health,
    silent: CancellationToken,
    from: mpsc::Receiver<Item>,
    backlog: VecDeque<u64>,
    next: u64,
    /// Refused sign-ins written since the disk was last empty, and those that found no place.
    refusals: usize,
    lost: usize,
    retry_at: Instant,
    wait: Duration,
}

impl Sender {
    /// Sends until the scope is cancelled; then what is queued is sent once more or written down.
    pub(crate) async fn run(mut self, scope: Scope) {
        loop {
            let mut batch = Vec::new();
            // Cancel safe: recv_many takes nothing unless it returns.
            tokio::select! {
                biased;
                () = scope.cancelled() => break,
                n = self.from.recv_many(&mut batch, BATCH) => if n == 0 { return },
                () = tokio::time::sleep_until(self.retry_at), if !self.backlog.is_empty() => {}
            }
            self.work(batch).await;
        }
        self.last_words().await;
    }

    /// The recorders still close sessions and have something to say of each, for a moment.
    async fn last_words(&mut self) {
        let until = Instant::now() + DEADLINE;
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                n = self.from.recv_many(&mut batch, BATCH) => if n == 0 { break },
                () = self.silent.cancelled() => break,
                () = tokio::time::sleep_until(until) => break,
            }
            self.work(batch).await;
        }
        self.from.close();
        let mut rest = Vec::new();
        while let Ok(item) = self.from.try_recv() {
            rest.push(item);
        }
        self.work(rest).await;
    }

    async fn work(&mut self, batch: Vec<Item>) {
        if self.catch_up().await && !batch.is_empty() {
            self.send(batch).await;
        } else if !batch.is_empty() {
            self.keep(batch, "the authority cannot be reached").await;
        }
    }

    /// Sends what is on disk, oldest first; true when nothing is left and the authority may be asked.
    async fn catch_up(&mut self) -> bool {
        if Instant::now() < self.retry_at {
            return false;
        }
        while let Some(n) = self.backlog.front().copied() {
            let events = match self.load(n).await {
                Ok(events) => events,
                Err(why) => {
                    self.set_aside(n, &why).await;
                    continue;
                }
            };
            let sent = match self.emit(events.clone()).await {
                Err(Trouble::Refused(_)) => self.sift(n, events).await,
                sent => sent,
            };
            match sent {
                Ok(()) => self.forget(n).await,
                Err(Trouble::Refused(why)) => self.set_aside(n, &why).await,
                Err(Trouble::Later(why)) => {
                    self.later(&why);
                    return false;
                }
            }
        }
        true
    }

    /// Sends a refused batch's events one by one; those at fault are set aside under its number. What was sent before
    /// something went wrong is kept once.
    async fn sift(&mut self, n: u64, events: Vec<AuditEvent>) -> Result<(), Trouble> {
        let (mut aside, mut last_why) = (Vec::new(), String::new());
        for event in events {
            match self.emit(vec![event.clone()]).await {
                Ok(()) => {}
                Err(Trouble::Refused(why)) => {
                    aside.push(event);
                    last_why = why;
                }
                Err(later @ Trouble::Later(_)) => return Err(later),
            }
        }
        if aside.is_empty() {
            return Ok(());
        }
        tracing::error!(
            n,
            why = last_why,
            "audit events were refused and are set aside as events/{n}.refused"
        );
        // Where they cannot be written alone, the whole batch stays.
        self.write(n, "refused", aside.iter().collect()).await.map_err(|_| Trouble::Refused(last_why))
    }

    async fn send(&mut self, batch: Vec<Item>) {
        let events = batch.iter().map(|item| item.event.clone()).collect();
        match self.emit(events).await {
            Ok(()) => {
                self.wait = FIRST_WAIT;
                answer(batch, &Ok(()));
            }
            Err(Trouble::Later(why)) => {
                self.later(&why);
                self.keep(batch, &why).await;
            }
            Err(Trouble::Refused(why)) if batch.len() == 1 => {
                self.put_aside(&batch, &why).await;
                answer(batch, &Err(why));
            }
            // One of them is at fault: find it, in order.
            Err(Trouble::Refused(_)) => {
                for item in batch {
                    Box::pin(self.work(vec![item])).await;
                }
            }
        }
    }

    async fn emit(&self, events: Vec<AuditEvent>) -> Result<(), Trouble> {
        let outcome = tokio::time::timeout(DEADLINE, self.authority.emit(events))
            .await
            .unwrap_or_else(|_| Err(Trouble::Later("no answer in time".to_owned())));
        let seen = outcome.clone().map_err(|trouble| trouble.to_string());
        self.health.ran("audit events", self.clock.now(), seen);
        outcome
    }

    fn later(&mut self, why: &str) {
        if self.backlog.is_empty() {
            tracing::warn!(why, "audit events are kept on disk until the authority answers");
        }
        self.retry_at = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    /// Writes events down behind those already on disk; those that had to be with the authority are not kept.
    async fn keep(&mut self, batch: Vec<Item>, why: &str) {
        let (must, may): (Vec<_>, Vec<_>) = batch.into_iter().partition(|i| i.want == Want::Authority);
        answer(must, &Err(why.to_owned()));
        let may = self.admit(may);
        if may.is_empty() {
            return;
        }
        if self.backlog.len() >= MAX_FILES {
            tracing::error!("audit events are lost: too many are waiting on disk");
            answer(may, &Err("too many audit events are waiting on disk".to_owned()));
            return;
        }
        let n = self.next;
        let outcome = self.write(n, "json", may.iter().map(|item| &item.event).collect()).await;
        if outcome.is_ok() {
            self.next += 1;
            self.backlog.push_back(n);
        } else {
            tracing::error!(?outcome, "audit events are lost: they can be neither sent nor written");
        }
        answer(may, &outcome);
    }

    /// Leaves out refused sign-ins beyond their bound.
    fn admit(&mut self, batch: Vec<Item>) -> Vec<Item> {
        let (mut kept, mut over) = (Vec::with_capacity(batch.len()), Vec::new());
        for item in batch {
            let refusal = item.event.0.get("event").is_some_and(|name| name == kinds::AuthFailure::NAME);
            if refusal && self.refusals >= MAX_REFUSALS {
                over.push(item);
            } else {
                self.refusals += usize::from(refusal);
                kept.push(item);
            }
        }
        if self.lost == 0 && !over.is_empty() {
            tracing::error!("refused sign-ins are lost: as many wait on disk as are kept");
        }
        self.lost = self.lost.saturating_add(over.len());
        answer(over, &Err("too many refused sign-ins are waiting on disk".to_owned()));
        kept
    }

    async fn write(&self, n: u64, ending: &str, events: Vec<&AuditEvent>) -> Result<(), String> {
        let json = serde_json::to_vec(&events).map_err(|e| e.to_string())?;
        let path = self.path(n, ending);
        self.blocking(move |disk| disk.write_whole(&path, &json)).await
    }

    async fn load(&self, n: u64) -> Result<Vec<AuditEvent>, String> {
        let path = self.path(n, "json");
        let json = self.blocking(move |disk| disk.read(&path, MAX_FILE)).await?;
        serde_json::from_slice(&json).map_err(|e| e.to_string())
    }

    async fn forget(&mut self, n: u64) {
        self.backlog.pop_front();
        let path = self.path(n, "json");
        drop(self.blocking(move |disk| disk.remove(&path)).await);
        self.wait = FIRST_WAIT;
        if self.backlog.is_empty() {
            if self.lost > 0 {
                tracing::error!(count = self.lost, "so many refused sign-ins are not on record");
            }
            (self.refusals, self.lost) = (0, 0);
        }
    }

    /// A batch that will never be taken must not block those behind it; it stays for a person to look at.
    async fn set_aside(&mut self, n: u64, why: &str) {
        tracing::error!(n, why, "audit events were refused and are set aside as events/{n}.refused");
        self.backlog.pop_front();
        let (from, to) = (self.path(n, "json"), self.path(n, "refused"));
        drop(self.blocking(move |disk| disk.rename(&from, &to)).await);
    }

    async fn put_aside(&mut self, batch: &[Item], why: &str) {
        let n = self.next;
        self.next += 1;
        tracing::error!(n, why, "an audit event was refused and is set aside as events/{n}.refused");
        drop(self.write(n, "refused", batch.iter().map(|item| &item.event).collect()).await);
    }

    fn path(&self, n: u64, ending: &str) -> PathBuf {
        self.dir.join(format!("{n:020}.{ending}"))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Disk) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let disk = self.disk.clone();
        let outcome = tokio::task::spawn_blocking(move || work(&*disk)).await;
        outcome.map_err(|e| e.to_string())?.map_err(|e| in_words(&e))
    }
}

fn answer(batch: Vec<Item>, outcome: &Result<(), String>) {
    for ack in batch.into_iter().filter_map(|item| item.ack) {
        // The caller may have given up waiting.
        drop(ack.send(outcome.clone()));
    }
}
