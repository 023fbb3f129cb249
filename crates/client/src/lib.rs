//! How everyone else talks to the authority: call, stream, upload, join, renew, watch, emit.
//!
//! One path for all: agents in the authority's own process use it over an in-memory stream. Knows the API's verbs
//! and the cluster's certificates; knows no session, no policy and no target.
#![forbid(unsafe_code)]

pub mod call;
pub mod connect;
pub mod error;
mod link;
mod request;
pub mod tls;

pub use call::{Client, Items};
pub use connect::{BoxFuture, BoxStream, Connect, ConnectError, Stream};
pub use error::CallError;
pub use tls::{Keyring, Material};
