//! The SQLite backend keeps the contract, and keeps it over a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "tests")]

use model::Timestamp;
use runtime::Clock;
use store::sqlite::SqliteStore;
use store::{Key, Store, Txn};

testkit::store_contract!(|clock| {
    let dir = tempfile::tempdir().unwrap();
    (SqliteStore::open(&dir.path().join("auth.db"), clock).unwrap(), dir)
});

#[tokio::test]
async fn what_was_committed_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.db");
    let clock = Clock::manual(Timestamp::from_secs(1));
    let first = SqliteStore::open(&path, clock.clone()).unwrap();
    let revision = first.commit(Txn::new().put(Key::new("a/x").unwrap(), "1")).await.unwrap().revision;
    drop(first);

    let second = SqliteStore::open(&path, clock).unwrap();

    assert_eq!(second.get(&Key::new("a/x").unwrap()).await.unwrap().unwrap().revision, revision);
    let mut watch = second.watch("a", 0).await.unwrap();
    assert_eq!(watch.next().await.unwrap().len(), 1);
    assert!(second.commit(Txn::new().put(Key::new("a/y").unwrap(), "2")).await.unwrap().revision > revision);
}

#[test]
fn the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.db");

    drop(SqliteStore::open(&path, Clock::system()).unwrap());

    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
