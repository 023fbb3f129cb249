//! One segment: header, index of blocks, compressed blocks, seal.
//!
//! Bounds: a segment is at most [`MAX`] bytes, holds at most [`MAX_BLOCKS`] blocks of at most [`MAX_BLOCK`] bytes
//! each once unpacked; lengths are checked before anything is allocated, and a block is unpacked only when read.
//! Whether a segment follows another is `chain`'s work.

use std::time::Duration;

use model::{SessionId, Timestamp};

use super::frame::{Frames, TimedFrame};
use crate::Error;
use crate::bytes::Reader;
use crate::key::{Hash, PublicKey};

/// The first eight bytes: name and version.
pub const MAGIC: &[u8; 8] = b"MGREC\0\0\x01";
/// Largest segment.
pub const MAX: usize = 4 * 1024 * 1024;
/// Largest block before compression.
pub const MAX_BLOCK: usize = 256 * 1024;
/// Most blocks in a segment.
pub const MAX_BLOCKS: usize = 16;
/// Bytes of a seal.
pub const SEAL: usize = 64;
/// Bytes of a header.
pub const HEADER: usize = 8 + 36 + 8 + 1 + 8 + 8 + 8 + 4 + 32 + 32 + 2;
/// Bytes of one entry of the index.
pub const ENTRY: usize = 4 + 4 + 4 + 8;
const LAST: u8 = 1;
const INTERRUPTED: u8 = 2;
const WHAT: &str = "recording segment";

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The session.
    pub session: SessionId,
    /// The segment's number, from 0.
    pub n: u64,
    /// Nothing comes after it.
    pub last: bool,
    /// Sealed by recovery, after the service that recorded had stopped.
    pub interrupted: bool,
    /// When the recording began: what frame times count from.
    pub started: Timestamp,
    /// Time of its first frame.
    pub first: Duration,
    /// Time of its last frame.
    pub until: Duration,
    /// How many frames it holds.
    pub frames: u32,
    /// Hash of the segment before it; [`Hash::ZERO`] for the first.
    pub prev: Hash,
    /// The key that sealed it.
    pub seal_key: PublicKey,
}

/// One block as the index describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where its compressed bytes begin, within the segment.
    pub offset: usize,
    /// Compressed length.
    pub packed: usize,
    /// Length once unpacked.
    pub raw: usize,
    /// Frames in it.
    pub frames: u32,
    /// Time of its first frame.
    pub first: Duration,
}

impl Header {
    /// Appends the header to `out`.
    pub fn encode(&self, blocks: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(self.session.as_str().as_bytes());
        out.extend_from_slice(&self.n.to_be_bytes());
        out.push((u8::from(self.last) * LAST) | (u8::from(self.interrupted) * INTERRUPTED));
        out.extend_from_slice(&self.started.millis().to_be_bytes());
        out.extend_from_slice(&micros(self.first).to_be_bytes());
        out.extend_from_slice(&micros(self.until).to_be_bytes());
        out.extend_from_slice(&self.frames.to_be_bytes());
        out.extend_from_slice(&self.prev.0);
        out.extend_from_slice(&self.seal_key.0);
        out.extend_from_slice(&blocks.to_be_bytes());
    }

    fn decode(r: &mut Reader<'_>) -> Result<(Self, u16), Error> {
        if &r.array::<8>()? != MAGIC {
            return Err(r.bad("not a segment of a version known here"));
        }
        let session = r.text(36)?.parse().map_err(|_| r.bad("session is not an id"))?;
        let n = r.u64()?;
        let flags = r.u8()?;
        if flags & !(LAST | INTERRUPTED) != 0 {
            return Err(r.bad("unknown flags"));
        }
        let header = Self {
            session,
            n,
            last: flags & LAST != 0,
            interrupted: flags & INTERRUPTED != 0,
            started: Timestamp::from_millis(r.i64()?),
            first: Duration::from_micros(r.u64()?),
            until: Duration::from_micros(r.u64()?),
            frames: r.u32()?,
            prev: Hash(r.array()?),
            seal_key: PublicKey(r.array()?),
        };
        if header.first > header.until {
            return Err(r.bad("ends before it begins"));
        }
        Ok((header, r.u16()?))
    }
}

/// What a seal is over.
#[must_use]
pub fn seal_text(sealed: &Hash) -> Vec<u8> {
    [b"moongate recording segment v1\n".as_slice(), &sealed.0].concat()
}

pub(crate) fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX)
}

/// A segment taken apart. Blocks stay packed.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    bytes: &'a [u8],
    header: Header,
    blocks: Vec<Block>,
    seal: [u8; SEAL],
}

impl<'a> Segment<'a> {
    /// Takes a segment apart. This alone proves nothing: see [`Segment::seal_holds`] and [`super::Chain`].
    ///
    /// # Errors
    /// The bytes are not exactly one segment.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > MAX {
            return Err(Error::malformed(WHAT, "too long"));
        }
        let mut r = Reader::new(bytes, WHAT);
        let (header, count) = Header::decode(&mut r)?;
        let count = usize::from(count);
        if count == 0 || count > MAX_BLOCKS {
            return Err(r.bad("too few or too many blocks"));
        }
        let mut offset = HEADER + count * ENTRY;
        let mut blocks: Vec<Block> = Vec::with_capacity(count);
        for _ in 0..count {
            let block = read_entry(&mut r, offset)?;
            if blocks.last().is_some_and(|before| before.first > block.first) {
                return Err(r.bad("blocks are out of order"));
            }
            offset = offset.checked_add(block.packed).ok_or(r.bad("too long"))?;
            blocks.push(block);
        }
        if offset.checked_add(SEAL) != Some(bytes.len()) {
            return Err(r.bad("length does not agree with its index"));
        }
        let frames: u64 = blocks.iter().map(|b| u64::from(b.frames)).sum();
        let inside = blocks.first().is_some_and(|b| b.first == header.first)
            && blocks.last().is_some_and(|b| b.first <= header.until);
        if frames != u64::from(header.frames) || !inside {
            return Err(r.bad("header does not agree with its index"));
        }
        r.take(offset - HEADER - count * ENTRY)?;
        let seal = r.array()?;
        Ok(Self { bytes, header, blocks, seal })
    }

    /// What it says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its blocks.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The hash of all its bytes, seal included: what the next segment, receipts and the closing statement name.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&[self.bytes])
    }

    /// True when the seal was made by `key` over exactly these bytes, and the header names that key.
    #[must_use]
    pub fn seal_holds(&self, key: &PublicKey) -> bool {
        let body = self.bytes.get(..self.bytes.len().saturating_sub(SEAL)).unwrap_or_default();
        self.header.seal_key == *key && key.verify(&seal_text(&Hash::of(&[body])), &self.seal)
    }

    /// Unpacks block `i`.
    ///
    /// # Errors
    /// There is no such block, or it does not unpack to exactly the length its index gives.
    pub fn unpack(&self, i: usize) -> Result<Unpacked, Error> {
        let bad = |why| Error::malformed(WHAT, why);
        let block = self.blocks.get(i).ok_or(bad("no such block"))?;
        let packed =
            self.bytes.get(block.offset..block.offset + block.packed).ok_or(bad("ends too early"))?;
        // `raw` is at most MAX_BLOCK, so this is the only allocation and it is bounded.
        let raw = zstd::bulk::decompress(packed, block.raw).map_err(|_| bad("a block does not unpack"))?;
        if raw.len() != block.raw {
            return Err(bad("a block unpacks to another length"));
        }
        Ok(Unpacked { raw, block: *block })
    }

    /// Unpacks everything, block by block, and checks that frames agree with header and index.
    ///
    /// # Errors
    /// Something does not unpack, parse or agree.
    pub fn check(&self) -> Result<(), Error> {
        self.each(Duration::ZERO, |_| Ok(()))
    }

    /// Calls `f` with each frame not before `from`; blocks wholly before it are not unpacked.
    ///
    /// # Errors
    /// Something does not unpack, parse or agree, or `f` says so.
    pub fn each(
        &self,
        from: Duration,
        mut f: impl FnMut(TimedFrame<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let start = self.blocks.iter().rposition(|b| b.first < from).unwrap_or(0);
        let mut last = None;
        for i in start..self.blocks.len() {
            let unpacked = self.unpack(i)?;
            let mut count: u32 = 0;
            for frame in unpacked.frames() {
                let frame = frame?;
                let orderly = match last {
                    None => frame.at == unpacked.block.first,
                    Some(last) => last <= frame.at && (count > 0 || frame.at == unpacked.block.first),
                };
                if !orderly || frame.at > self.header.until {
                    return Err(Error::malformed(WHAT, "times do not agree with its index"));
                }
                last = Some(frame.at);
                count += 1;
                if frame.at >= from {
                    f(frame)?;
                }
            }
            if count != unpacked.block.frames {
                return Err(Error::malformed(WHAT, "frames do not agree with its index"));
            }
        }
        if last != Some(self.header.until) {
            return Err(Error::malformed(WHAT, "times do not agree with its header"));
        }
        Ok(())
    }
}

fn read_entry(r: &mut Reader<'_>, offset: usize) -> Result<Block, Error> {
    let packed = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
    let raw = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
    let frames = r.u32()?;
    let first = Duration::from_micros(r.u64()?);
    if raw == 0 || raw > MAX_BLOCK || packed == 0 || packed > MAX || frames == 0 {
        return Err(r.bad("a block is empty or too long"));
    }
    Ok(Block { offset, packed, raw, frames, first })
}

/// A block, unpacked.
#[derive(Clone, Debug)]
pub struct Unpacked {
    raw: Vec<u8>,
    block: Block,
}

impl Unpacked {
    /// Its frames.
    #[must_use]
    pub fn frames(&self) -> Frames<'_> {
        Frames::new(&self.raw)
    }
}
