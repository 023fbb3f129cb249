//! The first bytes of a connection that a proxy passes on: whose it is.
//!
//! Reads a PROXY header and not one byte more, at most [`MAX`] bytes. Whether the proxy may be believed is asked
//! before, and the deadline is the caller's.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use wire::Reader;
use wire::proxy_header::{MAX, ProxyHeader};

/// The address the header names.
pub(crate) async fn source<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<SocketAddr> {
    let mut seen = Vec::new();
    while seen.len() < MAX {
        // One at a time: what follows belongs to somebody else's TLS. They come out of TLS's own buffer.
        seen.push(stream.read_u8().await?);
        let header = ProxyHeader::decode(&mut Reader::new(&seen)).map_err(io::Error::other)?;
        if let Some(header) = header {
            return header.source().ok_or_else(|| io::Error::other("the PROXY header names nobody"));
        }
    }
    Err(io::Error::other("a PROXY header beyond its bound"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_follows_the_header_is_left_alone() {
        let client: SocketAddr = "[2001:db8::7]:4711".parse().unwrap();
        let mut bytes = Vec::new();
        ProxyHeader::Proxied { source: client, destination: client }.encode_v2(&mut bytes);
        bytes.extend(b"\x16\x03\x01");
        let mut stream = bytes.as_slice();

        assert_eq!(source(&mut stream).await.unwrap(), client);
        assert_eq!(stream, b"\x16\x03\x01");
    }

    #[tokio::test]
    async fn a_header_that_names_nobody_or_is_none_ends_the_connection() {
        for bytes in [&b"PROXY UNKNOWN\r\n"[..], b"\x16\x03\x01\x00", b"PROXY TCP4 1.2.3.4"] {
            assert!(source(&mut &*bytes).await.is_err(), "{bytes:?}");
        }
    }
}
