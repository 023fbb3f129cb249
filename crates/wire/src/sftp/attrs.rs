//! File attributes: each may be absent. Extended attributes are read over and never written.

use super::{Body, Malformed, bad};

const SIZE: u32 = 0x1;
const OWNER: u32 = 0x2;
const MODE: u32 = 0x4;
const TIMES: u32 = 0x8;
const EXTENDED: u32 = 0x8000_0000;

/// What is said of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Bytes.
    pub size: Option<u64>,
    /// User and group.
    pub owner: Option<(u32, u32)>,
    /// Type and permission bits, as in `stat`.
    pub mode: Option<u32>,
    /// Seconds since 1970 of last access and change.
    pub times: Option<(u32, u32)>,
}

impl Attrs {
    pub(super) fn decode(body: &mut Body<'_>) -> Result<Self, Malformed> {
        let flags = body.u32()?;
        let attrs = Self {
            size: if flags & SIZE == 0 { None } else { Some(body.u64()?) },
            owner: if flags & OWNER == 0 { None } else { Some((body.u32()?, body.u32()?)) },
            mode: if flags & MODE == 0 { None } else { Some(body.u32()?) },
            times: if flags & TIMES == 0 { None } else { Some((body.u32()?, body.u32()?)) },
        };
        if flags & EXTENDED != 0 {
            let count = body.u32()?;
            if count > 64 {
                return Err(bad("too many extended attributes"));
            }
            for _ in 0..count {
                body.string(super::MAX)?;
                body.string(super::MAX)?;
            }
        }
        Ok(attrs)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flags = self.size.map_or(0, |_| SIZE)
            | self.owner.map_or(0, |_| OWNER)
            | self.mode.map_or(0, |_| MODE)
            | self.times.map_or(0, |_| TIMES);
        out.extend_from_slice(&flags.to_be_bytes());
        if let Some(size) = self.size {
            out.extend_from_slice(&size.to_be_bytes());
        }
        for (a, b) in [self.owner].into_iter().flatten() {
            out.extend_from_slice(&a.to_be_bytes());
            out.extend_from_slice(&b.to_be_bytes());
        }
        if let Some(mode) = self.mode {
            out.extend_from_slice(&mode.to_be_bytes());
        }
        if let Some((accessed, changed)) = self.times {
            out.extend_from_slice(&accessed.to_be_bytes());
            out.extend_from_slice(&changed.to_be_bytes());
        }
    }
}
