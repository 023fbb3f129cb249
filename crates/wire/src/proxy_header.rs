//! The PROXY protocol, versions 1 and 2: a load balancer's word on where a connection came from.
//!
//! At most [`MAX`] bytes. Whether the sender may be believed is `proxy`'s question. Only TCP over IPv4 and IPv6 and
//! the balancer's own probes (`LOCAL`, `UNKNOWN`) are understood; TLVs are skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::codec::{Malformed, Reader, whole};
use crate::sniff::PROXY_V2_SIGNATURE;

/// The longest header we read, either version.
pub const MAX: usize = 1024;

/// The longest text line of version 1, by its specification.
const V1_MAX: usize = 107;

const V1: &str = "PROXY v1 header";
const V2: &str = "PROXY v2 header";

/// Where a connection came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The balancer speaks for itself (health checks): use the connection's own address.
    Local,
    /// Somebody else's connection.
    Proxied {
        /// Its source.
        source: SocketAddr,
        /// Where it was aimed.
        destination: SocketAddr,
    },
}

impl ProxyHeader {
    /// The client's address, if it is not the balancer itself.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        match self {
            ProxyHeader::Local => None,
            ProxyHeader::Proxied { source, .. } => Some(*source),
        }
    }

    /// Reads a header of either version.
    ///
    /// # Errors
    /// Not a PROXY header, beyond the bound, or of an address family we do not carry.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let seen = reader.rest();
        let both = PROXY_V2_SIGNATURE.len().min(seen.len());
        match seen.first() {
            None => Ok(None),
            Some(b'P') => whole(reader, decode_v1),
            Some(_) if seen.get(..both) == PROXY_V2_SIGNATURE.get(..both) => whole(reader, decode_v2),
            Some(_) => Err(Malformed::new("PROXY header", "no such signature")),
        }
    }

    /// Appends version 1.
    pub fn encode_v1(&self, out: &mut Vec<u8>) {
        match self {
            ProxyHeader::Local => out.extend(b"PROXY UNKNOWN\r\n"),
            ProxyHeader::Proxied { source, destination } => {
                let (source, destination, family) = same_family(*source, *destination);
                let line = format!(
                    "PROXY {family} {} {} {} {}\r\n",
                    source.ip(),
                    destination.ip(),
                    source.port(),
                    destination.port()
                );
                out.extend(line.into_bytes());
            }
        }
    }

    /// Appends version 2.
    pub fn encode_v2(&self, out: &mut Vec<u8>) {
        out.extend(PROXY_V2_SIGNATURE);
        let ProxyHeader::Proxied { source, destination } = self else {
            out.extend([0x20, 0, 0, 0]);
            return;
        };
        let (source, destination, _) = same_family(*source, *destination);
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                out.extend([0x21, 0x11, 0, 12]);
                out.extend(from.octets());
                out.extend(to.octets());
            }
            (from, to) => {
                out.extend([0x21, 0x21, 0, 36]);
                out.extend(as_v6(from).octets());
                out.extend(as_v6(to).octets());
            }
        }
        out.extend(source.port().to_be_bytes());
        out.extend(destination.port().to_be_bytes());
    }
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The formats hold one family: a pair of two becomes IPv6 on both sides.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr, &'static str) {
    if source.is_ipv4() && destination.is_ipv4() {
        return (source, destination, "TCP4");
    }
    let six = |a: SocketAddr| SocketAddr::new(IpAddr::V6(as_v6(a.ip())), a.port());
    (six(source), six(destination), "TCP6")
}

fn decode_v1(reader: &mut Reader<'_>) -> Result<Option<ProxyHeader>, Malformed> {
    let seen = reader.rest();
    let window = seen.get(..V1_MAX).unwrap_or(seen);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if window.len() == V1_MAX { Err(Malformed::new(V1, "no end of line")) } else { Ok(None) };
    };
    let Some(line) = reader.take(end) else { return Ok(None) };
    reader.take(2);
    let line = std::str::from_utf8(line).map_err(|_| Malformed::new(V1, "not text"))?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return Err(Malformed::new(V1, "does not start with PROXY"));
    }
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Some(ProxyHeader::Local));
    }
    let parts: Vec<&str> = words.collect();
    let &[from, to, from_port, to_port] = parts.as_slice() else {
        return Err(Malformed::new(V1, "not four fields"));
    };
    let ip = |text: &str| -> Result<IpAddr, Malformed> {
        let parsed = match family {
            Some("TCP4") => text.parse::<Ipv4Addr>().map(IpAddr::V4),
            Some("TCP6") => text.parse::<Ipv6Addr>().map(IpAddr::V6),
            _ => return Err(Malformed::new(V1, "unknown family")),
        };
        parsed.map_err(|_| Malformed::new(V1, "not an address"))
    };
    let source = SocketAddr::new(ip(from)?, port(from_port)?);
    let destination = SocketAddr::new(ip(to)?, port(to_port)?);
    Ok(Some(ProxyHeader::Proxied { source, destination }))
}

fn port(text: &str) -> Result<u16, Malformed> {
    if !text.bytes().all(|b| b.is_ascii_digit()) || (text.len() > 1 && text.starts_with('0')) {
        return Err(Malformed::new(V1, "not a port"));
    }
    text.parse().map_err(|_| Malformed::new(V1, "not a port"))
}

fn decode_v2(reader: &mut Reader<'_>) -> Result<Option<ProxyHeader>, Malformed> {
    if reader.take(PROXY_V2_SIGNATURE.len()).is_none() {
        return Ok(None);
    }
    let (Some(command), Some(family), Some(length)) = (reader.u8(), reader.u8(), reader.u16()) else {
        return Ok(None);
    };
    if usize::from(length) + 16 > MAX {
        return Err(Malformed::new(V2, "longer than its bound"));
    }
    let Some(body) = reader.take(usize::from(length)) else { return Ok(None) };
    match command {
        0x20 => return Ok(Some(ProxyHeader::Local)),
        0x21 => {}
        _ => return Err(Malformed::new(V2, "unknown version or command")),
    }
    let mut body = Reader::new(body);
    let short = Malformed::new(V2, "addresses end early");
    let (from, to) = match family {
        0x11 => {
            (IpAddr::from(body.array::<4>().ok_or(short)?), IpAddr::from(body.array::<4>().ok_or(short)?))
        }
        0x21 => {
            (IpAddr::from(body.array::<16>().ok_or(short)?), IpAddr::from(body.array::<16>().ok_or(short)?))
        }
        _ => return Err(Malformed::new(V2, "neither TCP over IPv4 nor over IPv6")),
    };
    let source = SocketAddr::new(from, body.u16().ok_or(short)?);
    let destination = SocketAddr::new(to, body.u16().ok_or(short)?);
    Ok(Some(ProxyHeader::Proxied { source, destination }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers() -> impl Strategy<Value = ProxyHeader> {
        let pair = prop_oneof![
            any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(a, b)| (IpAddr::V4(a), IpAddr::V4(b))),
            any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(a, b)| (IpAddr::V6(a), IpAddr::V6(b))),
        ];
        prop_oneof![
            Just(ProxyHeader::Local),
            (pair, any::<u16>(), any::<u16>()).prop_map(|((a, b), p, q)| ProxyHeader::Proxied {
                source: SocketAddr::new(a, p),
                destination: SocketAddr::new(b, q),
            })
        ]
    }

    proptest! {
        #[test]
        fn both_versions_round_trip(header in headers(), tail in proptest::collection::vec(any::<u8>(), 0..8)) {
            for encode in [ProxyHeader::encode_v1, ProxyHeader::encode_v2] {
                let mut bytes = Vec::new();
                encode(&header, &mut bytes);
                for end in 0..bytes.len() {
                    prop_assert_eq!(ProxyHeader::decode(&mut Reader::new(&bytes[..end])), Ok(None));
                }
                bytes.extend(&tail);
                let mut reader = Reader::new(&bytes);
                prop_assert_eq!(ProxyHeader::decode(&mut reader), Ok(Some(header)));
                prop_assert_eq!(reader.rest(), &tail[..]);
            }
        }
    }

    #[test]
    fn headers_of_real_balancers_are_read() {
        let v2 = include_bytes!("../testdata/proxy_header/v2-tcp4-tlv.bin");
        for bytes in [&b"PROXY TCP4 203.0.113.7 10.0.0.2 51234 443\r\n"[..], v2] {
            let header = ProxyHeader::decode(&mut Reader::new(bytes)).unwrap().unwrap();
            assert_eq!(header.source(), Some("203.0.113.7:51234".parse().unwrap()));
        }
        let unknown = b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n";
        assert_eq!(ProxyHeader::decode(&mut Reader::new(unknown)), Ok(Some(ProxyHeader::Local)));
    }

    #[test]
    fn lies_are_refused() {
        for bytes in [
            &b"PROXY TCP4 203.0.113.7 10.0.0.2 051234 443\r\n"[..],
            b"PROXY TCP4 203.0.113.7 10.0.0.2 +1 443\r\n",
            b"PROXY TCP4 ::1 10.0.0.2 1 443\r\n",
            b"PROXY TCP4 1.2.3.4 10.0.0.2 1\r\n",
            b"PROXY UDP4 1.2.3.4 10.0.0.2 1 2\r\n",
            b"GET / HTTP/1.1\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02ab",
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
        ] {
            assert!(ProxyHeader::decode(&mut Reader::new(bytes)).is_err(), "{bytes:?}");
        }
        let endless = [b'P'; 200];
        assert!(ProxyHeader::decode(&mut Reader::new(&endless)).is_err());
    }
}
