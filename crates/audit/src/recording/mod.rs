//! Recordings: frames, in hash-chained, compressed, sealed segments.
//!
//! ```text
//! frames ─ Writer ─► segment 0, 1, 2 … (bytes) ─ Segment::parse ─► frames
//!             └─► journal (what the open segment holds so far, for a crash)
//! ```
//! A segment is written once and never rewritten; the same bytes lie on the node's disk, travel, and are kept. The
//! byte formats are docs/formats/recording.md and docs/formats/spool-journal.md. Nothing here knows a pty, a file or
//! a clock.

pub mod asciicast;
pub mod bundle;
pub mod capture;
pub mod chain;
pub mod export;
pub mod frame;
pub mod index;
pub mod journal;
pub mod segment;
pub mod verify;
pub mod writer;

pub use capture::{Capture, Total};
pub use chain::{Chain, Closing};
pub use frame::{Frame, GapReason, Start, Stream, TimedFrame};
pub use index::Index;
pub use segment::{Header, Segment};
pub use verify::{Report, verify};
pub use writer::{Sealed, Writer};

#[cfg(test)]
mod tests;
