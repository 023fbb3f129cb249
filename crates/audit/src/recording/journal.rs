//! The journal of an open segment: what is on disk before the segment is sealed.
//!
//! A file is a head (what the segment will follow) and entries, each `length (4) | check (8) | frames`, where the
//! check is the start of SHA-256 over the head's check and everything before it in the file. A crash may tear the
//! last entry: reading stops at the first entry that is not whole and keeps what came before.

use std::time::Duration;

use model::{SessionId, Timestamp};

use super::frame::Frames;
use super::writer::{FULL, Writer};
use crate::Error;
use crate::bytes::Reader;
use crate::key::{Hash, Hasher};

/// The first eight bytes: name and version.
pub const MAGIC: &[u8; 8] = b"MGJRN\0\0\x01";
/// Bytes of the head.
pub const HEAD: usize = 8 + 36 + 8 + 8 + 32 + 8 + CHECK;
/// Largest entry's frames.
pub const MAX_ENTRY: usize = FULL + super::frame::MAX;
/// Largest journal worth reading.
pub const MAX: usize = HEAD + 2 * MAX_ENTRY;
const CHECK: usize = 8;
const WHAT: &str = "spool journal";

/// Writes a journal: bytes out, the caller puts them on disk in order.
#[derive(Clone, Debug)]
pub struct Journal(Hasher);

impl Journal {
    /// Begins the journal of `writer`'s open segment; gives the head.
    #[must_use]
    pub fn begin(writer: &Writer) -> (Self, Vec<u8>) {
        let mut out = Vec::with_capacity(HEAD);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(writer.session().as_str().as_bytes());
        out.extend_from_slice(&writer.started().millis().to_be_bytes());
        out.extend_from_slice(&writer.n().to_be_bytes());
        out.extend_from_slice(&writer.prev().0);
        out.extend_from_slice(&super::segment::micros(writer.sealed_until()).to_be_bytes());
        let mut hasher = Hasher::new();
        hasher.update(&out);
        out.extend_from_slice(&check(&hasher));
        (Self(hasher), out)
    }

    /// One entry over `frames` (a piece of [`Writer::unjournaled`]), to be appended.
    #[must_use]
    pub fn entry(&mut self, frames: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + CHECK + frames.len());
        let len = u32::try_from(frames.len()).unwrap_or(u32::MAX);
        self.0.update(&len.to_be_bytes());
        self.0.update(frames);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&check(&self.0));
        out.extend_from_slice(frames);
        out
    }
}

fn check(hasher: &Hasher) -> [u8; CHECK] {
    let Hash(all) = hasher.clone().finish();
    let mut out = [0; CHECK];
    for (to, from) in out.iter_mut().zip(all) {
        *to = from;
    }
    out
}

/// What a journal gave back.
#[derive(Debug)]
pub struct Recovered {
    /// Holds the frames that were whole; seal it, or go on.
    pub writer: Writer,
    /// Bytes at the end that were not whole: a torn write.
    pub torn: usize,
}

/// Reads a journal back.
///
/// # Errors
/// The head is not whole: then nothing was ever recorded in it.
pub fn recover(bytes: &[u8]) -> Result<Recovered, Error> {
    if bytes.len() > MAX {
        return Err(Error::malformed(WHAT, "too long"));
    }
    let mut r = Reader::new(bytes, WHAT);
    if &r.array::<8>()? != MAGIC {
        return Err(r.bad("not a journal of a version known here"));
    }
    let session: SessionId = r.text(36)?.parse().map_err(|_| r.bad("session is not an id"))?;
    let started = Timestamp::from_millis(r.i64()?);
    let n = r.u64()?;
    let prev = Hash(r.array()?);
    let until = Duration::from_micros(r.u64()?);
    let mut hasher = Hasher::new();
    hasher.update(bytes.get(..HEAD - CHECK).unwrap_or_default());
    if r.array::<CHECK>()? != check(&hasher) {
        return Err(r.bad("head does not have its check"));
    }
    let mut writer = Writer::resume(session, started, n, prev, until);
    loop {
        let torn = r.len();
        let Ok(frames) = read_entry(&mut r, &mut hasher) else { return Ok(Recovered { writer, torn }) };
        for frame in Frames::new(frames) {
            let Ok(frame) = frame else { return Ok(Recovered { writer, torn }) };
            writer.push(frame.at, &frame.frame);
        }
        if r.is_empty() {
            writer.journaled();
            return Ok(Recovered { writer, torn: 0 });
        }
    }
}

fn read_entry<'a>(r: &mut Reader<'a>, hasher: &mut Hasher) -> Result<&'a [u8], Error> {
    let len = r.u32()?;
    let written: [u8; CHECK] = r.array()?;
    let len_bytes = len.to_be_bytes();
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len > MAX_ENTRY {
        return Err(r.bad("entry is too long"));
    }
    let frames = r.take(len)?;
    hasher.update(&len_bytes);
    hasher.update(frames);
    if check(hasher) == written { Ok(frames) } else { Err(r.bad("entry does not have its check")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Frame;

    #[test]
    fn a_full_segment_goes_into_its_journal_piece_by_piece() {
        let mut writer = Writer::new(SessionId::from_random([1; 16]), Timestamp::from_secs(1));
        for n in 0..30 {
            writer.push(Duration::from_millis(n), &Frame::Output(&[b'x'; 50_000]));
        }
        writer.push(Duration::from_millis(30), &Frame::Output(b"last"));

        let (mut journal, mut file) = Journal::begin(&writer);
        for frames in writer.unjournaled() {
            assert!(frames.len() <= MAX_ENTRY);
            file.extend_from_slice(&journal.entry(frames));
        }

        assert!(writer.unjournaled().count() > 1);
        let back = recover(&file).unwrap();
        assert_eq!(
            (back.torn, back.writer.open_frames(), back.writer.open_bytes()),
            (0, 31, writer.open_bytes())
        );
    }
}
