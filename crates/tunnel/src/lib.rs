//! Reverse tunnels: agents keep one up to each proxy, proxies register them and dial through them.
//!
//! The multiplexing itself is `wire::mux`, pure; here is the I/O around it ([`shell`]), what keeps a tunnel up
//! ([`agent`]) and what finds one ([`registry`]). How a connection comes about, and whose it is, are the caller's: a
//! [`Connect`] and a verified identity. Every queue is bounded; every wait on a peer ends within seconds.
#![forbid(unsafe_code)]

pub mod agent;
mod lift;
pub mod registry;
pub mod shell;
mod standing;
mod state;
pub mod stream;

use std::future::Future;
use std::pin::Pin;

use runtime::Direct;
use tokio::io::{AsyncRead, AsyncWrite};

pub use agent::{Agent, Arrival, Arrivals, Link, Proxy};
pub use lift::Unclaimed;
pub use registry::{DialError, Registry, Routing};
pub use shell::{Ended, Handle, Pump};
pub use standing::Judge;
pub use stream::{Conversation, Stream};

/// A two-way byte stream.
pub trait Io: AsyncRead + AsyncWrite + Direct + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Direct + Send + Unpin> Io for T {}

/// A stream whose carrier no longer matters.
pub type BoxIo = Box<dyn Io>;

/// A future that may be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Any error, for showing.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens connections to one proxy: TLS done, the proxy verified, our host certificate shown.
pub trait Connect: Send + Sync + 'static {
    /// A fresh connection. Keeps its own deadline.
    fn connect(&self) -> BoxFuture<'_, Result<BoxIo, BoxError>>;

    /// A fresh connection on the route for single streams, which leaves TLS at once.
    fn connect_for_one(&self) -> BoxFuture<'_, Result<BoxIo, BoxError>> {
        Box::pin(async { Err("this way carries tunnels only".into()) })
    }

    /// The proxy's address, for people.
    fn name(&self) -> String;

    /// How the last connection got through (`tls`, `websocket`, …), for people.
    fn carrier(&self) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests;
