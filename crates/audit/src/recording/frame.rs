//! Frames: what happened in a session, each with its time since the recording began.
//!
//! One frame is `kind (1) | time in µs (varint) | length (varint) | payload`. A payload is at most [`MAX_PAYLOAD`];
//! [`split`] cuts longer output. Reading borrows, so it allocates only what a frame's own text needs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::bytes::{Reader, put_varint};
use crate::key::Hash;

/// Largest payload of one frame.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Largest JSON of a [`Start`].
pub const MAX_START: usize = 16 * 1024;

/// Largest frame: kind, two numbers, payload.
pub const MAX: usize = 1 + 10 + 3 + MAX_PAYLOAD;

const WHAT: &str = "recording frame";

/// One of a process's three streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// What the process was given.
    Stdin,
    /// What it wrote.
    Stdout,
    /// What it complained.
    Stderr,
}

/// Why frames are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Frames came faster than they could be kept.
    Overrun,
    /// The disk could not take them.
    Disk,
    /// The service that recorded stopped before they were on disk.
    Crash,
}

/// What a recording is of: its first frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Who.
    pub user: String,
    /// As which local account.
    pub login: String,
    /// Where: the node's id.
    pub node: String,
    /// Its name.
    pub node_name: String,
    /// The cluster.
    #[serde(default)]
    pub cluster: String,
    /// `shell`, `exec` or `subsystem`.
    pub kind: String,
    /// The command; empty for a shell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// The terminal's type; empty without a terminal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub term: String,
    /// Columns, 0 without a terminal.
    #[serde(default)]
    pub cols: u16,
    /// Rows, 0 without a terminal.
    #[serde(default)]
    pub rows: u16,
    /// What the person was told of it: `silent`, `banner` or `consent`; empty in recordings older than this field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notice: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// What the recording is of. The first frame, once.
    Start(Start),
    /// Terminal output.
    Output(&'a [u8]),
    /// Typed keys; only when a role asks for them.
    Input(&'a [u8]),
    /// The terminal's new size.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// Somebody joined.
    Join(&'a str),
    /// Somebody left.
    Leave(&'a str),
    /// Frames are missing here.
    Gap {
        /// Why.
        reason: GapReason,
        /// How many frames; 0 when unknown.
        frames: u64,
        /// How many payload bytes; 0 when unknown.
        bytes: u64,
    },
    /// A command began.
    ExecStart(&'a str),
    /// Bytes of one stream, up to its first megabyte.
    Bytes {
        /// Which stream.
        stream: Stream,
        /// The bytes.
        data: &'a [u8],
    },
    /// All of one stream, counted and hashed.
    Total {
        /// Which stream.
        stream: Stream,
        /// How many bytes.
        bytes: u64,
        /// Their SHA-256.
        hash: Hash,
    },
    /// The process ended with a status.
    Exit(i32),
    /// The process was ended by a signal (its name without `SIG`).
    Signal(&'a str),
    /// A place worth finding again.
    Mark(&'a str),
    /// The session ended; the last frame of a recording that is whole.
    End {
        /// The service that recorded stopped first; written when it came back.
        interrupted: bool,
        /// Why.
        reason: &'a str,
    },
}

/// A frame and when it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedFrame<'a> {
    /// Since the recording began.
    pub at: Duration,
    /// What happened.
    pub frame: Frame<'a>,
}

impl Start {
    /// Its JSON, with the command cut until it fits.
    fn json(&self) -> Vec<u8> {
        let mut start = self.clone();
        loop {
            let json = serde_json::to_vec(&start).unwrap_or_default();
            if json.len() <= MAX_START {
                return json;
            }
            if start.command.is_empty() {
                start = Start { kind: self.kind.clone(), ..Start::default() };
            }
            start.command = cut(&start.command, start.command.len() / 2).to_owned();
        }
    }
}

impl Stream {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdin => "stdin",
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }

    fn code(self) -> u8 {
        match self {
            Stream::Stdin => 0,
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Stream::Stdin, Stream::Stdout, Stream::Stderr].into_iter().find(|s| s.code() == code)
    }
}

impl GapReason {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GapReason::Overrun => "overrun",
            GapReason::Disk => "disk",
            GapReason::Crash => "crash",
        }
    }

    fn code(self) -> u8 {
        match self {
            GapReason::Overrun => 0,
            GapReason::Disk => 1,
            GapReason::Crash => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [GapReason::Overrun, GapReason::Disk, GapReason::Crash].into_iter().find(|r| r.code() == code)
    }
}

impl Frame<'_> {
    fn code(&self) -> u8 {
        match self {
            Frame::Start(_) => 0,
            Frame::Output(_) => 1,
            Frame::Input(_) => 2,
            Frame::Resize { .. } => 3,
            Frame::Join(_) => 4,
            Frame::Leave(_) => 5,
            Frame::Gap { .. } => 6,
            Frame::ExecStart(_) => 7,
            Frame::Bytes { .. } => 8,
            Frame::Total { .. } => 9,
            Frame::Exit(_) => 10,
            Frame::Signal(_) => 11,
            Frame::Mark(_) => 12,
            Frame::End { .. } => 13,
        }
    }

    /// About how many bytes of content it carries: what a ring or a gap counts.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Frame::Output(b) | Frame::Input(b) | Frame::Bytes { data: b, .. } => b.len(),
            Frame::Join(t) | Frame::Leave(t) | Frame::ExecStart(t) | Frame::Signal(t) | Frame::Mark(t) => {
                t.len()
            }
            Frame::End { reason, .. } => reason.len(),
            Frame::Start(_)
            | Frame::Resize { .. }
            | Frame::Gap { .. }
            | Frame::Total { .. }
            | Frame::Exit(_) => 0,
        }
    }

    /// Appends the frame to `out`. Text and bytes over [`MAX_PAYLOAD`] are cut: callers that care [`split`] first.
    pub fn encode(&self, at: Duration, out: &mut Vec<u8>) {
        out.push(self.code());
        put_varint(out, u64::try_from(at.as_micros()).unwrap_or(u64::MAX));
        match self {
            Frame::Start(start) => put_payload(out, &[&start.json()]),
            Frame::Output(bytes) | Frame::Input(bytes) => put_payload(out, &[bytes]),
            Frame::Resize { cols, rows } => put_payload(out, &[&cols.to_be_bytes(), &rows.to_be_bytes()]),
            Frame::Join(t) | Frame::Leave(t) | Frame::ExecStart(t) | Frame::Signal(t) | Frame::Mark(t) => {
                put_payload(out, &[cut(t, MAX_PAYLOAD).as_bytes()]);
            }
            Frame::Gap { reason, frames, bytes } => {
                put_payload(out, &[&[reason.code()], &frames.to_be_bytes(), &bytes.to_be_bytes()]);
            }
            Frame::Bytes { stream, data } => put_payload(out, &[&[stream.code()], data]),
            Frame::Total { stream, bytes, hash } => {
                put_payload(out, &[&[stream.code()], &bytes.to_be_bytes(), &hash.0]);
            }
            Frame::Exit(status) => put_payload(out, &[&status.to_be_bytes()]),
            Frame::End { interrupted, reason } => {
                put_payload(out, &[&[u8::from(*interrupted)], cut(reason, MAX_PAYLOAD - 1).as_bytes()]);
            }
        }
    }
}

/// Cuts text that is too long at a character boundary.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn put_payload(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let len = parts.iter().map(|p| p.len()).sum::<usize>().min(MAX_PAYLOAD);
    put_varint(out, len as u64);
    let end = out.len() + len;
    for part in parts {
        let room = end - out.len();
        out.extend_from_slice(part.get(..room).unwrap_or(part));
    }
}

/// Cuts bytes into pieces that each fit a frame.
pub fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(MAX_PAYLOAD - 1)
}

/// Reads the frame at the front of `bytes`; gives it and what is left.
///
/// # Errors
/// The bytes are no frame. An incomplete frame is an error too: frames never cross a block or journal entry.
pub fn decode(bytes: &[u8]) -> Result<(TimedFrame<'_>, &[u8]), Error> {
    let mut r = Reader::new(bytes, WHAT);
    let code = r.u8()?;
    let at = Duration::from_micros(r.varint()?);
    let len = usize::try_from(r.varint()?).unwrap_or(usize::MAX);
    if len > MAX_PAYLOAD {
        return Err(r.bad("payload is too long"));
    }
    let payload = r.take(len)?;
    let rest = r.take(r.len())?;
    let frame = decode_payload(code, payload)?;
    Ok((TimedFrame { at, frame }, rest))
}

fn decode_payload(code: u8, payload: &[u8]) -> Result<Frame<'_>, Error> {
    let mut r = Reader::new(payload, WHAT);
    let frame = match code {
        0 if r.len() > MAX_START => return Err(r.bad("start is too long")),
        0 => Frame::Start(serde_json::from_slice(r.take(r.len())?).map_err(|_| r.bad("start is not JSON"))?),
        1 => Frame::Output(r.take(r.len())?),
        2 => Frame::Input(r.take(r.len())?),
        3 => Frame::Resize { cols: r.u16()?, rows: r.u16()? },
        4 => Frame::Join(r.text(r.len())?),
        5 => Frame::Leave(r.text(r.len())?),
        6 => Frame::Gap {
            reason: GapReason::from_code(r.u8()?).ok_or(r.bad("unknown reason of a gap"))?,
            frames: r.u64()?,
            bytes: r.u64()?,
        },
        7 => Frame::ExecStart(r.text(r.len())?),
        8 => Frame::Bytes {
            stream: Stream::from_code(r.u8()?).ok_or(r.bad("unknown stream"))?,
            data: r.take(r.len())?,
        },
        9 => Frame::Total {
            stream: Stream::from_code(r.u8()?).ok_or(r.bad("unknown stream"))?,
            bytes: r.u64()?,
            hash: Hash(r.array()?),
        },
        10 => Frame::Exit(r.i32()?),
        11 => Frame::Signal(r.text(r.len())?),
        12 => Frame::Mark(r.text(r.len())?),
        13 => Frame::End {
            interrupted: match r.u8()? {
                0 => false,
                1 => true,
                2.. => return Err(r.bad("flag is neither 0 nor 1")),
            },
            reason: r.text(r.len())?,
        },
        14.. => return Err(r.bad("unknown kind of frame")),
    };
    if r.is_empty() { Ok(frame) } else { Err(r.bad("payload is longer than its kind")) }
}

/// Reads frame after frame; stops after the first error.
#[derive(Clone, Debug)]
pub struct Frames<'a>(&'a [u8]);

impl<'a> Frames<'a> {
    /// Reads `bytes` to their end.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<TimedFrame<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        match decode(self.0) {
            Ok((frame, rest)) => {
                self.0 = rest;
                Some(Ok(frame))
            }
            Err(error) => {
                self.0 = &[];
                Some(Err(error))
            }
        }
    }
}
