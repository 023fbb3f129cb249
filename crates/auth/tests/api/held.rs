//! A store that keeps one transaction waiting, just before or just after it happens, until it is let go.

use std::sync::{Mutex, PoisonError};

use runtime::Clock;
use store::memory::MemoryStore;
use store::{Committed, Entry, Key, Page, Range, Revision, Store, StoreError, Txn, Watch};
use tokio::sync::Notify;

/// Where a transaction waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    Before,
    After,
}

pub struct Held {
    inner: MemoryStore,
    next: Mutex<Option<(Wait, &'static str)>>,
    reached: Notify,
    let_go: Notify,
}

impl Held {
    pub fn new(clock: Clock) -> Self {
        Self {
            inner: MemoryStore::new(clock),
            next: Mutex::default(),
            reached: Notify::new(),
            let_go: Notify::new(),
        }
    }

    /// Keeps the next transaction that writes under `family/`.
    pub fn hold(&self, wait: Wait, family: &'static str) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some((wait, family));
    }

    /// Waits until it is there.
    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    pub fn let_go(&self) {
        self.let_go.notify_one();
    }

    fn take(&self, txn: &Txn) -> Option<Wait> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.take_if(|(_, family)| txn.writes.iter().any(|w| w.key().under(family).is_some())).map(|(w, _)| w)
    }

    async fn stand(&self) {
        self.reached.notify_one();
        self.let_go.notified().await;
    }
}

#[async_trait::async_trait]
impl Store for Held {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await
    }

    async fn range(&self, range: &Range) -> Result<Page, StoreError> {
        self.inner.range(range).await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, StoreError> {
        let wait = self.take(&txn);
        if wait == Some(Wait::Before) {
            self.stand().await;
        }
        let outcome = self.inner.commit(txn).await;
        if wait == Some(Wait::After) {
            self.stand().await;
        }
        outcome
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        self.inner.watch(prefix, after).await
    }

    async fn sweep(&self) -> Result<usize, StoreError> {
        self.inner.sweep().await
    }
}
