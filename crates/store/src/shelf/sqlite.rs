//! The shelf in one SQLite file of its own: FTS5 over runs of three characters, lines packed beside it.
//!
//! One writer at a time; reads run beside it on their own connections. A file that cannot be used is thrown away and
//! begun anew, because all of it can be filled again. Layout: docs/formats/shelf-sqlite.md.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use model::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::query::indexed;
use super::{Book, Filter, Find, Found, Hit, Leaf, Line, MAX_PAGES, MAX_READ, Shelf, ShelfError};

/// Which layout this is: another one is thrown away.
const FORMAT: i64 = 2;
/// Kept for reading.
const IDLE: usize = 4;
/// Up to this many books are looked through one by one; more are looked through as they come.
const FEW: usize = 128;
/// The most candidates one search walks over.
const MAX_WALK: usize = 1_000_000;
/// The most a page's lines or picture unpack to.
const MAX_UNPACKED: usize = 8 * 1024 * 1024;
const LEVEL: i32 = 1;
/// Bits of a row's number that are the page's.
const PAGE_BITS: i64 = 1 << 20;

const SCHEMA: &str = "
CREATE TABLE book (
    no INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, who TEXT NOT NULL, place TEXT NOT NULL,
    place_name TEXT NOT NULL, began INTEGER NOT NULL, pages INTEGER NOT NULL
);
CREATE INDEX book_began ON book(began);
CREATE TABLE page (no INTEGER PRIMARY KEY, note BLOB NOT NULL, picture BLOB NOT NULL, lines BLOB NOT NULL);
CREATE VIRTUAL TABLE run USING fts5(
    text, content='', contentless_delete=1, detail=none, tokenize='trigram case_sensitive 1'
);
PRAGMA user_version = 2;
";

/// The shelf in one file. Clones share.
#[derive(Clone)]
pub struct SqliteShelf {
    path: Arc<PathBuf>,
    writer: Arc<Mutex<Connection>>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

fn failed(error: impl std::fmt::Display) -> ShelfError {
    ShelfError::Backend(error.to_string())
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl SqliteShelf {
    /// Opens or makes the file at `path` (mode 0600). What is no shelf of this layout is thrown away. Blocks.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn open(path: &Path) -> Result<Self, ShelfError> {
        let connection = match begin(path) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the search index is made anew");
                for ending in ["", "-wal", "-shm"] {
                    drop(std::fs::remove_file(format!("{}{ending}", path.display())));
                }
                begin(path).map_err(failed)?
            }
        };
        Ok(Self {
            path: Arc::new(path.to_owned()),
            writer: Arc::new(Mutex::new(connection)),
            idle: Arc::default(),
        })
    }

    async fn write<T, F>(&self, work: F) -> Result<T, ShelfError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, ShelfError> + Send + 'static,
    {
        let writer = self.writer.clone();
        tokio::task::spawn_blocking(move || work(&mut writer.lock().unwrap_or_else(PoisonError::into_inner)))
            .await
            .map_err(failed)?
    }

    async fn read<T, F>(&self, work: F) -> Result<T, ShelfError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, ShelfError> + Send + 'static,
    {
        let (path, idle) = (self.path.clone(), self.idle.clone());
        tokio::task::spawn_blocking(move || {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = kept.map_or_else(|| reader(&path).map_err(failed), Ok)?;
            let out = work(&connection);
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE {
                idle.push(connection);
            }
            out
        })
        .await
        .map_err(failed)?
    }
}

fn begin(path: &Path) -> Result<Connection, rusqlite::Error> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        drop(std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path));
    }
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    // Not synced at each write: after a crash the last pages are missing, and are put in again.
    connection
        .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-4096;")?;
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        connection.execute_batch(SCHEMA)?;
    } else if format != FORMAT {
        return Err(rusqlite::Error::InvalidQuery);
    }
    connection.query_row("SELECT count(*) FROM (SELECT 1 FROM run LIMIT 1)", [], |_| Ok(()))?;
    Ok(connection)
}

fn reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA cache_size=-4096; PRAGMA mmap_size=268435456;")?;
    Ok(connection)
}

fn pack(bytes: &[u8]) -> Result<Vec<u8>, ShelfError> {
    zstd::bulk::compress(bytes, LEVEL).map_err(failed)
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, ShelfError> {
    zstd::bulk::decompress(bytes, MAX_UNPACKED).map_err(failed)
}

/// Each line: where it is (8 bytes), its length (4 bytes), its text.
fn pack_lines(lines: &[Line]) -> Result<Vec<u8>, ShelfError> {
    let mut raw = Vec::new();
    for line in lines {
        raw.extend_from_slice(&line.at.to_be_bytes());
        raw.extend_from_slice(&u32::try_from(line.text.len()).unwrap_or(u32::MAX).to_be_bytes());
        raw.extend_from_slice(line.text.as_bytes());
    }
    if raw.len() > MAX_UNPACKED {
        return Err(failed("a page has too many lines"));
    }
    pack(&raw)
}

/// Calls `each` with every line.
fn each_line(packed: &[u8], mut each: impl FnMut(u64, &str)) -> Result<(), ShelfError> {
    let raw = unpack(packed)?;
    let mut rest = raw.as_slice();
    while let Some((at, tail)) = rest.split_first_chunk::<8>() {
        let (length, tail) = tail.split_first_chunk::<4>().ok_or_else(|| failed("a line is cut off"))?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (text, tail) = tail.split_at_checked(length).ok_or_else(|| failed("a line is cut off"))?;
        each(u64::from_be_bytes(*at), std::str::from_utf8(text).unwrap_or_default());
        rest = tail;
    }
    Ok(())
}

fn known(connection: &Connection, id: &str) -> Result<Option<(i64, u64)>, ShelfError> {
    connection
        .prepare_cached("SELECT no, pages FROM book WHERE id = ?1")
        .map_err(failed)?
        .query_row([id], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))
        .optional()
        .map_err(failed)
}

/// One column of a page.
fn part(connection: &Connection, book: &str, n: u64, sql: &str) -> Result<Option<Vec<u8>>, ShelfError> {
    let Some((no, pages)) = known(connection, book)? else { return Ok(None) };
    if n >= pages {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    statement.query_row([no * PAGE_BITS + number(n)], |row| row.get(0)).optional().map_err(failed)
}

fn put(connection: &mut Connection, book: &Book, leaf: &Leaf) -> Result<(), ShelfError> {
    let txn = connection.transaction().map_err(failed)?;
    let (no, wanted) = match known(&txn, &book.id)? {
        Some(known) => known,
        None => {
            txn.execute(
                "INSERT INTO book (id, who, place, place_name, began, pages) VALUES (?1, ?2, ?3, ?4, ?5, 0)",
                params![book.id, book.who, book.place, book.place_name, book.began.millis()],
            )
            .map_err(failed)?;
            (txn.last_insert_rowid(), 0)
        }
    };
    if leaf.n != wanted || wanted >= MAX_PAGES {
        return Err(ShelfError::Order { wanted, given: leaf.n });
    }
    let row = no * PAGE_BITS + number(leaf.n);
    // What could not be read back is not kept: a page without a picture is better than one that breaks its book.
    let picture = if leaf.picture.len() <= MAX_UNPACKED { leaf.picture.as_ref() } else { &[] };
    txn.execute(
        "INSERT OR REPLACE INTO page VALUES (?1, ?2, ?3, ?4)",
        params![row, leaf.note.as_ref(), pack(picture)?, pack_lines(&leaf.lines)?],
    )
    .map_err(failed)?;
    if !leaf.lines.is_empty() {
        let text = indexed(leaf.lines.iter().map(|line| line.text.as_str()));
        txn.prepare_cached("INSERT INTO run (rowid, text) VALUES (?1, ?2)")
            .map_err(failed)?
            .execute(params![row, text])
            .map_err(failed)?;
    }
    txn.prepare_cached("UPDATE book SET pages = ?2 WHERE no = ?1")
        .map_err(failed)?
        .execute(params![no, number(leaf.n + 1)])
        .map_err(failed)?;
    txn.commit().map_err(failed)
}

/// The numbers of the books a filter lets through, newest first, when they are few.
fn few(connection: &Connection, filter: &Filter) -> Result<Option<Vec<i64>>, ShelfError> {
    if *filter == Filter::default() {
        return Ok(None);
    }
    let millis = |at: Option<Timestamp>, none: i64| at.map_or(none, Timestamp::millis);
    let mut statement = connection
        .prepare_cached(
            "SELECT no FROM book WHERE began >= ?1 AND began <= ?2 AND (?3 = '' OR id = ?3)
             AND (?4 = '' OR who = ?4) AND (?5 = '' OR place = ?5 OR place_name = ?5)
             ORDER BY no DESC LIMIT ?6",
        )
        .map_err(failed)?;
    let wanted = params![
        millis(filter.from, i64::MIN),
        millis(filter.to, i64::MAX),
        filter.id,
        filter.who,
        filter.place,
        number(FEW as u64 + 1)
    ];
    let rows = statement.query_map(wanted, |row| row.get(0)).map_err(failed)?;
    let numbers = rows.collect::<Result<Vec<i64>, _>>().map_err(failed)?;
    Ok((numbers.len() <= FEW).then_some(numbers))
}

fn book_of(connection: &Connection, no: i64) -> Result<Option<Book>, ShelfError> {
    connection
        .prepare_cached("SELECT id, who, place, place_name, began FROM book WHERE no = ?1")
        .map_err(failed)?
        .query_row([no], |row| {
            Ok(Book {
                id: row.get(0)?,
                who: row.get(1)?,
                place: row.get(2)?,
                place_name: row.get(3)?,
                began: Timestamp::from_millis(row.get(4)?),
            })
        })
        .optional()
        .map_err(failed)
}

impl Filter {
    fn takes(&self, book: &Book) -> bool {
        (self.id.is_empty() || book.id == self.id)
            && (self.who.is_empty() || book.who == self.who)
            && (self.place.is_empty() || book.place == self.place || book.place_name == self.place)
            && self.from.is_none_or(|from| book.began >= from)
            && self.to.is_none_or(|to| book.began <= to)
    }
}

/// One search under way.
struct Walk<'c> {
    connection: &'c Connection,
    find: Find,
    books: HashMap<i64, Option<String>>,
    found: Found,
    read: usize,
    walked: usize,
}

impl Walk<'_> {
    /// Walks over candidates between two rows, newest first; false when it is time to stop.
    fn between(&mut self, low: i64, high: i64) -> Result<bool, ShelfError> {
        let connection = self.connection;
        let mut statement = connection
            .prepare_cached(
                "SELECT rowid FROM run WHERE run MATCH ?1 AND rowid >= ?2 AND rowid < ?3 ORDER BY rowid DESC",
            )
            .map_err(failed)?;
        let wanted = params![self.find.query.expression(), low, high];
        let mut rows = statement.query(wanted).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let row: i64 = row.get(0).map_err(failed)?;
            self.walked += 1;
            let Some(book) = self.book(row / PAGE_BITS)? else {
                if self.walked >= MAX_WALK {
                    return self.stop(row);
                }
                continue;
            };
            self.page(book, row)?;
            if self.found.hits.len() >= self.find.limit || self.read >= MAX_READ {
                return self.stop(row);
            }
        }
        Ok(true)
    }

    fn stop(&mut self, row: i64) -> Result<bool, ShelfError> {
        self.found.next = row.to_string();
        Ok(false)
    }

    fn book(&mut self, no: i64) -> Result<Option<String>, ShelfError> {
        if let Some(known) = self.books.get(&no) {
            return Ok(known.clone());
        }
        let book = book_of(self.connection, no)?;
        let find = &self.find;
        let book = book.filter(|book| find.filter.takes(book) && (find.allow)(book)).map(|book| book.id);
        self.books.insert(no, book.clone());
        Ok(book)
    }

    fn page(&mut self, book: String, row: i64) -> Result<(), ShelfError> {
        self.read += 1;
        let packed: Vec<u8> = self
            .connection
            .prepare_cached("SELECT lines FROM page WHERE no = ?1")
            .map_err(failed)?
            .query_row([row], |row| row.get(0))
            .map_err(failed)?;
        let (mut first, mut more) = (None, 0);
        let query = &self.find.query;
        each_line(&packed, |at, text| {
            if query.is_in(text) {
                match first {
                    None => first = Some(Line { at, text: text.to_owned() }),
                    Some(_) => more += 1,
                }
            }
        })?;
        if let Some(line) = first {
            let n = (row % PAGE_BITS).unsigned_abs();
            self.found.hits.push(Hit { book, n, line, more });
        }
        Ok(())
    }
}

fn find(connection: &Connection, find: Find) -> Result<Found, ShelfError> {
    let below = match find.start.as_str() {
        "" => i64::MAX,
        text => text.parse().map_err(|_| ShelfError::Cursor)?,
    };
    let few = few(connection, &find.filter)?;
    let found = Found::default();
    let mut walk = Walk { connection, find, books: HashMap::new(), found, read: 0, walked: 0 };
    match few {
        None => drop(walk.between(0, below)?),
        Some(numbers) => {
            for no in numbers.into_iter().filter(|no| no * PAGE_BITS < below) {
                if !walk.between(no * PAGE_BITS, below.min((no + 1) * PAGE_BITS))? {
                    break;
                }
            }
        }
    }
    Ok(walk.found)
}

#[async_trait]
impl Shelf for SqliteShelf {
    async fn pages(&self, book: &str) -> Result<u64, ShelfError> {
        let book = book.to_owned();
        self.read(move |connection| Ok(known(connection, &book)?.map_or(0, |(_, pages)| pages))).await
    }

    async fn put(&self, book: Book, leaf: Leaf) -> Result<(), ShelfError> {
        self.write(move |connection| put(connection, &book, &leaf)).await
    }

    async fn notes(&self, book: &str, from: u64, limit: usize) -> Result<Vec<Bytes>, ShelfError> {
        let book = book.to_owned();
        self.read(move |connection| {
            let Some((no, _)) = known(connection, &book)? else { return Ok(Vec::new()) };
            let low = no * PAGE_BITS + number(from.min(MAX_PAGES));
            let mut statement = connection
                .prepare_cached("SELECT note FROM page WHERE no >= ?1 AND no < ?2 ORDER BY no LIMIT ?3")
                .map_err(failed)?;
            let wanted = [low, (no + 1) * PAGE_BITS, number(limit as u64)];
            let rows = statement.query_map(wanted, |row| row.get::<_, Vec<u8>>(0)).map_err(failed)?;
            rows.map(|row| row.map(Bytes::from).map_err(failed)).collect()
        })
        .await
    }

    async fn lines(&self, book: &str, n: u64) -> Result<Option<Vec<Line>>, ShelfError> {
        let book = book.to_owned();
        self.read(move |connection| {
            let Some(packed) = part(connection, &book, n, "SELECT lines FROM page WHERE no = ?1")? else {
                return Ok(None);
            };
            let mut lines = Vec::new();
            each_line(&packed, |at, text| lines.push(Line { at, text: text.to_owned() }))?;
            Ok(Some(lines))
        })
        .await
    }

    async fn picture(&self, book: &str, n: u64) -> Result<Option<Bytes>, ShelfError> {
        let book = book.to_owned();
        self.read(move |connection| {
            let packed = part(connection, &book, n, "SELECT picture FROM page WHERE no = ?1")?;
            packed.map(|packed| unpack(&packed).map(Bytes::from)).transpose()
        })
        .await
    }

    async fn find(&self, wanted: Find) -> Result<Found, ShelfError> {
        self.read(move |connection| find(connection, wanted)).await
    }
}
