//! Audit events on their way: durable on our disk first, then at the authority, in order, however long that takes.
//!
//! [`Emitter::emit`] returns when an event is on disk; nothing is lost after that but with the disk. Events that were
//! sent twice are kept once, by their `uid`. Bounds: events of [`MAX_EVENT`] bytes, [`MAX_BACKLOG`] bytes on disk
//! (then `emit` refuses, and so does whoever may not go on without a record); tries at most one a few seconds,
//! never given up.

mod queue;
mod sender;
mod spool;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::api::audit::AuditEvent;
use runtime::{Clock, Fault, Health, Random, Scope, Service};
use tokio::sync::{mpsc, oneshot, watch};

use crate::call::Client;
use queue::Writer;
use sender::Sender;
use spool::Spool;

/// The longest event, as JSON.
pub const MAX_EVENT: usize = 64 * 1024;
/// The most bytes that wait on disk.
pub const MAX_BACKLOG: u64 = 1024 * 1024 * 1024;
/// Events waiting for the disk; then emitters wait too.
const QUEUE: usize = 1_024;
/// How long a stopping service tries to hand over what waits.
const LAST_TRY: Duration = Duration::from_secs(3);

/// Why an event was not taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EmitError {
    /// Larger than [`MAX_EVENT`], or not JSON.
    #[error("the event is longer than 64 KiB")]
    TooLong,
    /// The disk refused, or the backlog is full.
    #[error("the event cannot be kept: {0}")]
    Disk(String),
    /// The service is stopping.
    #[error("events are not taken any more")]
    Closed,
}

/// Where the queue's end is, and how far it has been sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events on disk since the start (those found there included).
    pub kept: u64,
    /// Events the authority has taken since the start.
    pub sent: u64,
}

struct Item {
    lines: Vec<u8>,
    count: u64,
    done: oneshot::Sender<Result<(), EmitError>>,
}

/// Takes events. Cheap to clone.
#[derive(Clone)]
pub struct Emitter {
    queue: mpsc::Sender<Item>,
    progress: watch::Receiver<Progress>,
}

impl std::fmt::Debug for Emitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Emitter")
    }
}

impl Emitter {
    /// Takes one event; returns when it is durable here.
    ///
    /// # Errors
    /// It was not taken: see [`EmitError`].
    pub async fn emit(&self, event: AuditEvent) -> Result<(), EmitError> {
        self.emit_all(std::slice::from_ref(&event)).await
    }

    /// Takes several events, in order, together.
    ///
    /// # Errors
    /// None was taken: see [`EmitError`].
    pub async fn emit_all(&self, events: &[AuditEvent]) -> Result<(), EmitError> {
        let mut lines = Vec::new();
        for event in events {
            let before = lines.len();
            serde_json::to_writer(&mut lines, event).map_err(|_| EmitError::TooLong)?;
            if lines.len() - before > MAX_EVENT {
                return Err(EmitError::TooLong);
            }
            lines.push(b'\n');
        }
        let (done, answer) = oneshot::channel();
        let item = Item { lines, count: events.len() as u64, done };
        self.queue.send(item).await.map_err(|_| EmitError::Closed)?;
        answer.await.map_err(|_| EmitError::Closed)?
    }

    /// How far the queue has come.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

/// Writes the queue and sends it.
pub struct Emission {
    writer: Writer,
    sender: Sender,
}

/// Opens the queue in `<data_dir>/events/`; what an earlier run left there is sent first.
///
/// # Errors
/// The directory cannot be read or made.
pub fn open(
    data_dir: &Path,
    client: Client,
    clock: Clock,
    random: Random,
    health: Health,
) -> std::io::Result<(Emitter, Emission)> {
    let spool = Spool::open(&data_dir.join("events"))?;
    let kept = spool.count()?;
    let (progress, seen) = watch::channel(Progress { kept, sent: 0 });
    let progress = Arc::new(progress);
    let (queue, incoming) = mpsc::channel(QUEUE);
    let (end, end_seen) = watch::channel(spool.end());
    let writer = Writer { spool: spool.clone(), incoming, end, progress: progress.clone() };
    let sender = Sender { spool, client, clock, random, health, end: end_seen, progress };
    Ok((Emitter { queue, progress: seen }, Emission { writer, sender }))
}

impl Service for Emission {
    const NAME: &'static str = "events";

    /// Runs until `scope` is cancelled; then takes what emitters have handed in and tries once more to send.
    async fn run(self, scope: Scope) -> Result<(), Fault> {
        let Emission { writer, sender } = self;
        let writing = scope.spawn_graceful("event queue", writer.run(scope.clone()));
        let token = scope.token();
        let mut sender = sender;
        token.run_until_cancelled(sender.run()).await;
        drop(writing.await);
        // Best effort: what does not arrive now is sent by the next start.
        drop(tokio::time::timeout(LAST_TRY, sender.flush()).await);
        Ok(())
    }
}
