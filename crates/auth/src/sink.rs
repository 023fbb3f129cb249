//! The audit log's one writer: events in, a hash chain in the store, signed checkpoints, daily files.
//!
//! Whoever hands in events is answered when they are durable. What waits is written together (group commit). The
//! same `uid` is kept once. Queue: [`QUEUE`] batches; when it is full, callers wait, and so do those they serve.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use audit::log::Chain;
use model::api::audit::{AuditEvent, ChainedEvent, Checkpoint};
use model::{NodeId, RequestId, Timestamp};
use runtime::{Clock, Health, Scope};
use store::{Condition, Range, StoreError, Txn};
use tokio::sync::{mpsc, oneshot, watch};

use crate::daily::DailyFiles;
use crate::db::{Db, encode, key, ordered, single};
use crate::error::Error;
use crate::keys::KeyCell;
use crate::refusal::{Answer, Refusal};

const QUEUE: usize = 256;
/// The most events written in one transaction.
const TOGETHER: usize = 2_000;
/// A checkpoint after this many events at the latest.
const CHECKPOINT_EVERY: u64 = 1_000;
/// How long a `uid` is remembered.
const UIDS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Links read at a time for the daily files, and how often in a row before other work has its turn.
const PIECE: usize = 1_000;
const PIECES: usize = 10;
const JOB: &str = "audit log";
/// Says what is wrong with the end of the log as it was found.
const END_JOB: &str = "audit log end";

struct Batch {
    /// The host that tells; `None` for the authority itself.
    teller: Option<NodeId>,
    events: Vec<AuditEvent>,
    done: oneshot::Sender<Result<u64, Refusal>>,
}

/// Hands events to the writer. Clones share.
#[derive(Clone)]
pub(crate) struct Log {
    queue: mpsc::Sender<Batch>,
    head: watch::Receiver<u64>,
}

impl Log {
    /// Writes events durably and in order; gives how many links the chain then has.
    pub(crate) async fn write(&self, events: Vec<AuditEvent>) -> Answer<u64> {
        self.hand_in(None, events).await
    }

    /// The same for what a host tells.
    pub(crate) async fn write_of(&self, host: &NodeId, events: Vec<AuditEvent>) -> Answer<u64> {
        self.hand_in(Some(host.clone()), events).await
    }

    async fn hand_in(&self, teller: Option<NodeId>, events: Vec<AuditEvent>) -> Answer<u64> {
        let closed = || Refusal::unavailable("the authority is shutting down");
        let (done, answer) = oneshot::channel();
        self.queue.send(Batch { teller, events, done }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// How many links there are, now and after each change.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.head.clone()
    }
}

/// The writer itself: one for a store.
pub(crate) struct Writer {
    db: Db,
    keys: Arc<KeyCell>,
    clock: Clock,
    health: Health,
    queue: mpsc::Receiver<Batch>,
    head: watch::Sender<u64>,
    chain: Chain,
    signed: u64,
    signed_at: Timestamp,
    checkpoint_every: Duration,
    files: DailyFiles,
    /// Events that were in the files before the start; empty once the files have caught up.
    in_files: BTreeSet<String>,
}

impl Writer {
    /// Takes up the chain where the store has it.
    pub(crate) async fn open(
        db: Db,
        keys: Arc<KeyCell>,
        clock: Clock,
        health: Health,
        mut files: DailyFiles,
        checkpoint_every: Duration,
    ) -> Result<(Log, Self), Error> {
        let (last, _) = db.range::<ChainedEvent>(&Range::under("log").descending().limit(1)).await?;
        let chain = match last.first() {
            Some((_, doc)) => Chain::resume(doc.value.index, doc.value.hash.parse()?),
            None => Chain::new(),
        };
        let mut signed = signed_before(&db, None).await?;
        if signed > chain.next() {
            let links = chain.next();
            tracing::error!(
                links,
                signed,
                "the end of the audit log is gone: it was signed and is not in the store. Find out who changed the \
                 store, and take the missing events from a backup or the daily files"
            );
            let why = format!(
                "{signed} events were signed for, {links} are there: the end of the audit log is gone"
            );
            health.ran(END_JOB, clock.now(), Err(why));
            // What comes now is signed all the same: it must not be without proof until the log is as long as it was.
            signed = signed_before(&db, Some(links)).await?;
        }
        let written = db.get::<u64>(&single("log_file")?).await?.map_or(0, |doc| doc.value);
        files.begin_at(written.min(chain.next()));
        let (queue, incoming) = mpsc::channel(QUEUE);
        let (head, seen) = watch::channel(chain.next());
        let signed_at = clock.now();
        let writer = Self {
            db,
            keys,
            clock,
            health,
            queue: incoming,
            head,
            chain,
            signed,
            signed_at,
            checkpoint_every,
            files,
            in_files: BTreeSet::new(),
        };
        Ok((Log { queue, head: seen }, writer))
    }

    /// Writes until `scope` is cancelled and nobody hands in events any more; then signs what is left.
    pub(crate) async fn run(mut self, scope: Scope) {
        self.in_files = self.files.known_uids().await;
        self.fill_files(usize::MAX).await;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Cancel safe: `recv` and `tick` lose nothing when the other is ready first.
            tokio::select! {
                batch = self.queue.recv() => match batch {
                    Some(batch) => self.take(batch).await,
                    None => break,
                },
                _ = tick.tick() => self.tidy().await,
                () = scope.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
        }
        self.sign_if_due(true).await;
        self.files.sync().await;
    }

    /// What is done once a second, and not with each event.
    async fn tidy(&mut self) {
        self.sign_if_due(false).await;
        self.fill_files(PIECES).await;
        self.files.sync().await;
    }

    async fn take(&mut self, first: Batch) {
        let mut batches = vec![first];
        let mut size = batches.iter().map(|b| b.events.len()).sum::<usize>();
        while size < TOGETHER
            && let Ok(more) = self.queue.try_recv()
        {
            size += more.events.len();
            batches.push(more);
        }
        let mut events = Vec::with_capacity(size);
        for batch in &mut batches {
            let told = std::mem::take(&mut batch.events).into_iter();
            events.extend(told.map(|event| (seen_as(batch.teller.as_ref(), &event), event)));
        }
        let outcome = self.append(events).await;
        let health = outcome.as_ref().map(|_| ()).map_err(|e| e.message.clone());
        self.health.ran(JOB, self.clock.now(), health);
        for batch in batches {
            // Whoever asked may have gone; the events are written all the same.
            drop(batch.done.send(outcome.clone()));
        }
        if self.chain.next().saturating_sub(self.signed) >= CHECKPOINT_EVERY {
            self.sign_if_due(true).await;
        }
    }

    async fn append(&mut self, events: Vec<(String, AuditEvent)>) -> Answer<u64> {
        let fresh = self.fresh(events).await?;
        if fresh.is_empty() {
            return Ok(self.chain.next());
        }
        let expires = Some(self.clock.now() + UIDS_KEPT);
        let mut chain = self.chain.clone();
        let first = chain.next();
        let mut txn = Txn::new().quiet().when(Condition::Absent(key("log", ordered(first))?));
        let mut links = Vec::with_capacity(fresh.len());
        for (uid, event) in &fresh {
            let link = chain.append(event);
            txn = txn.put(key("log", ordered(link.index))?, encode(&link)?);
            if !uid.is_empty() {
                txn = txn.put_until(key("uids", uid)?, encode(&link.index)?, expires);
            }
            links.push(link);
        }
        txn = txn.put(single("log_file")?, encode(&self.files.lasting())?);
        self.db.commit(txn).await?;
        self.chain = chain;
        match self.files.next() == first {
            true => drop(self.files.write(&links, self.chain.next()).await),
            false => self.fill_files(PIECES).await,
        }
        self.head.send_replace(self.chain.next());
        Ok(self.chain.next())
    }

    /// Drops events whose `uid` has been seen, in this batch or before.
    async fn fresh(&self, events: Vec<(String, AuditEvent)>) -> Answer<Vec<(String, AuditEvent)>> {
        let mut seen = BTreeSet::new();
        let mut out = Vec::with_capacity(events.len());
        for (uid, event) in events {
            let known = !uid.is_empty()
                && (!seen.insert(uid.clone()) || self.db.get::<u64>(&key("uids", &uid)?).await?.is_some());
            if !known {
                out.push((uid, event));
            }
        }
        Ok(out)
    }

    async fn sign_if_due(&mut self, now_or_never: bool) {
        let now = self.clock.now();
        let unsigned = self.chain.next() > self.signed;
        // A young cluster signs with the first look: its log is provable from the first second on.
        let due = now_or_never || self.signed == 0 || now.since(self.signed_at) >= self.checkpoint_every;
        if !unsigned || !due {
            return;
        }
        if let Err(error) = self.sign(now).await {
            self.health.ran(JOB, now, Err(format!("a checkpoint was not written: {error}")));
        }
    }

    async fn sign(&mut self, now: Timestamp) -> Result<(), Error> {
        let Some(point) = self.chain.checkpoint(now, self.keys.now().audit())? else { return Ok(()) };
        let place = key("checkpoints", ordered(point.index))?;
        let txn = Txn::new().quiet().when(Condition::Absent(place.clone())).put(place, encode(&point)?);
        match self.db.commit(txn).await {
            // One about links that are gone stays: it proves that they were there. Newer links are signed as ever.
            Ok(_) | Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.signed = point.index.saturating_add(1);
        self.signed_at = now;
        Ok(())
    }

    /// Writes what the files lack, oldest first: what a crash or a full disk kept out of them.
    async fn fill_files(&mut self, pieces: usize) {
        for _ in 0..pieces {
            if self.files.next() >= self.chain.next() {
                self.in_files.clear();
                return;
            }
            match self.fill_piece().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.health.ran(
                        JOB,
                        self.clock.now(),
                        Err(format!("the daily files lack events: {error}")),
                    );
                    return;
                }
            }
        }
    }

    /// Writes one piece; false when that did not work.
    async fn fill_piece(&mut self) -> Result<bool, Error> {
        let after = self.files.next().checked_sub(1).map(|n| key("log", ordered(n))).transpose()?;
        let range = Range::under("log").after(after).limit(PIECE);
        let (links, _) = self.db.range::<ChainedEvent>(&range).await?;
        let Some(last) = links.last().map(|(_, doc)| doc.value.index) else { return Ok(false) };
        let lacking: Vec<ChainedEvent> = links
            .into_iter()
            .map(|(_, doc)| doc.value)
            .filter(|link| !uid_of(&link.event).is_some_and(|uid| self.in_files.contains(&uid)))
            .collect();
        Ok(self.files.write(&lacking, last.saturating_add(1)).await)
    }
}

/// How many links the newest checkpoint covers, or the newest of those about the first `links`.
async fn signed_before(db: &Db, links: Option<u64>) -> Result<u64, Error> {
    let before = links.map(|n| key("checkpoints", ordered(n))).transpose()?;
    let range = Range::under("checkpoints").descending().after(before).limit(1);
    let (points, _) = db.range::<Checkpoint>(&range).await?;
    Ok(points.first().map_or(0, |(_, doc)| doc.value.index.saturating_add(1)))
}

/// The name an event is remembered by: its `uid`, and whose word it is. Empty when it has none.
fn seen_as(teller: Option<&NodeId>, event: &AuditEvent) -> String {
    match (teller, field(event, "uid")) {
        (_, "") => String::new(),
        (None, uid) => uid.to_owned(),
        (Some(host), uid) => format!("{host}/{uid}"),
    }
}

/// The event that `host` told with this `uid`, as far back as they are remembered.
pub(crate) async fn told_by(db: &Db, host: &NodeId, uid: &RequestId) -> Answer<Option<AuditEvent>> {
    let Some(at) = db.get::<u64>(&key("uids", format!("{host}/{uid}"))?).await? else { return Ok(None) };
    let link = db.get::<ChainedEvent>(&key("log", ordered(at.value))?).await?;
    link.map(|doc| serde_json::from_str(&doc.value.event).map_err(Refusal::internal)).transpose()
}

/// A text field of an event; empty when it is not there.
pub(crate) fn field<'a>(event: &'a AuditEvent, name: &str) -> &'a str {
    event.0.get(name).and_then(serde_json::Value::as_str).unwrap_or_default()
}

fn uid_of(text: &str) -> Option<String> {
    let event: AuditEvent = serde_json::from_str(text).ok()?;
    event.0.get("uid")?.as_str().map(ToOwned::to_owned)
}
