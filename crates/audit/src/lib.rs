//! The record: what happened (events), in an order nobody can change (the log), and what was seen (recordings, and
//! the screens they show).
//!
//! Pure: no files, no clock, no sockets; time, keys and bytes are arguments. Every decoder checks lengths before it
//! allocates and never panics. Who may read a record is `policy`'s business, where it lies is `store`'s.
#![forbid(unsafe_code)]

mod bytes;
mod error;
pub mod event;
#[doc(hidden)]
pub mod fuzz;
pub mod key;
pub mod log;
pub mod recording;
pub mod screen;

pub use error::{Error, Reason};
pub use key::{Hash, PublicKey, Sign};
