//! State that lasts: a key-value store with revisions, expiry and watches, a store for blobs, and an index beside them
//! that can be made again ([`shelf`]).
//!
//! [`contract`] is the trait and the words of its promise; every backend passes the same conformance suite
//! (`testkit::store_contract!`). What keys and values mean is `auth`'s knowledge, not ours.
#![forbid(unsafe_code)]

pub mod blobs;
pub mod contract;
pub mod key;
pub mod memory;
pub mod shelf;
pub mod sqlite;

pub use blobs::{BlobError, Blobs};
pub use contract::{
    Change, Committed, Condition, Entry, Order, Page, Range, Revision, Store, StoreError, Txn, Watch, Write,
};
pub use key::Key;
pub use shelf::{Shelf, ShelfError, SqliteShelf};
