//! Looking at the first bytes of a connection without consuming them: each look has a bound and a deadline.

use std::time::Duration;

use client::BoxStream;
use tokio::io::AsyncRead;
use tokio::time::timeout;
use wire::route::UPGRADE_PATH;
use wire::sniff::{self, Protocol, Verdict, sniff};

use crate::rewind::Rewind;
use crate::tls::HANDSHAKE;

/// Why a connection came to nothing: for the debug log. Nothing of it is told to the stranger.
pub(crate) type Dropped = String;

/// What is spoken; `None` when nothing was said for `silence`.
pub(crate) async fn told_apart(
    stream: &mut Rewind<BoxStream>,
    silence: Duration,
) -> Result<Option<Protocol>, Dropped> {
    let looking = async {
        loop {
            match sniff(stream.seen()) {
                Verdict::Known(protocol) => return Ok(Some(protocol)),
                Verdict::Stranger => return Err("nobody we know".to_owned()),
                Verdict::NeedMore if stream.seen().is_empty() => {
                    match timeout(silence, stream.look(sniff::MAX)).await {
                        Ok(more) => must_be_more(more)?,
                        Err(_) => return Ok(None),
                    }
                }
                Verdict::NeedMore => must_be_more(stream.look(sniff::MAX).await)?,
            }
        }
    };
    timeout(HANDSHAKE, looking).await.map_err(|_| "too slow to say what it speaks".to_owned())?
}

fn must_be_more(more: std::io::Result<bool>) -> Result<(), Dropped> {
    match more {
        Ok(true) => Ok(()),
        Ok(false) => Err("hung up early".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Looks until `decode` has a whole value, within the bound and the deadline. Nothing is consumed.
pub(crate) async fn read_whole<S: AsyncRead + Unpin, T>(
    stream: &mut Rewind<S>,
    bound: usize,
    decode: impl Fn(&[u8]) -> Result<Option<T>, wire::Malformed>,
) -> Result<T, Dropped> {
    let looking = async {
        loop {
            if let Some(value) = decode(stream.seen()).map_err(|e| e.to_string())? {
                return Ok(value);
            }
            if stream.seen().len() >= bound {
                return Err("more than we read".to_owned());
            }
            must_be_more(stream.look(bound).await)?;
        }
    };
    timeout(HANDSHAKE, looking).await.map_err(|_| "too slow".to_owned())?
}

/// True when the request is for the upgrade's path, with or without a query. Someone who says nothing yet is a browser's
/// spare connection: the web handler has its own patience.
pub(crate) async fn wants_upgrade_path(stream: &mut Rewind<BoxStream>) -> bool {
    let start = format!("GET {UPGRADE_PATH}");
    let looking = async {
        loop {
            let seen = stream.seen();
            let both = seen.len().min(start.len());
            if seen.get(..both) != start.as_bytes().get(..both) {
                return false;
            }
            // What follows the path: a longer one is another.
            if let Some(next) = seen.get(start.len()) {
                return matches!(next, b' ' | b'?');
            }
            if !matches!(stream.look(start.len() + 1).await, Ok(true)) {
                return false;
            }
        }
    };
    timeout(HANDSHAKE, looking).await.unwrap_or(false)
}
