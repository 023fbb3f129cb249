//! The sending half of the queue: file after file, batch after batch, each until the authority has it.

use std::sync::Arc;

use model::api::Fault;
use model::api::audit::{AuditEvent, EmitEvents};
use runtime::{Clock, Health, Random};
use tokio::sync::watch;

use super::Progress;
use super::spool::{Place, Spool};
use crate::call::Client;
use crate::error::CallError;
use crate::link::backoff;

/// The most events of one call; the authority takes 1,000.
const BATCH: usize = 500;
/// The most bytes of one call.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const JOB: &str = "audit events";

pub(super) struct Sender {
    pub(super) spool: Spool,
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) health: Health,
    pub(super) end: watch::Receiver<Place>,
    pub(super) progress: Arc<watch::Sender<Progress>>,
}

/// Events read from one file, and where they end in it.
struct Batch {
    lines: Vec<Vec<u8>>,
    after: Place,
}

impl Sender {
    /// Sends for ever. Dropped in between, it starts again from the oldest file: what was sent twice is kept once.
    pub(super) async fn run(&mut self) {
        let mut at = Place { file: self.spool.first(), byte: 0 };
        let mut failures = 0;
        loop {
            match self.step(&mut at).await {
                Ok(true) => failures = 0,
                Ok(false) => {
                    // The writer is gone: there will be no more.
                    if self.end.changed().await.is_err() {
                        return;
                    }
                }
                Err(why) => {
                    failures = u32::saturating_add(failures, 1);
                    self.health.ran(JOB, self.clock.now(), Err(why));
                    tokio::time::sleep(backoff(failures, &self.random)).await;
                }
            }
        }
    }

    /// Sends what is there, and returns when all of it is.
    pub(super) async fn flush(&mut self) -> Result<(), String> {
        let mut at = Place { file: self.spool.first(), byte: 0 };
        while self.step(&mut at).await? {}
        Ok(())
    }

    /// One step on: true when something was done, false when there is nothing to do.
    async fn step(&self, at: &mut Place) -> Result<bool, String> {
        let end = *self.end.borrow();
        if let Some(batch) = self.read(*at, end).await? {
            let count = batch.lines.len() as u64;
            self.send(batch.lines).await?;
            *at = batch.after;
            self.progress.send_modify(|p| p.sent += count);
            self.health.ran(JOB, self.clock.now(), Ok(()));
            return Ok(true);
        }
        if at.file >= end.file {
            return Ok(false);
        }
        let (spool, file) = (self.spool.clone(), at.file);
        blocking(move || spool.remove(file)).await?;
        *at = Place { file: at.file + 1, byte: 0 };
        Ok(true)
    }

    async fn read(&self, at: Place, end: Place) -> Result<Option<Batch>, String> {
        let spool = self.spool.clone();
        let bytes = blocking(move || spool.read(at, end)).await?;
        let mut after = at;
        let mut lines = Vec::new();
        let mut size = 0;
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            size += line.len();
            if lines.len() >= BATCH || size > BATCH_BYTES {
                break;
            }
            after.byte += line.len() as u64;
            lines.push(line.trim_ascii_end().to_vec());
        }
        Ok((!lines.is_empty()).then_some(Batch { lines, after }))
    }

    async fn send(&self, lines: Vec<Vec<u8>>) -> Result<(), String> {
        let mut events = Vec::with_capacity(lines.len());
        for line in &lines {
            match serde_json::from_slice::<AuditEvent>(line) {
                Ok(event) => events.push(event),
                Err(_) => self.reject(line).await?,
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        match self.client.call(&EmitEvents { events: events.clone() }).await {
            Ok(_) => Ok(()),
            // One that is refused must not hold up the others.
            Err(error) if refuses_events(&error) => self.one_by_one(events).await,
            Err(error) => Err(error.to_string()),
        }
    }

    async fn one_by_one(&self, events: Vec<AuditEvent>) -> Result<(), String> {
        for event in events {
            match self.client.call(&EmitEvents { events: vec![event.clone()] }).await {
                Ok(_) => {}
                Err(error) if refuses_events(&error) => {
                    tracing::error!(%error, "the authority refuses an audit event: it is kept in rejected.log");
                    self.reject(&serde_json::to_vec(&event).unwrap_or_default()).await?;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    async fn reject(&self, line: &[u8]) -> Result<(), String> {
        let (spool, line) = (self.spool.clone(), line.to_vec());
        blocking(move || spool.reject(&line)).await
    }
}

/// The events themselves are at fault, not the way, the caller or the moment.
fn refuses_events(error: &CallError) -> bool {
    match error.fault() {
        Some(Fault::BadRequest | Fault::TooLarge) => true,
        Some(
            Fault::Unauthenticated
            | Fault::NotFound
            | Fault::Conflict
            | Fault::TooMany
            | Fault::Internal
            | Fault::Unavailable,
        )
        | None => false,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
