//! The store's promise.
//!
//! - **Revisions.** Every committed transaction gets the next revision, a `u64` that only grows, across restarts.
//!   An entry carries the revision of the transaction that wrote it last.
//! - **Transactions.** A [`Txn`] is conditions and writes. All conditions hold and all writes happen, or nothing
//!   does. Committed means durable: it survives `kill -9` and power loss.
//! - **Expiry.** An entry with `expires_at` in the past is absent for every read and condition at once; a sweep
//!   removes it later and watchers then see it deleted. Time is the backend's clock, given at construction.
//! - **Watch.** A watch sees every change of its prefix after the revision it asks for, in order, once, also over
//!   restarts, as long as history reaches back; else [`StoreError::Compacted`], and the caller reads anew. Writes
//!   of a [`Txn::quiet`] transaction need not be seen by watchers.
//! - **Ranges** are by byte order of keys, bounded by `limit`, and continue with `start`.
//!
//! The words fit SQLite, PostgreSQL and etcd; nothing here needs more than they have.

use async_trait::async_trait;
use bytes::Bytes;
use model::Timestamp;

use crate::Key;

/// Position in the store's history. 0 is before everything.
pub type Revision = u64;

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value: at most [`MAX_VALUE`] bytes.
    pub value: Bytes,
    /// The revision of the transaction that wrote it.
    pub revision: Revision,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// The largest value, in bytes.
pub const MAX_VALUE: usize = 1024 * 1024;

/// The most entries a range returns.
pub const MAX_RANGE: usize = 10_000;

/// Something that must hold for a transaction to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is no such entry.
    Absent(Key),
    /// There is such an entry.
    Present(Key),
    /// The entry was last written at this revision.
    At(Key, Revision),
}

/// A change to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets the value.
    Put {
        /// The key.
        key: Key,
        /// The value.
        value: Bytes,
        /// When it ends by itself.
        expires_at: Option<Timestamp>,
    },
    /// Removes the entry, if there is one.
    Delete(Key),
}

impl Write {
    /// The key it changes.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Write::Put { key, .. } | Write::Delete(key) => key,
        }
    }
}

/// Conditions and writes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What to write, in order.
    pub writes: Vec<Write>,
    /// Watchers need not see these writes: for logs, which have their own order.
    pub quiet: bool,
}

impl Txn {
    /// An empty transaction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Adds a put that lasts.
    #[must_use]
    pub fn put(self, key: Key, value: impl Into<Bytes>) -> Self {
        self.put_until(key, value, None)
    }

    /// Adds a put that ends by itself.
    #[must_use]
    pub fn put_until(mut self, key: Key, value: impl Into<Bytes>, expires_at: Option<Timestamp>) -> Self {
        self.writes.push(Write::Put { key, value: value.into(), expires_at });
        self
    }

    /// Adds a deletion.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push(Write::Delete(key));
        self
    }

    /// Says that watchers need not see these writes.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }
}

/// A transaction that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its revision.
    pub revision: Revision,
}

/// Which way a range runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    #[default]
    Ascending,
    /// Largest key first.
    Descending,
}

/// Which entries: those under `prefix/`, from `start` on (exclusive), at most `limit`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Entries whose key begins with this and a `/`.
    pub prefix: String,
    /// Continue after this key (whole key, exclusive, in the direction of `order`).
    pub after: Option<Key>,
    /// At most this many; 0 means [`MAX_RANGE`].
    pub limit: usize,
    /// Direction.
    pub order: Order,
}

impl Range {
    /// Every entry under `prefix/`, ascending.
    #[must_use]
    pub fn under(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// At most `limit` entries.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Continues after `key`.
    #[must_use]
    pub fn after(mut self, key: Option<Key>) -> Self {
        self.after = key;
        self
    }

    /// Largest key first.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.order = Order::Descending;
        self
    }

    /// The bound in force.
    #[must_use]
    pub fn effective_limit(&self) -> usize {
        if self.limit == 0 { MAX_RANGE } else { self.limit.min(MAX_RANGE) }
    }
}

/// A piece of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The store's revision the piece was read at: start a watch here.
    pub revision: Revision,
    /// There are more after the last entry.
    pub more: bool,
}

/// One change seen by a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The transaction's revision.
    pub revision: Revision,
    /// The key.
    pub key: Key,
    /// The new value; `None` when it was deleted or has ended.
    pub value: Option<Bytes>,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A condition does not hold: read again and decide anew.
    #[error("the condition on `{0}` does not hold any more")]
    Conflict(Key),
    /// The request is out of bounds: the caller's fault.
    #[error("out of bounds: {0}")]
    Bounds(String),
    /// History no longer reaches back to that revision: read the range anew and watch from there.
    #[error("changes after revision {0} are no longer kept")]
    Compacted(Revision),
    /// The disk or server failed. Nothing was written.
    #[error("the store failed: {0}")]
    Backend(String),
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// A stream of changes. Dropping it ends the watch.
#[async_trait]
pub trait Changes: Send {
    /// The next changes, in order, at least one; waits for them. Cancel-safe.
    async fn next(&mut self) -> Result<Vec<Change>, StoreError>;
}

/// A boxed watch.
pub type Watch = Box<dyn Changes>;

/// The store.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The entry, unless absent or ended.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError>;

    /// Entries by key order.
    async fn range(&self, range: &Range) -> Result<Page, StoreError>;

    /// Makes a transaction happen, durably.
    async fn commit(&self, txn: Txn) -> Result<Committed, StoreError>;

    /// Follows changes under `prefix/` after `after`.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError>;

    /// Removes entries that have ended; watchers see them deleted. Says how many there were. Called by a job.
    async fn sweep(&self) -> Result<usize, StoreError>;

    /// Every entry under `prefix/`, piece by piece. For small families only.
    async fn all(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let mut out = Vec::new();
        let mut after = None;
        loop {
            let page = self.range(&Range::under(prefix).after(after)).await?;
            after = page.entries.last().map(|e| e.key.clone());
            let more = page.more;
            out.extend(page.entries);
            if !more {
                return Ok(out);
            }
        }
    }
}

/// Checks the bounds every backend keeps.
///
/// # Errors
/// [`StoreError::Bounds`] with the reason.
pub fn check_bounds(txn: &Txn) -> Result<(), StoreError> {
    if txn.writes.len() > MAX_RANGE || txn.conditions.len() > MAX_RANGE {
        return Err(StoreError::Bounds(format!(
            "a transaction has at most {MAX_RANGE} writes and conditions"
        )));
    }
    for write in &txn.writes {
        if let Write::Put { key, value, .. } = write
            && value.len() > MAX_VALUE
        {
            return Err(StoreError::Bounds(format!("the value of `{key}` is larger than {MAX_VALUE} bytes")));
        }
    }
    Ok(())
}
