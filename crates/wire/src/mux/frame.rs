//! Frames of the tunnel: an eight-byte header and at most [`MAX_PAYLOAD`] bytes. Format in `docs/formats/mux.md`.

use crate::codec::{Malformed, Reader, whole};
use crate::dial::Class;

/// What each side sends first: the format's name and version.
pub const PREFACE: [u8; 8] = *b"mgmux/1\n";

/// Bytes before each payload.
pub const HEADER: usize = 8;

/// The longest payload.
pub const MAX_PAYLOAD: usize = 16 * 1024;

/// The longest frame.
pub const MAX: usize = HEADER + MAX_PAYLOAD;

/// The longest metadata of an OPEN.
pub const MAX_METADATA: usize = 1024;

const MUX: &str = "mux frame";
const DATA: u8 = 0;
const OPEN: u8 = 1;
const CREDIT: u8 = 2;
const RESET: u8 = 3;
const PING: u8 = 4;
const PONG: u8 = 5;
const GO_AWAY: u8 = 6;
const LIFT: u8 = 7;
const FIN: u8 = 1;
const MOVED: u8 = 2;

/// What a lifted stream's own connection is recognized by.
pub const LIFT_TOKEN: usize = 16;

/// How far a stream's direction has come with a frame of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// More follows.
    Open,
    /// No more follows.
    Fin,
    /// What follows comes over the stream's own connection.
    Moved,
}

impl End {
    const fn flags(self) -> u8 {
        match self {
            End::Open => 0,
            End::Fin => FIN,
            End::Moved => MOVED,
        }
    }

    const fn from_flags(flags: u8) -> Option<Self> {
        match flags {
            0 => Some(End::Open),
            FIN => Some(End::Fin),
            MOVED => Some(End::Moved),
            _ => None,
        }
    }
}

/// Names one stream of a tunnel: odd ones are opened by the side that dialed, even ones by the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// Why a stream was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResetCode {
    /// Whoever used the stream no longer wants it.
    Cancelled,
    /// Never taken: trying elsewhere is safe.
    Refused,
    /// The far end could not reach what the stream was for.
    Unreachable,
    /// Too many streams.
    Busy,
}

impl ResetCode {
    const fn code(self) -> u8 {
        match self {
            ResetCode::Cancelled => 1,
            ResetCode::Refused => 2,
            ResetCode::Unreachable => 3,
            ResetCode::Busy => 4,
        }
    }

    /// Codes of later versions read as a plain cancellation.
    const fn from_code(code: u8) -> Self {
        match code {
            2 => ResetCode::Refused,
            3 => ResetCode::Unreachable,
            4 => ResetCode::Busy,
            _ => ResetCode::Cancelled,
        }
    }
}

/// One frame, borrowing its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Bytes of a stream, or its end, or both.
    Data {
        /// The stream.
        id: StreamId,
        /// Whether more follows, and where.
        end: End,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A new stream.
    Open {
        /// The stream.
        id: StreamId,
        /// Its priority.
        class: Class,
        /// What it is for: a dial header.
        metadata: &'a [u8],
    },
    /// The receiver has consumed this much more.
    Credit {
        /// The stream.
        id: StreamId,
        /// Further bytes that may be sent.
        bytes: u32,
    },
    /// The stream is over at once, both ways; what is queued is thrown away.
    Reset {
        /// The stream.
        id: StreamId,
        /// Why.
        code: ResetCode,
    },
    /// Asks for a pong.
    Ping {
        /// Comes back.
        token: u64,
    },
    /// Answers a ping.
    Pong {
        /// What the ping said.
        token: u64,
    },
    /// The sender takes no new streams; those up to `last` live on.
    GoAway {
        /// The last stream that was taken.
        last: StreamId,
    },
    /// The stream deserves a connection of its own: dial one and name this token there.
    Lift {
        /// The stream.
        id: StreamId,
        /// Names the stream on its connection; random, good once.
        token: [u8; LIFT_TOKEN],
    },
}

fn put_header(out: &mut Vec<u8>, kind: u8, flags: u8, length: usize, id: StreamId) {
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let id = id.0.to_be_bytes();
    let [l0, l1] = length;
    let [a, b, c, d] = id;
    out.extend_from_slice(&[kind, flags, l0, l1, a, b, c, d]);
}

/// Appends the header of a DATA frame; its `length` bytes follow from the caller.
pub(crate) fn put_data_header(out: &mut Vec<u8>, id: StreamId, end: End, length: usize) {
    put_header(out, DATA, end.flags(), length, id);
}

impl<'a> Frame<'a> {
    /// Appends the encoding. Payloads beyond the bound are the caller's mistake and are cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let connection = StreamId(0);
        match self {
            Frame::Data { id, end, bytes } => {
                let bytes = bytes.get(..MAX_PAYLOAD).unwrap_or(bytes);
                put_data_header(out, *id, *end, bytes.len());
                out.extend_from_slice(bytes);
            }
            Frame::Open { id, class, metadata } => {
                let metadata = metadata.get(..MAX_METADATA).unwrap_or(metadata);
                put_header(out, OPEN, class.code(), metadata.len(), *id);
                out.extend_from_slice(metadata);
            }
            Frame::Credit { id, bytes } => {
                put_header(out, CREDIT, 0, 4, *id);
                out.extend_from_slice(&bytes.to_be_bytes());
            }
            Frame::Reset { id, code } => {
                put_header(out, RESET, 0, 1, *id);
                out.push(code.code());
            }
            Frame::Ping { token } => {
                put_header(out, PING, 0, 8, connection);
                out.extend_from_slice(&token.to_be_bytes());
            }
            Frame::Pong { token } => {
                put_header(out, PONG, 0, 8, connection);
                out.extend_from_slice(&token.to_be_bytes());
            }
            Frame::GoAway { last } => {
                put_header(out, GO_AWAY, 0, 4, connection);
                out.extend_from_slice(&last.0.to_be_bytes());
            }
            Frame::Lift { id, token } => {
                put_header(out, LIFT, 0, LIFT_TOKEN, *id);
                out.extend_from_slice(token);
            }
        }
    }

    /// Reads one frame. The length is judged before the payload is there.
    ///
    /// # Errors
    /// A kind, flag or length that version 1 does not have.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        let mut ahead = reader.clone();
        let (Some(kind), Some(flags), Some(length), Some(id)) =
            (ahead.u8(), ahead.u8(), ahead.u16(), ahead.u32())
        else {
            return Ok(None);
        };
        let (length, id) = (usize::from(length), StreamId(id));
        check(kind, flags, length, id)?;
        let Some(payload) = ahead.take(length) else { return Ok(None) };
        let frame = parse(kind, flags, id, payload)?;
        *reader = ahead;
        Ok(Some(frame))
    }
}

/// Whether kind, flags, length and stream go together.
fn check(kind: u8, flags: u8, length: usize, id: StreamId) -> Result<(), Malformed> {
    let (flags_ok, length_ok, on_stream) = match kind {
        DATA => {
            let end = End::from_flags(flags);
            (end.is_some(), length <= MAX_PAYLOAD && (length > 0 || end != Some(End::Open)), true)
        }
        OPEN => (Class::from_code(flags).is_some(), length <= MAX_METADATA, true),
        CREDIT => (flags == 0, length == 4, true),
        RESET => (flags == 0, length == 1, true),
        PING | PONG => (flags == 0, length == 8, false),
        GO_AWAY => (flags == 0, length == 4, false),
        LIFT => (flags == 0, length == LIFT_TOKEN, true),
        _ => return Err(Malformed::new(MUX, "unknown kind")),
    };
    if !flags_ok {
        return Err(Malformed::new(MUX, "unknown flag"));
    }
    if !length_ok {
        return Err(Malformed::new(MUX, "a length its kind does not have"));
    }
    if on_stream == (id.0 == 0) {
        return Err(Malformed::new(MUX, "on the wrong stream"));
    }
    Ok(())
}

fn parse(kind: u8, flags: u8, id: StreamId, payload: &[u8]) -> Result<Frame<'_>, Malformed> {
    let short = Malformed::new(MUX, "a length its kind does not have");
    let mut reader = Reader::new(payload);
    Ok(match kind {
        DATA => {
            let end = End::from_flags(flags).ok_or(Malformed::new(MUX, "unknown flag"))?;
            Frame::Data { id, end, bytes: payload }
        }
        OPEN => {
            let class = Class::from_code(flags).ok_or(Malformed::new(MUX, "unknown flag"))?;
            Frame::Open { id, class, metadata: payload }
        }
        CREDIT => Frame::Credit { id, bytes: reader.u32().ok_or(short)? },
        RESET => Frame::Reset { id, code: ResetCode::from_code(reader.u8().ok_or(short)?) },
        PING => Frame::Ping { token: reader.u64().ok_or(short)? },
        PONG => Frame::Pong { token: reader.u64().ok_or(short)? },
        GO_AWAY => Frame::GoAway { last: StreamId(reader.u32().ok_or(short)?) },
        LIFT => Frame::Lift { id, token: payload.try_into().map_err(|_| short)? },
        _ => return Err(Malformed::new(MUX, "unknown kind")),
    })
}

/// Reads the preface.
pub(crate) fn preface(reader: &mut Reader<'_>) -> Result<Option<()>, Malformed> {
    let seen = reader.rest();
    let both = seen.len().min(PREFACE.len());
    if seen.get(..both) != PREFACE.get(..both) {
        return Err(Malformed::new("mux preface", "not a tunnel of a version we know"));
    }
    whole(reader, |reader| Ok(reader.take(PREFACE.len()).map(|_| ())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Owned {
        Data(u32, u8, Vec<u8>),
        Open(u32, bool, Vec<u8>),
        Credit(u32, u32),
        Reset(u32, u8),
        Ping(u64),
        Pong(u64),
        GoAway(u32),
        Lift(u32, [u8; LIFT_TOKEN]),
    }

    impl Owned {
        fn frame(&self) -> Frame<'_> {
            match self {
                Owned::Data(id, end, bytes) => {
                    let end = match (end, bytes.is_empty()) {
                        (1, _) | (0, true) => End::Fin,
                        (2, _) => End::Moved,
                        _ => End::Open,
                    };
                    Frame::Data { id: StreamId(*id), end, bytes }
                }
                Owned::Open(id, bulk, metadata) => Frame::Open {
                    id: StreamId(*id),
                    class: if *bulk { Class::Bulk } else { Class::Interactive },
                    metadata,
                },
                Owned::Credit(id, bytes) => Frame::Credit { id: StreamId(*id), bytes: *bytes },
                Owned::Reset(id, code) => {
                    Frame::Reset { id: StreamId(*id), code: ResetCode::from_code(*code) }
                }
                Owned::Ping(token) => Frame::Ping { token: *token },
                Owned::Pong(token) => Frame::Pong { token: *token },
                Owned::GoAway(last) => Frame::GoAway { last: StreamId(*last) },
                Owned::Lift(id, token) => Frame::Lift { id: StreamId(*id), token: *token },
            }
        }
    }

    fn frames() -> impl Strategy<Value = Owned> {
        let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
        prop_oneof![
            (1u32.., 0..3u8, bytes(3000)).prop_map(|(i, f, b)| Owned::Data(i, f, b)),
            (1u32.., any::<bool>(), bytes(MAX_METADATA)).prop_map(|(i, f, b)| Owned::Open(i, f, b)),
            (1u32.., any::<u32>()).prop_map(|(i, n)| Owned::Credit(i, n)),
            (1u32.., 1..5u8).prop_map(|(i, n)| Owned::Reset(i, n)),
            any::<u64>().prop_map(Owned::Ping),
            any::<u64>().prop_map(Owned::Pong),
            any::<u32>().prop_map(Owned::GoAway),
            (1u32.., any::<[u8; LIFT_TOKEN]>()).prop_map(|(i, t)| Owned::Lift(i, t)),
        ]
    }

    proptest! {
        #[test]
        fn frames_round_trip_and_every_beginning_asks_for_more(list in proptest::collection::vec(frames(), 1..6)) {
            let mut bytes = Vec::new();
            for owned in &list {
                let start = bytes.len();
                owned.frame().encode(&mut bytes);
                for end in [start, start + 1, start + HEADER - 1, bytes.len() - 1] {
                    prop_assert_eq!(Frame::decode(&mut Reader::new(&bytes[start..end])), Ok(None));
                }
            }
            let mut reader = Reader::new(&bytes);
            for owned in &list {
                prop_assert_eq!(Frame::decode(&mut reader), Ok(Some(owned.frame())));
            }
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn the_format_does_not_move() {
        let mut bytes = PREFACE.to_vec();
        for frame in [
            Frame::Open { id: StreamId(2), class: Class::Bulk, metadata: b"meta" },
            Frame::Data { id: StreamId(2), end: End::Open, bytes: b"hello" },
            Frame::Credit { id: StreamId(2), bytes: 65_536 },
            Frame::Ping { token: 0x0102_0304_0506_0708 },
            Frame::Pong { token: 9 },
            Frame::Data { id: StreamId(2), end: End::Fin, bytes: b"" },
            Frame::Reset { id: StreamId(2), code: ResetCode::Unreachable },
            Frame::GoAway { last: StreamId(7) },
        ] {
            frame.encode(&mut bytes);
        }
        assert_eq!(bytes, include_bytes!("../../testdata/mux/frames-v1.bin"));
    }

    #[test]
    fn the_format_of_lifting_does_not_move() {
        let mut bytes = Vec::new();
        for frame in [
            Frame::Lift { id: StreamId(2), token: *b"0123456789abcdef" },
            Frame::Data { id: StreamId(2), end: End::Moved, bytes: b"last" },
            Frame::Data { id: StreamId(4), end: End::Moved, bytes: b"" },
        ] {
            frame.encode(&mut bytes);
        }
        assert_eq!(bytes, include_bytes!("../../testdata/mux/lift-v1.bin"));
    }

    #[test]
    fn lies_are_refused_at_the_header() {
        for header in [
            [0, 0, 0x40, 1, 0, 0, 0, 1],
            [0, 0, 0, 0, 0, 0, 0, 1],
            [0, 3, 0, 1, 0, 0, 0, 1],
            [0, 0, 0, 1, 0, 0, 0, 0],
            [1, 0, 4, 1, 0, 0, 0, 1],
            [2, 0, 0, 5, 0, 0, 0, 1],
            [4, 0, 0, 8, 0, 0, 0, 1],
            [7, 0, 0, 15, 0, 0, 0, 1],
            [7, 0, 0, 16, 0, 0, 0, 0],
            [8, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(Frame::decode(&mut Reader::new(&header)).is_err(), "{header:?}");
        }
    }
}
