//! The store in memory, for tests: the contract without the disk.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use model::Timestamp;
use runtime::Clock;
use tokio::sync::watch;

use crate::contract::{Changes, check_bounds};
use crate::{
    Change, Committed, Condition, Entry, Key, Order, Page, Range, Revision, Store, StoreError, Txn, Watch,
    Write,
};

/// How many changes are kept for watchers.
const HISTORY: usize = 10_000;

/// A store in memory. Clones share.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    clock: Clock,
    news: watch::Sender<Revision>,
}

#[derive(Default)]
struct State {
    revision: Revision,
    entries: BTreeMap<Key, Entry>,
    history: VecDeque<Change>,
    compacted: Revision,
}

impl State {
    fn live(&self, key: &Key, now: Timestamp) -> Option<&Entry> {
        self.entries.get(key).filter(|e| e.expires_at.is_none_or(|at| at > now))
    }

    fn remember(&mut self, change: Change) {
        self.history.push_back(change);
        while self.history.len() > HISTORY {
            if let Some(old) = self.history.pop_front() {
                self.compacted = old.revision;
            }
        }
    }

    fn apply(&mut self, txn: Txn, now: Timestamp) -> Result<Revision, StoreError> {
        for condition in &txn.conditions {
            let (key, holds) = match condition {
                Condition::Absent(key) => (key, self.live(key, now).is_none()),
                Condition::Present(key) => (key, self.live(key, now).is_some()),
                Condition::At(key, revision) => {
                    (key, self.live(key, now).is_some_and(|e| e.revision == *revision))
                }
            };
            if !holds {
                return Err(StoreError::Conflict(key.clone()));
            }
        }
        self.revision += 1;
        let revision = self.revision;
        for write in txn.writes {
            let change = match write {
                Write::Put { key, value, expires_at } => {
                    let entry = Entry { key: key.clone(), value: value.clone(), revision, expires_at };
                    self.entries.insert(key.clone(), entry);
                    Some(Change { revision, key, value: Some(value) })
                }
                Write::Delete(key) => {
                    self.entries.remove(&key).map(|_| Change { revision, key, value: None })
                }
            };
            if let Some(change) = change.filter(|_| !txn.quiet) {
                self.remember(change);
            }
        }
        Ok(revision)
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { state: Arc::default(), clock, news: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        Ok(self.lock().live(key, self.clock.now()).cloned())
    }

    async fn range(&self, range: &Range) -> Result<Page, StoreError> {
        let now = self.clock.now();
        let prefix = format!("{}/", range.prefix);
        let state = self.lock();
        let wanted = |e: &&Entry| {
            e.key.as_str().starts_with(&prefix)
                && e.expires_at.is_none_or(|at| at > now)
                && range.after.as_ref().is_none_or(|after| match range.order {
                    Order::Ascending => e.key > *after,
                    Order::Descending => e.key < *after,
                })
        };
        let limit = range.effective_limit();
        let mut entries: Vec<Entry> = match range.order {
            Order::Ascending => state.entries.values().filter(wanted).take(limit + 1).cloned().collect(),
            Order::Descending => {
                state.entries.values().rev().filter(wanted).take(limit + 1).cloned().collect()
            }
        };
        let more = entries.len() > limit;
        entries.truncate(limit);
        Ok(Page { entries, revision: state.revision, more })
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, StoreError> {
        check_bounds(&txn)?;
        let revision = self.lock().apply(txn, self.clock.now())?;
        self.news.send_replace(revision);
        Ok(Committed { revision })
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        if after < self.lock().compacted {
            return Err(StoreError::Compacted(after));
        }
        Ok(Box::new(MemoryWatch {
            store: self.clone(),
            prefix: format!("{prefix}/"),
            seen: after,
            news: self.news.subscribe(),
        }))
    }

    async fn sweep(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let ended: Vec<Key> = self
            .lock()
            .entries
            .values()
            .filter(|e| e.expires_at.is_some_and(|at| at <= now))
            .map(|e| e.key.clone())
            .collect();
        if ended.is_empty() {
            return Ok(0);
        }
        let count = ended.len();
        self.commit(ended.into_iter().fold(Txn::new(), Txn::delete)).await?;
        Ok(count)
    }
}

struct MemoryWatch {
    store: MemoryStore,
    prefix: String,
    seen: Revision,
    news: watch::Receiver<Revision>,
}

impl MemoryWatch {
    fn fresh(&mut self) -> Result<Vec<Change>, StoreError> {
        let state = self.store.lock();
        if self.seen < state.compacted {
            return Err(StoreError::Compacted(self.seen));
        }
        let start = state.history.partition_point(|c| c.revision <= self.seen);
        let found: Vec<Change> = state
            .history
            .range((Bound::Included(start), Bound::Unbounded))
            .filter(|c| c.key.as_str().starts_with(&self.prefix))
            .cloned()
            .collect();
        self.seen = state.revision;
        Ok(found)
    }
}

#[async_trait]
impl Changes for MemoryWatch {
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            self.news.borrow_and_update();
            let found = self.fresh()?;
            if !found.is_empty() {
                return Ok(found);
            }
            self.news.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }
}

/// Shorthand for tests: a value from text.
#[must_use]
pub fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
