//! The bytes of SSH: packet payloads as plain values, and nothing of keys, sockets or time.
//!
//! RFC 4251 (types), 4252 (user authentication), 4253 (transport), 4254 (connection), 5656 (elliptic curves),
//! 8308 (extension negotiation), OpenSSH's PROTOCOL, PROTOCOL.certkeys, PROTOCOL.u2f and PROTOCOL.agent.
//! Every decoder reads from a [`Reader`] over one whole packet, whose length the transport has already bounded, so
//! nothing here can be asked for more memory than the packet itself holds. Every value encodes back to its bytes.

pub mod agent;
pub mod clear;
pub mod connection;
pub mod key;
pub mod number;
pub mod reader;
pub mod request;
pub mod transport;
pub mod userauth;
pub mod version;

pub use reader::{Malformed, NameList, Reader, put_bool, put_mpint, put_names, put_string, put_u32, put_u64};

#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod tests;
