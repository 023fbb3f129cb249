//! The dial header: who is wanted, on whose behalf. It rides in the tunnel's OPEN and opens the `ssh` route.
//!
//! At most [`DialHeader::MAX`] bytes; format in `docs/formats/dial-header.md`. The target is a typed id or name, never
//! a free host and port. Nothing here says who *may* dial.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::{NodeId, NodeName};

use crate::codec::{Malformed, Reader, whole};

const HEADER: &str = "dial header";
const REPLY: &str = "dial reply";
const VERSION: u8 = 1;

/// The node wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// By id: one or none.
    Node(NodeId),
    /// By name: more than one is an error that lists ids.
    Name(NodeName),
}

impl Target {
    /// Reads what people type: `<name>`, `<id>`, either with `.<cluster>` behind it.
    ///
    /// # Errors
    /// The text is neither an id nor a node name.
    pub fn parse(text: &str, cluster: &str) -> Result<Target, model::name::BadName> {
        let short = text
            .strip_suffix(cluster)
            .and_then(|rest| rest.strip_suffix('.'))
            .filter(|rest| !rest.is_empty())
            .unwrap_or(text);
        match short.parse::<NodeId>() {
            Ok(id) => Ok(Target::Node(id)),
            Err(_) => short.parse().map(Target::Name),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Node(id) => id.fmt(f),
            Target::Name(name) => name.fmt(f),
        }
    }
}

/// How a stream's bytes compete with its neighbours'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Class {
    /// Somebody is watching: a keystroke goes before any copy.
    #[default]
    Interactive,
    /// Copies and batches: what bandwidth is left.
    Bulk,
}

impl Class {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Class::Interactive => 0,
            Class::Bulk => 1,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Class> {
        match code {
            0 => Some(Class::Interactive),
            1 => Some(Class::Bulk),
            _ => None,
        }
    }
}

/// Follows one connection through proxy, agent and node in logs and audit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TraceId(pub [u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Opens a stream to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialHeader {
    /// Who is wanted.
    pub target: Target,
    /// Where the person's connection comes from, as the proxy saw it; what a client sends here is replaced.
    pub client: Option<SocketAddr>,
    /// Follows the connection in logs.
    pub trace: TraceId,
    /// Priority.
    pub class: Class,
}

impl DialHeader {
    /// The longest encoding, its two length bytes included.
    pub const MAX: usize = 512;

    /// A header without a client address.
    #[must_use]
    pub fn new(target: Target, trace: TraceId, class: Class) -> Self {
        Self { target, client: None, trace, class }
    }

    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(64);
        body.extend([VERSION, self.class.code()]);
        body.extend(self.trace.0);
        put_address(&mut body, self.client);
        let (kind, text) = match &self.target {
            Target::Node(id) => (0, id.as_str()),
            Target::Name(name) => (1, name.as_str()),
        };
        body.push(kind);
        // Ids have 36 bytes and names at most NodeName::MAX (190) ASCII ones.
        body.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        body.extend(text.bytes().take(usize::from(u8::MAX)));
        put_sized(out, &body);
    }

    /// Reads one header. Bytes a later version may put behind the target are ignored.
    ///
    /// # Errors
    /// The bytes are no dial header of a version we know, or break its bounds.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        whole(reader, |reader| {
            let Some(body) = sized(reader, HEADER, Self::MAX)? else { return Ok(None) };
            let short = Malformed::new(HEADER, "ends early");
            let mut body = Reader::new(body);
            if body.u8().ok_or(short)? != VERSION {
                return Err(Malformed::new(HEADER, "unknown version"));
            }
            let class =
                Class::from_code(body.u8().ok_or(short)?).ok_or(Malformed::new(HEADER, "unknown class"))?;
            let trace = TraceId(body.array().ok_or(short)?);
            let client = address(&mut body)?;
            let kind = body.u8().ok_or(short)?;
            let text = std::str::from_utf8(body.short().ok_or(short)?)
                .map_err(|_| Malformed::new(HEADER, "target is not text"))?;
            let target = match kind {
                0 => Target::Node(text.parse().map_err(|_| Malformed::new(HEADER, "target is no node id"))?),
                1 => {
                    Target::Name(text.parse().map_err(|_| Malformed::new(HEADER, "target is no node name"))?)
                }
                _ => return Err(Malformed::new(HEADER, "unknown kind of target")),
            };
            Ok(Some(Self { target, client, trace, class }))
        })
    }
}

/// Why a dial came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// No node of that id or name has a tunnel here.
    Unknown,
    /// More than one node has that name.
    Ambiguous,
    /// The node's end did not take the stream.
    Unreachable,
    /// The caller's certificate is not good for this.
    Denied,
    /// Too much going on, or shutting down: try again.
    Busy,
}

impl Refusal {
    const ALL: [(Refusal, u8); 5] = [
        (Refusal::Unknown, 1),
        (Refusal::Ambiguous, 2),
        (Refusal::Unreachable, 3),
        (Refusal::Denied, 4),
        (Refusal::Busy, 5),
    ];
}

/// The proxy's answer to a dial header on the `ssh` route; after `Ok` the bytes are the node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialReply {
    /// Connected.
    Ok,
    /// Not connected, and why, in words for the person.
    Refused(Refusal, String),
}

impl DialReply {
    /// The longest encoding, its two length bytes included.
    pub const MAX: usize = 1028;
    const MESSAGE: usize = 1024;

    /// Appends the encoding. A message beyond the bound is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (code, message) = match self {
            DialReply::Ok => (0, ""),
            DialReply::Refused(refusal, message) => (
                Refusal::ALL.iter().find(|(r, _)| r == refusal).map_or(3, |(_, code)| *code),
                message.as_str(),
            ),
        };
        let end = (0..=message.len().min(Self::MESSAGE)).rev().find(|i| message.is_char_boundary(*i));
        let mut body = vec![VERSION, code];
        body.extend(message.bytes().take(end.unwrap_or(0)));
        put_sized(out, &body);
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// The bytes are no reply of a version we know, or break its bounds.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        whole(reader, |reader| {
            let Some(body) = sized(reader, REPLY, Self::MAX)? else { return Ok(None) };
            let mut body = Reader::new(body);
            let short = Malformed::new(REPLY, "ends early");
            if body.u8().ok_or(short)? != VERSION {
                return Err(Malformed::new(REPLY, "unknown version"));
            }
            let code = body.u8().ok_or(short)?;
            if code == 0 {
                return Ok(Some(DialReply::Ok));
            }
            let refusal = Refusal::ALL
                .iter()
                .find(|(_, known)| *known == code)
                .map(|(refusal, _)| *refusal)
                .ok_or(Malformed::new(REPLY, "unknown code"))?;
            let message =
                std::str::from_utf8(body.rest()).map_err(|_| Malformed::new(REPLY, "message is not text"))?;
            Ok(Some(DialReply::Refused(refusal, message.to_owned())))
        })
    }
}

fn put_sized(out: &mut Vec<u8>, body: &[u8]) {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(body.iter().take(usize::from(length)));
}

fn sized<'a>(reader: &mut Reader<'a>, what: &'static str, max: usize) -> Result<Option<&'a [u8]>, Malformed> {
    let Some(length) = reader.u16() else { return Ok(None) };
    if usize::from(length) + 2 > max {
        return Err(Malformed::new(what, "longer than its bound"));
    }
    Ok(reader.take(usize::from(length)))
}

fn put_address(out: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address.map(|a| (a.ip(), a.port())) {
        None => out.push(0),
        Some((IpAddr::V4(ip), port)) => {
            out.push(4);
            out.extend(ip.octets());
            out.extend(port.to_be_bytes());
        }
        Some((IpAddr::V6(ip), port)) => {
            out.push(6);
            out.extend(ip.octets());
            out.extend(port.to_be_bytes());
        }
    }
}

fn address(body: &mut Reader<'_>) -> Result<Option<SocketAddr>, Malformed> {
    let short = Malformed::new(HEADER, "ends early");
    let ip = match body.u8().ok_or(short)? {
        0 => return Ok(None),
        4 => IpAddr::V4(Ipv4Addr::from(body.array::<4>().ok_or(short)?)),
        6 => IpAddr::V6(Ipv6Addr::from(body.array::<16>().ok_or(short)?)),
        _ => return Err(Malformed::new(HEADER, "unknown kind of address")),
    };
    Ok(Some(SocketAddr::new(ip, body.u16().ok_or(short)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers() -> impl Strategy<Value = DialHeader> {
        let target = prop_oneof![
            any::<[u8; 16]>().prop_map(|b| Target::Node(NodeId::from_random(b))),
            "[a-z0-9][a-z0-9.-]{0,180}".prop_map(|n| Target::Name(n.parse().unwrap())),
        ];
        let client = any::<Option<(IpAddr, u16)>>().prop_map(|a| a.map(SocketAddr::from));
        (target, client, any::<[u8; 16]>(), any::<bool>()).prop_map(|(target, client, trace, bulk)| {
            DialHeader {
                target,
                client,
                trace: TraceId(trace),
                class: if bulk { Class::Bulk } else { Class::Interactive },
            }
        })
    }

    proptest! {
        #[test]
        fn a_header_round_trips_and_every_beginning_asks_for_more(header in headers()) {
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            prop_assert!(bytes.len() <= DialHeader::MAX);
            for end in 0..bytes.len() {
                prop_assert_eq!(DialHeader::decode(&mut Reader::new(&bytes[..end])), Ok(None));
            }
            bytes.extend(b"SSH-2.0-");
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(DialHeader::decode(&mut reader), Ok(Some(header)));
            prop_assert_eq!(reader.rest(), b"SSH-2.0-");
        }

        #[test]
        fn a_reply_round_trips(which in 0..Refusal::ALL.len(), message in ".{0,200}") {
            let reply = DialReply::Refused(Refusal::ALL[which].0, message);
            let mut bytes = Vec::new();
            reply.encode(&mut bytes);
            prop_assert_eq!(DialReply::decode(&mut Reader::new(&bytes)), Ok(Some(reply)));
        }
    }

    #[test]
    fn the_format_does_not_move() {
        let header = DialHeader {
            target: Target::Name("web-1".parse().unwrap()),
            client: Some("203.0.113.7:50022".parse().unwrap()),
            trace: TraceId([0x11; 16]),
            class: Class::Bulk,
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(bytes, include_bytes!("../testdata/dial/header-v1.bin"));

        let mut bytes = Vec::new();
        DialReply::Refused(Refusal::Ambiguous, "two nodes are called web-1".to_owned()).encode(&mut bytes);
        assert_eq!(bytes, include_bytes!("../testdata/dial/reply-v1.bin"));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut bytes = Vec::new();
        DialReply::Refused(Refusal::Busy, "\u{e9}".repeat(1000)).encode(&mut bytes);

        assert!(bytes.len() <= DialReply::MAX);
        assert!(matches!(DialReply::decode(&mut Reader::new(&bytes)), Ok(Some(DialReply::Refused(..)))));
    }

    #[test]
    fn lies_about_length_and_kind_are_refused_before_anything_is_kept() {
        for bytes in [&[0xff, 0xff][..], &[2, 0], &[0, 2, 9, 0], &[0, 2, 1, 7]] {
            assert!(DialHeader::decode(&mut Reader::new(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn targets_read_as_people_type_them() {
        let id = NodeId::from_random([7; 16]);
        for text in [id.to_string(), format!("{id}.gate.example")] {
            assert_eq!(Target::parse(&text, "gate.example").unwrap(), Target::Node(id.clone()));
        }
        for text in ["web-1", "web-1.gate.example"] {
            assert_eq!(Target::parse(text, "gate.example").unwrap(), Target::Name("web-1".parse().unwrap()));
        }
        assert!(Target::parse("../etc", "gate.example").is_err());
    }
}
