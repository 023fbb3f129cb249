//! File transfer: our own server of SFTP version 3, and a watcher of what others transfer.
//!
//! The server (`serve`) is a process of its own that runs as the account: our executable started again
//! (`moongate sftp-server`), speaking over standard input and output, knowing nothing of SSH or policy. What goes in
//! and out of it passes the unprivileged half, where `watch` reads along for the audit log; the account could not
//! change what is seen there. What packets look like is `wire::sftp`'s knowledge.

mod attrs;
mod cut;
mod extension;
mod handles;
mod listing;
mod ops;
mod serve;
pub mod watch;

pub use serve::{main, serve};

/// The hidden subcommand under which our executable becomes the file-transfer server.
pub const SUBCOMMAND: &str = "sftp-server";
