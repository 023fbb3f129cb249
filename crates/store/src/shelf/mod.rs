//! An index beside the store: books that come page by page, a note and a picture of each page, and full-text search.
//!
//! Everything in it is derived and can be thrown away: whoever fills it can fill it again. So it is not part of the
//! store's contract, is not synced write by write, and each server may have its own. A search looks for words in
//! single lines, upper and lower case alike, in any script; see [`Query::parse`] for what can be asked.

mod query;
mod sqlite;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use bytes::Bytes;
use model::Timestamp;

pub use query::{BadQuery, Query};
pub use sqlite::SqliteShelf;

/// The most pages of one book.
pub const MAX_PAGES: u64 = 1 << 20;
/// The most pages whose lines one search reads; then it says where to go on.
pub const MAX_READ: usize = 4_000;

/// Why the shelf did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// Pages come in order, and not more than [`MAX_PAGES`].
    #[error("page {wanted} of the book is wanted next, not {given}")]
    Order {
        /// The page wanted.
        wanted: u64,
        /// The page given.
        given: u64,
    },
    /// The cursor is none of ours.
    #[error("`start` comes from an earlier answer")]
    Cursor,
    /// The disk failed.
    #[error("the index failed: {0}")]
    Backend(String),
}

/// A book: what pages are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub who: String,
    /// Where it is from: an id.
    pub place: String,
    /// The same for people.
    pub place_name: String,
    /// When it began.
    pub began: Timestamp,
}

/// A line, and where in its book it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// In the book's own measure.
    pub at: u64,
    /// What it says.
    pub text: String,
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// Its number, from 0, without holes.
    pub n: u64,
    /// A few bytes about it.
    pub note: Bytes,
    /// More bytes about it, kept packed.
    pub picture: Bytes,
    /// What can be searched.
    pub lines: Vec<Line>,
}

/// Which books a search is about. Empty fields ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this one.
    pub id: String,
    /// Only theirs.
    pub who: String,
    /// Only from there: an id, or a name.
    pub place: String,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Not after.
    pub to: Option<Timestamp>,
}

/// Whether a book may be told of. Asked once for each book of a search.
pub type Allow = Box<dyn Fn(&Book) -> bool + Send>;

/// A search.
pub struct Find {
    /// What for.
    pub query: Query,
    /// In which books.
    pub filter: Filter,
    /// In which of those the caller may look.
    pub allow: Allow,
    /// Where to go on: the cursor of an earlier answer, or empty.
    pub start: String,
    /// At most this many hits.
    pub limit: usize,
}

/// A page that has what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The book's id.
    pub book: String,
    /// The page.
    pub n: u64,
    /// The first line.
    pub line: Line,
    /// How many more lines of the page have it.
    pub more: u64,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Newest books first, and in a book the last pages first.
    pub hits: Vec<Hit>,
    /// Where to go on; empty at the end.
    pub next: String,
}

/// The index.
#[async_trait]
pub trait Shelf: Send + Sync + 'static {
    /// How many pages of a book are in.
    async fn pages(&self, book: &str) -> Result<u64, ShelfError>;
    /// Puts in the next page of a book.
    async fn put(&self, book: Book, leaf: Leaf) -> Result<(), ShelfError>;
    /// The notes of a book's pages from `from` on, in order, at most `limit`: each may be a hundred kilobytes.
    async fn notes(&self, book: &str, from: u64, limit: usize) -> Result<Vec<Bytes>, ShelfError>;
    /// The lines of a page, and whether there is such a page.
    async fn lines(&self, book: &str, n: u64) -> Result<Option<Vec<Line>>, ShelfError>;
    /// The picture of a page.
    async fn picture(&self, book: &str, n: u64) -> Result<Option<Bytes>, ShelfError>;
    /// Searches.
    async fn find(&self, find: Find) -> Result<Found, ShelfError>;
}
