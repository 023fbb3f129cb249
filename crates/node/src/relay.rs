//! Copies between a forwarded connection and its channel until both directions are done.
//!
//! Each direction ends by itself, so half-closed connections work. Memory: one read of [`CHUNK`] bytes while a
//! direction moves, none while it is quiet; the channel's window and the socket are the back-pressure.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ssh::{Channel, Received};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::time::Instant;

/// One read.
const CHUNK: usize = 64 * 1024;

/// How much went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// To the client.
    pub(crate) to_client: u64,
    /// From the client.
    pub(crate) from_client: u64,
}

/// When something last went through a connection, to the millisecond.
pub(crate) struct Pulse {
    began: Instant,
    last: AtomicU64,
}

impl Pulse {
    /// Something went through just now.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Something goes through.
    pub(crate) fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// For how long nothing has.
    pub(crate) fn quiet_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

/// A socket's reading half, which can say that something is there before a buffer is spent on it.
pub(crate) trait Source {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    fn read_into(&self, buffer: &mut Vec<u8>) -> io::Result<usize>;
}

macro_rules! source {
    ($type:ty) => {
        impl Source for $type {
            async fn readable(&self) -> io::Result<()> {
                <$type>::readable(self).await
            }

            fn read_into(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
                self.try_read_buf(buffer)
            }
        }
    };
}

source!(tcp::OwnedReadHalf);
source!(unix::OwnedReadHalf);

/// Relays a TCP connection.
pub(crate) async fn tcp(channel: &Channel, stream: TcpStream, pulse: &Pulse) -> Moved {
    let (read, write) = stream.into_split();
    both(channel, read, write, pulse).await
}

/// Relays a connection to a Unix socket.
pub(crate) async fn unix(channel: &Channel, stream: UnixStream, pulse: &Pulse) -> Moved {
    let (read, write) = stream.into_split();
    both(channel, read, write, pulse).await
}

async fn both(channel: &Channel, read: impl Source, write: impl AsyncWrite + Unpin, pulse: &Pulse) -> Moved {
    let (from_client, to_client) = tokio::join!(up(channel, write, pulse), down(channel, read, pulse));
    channel.close();
    Moved { to_client, from_client }
}

/// From the channel to the socket.
async fn up(channel: &Channel, mut write: impl AsyncWrite + Unpin, pulse: &Pulse) -> u64 {
    let mut moved = 0;
    loop {
        let bytes = match channel.recv().await {
            Ok(Received::Data(bytes)) => bytes,
            Ok(Received::Request(request)) => {
                request.refuse();
                continue;
            }
            Ok(Received::Extended(..) | Received::Exit(_)) => continue,
            Ok(Received::Eof | Received::Closed) | Err(_) => break,
        };
        if write.write_all(&bytes).await.is_err() {
            // The other end is gone: what still comes is dropped with the channel.
            channel.close();
            break;
        }
        moved += bytes.len() as u64;
        pulse.beat();
    }
    drop(write.shutdown().await);
    moved
}

/// From the socket to the channel.
async fn down(channel: &Channel, read: impl Source, pulse: &Pulse) -> u64 {
    let mut moved = 0;
    while read.readable().await.is_ok() {
        let mut buffer = Vec::with_capacity(CHUNK);
        match read.read_into(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        }
        if channel.write_all(&buffer).await.is_err() {
            break;
        }
        moved += buffer.len() as u64;
        pulse.beat();
    }
    channel.eof();
    moved
}
