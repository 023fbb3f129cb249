//! How much and how long, for files.

use std::time::Duration;

/// Transfers of one session and direction at once.
pub const MAX_TRANSFERS: usize = 8;
/// The largest piece of an upload in one request.
pub const MAX_PIECE: u64 = 8 * 1024 * 1024;
/// The most names told of one directory.
pub const MAX_NAMES: usize = 10_000;
/// How long the node, or the page in the middle of a piece, may send nothing.
pub const STALL: Duration = Duration::from_secs(60);
/// How long an upload waits for its next piece; what came stays on the node as a part file.
pub const LEFT: Duration = Duration::from_secs(600);
/// How long a conversation for browsing is kept.
pub(crate) const KEEP: Duration = Duration::from_secs(60);
/// How many such conversations are kept.
pub(crate) const MAX_KEPT: usize = 4;
/// How long a download's ticket is good.
pub(crate) const TICKET: Duration = Duration::from_secs(30);
