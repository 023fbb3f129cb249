//! The future that moves a connection's bytes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::Error;
use crate::hub::Shared;

/// When keys are exchanged anew.
#[derive(Debug, Clone, Copy)]
pub struct Rekey {
    /// After so many bytes in either direction.
    pub bytes: u64,
    /// After so long.
    pub every: Duration,
}

impl Default for Rekey {
    fn default() -> Self {
        Self { bytes: 4 << 30, every: Duration::from_secs(3600) }
    }
}

/// How a silent peer is found out.
#[derive(Debug, Clone, Copy)]
pub struct Keepalive {
    /// Asks after so long a silence.
    pub every: Duration,
    /// Gives up after so many questions without any answer.
    pub misses: u32,
}

/// Moves the bytes of one connection until it ends. Spawn it in the scope that owns the connection; dropping it ends
/// the connection. Returns `Ok` when either side said goodbye or the peer closed the stream.
pub struct Driver<S> {
    stream: S,
    hub: Arc<Shared>,
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.hub.with(|hub| hub.fail(&Error::Closed));
    }
}

impl<S: Unpin> Future for Driver<S> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}

impl<S> std::fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}
