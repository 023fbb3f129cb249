//! What tests share: conformance suites that every backend runs.
//!
//! A development dependency only; no room ships it.
#![forbid(unsafe_code)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support: names are sentences"
)]

pub mod pipe;
pub mod store_contract;

pub use client;
