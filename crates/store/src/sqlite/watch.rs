//! Watches over the change table: whole transactions, in order, from any revision that is still kept.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio::sync::watch;

use super::read::{Readers, as_i64, end_of, failed, number};
use crate::contract::Changes;
use crate::{Change, Key, Revision, StoreError};

/// Changes a watcher takes at once.
const WATCH_BATCH: usize = 1000;

/// A watch that reads the store's change table.
pub(super) struct SqliteWatch {
    pub(super) readers: Arc<Readers>,
    pub(super) prefix: String,
    pub(super) seen: Revision,
    /// Read but not yet handed out, so that a cancelled `next` loses nothing.
    pub(super) ready: Vec<Change>,
    pub(super) news: watch::Receiver<Revision>,
}

fn read_changes(
    connection: &Connection,
    prefix: &str,
    after: Revision,
) -> Result<(Vec<Change>, Revision), StoreError> {
    let txn = connection.unchecked_transaction().map_err(failed)?;
    let (now_at, compacted) = (number(&txn, "revision")?, number(&txn, "compacted")?);
    if after < compacted {
        return Err(StoreError::Compacted(after));
    }
    let mut statement = txn
        .prepare_cached(
            "SELECT revision, key, value FROM change WHERE revision > ?1 AND key >= ?2 AND key < ?3
             ORDER BY revision, n LIMIT ?4",
        )
        .map_err(failed)?;
    let rows = statement
        .query_map(
            params![as_i64(after), format!("{prefix}/"), end_of(prefix), as_i64(WATCH_BATCH as u64)],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<Vec<u8>>>(2)?)),
        )
        .map_err(failed)?;
    let mut found = Vec::new();
    for row in rows {
        let (revision, key, value) = row.map_err(failed)?;
        if let Ok(key) = Key::new(key) {
            found.push(Change { revision: revision.unsigned_abs(), key, value: value.map(Bytes::from) });
        }
    }
    if found.len() < WATCH_BATCH {
        return Ok((found, now_at));
    }
    // A full batch may end inside a transaction: give whole transactions only, unless one fills the batch.
    let last = found.last().map_or(now_at, |c| c.revision);
    let first = found.first().map_or(now_at, |c| c.revision);
    if first != last {
        found.retain(|c| c.revision < last);
        return Ok((found, last - 1));
    }
    let mut whole = txn
        .prepare_cached(
            "SELECT key, value FROM change WHERE revision = ?1 AND key >= ?2 AND key < ?3 ORDER BY n",
        )
        .map_err(failed)?;
    let rows = whole
        .query_map(params![as_i64(last), format!("{prefix}/"), end_of(prefix)], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<Vec<u8>>>(1)?))
        })
        .map_err(failed)?;
    found.clear();
    for row in rows {
        let (key, value) = row.map_err(failed)?;
        if let Ok(key) = Key::new(key) {
            found.push(Change { revision: last, key, value: value.map(Bytes::from) });
        }
    }
    Ok((found, last))
}

#[async_trait]
impl Changes for SqliteWatch {
    async fn next(&mut self) -> Result<Vec<Change>, StoreError> {
        loop {
            if !self.ready.is_empty() {
                return Ok(std::mem::take(&mut self.ready));
            }
            let target = *self.news.borrow_and_update();
            if target > self.seen {
                let (prefix, after) = (self.prefix.clone(), self.seen);
                let (found, upto) = self.readers.run(move |c| read_changes(c, &prefix, after)).await?;
                self.ready = found;
                self.seen = upto;
                if upto < target || !self.ready.is_empty() {
                    continue;
                }
            }
            self.news.changed().await.map_err(|_| StoreError::Closed)?;
        }
    }
}
