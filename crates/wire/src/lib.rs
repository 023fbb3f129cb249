//! Every byte a stranger can send us, as pure functions and state machines: sniffing, routes, the dial header, the
//! PROXY protocol, the tunnel's multiplexer, SSH.
//!
//! No I/O, no clock, no randomness. Every decoder is bounded, has a round-trip property, golden vectors under
//! `testdata/`, a fuzz entry point and, where the format is ours, a page in `docs/formats/`.
#![forbid(unsafe_code)]

pub mod codec;
pub mod route;
pub mod sniff;

pub use codec::{Malformed, Reader};
