//! How everyone else talks to the authority: call, stream, upload, join, renew, watch.
//!
//! One path for all: agents in the authority's own process use it over an in-memory stream. Knows the API's verbs
//! and the cluster's certificates; knows no session, no policy and no target.
#![forbid(unsafe_code)]

pub mod bare;
pub mod call;
pub mod connect;
pub mod dial;
pub mod error;
pub mod files;
mod hop;
pub mod host;
mod link;
pub mod person;
pub mod proxy_env;
pub mod relay;
mod request;
pub mod socket;
pub mod tls;
pub mod watch;
pub mod web_trust;
pub mod websocket;

pub use call::{Client, Items};
pub use connect::{BoxFuture, BoxStream, Connect, ConnectError, Stream};
pub use error::CallError;
pub use tls::{Keyring, Material};
