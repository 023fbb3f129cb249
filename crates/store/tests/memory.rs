//! The memory backend keeps the contract.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "tests")]

testkit::store_contract!(|clock| (store::memory::MemoryStore::new(clock), ()));
