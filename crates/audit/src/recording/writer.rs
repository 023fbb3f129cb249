//! Turns frames into sealed segments.
//!
//! Pure: the caller says when time has passed and where bytes go. An idle writer holds no buffer: memory is taken
//! by the first frame after a seal, grows to at most [`FULL`] plus one frame, and is given back by [`Writer::seal`].
//! The compressor lives only while sealing.

use std::time::Duration;

use model::{SessionId, Timestamp};

use super::frame::{self, Frame};
use super::segment::{Block, ENTRY, HEADER, Header, MAX_BLOCK, SEAL, seal_text};
use crate::Error;
use crate::key::{Hash, Sign};

/// A segment is due when it holds this many bytes before compression …
pub const FULL: usize = 1024 * 1024;
/// … or when its first frame is this old.
pub const OLD: Duration = Duration::from_secs(10);

const LEVEL: i32 = 1;

/// A sealed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its number.
    pub n: u64,
    /// The hash of its bytes.
    pub hash: Hash,
    /// Nothing comes after it.
    pub last: bool,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Writes one recording.
#[derive(Clone, Debug)]
pub struct Writer {
    session: SessionId,
    started: Timestamp,
    n: u64,
    prev: Hash,
    until: Duration,
    sealed_until: Duration,
    raw: Vec<u8>,
    open: Vec<Part>,
    journaled: usize,
    interrupted: bool,
    closed: bool,
}

/// A block to be: a range of `raw`.
#[derive(Clone, Debug)]
struct Part {
    start: usize,
    frames: u32,
    first: Duration,
}

impl Writer {
    /// A recording without segments that began at `started`.
    #[must_use]
    pub fn new(session: SessionId, started: Timestamp) -> Self {
        Self::resume(session, started, 0, Hash::ZERO, Duration::ZERO)
    }

    /// Goes on with segment `n` after one with hash `prev` whose last frame was at `until`.
    #[must_use]
    pub fn resume(session: SessionId, started: Timestamp, n: u64, prev: Hash, until: Duration) -> Self {
        Self {
            session,
            started,
            n,
            prev,
            until,
            sealed_until: until,
            raw: Vec::new(),
            open: Vec::new(),
            journaled: 0,
            interrupted: false,
            closed: false,
        }
    }

    /// Marks what is sealed from now on as the work of recovery.
    pub fn interrupted(&mut self) {
        self.interrupted = true;
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// When the recording began.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The number of the open segment.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Hash of the last sealed segment.
    #[must_use]
    pub fn prev(&self) -> Hash {
        self.prev
    }

    /// Time of the last frame that is sealed.
    #[must_use]
    pub fn sealed_until(&self) -> Duration {
        self.sealed_until
    }

    /// Time of the last frame.
    #[must_use]
    pub fn until(&self) -> Duration {
        self.until
    }

    /// Takes a frame; times that run backwards are lifted to the latest. Nothing is taken after the last segment.
    pub fn push(&mut self, at: Duration, frame: &Frame<'_>) {
        if self.closed {
            return;
        }
        // Whole microseconds: what the format keeps.
        let at = Duration::from_micros(super::segment::micros(at)).max(self.until);
        let start = self.raw.len();
        frame.encode(at, &mut self.raw);
        self.until = at;
        let fits = |part: &&mut Part| self.raw.len() - part.start <= MAX_BLOCK;
        match self.open.last_mut().filter(fits) {
            Some(part) => part.frames += 1,
            None => self.open.push(Part { start, frames: 1, first: at }),
        }
    }

    /// Takes bytes of any length as frames of one kind.
    pub fn push_bytes<'a>(&mut self, at: Duration, bytes: &'a [u8], kind: impl Fn(&'a [u8]) -> Frame<'a>) {
        for piece in frame::split(bytes) {
            self.push(at, &kind(piece));
        }
    }

    /// Frames the open segment holds.
    #[must_use]
    pub fn open_frames(&self) -> u32 {
        self.open.iter().map(|part| part.frames).sum()
    }

    /// Bytes the open segment holds before compression.
    #[must_use]
    pub fn open_bytes(&self) -> usize {
        self.raw.len()
    }

    /// True when nothing waits to be sealed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// True when the open segment should be sealed, given the time since the recording began.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        self.raw.len() >= FULL || self.open.first().is_some_and(|part| now.saturating_sub(part.first) >= OLD)
    }

    /// When the first frame of the open segment was, if it has one.
    #[must_use]
    pub fn opened(&self) -> Option<Duration> {
        self.open.first().map(|part| part.first)
    }

    /// Frames not yet handed to the journal, as bytes, in pieces of whole frames that each fit one entry; see
    /// [`super::journal`]. Call [`Writer::journaled`] when they are on disk.
    pub fn unjournaled(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = self.journaled;
        let ends = self.open.iter().map(|part| part.start).filter(move |start| *start > from);
        let mut ends = ends.chain([self.raw.len()]).peekable();
        std::iter::from_fn(move || {
            let mut to = from;
            while let Some(end) = ends.next_if(|end| to == from || end - from <= FULL) {
                to = end;
            }
            let piece = self.raw.get(from..to).filter(|piece| !piece.is_empty());
            from = to;
            piece
        })
    }

    /// Notes that everything so far is in the journal.
    pub fn journaled(&mut self) {
        self.journaled = self.raw.len();
    }

    /// Seals what there is; `None` when there is nothing. The last segment should hold a frame: push [`Frame::End`].
    ///
    /// # Errors
    /// The key did not sign or the compressor failed; nothing is lost, and it can be tried again.
    pub fn seal(&mut self, last: bool, sign: &dyn Sign) -> Result<Option<Sealed>, Error> {
        let Some(first) = self.open.first().map(|part| part.first) else { return Ok(None) };
        let mut packed = Vec::new();
        let blocks = self.pack(&mut packed)?;
        let header = Header {
            session: self.session.clone(),
            n: self.n,
            last,
            interrupted: self.interrupted,
            started: self.started,
            first,
            until: self.until,
            frames: blocks.iter().map(|b| b.frames).sum(),
            prev: self.prev,
            seal_key: sign.public(),
        };
        let bytes = assemble(&header, &blocks, &packed, sign)?;
        let hash = Hash::of(&[&bytes]);
        let sealed = Sealed { n: self.n, hash, last, bytes };
        self.raw = Vec::new();
        self.open = Vec::new();
        self.journaled = 0;
        self.sealed_until = self.until;
        self.n = self.n.saturating_add(1);
        self.prev = hash;
        self.closed = last;
        Ok(Some(sealed))
    }

    fn pack(&self, packed: &mut Vec<u8>) -> Result<Vec<Block>, Error> {
        let failed = |_| Error::malformed("recording segment", "the compressor failed");
        let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(failed)?;
        let ends = self.open.iter().skip(1).map(|part| part.start).chain([self.raw.len()]);
        let mut blocks = Vec::with_capacity(self.open.len());
        for (part, end) in self.open.iter().zip(ends) {
            let raw = self.raw.get(part.start..end).unwrap_or_default();
            let bytes = compressor.compress(raw).map_err(failed)?;
            blocks.push(Block {
                offset: packed.len(),
                packed: bytes.len(),
                raw: raw.len(),
                frames: part.frames,
                first: part.first,
            });
            packed.extend_from_slice(&bytes);
        }
        Ok(blocks)
    }
}

fn assemble(header: &Header, blocks: &[Block], packed: &[u8], sign: &dyn Sign) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(HEADER + blocks.len() * ENTRY + packed.len() + SEAL);
    header.encode(u16::try_from(blocks.len()).unwrap_or(u16::MAX), &mut out);
    for block in blocks {
        out.extend_from_slice(&u32::try_from(block.packed).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&u32::try_from(block.raw).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&block.frames.to_be_bytes());
        out.extend_from_slice(&super::segment::micros(block.first).to_be_bytes());
    }
    out.extend_from_slice(packed);
    let seal = sign.sign(&seal_text(&Hash::of(&[&out])))?;
    out.extend_from_slice(&seal);
    Ok(out)
}
