//! Reading: connections of their own beside the writer, and what a row means.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, params};

use crate::{Entry, Key, Order, Page, Range, StoreError};

pub(super) struct Readers {
    pub(super) path: PathBuf,
    pub(super) idle: Mutex<Vec<Connection>>,
}

pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Backend(error.to_string())
}

impl Readers {
    /// Runs `work` on a read connection, off the async threads.
    pub(super) async fn run<T, F>(self: &Arc<Self>, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let readers = self.clone();
        tokio::task::spawn_blocking(move || {
            let kept = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match kept {
                Some(connection) => connection,
                None => open_reader(&readers.path)?,
            };
            let out = work(&connection);
            let mut idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < 4 {
                idle.push(connection);
            }
            out
        })
        .await
        .map_err(|e| StoreError::Backend(e.to_string()))?
    }
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(failed)?;
    connection.execute_batch("PRAGMA cache_size=-1024;").map_err(failed)?;
    plan_once(&connection).map_err(failed)?;
    Ok(connection)
}

/// Statements are planned when they are prepared, and not again for each value of a `LIMIT`: that takes longer than most
/// of ours run. Source: sqlite.org/c3ref/c_dbconfig_defensive.html, `SQLITE_DBCONFIG_ENABLE_QPSG`.
pub(super) fn plan_once(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

pub(super) fn number(connection: &Connection, name: &str) -> Result<u64, StoreError> {
    let found: i64 = connection
        .prepare_cached("SELECT number FROM meta WHERE name = ?1")
        .and_then(|mut statement| statement.query_row([name], |row| row.get(0)))
        .map_err(failed)?;
    Ok(found.unsigned_abs())
}

pub(super) fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn entry_of(row: &Row<'_>) -> rusqlite::Result<Option<Entry>> {
    let key: String = row.get(0)?;
    let value: Vec<u8> = row.get(1)?;
    let revision: i64 = row.get(2)?;
    let expires_at: Option<i64> = row.get(3)?;
    Ok(Key::new(key).ok().map(|key| Entry {
        key,
        value: Bytes::from(value),
        revision: revision.unsigned_abs(),
        expires_at: expires_at.map(Timestamp::from_millis),
    }))
}

/// The smallest text greater than every text that begins with `prefix/`: `/` is followed by `0` in ASCII.
pub(super) fn end_of(prefix: &str) -> String {
    format!("{prefix}0")
}

pub(super) fn read_range(connection: &Connection, range: &Range, now: Timestamp) -> Result<Page, StoreError> {
    let txn = connection.unchecked_transaction().map_err(failed)?;
    let revision = number(&txn, "revision")?;
    let limit = range.effective_limit();
    let (mut low, mut high) = (format!("{}/", range.prefix), end_of(&range.prefix));
    let sql = match range.order {
        Order::Ascending => {
            if let Some(after) = &range.after {
                // The next text after a key is that key and a zero byte.
                low = low.max(format!("{after}\0"));
            }
            "SELECT key, value, revision, expires_at FROM entry WHERE key >= ?1 AND key < ?2
             AND (expires_at IS NULL OR expires_at > ?3) ORDER BY key LIMIT ?4"
        }
        Order::Descending => {
            if let Some(after) = &range.after {
                high = high.min(after.to_string());
            }
            "SELECT key, value, revision, expires_at FROM entry WHERE key >= ?1 AND key < ?2
             AND (expires_at IS NULL OR expires_at > ?3) ORDER BY key DESC LIMIT ?4"
        }
    };
    let mut statement = txn.prepare_cached(sql).map_err(failed)?;
    let rows = statement
        .query_map(params![low, high, now.millis(), as_i64(limit as u64 + 1)], entry_of)
        .map_err(failed)?;
    let mut entries = rows.filter_map(Result::transpose).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(Page { entries, revision, more })
}
