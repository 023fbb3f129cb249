//! SFTP version 3 (draft-ietf-secsh-filexfer-02) with the OpenSSH extensions (its PROTOCOL file, section 4).
//!
//! Packets in both directions: a server decodes [`Request`]s and encodes [`Reply`]s, a client the other way round, a
//! watcher decodes both. A packet is at most [`MAX`] bytes; data is borrowed from the input.

mod attrs;
mod reply;
mod request;

pub use attrs::Attrs;
pub use reply::{Name, Reply, Status};
pub use request::{OpenFlags, Request};

use crate::codec::{Malformed, Reader};

/// The protocol version spoken.
pub const VERSION: u32 = 3;
/// The longest packet after its length: 256 KiB of data and its header, as OpenSSH allows.
pub const MAX: usize = 256 * 1024 + 1024;
/// The longest path, in bytes.
pub const MAX_PATH: usize = 4096;
/// The longest handle, in bytes.
pub const MAX_HANDLE: usize = 256;

const WHAT: &str = "SFTP packet";

const fn bad(why: &'static str) -> Malformed {
    Malformed::new(WHAT, why)
}

/// Takes the next packet (without its length) off `reader`; `None` when it has not arrived whole.
///
/// # Errors
/// The length is zero or more than [`MAX`].
pub fn frame<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    let mut ahead = reader.clone();
    let Some(length) = ahead.u32() else { return Ok(None) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length == 0 || length > MAX {
        return Err(bad("a length that is zero or too large"));
    }
    let Some(body) = ahead.take(length) else { return Ok(None) };
    *reader = ahead;
    Ok(Some(body))
}

/// Fields of a packet body: everything must be there, because the frame was whole.
struct Body<'a>(Reader<'a>);

impl<'a> Body<'a> {
    fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.u8().ok_or(bad("it ends within a number"))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.u32().ok_or(bad("it ends within a number"))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.u64().ok_or(bad("it ends within a number"))
    }

    fn string(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if length > max {
            return Err(bad("a string that is too long"));
        }
        self.0.take(length).ok_or(bad("it ends within a string"))
    }

    fn path(&mut self) -> Result<&'a [u8], Malformed> {
        let path = self.string(MAX_PATH)?;
        if path.contains(&0) { Err(bad("a path with a zero byte")) } else { Ok(path) }
    }

    fn handle(&mut self) -> Result<&'a [u8], Malformed> {
        self.string(MAX_HANDLE)
    }
}

/// Starts a packet: room for the length, the type, and the request id if there is one. Returns where it starts.
fn begin(out: &mut Vec<u8>, kind: u8, id: Option<u32>) -> usize {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    if let Some(id) = id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    at
}

/// Fills in the length of the packet that started at `at`.
fn end(out: &mut [u8], at: usize) {
    let length = u32::try_from(out.len().saturating_sub(at + 4)).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
