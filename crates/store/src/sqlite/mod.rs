//! The embedded backend: SQLite in WAL mode, synchronous FULL, one writer thread with group commit.
//!
//! Every transaction that waits while the disk syncs joins the next sync, so many small durable writes cost one
//! sync together. Reads run beside the writer on their own connections. Layout: docs/formats/store-sqlite.md.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::Timestamp;
use runtime::Clock;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{mpsc, oneshot, watch as feed};

use self::read::{Readers, as_i64, entry_of, failed, number, plan_once, read_range};
use self::watch::SqliteWatch;
use crate::contract::check_bounds;
use crate::{Committed, Condition, Entry, Key, Page, Range, Revision, Store, StoreError, Txn, Watch, Write};

mod read;
mod watch;

/// How many changes are kept for watchers; older ones are pruned as new ones come.
const HISTORY: u64 = 50_000;
/// Transactions waiting for the writer; a full queue makes callers wait.
const QUEUE: usize = 1024;
/// Transactions in one sync.
const GROUP: usize = 256;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS entry (
    key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, revision INTEGER NOT NULL, expires_at INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_expiry ON entry(expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS change (
    revision INTEGER NOT NULL, n INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, PRIMARY KEY (revision, n)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY NOT NULL, number INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('revision', 0), ('compacted', 0), ('format', 1);
";

type Reply = oneshot::Sender<Result<Revision, StoreError>>;

struct Job {
    txn: Txn,
    reply: Reply,
}

/// The store in one SQLite file. Clones share; the file closes when the last clone is gone.
#[derive(Clone)]
pub struct SqliteStore {
    jobs: mpsc::Sender<Job>,
    readers: Arc<Readers>,
    clock: Clock,
    news: feed::Receiver<Revision>,
}

impl SqliteStore {
    /// Opens or makes the file at `path` (mode 0600). Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be opened, is not ours, or another process has it.
    pub fn open(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        make_private(path)?;
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(std::time::Duration::from_secs(2)).map_err(failed)?;
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-2048;")
            .map_err(failed)?;
        plan_once(&connection).map_err(failed)?;
        connection.execute_batch(SCHEMA).map_err(failed)?;
        let revision = number(&connection, "revision")?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (news, seen) = feed::channel(revision);
        let writer = Writer { connection, revision, clock: clock.clone(), news };
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(queue))
            .map_err(|e| StoreError::Backend(e.to_string()))?;
        let readers = Arc::new(Readers { path: path.to_owned(), idle: Mutex::default() });
        Ok(Self { jobs, readers, clock, news: seen })
    }

    async fn submit(&self, txn: Txn) -> Result<Revision, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { txn, reply }).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

#[cfg(unix)]
fn make_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|e| StoreError::Backend(format!("cannot open {}: {e}", path.display())))
}

struct Writer {
    connection: Connection,
    revision: Revision,
    clock: Clock,
    news: feed::Sender<Revision>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut group = Vec::with_capacity(GROUP);
        while queue.blocking_recv_many(&mut group, GROUP) > 0 {
            self.commit_group(&mut group);
        }
    }

    /// Applies every job of the group in one SQLite transaction and answers after the sync.
    fn commit_group(&mut self, group: &mut Vec<Job>) {
        let now = self.clock.now();
        let before = self.revision;
        let outcome = self.apply_group(group, now);
        match outcome {
            Ok(answers) => {
                self.news.send_replace(self.revision);
                for (job, answer) in group.drain(..).zip(answers) {
                    drop(job.reply.send(answer));
                }
            }
            Err(error) => {
                self.revision = before;
                tracing::error!(%error, "store: group commit failed");
                for job in group.drain(..) {
                    drop(job.reply.send(Err(StoreError::Backend(error.to_string()))));
                }
            }
        }
    }

    fn apply_group(
        &mut self,
        group: &[Job],
        now: Timestamp,
    ) -> Result<Vec<Result<Revision, StoreError>>, rusqlite::Error> {
        let before = self.revision;
        let mut revision = before;
        let txn = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut answers = Vec::with_capacity(group.len());
        for job in group {
            match broken_condition(&txn, &job.txn, now)? {
                Some(key) => answers.push(Err(StoreError::Conflict(key))),
                None => {
                    revision += 1;
                    apply(&txn, &job.txn, revision)?;
                    answers.push(Ok(revision));
                }
            }
        }
        txn.prepare_cached("UPDATE meta SET number = ?1 WHERE name = 'revision'")?
            .execute([as_i64(revision)])?;
        prune(&txn, before, revision)?;
        txn.commit()?;
        self.revision = revision;
        Ok(answers)
    }
}

/// Forgets changes beyond the history kept, a little at a time.
fn prune(
    txn: &rusqlite::Transaction<'_>,
    before: Revision,
    revision: Revision,
) -> Result<(), rusqlite::Error> {
    if revision <= HISTORY || before / 64 == revision / 64 {
        return Ok(());
    }
    let oldest = as_i64(revision - HISTORY);
    txn.prepare_cached("DELETE FROM change WHERE revision <= ?1")?.execute([oldest])?;
    txn.prepare_cached("UPDATE meta SET number = ?1 WHERE name = 'compacted'")?.execute([oldest])?;
    Ok(())
}

fn live_revision(txn: &Connection, key: &Key, now: Timestamp) -> Result<Option<u64>, rusqlite::Error> {
    txn.prepare_cached(
        "SELECT revision FROM entry WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
    )?
    .query_row(params![key.as_str(), now.millis()], |row| row.get::<_, i64>(0))
    .optional()
    .map(|found| found.map(i64::unsigned_abs))
}

fn broken_condition(txn: &Connection, wanted: &Txn, now: Timestamp) -> Result<Option<Key>, rusqlite::Error> {
    for condition in &wanted.conditions {
        let (key, holds) = match condition {
            Condition::Absent(key) => (key, live_revision(txn, key, now)?.is_none()),
            Condition::Present(key) => (key, live_revision(txn, key, now)?.is_some()),
            Condition::At(key, revision) => (key, live_revision(txn, key, now)? == Some(*revision)),
        };
        if !holds {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

fn apply(txn: &Connection, wanted: &Txn, revision: Revision) -> Result<(), rusqlite::Error> {
    for (n, write) in wanted.writes.iter().enumerate() {
        let (key, value) = match write {
            Write::Put { key, value, expires_at } => {
                txn.prepare_cached(
                    "INSERT OR REPLACE INTO entry (key, value, revision, expires_at) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    key.as_str(),
                    value.as_ref(),
                    as_i64(revision),
                    expires_at.map(Timestamp::millis)
                ])?;
                (key, Some(value.as_ref()))
            }
            Write::Delete(key) => {
                let gone = txn.prepare_cached("DELETE FROM entry WHERE key = ?1")?.execute([key.as_str()])?;
                if gone == 0 {
                    continue;
                }
                (key, None)
            }
        };
        if !wanted.quiet {
            txn.prepare_cached("INSERT INTO change (revision, n, key, value) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![as_i64(revision), as_i64(n as u64), key.as_str(), value])?;
        }
    }
    Ok(())
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let (key, now) = (key.clone(), self.clock.now());
        self.readers
            .run(move |connection| {
                connection
                    .prepare_cached(
                        "SELECT key, value, revision, expires_at FROM entry
                         WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
                    )
                    .map_err(failed)?
                    .query_row(params![key.as_str(), now.millis()], entry_of)
                    .optional()
                    .map(Option::flatten)
                    .map_err(failed)
            })
            .await
    }

    async fn range(&self, range: &Range) -> Result<Page, StoreError> {
        let (range, now) = (range.clone(), self.clock.now());
        self.readers.run(move |connection| read_range(connection, &range, now)).await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, StoreError> {
        check_bounds(&txn)?;
        Ok(Committed { revision: self.submit(txn).await? })
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        let compacted = self.readers.run(|connection| number(connection, "compacted")).await?;
        if after < compacted {
            return Err(StoreError::Compacted(after));
        }
        Ok(Box::new(SqliteWatch {
            readers: self.readers.clone(),
            prefix: prefix.to_owned(),
            seen: after,
            ready: Vec::new(),
            news: self.news.clone(),
        }))
    }

    async fn sweep(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let ended = self
            .readers
            .run(move |connection| {
                let mut statement = connection
                    .prepare_cached("SELECT key, revision FROM entry WHERE expires_at IS NOT NULL AND expires_at <= ?1 LIMIT 1000")
                    .map_err(failed)?;
                let rows = statement
                    .query_map([now.millis()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
                    .map_err(failed)?;
                rows.collect::<Result<Vec<_>, _>>().map_err(failed)
            })
            .await?;
        let mut txn = Txn::new();
        for (key, _) in &ended {
            if let Ok(key) = Key::new(key.clone()) {
                // Written anew in the meantime? Then it is live again and this condition breaks the sweep, which
                // the next run repeats.
                txn = txn.when(Condition::Absent(key.clone())).delete(key);
            }
        }
        if txn.writes.is_empty() {
            return Ok(0);
        }
        match self.commit(txn).await {
            Ok(_) => Ok(ended.len()),
            Err(StoreError::Conflict(_)) => Ok(0),
            Err(error) => Err(error),
        }
    }
}
