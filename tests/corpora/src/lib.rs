//! The fuzz entry points as a list, so that the stable tests can replay what fuzzing found.
//!
//! Knows no decoder by name: the list is generated from the rooms.
#![forbid(unsafe_code)]

mod targets;

pub use targets::{Entry, TARGETS};
