//! A channel joined to another stream: what forwards and jump hosts are made of.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{Channel, Error, Received};

/// What an idle relay reads into.
const SMALL: usize = 4 * 1024;
/// What a busy one may grow to.
const LARGE: usize = 64 * 1024;

/// How many bytes a relay carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relayed {
    /// From the channel to the stream.
    pub from_channel: u64,
    /// From the stream to the channel.
    pub to_channel: u64,
    /// What reading the stream failed with, if that is what ended it.
    pub broke: Option<ErrorKind>,
}

/// Copies both ways until both directions ended, or either failed; then closes the channel. An end of file on one side
/// becomes one on the other. Back-pressure runs through: a stream that takes nothing grants the peer no credit.
pub async fn relay<S: AsyncRead + AsyncWrite + Unpin>(channel: Channel, stream: S) -> Relayed {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut carried = Relayed::default();
    let Relayed { from_channel: up, to_channel: down, broke } = &mut carried;
    // Set by the direction that ends first; the other ends the relay. A peer that has said and heard the end need not
    // close: `ssh -W` whose own pipes broke waits for us to.
    let ended = AtomicBool::new(false);
    let give = give(&channel, &mut from, (down, broke), &ended);
    let both = async { tokio::try_join!(take(&channel, &mut to, up, &ended), give) };
    // Which side failed makes no difference: both ends are let go.
    drop(both.await);
    channel.close();
    carried
}

async fn take(
    channel: &Channel,
    to: &mut (impl AsyncWrite + Unpin),
    count: &mut u64,
    ended: &AtomicBool,
) -> Result<(), Error> {
    loop {
        match channel.recv().await? {
            Received::Data(bytes) => {
                *count += bytes.len() as u64;
                write(to, bytes).await?;
            }
            Received::Extended(..) | Received::Exit(_) => {}
            Received::Request(request) => request.refuse(),
            Received::Eof => {
                to.shutdown().await?;
                if ended.swap(true, Ordering::Relaxed) {
                    return Err(Error::Closed);
                }
            }
            // The peer is gone for good: nothing more can be given to it.
            Received::Closed => return Err(Error::Closed),
        }
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: Bytes) -> Result<(), Error> {
    to.write_all(&bytes).await?;
    to.flush().await?;
    Ok(())
}

async fn give(
    channel: &Channel,
    from: &mut (impl AsyncRead + Unpin),
    (count, broke): (&mut u64, &mut Option<ErrorKind>),
    ended: &AtomicBool,
) -> Result<(), Error> {
    let mut buffer = vec![0; SMALL];
    loop {
        let read = from.read(&mut buffer).await.inspect_err(|error| *broke = Some(error.kind()))?;
        if read == 0 {
            channel.eof();
            return if ended.swap(true, Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) };
        }
        *count += read as u64;
        channel.write_all(buffer.get(..read).unwrap_or_default()).await?;
        if read == buffer.len() && read < LARGE {
            buffer.resize(read * 2, 0);
        }
    }
}
