//! Copies between a forwarded connection and its channel until both directions are done.
//!
//! Each direction ends by itself, so half-closed connections work. Memory: one read of [`CHUNK`] bytes while a
//! direction moves, none while it is quiet; the channel's window and the socket are the back-pressure.

use std::io;

use ssh::{Channel, Received};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

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
pub(crate) async fn tcp(channel: &Channel, stream: TcpStream) -> Moved {
    let (read, write) = stream.into_split();
    both(channel, read, write).await
}

/// Relays a connection to a Unix socket.
pub(crate) async fn unix(channel: &Channel, stream: UnixStream) -> Moved {
    let (read, write) = stream.into_split();
    both(channel, read, write).await
}

async fn both(channel: &Channel, read: impl Source, write: impl AsyncWrite + Unpin) -> Moved {
    let (from_client, to_client) = tokio::join!(up(channel, write), down(channel, read));
    channel.close();
    Moved { to_client, from_client }
}

/// From the channel to the socket.
async fn up(channel: &Channel, mut write: impl AsyncWrite + Unpin) -> u64 {
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
    }
    drop(write.shutdown().await);
    moved
}

/// From the socket to the channel.
async fn down(channel: &Channel, read: impl Source) -> u64 {
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
    }
    channel.eof();
    moved
}
