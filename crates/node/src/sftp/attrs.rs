//! File attributes as the protocol writes them, and applying them.
//!
//! Which file, and whether the account may, is the operating system's word.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid};

use crate::codec::{Malformed, Put, Reader};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const PERMISSIONS: u32 = 4;
const TIMES: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// Attributes, each there or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Length in bytes.
    pub size: Option<u64>,
    /// User and group ids.
    pub owner: Option<(u32, u32)>,
    /// Mode bits; from a file also its type.
    pub permissions: Option<u32>,
    /// Access and modification times in seconds.
    pub times: Option<(u32, u32)>,
}

impl Attrs {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags = r.u32()?;
        let mut attrs = Self::default();
        if flags & SIZE != 0 {
            attrs.size = Some(r.u64()?);
        }
        if flags & OWNER != 0 {
            attrs.owner = Some((r.u32()?, r.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            attrs.permissions = Some(r.u32()?);
        }
        if flags & TIMES != 0 {
            attrs.times = Some((r.u32()?, r.u32()?));
        }
        if flags & EXTENDED != 0 {
            for _ in 0..r.u32()? {
                r.string(super::packet::MAX)?;
                r.string(super::packet::MAX)?;
            }
        }
        Ok(attrs)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        out.put_u32(
            flag(self.size.is_some(), SIZE)
                | flag(self.owner.is_some(), OWNER)
                | flag(self.permissions.is_some(), PERMISSIONS)
                | flag(self.times.is_some(), TIMES),
        );
        if let Some(size) = self.size {
            out.put_u64(size);
        }
        for (a, b) in self.owner.iter().copied() {
            out.put_u32(a);
            out.put_u32(b);
        }
        if let Some(permissions) = self.permissions {
            out.put_u32(permissions);
        }
        for (a, b) in self.times.iter().copied() {
            out.put_u32(a);
            out.put_u32(b);
        }
    }

    pub(crate) fn of(stat: &Stat) -> Self {
        let seconds = |s: i64| u32::try_from(s.max(0)).unwrap_or(u32::MAX);
        Self {
            size: Some(u64::try_from(stat.st_size).unwrap_or(0)),
            owner: Some((stat.st_uid, stat.st_gid)),
            permissions: Some(stat.st_mode),
            times: Some((seconds(stat.st_atime), seconds(stat.st_mtime))),
        }
    }

    /// The mode for a new file or directory: what was asked for or `default`, type bits removed.
    pub(crate) fn mode_or(&self, default: u32) -> Mode {
        Mode::from_raw_mode(self.permissions.unwrap_or(default) & 0o7777)
    }

    fn timestamps(&self) -> Option<Timestamps> {
        let spec = |seconds: u32| Timespec { tv_sec: i64::from(seconds), tv_nsec: 0 };
        self.times.map(|(access, modified)| Timestamps {
            last_access: spec(access),
            last_modification: spec(modified),
        })
    }

    /// Applies them to what is at `path`; `follow` a link at its end or not.
    pub(crate) fn apply_to_path(&self, path: &std::path::Path, follow: Links) -> io::Result<()> {
        let cwd = rustix::fs::CWD;
        let flags = match follow {
            Links::Followed => AtFlags::empty(),
            Links::Themselves => AtFlags::SYMLINK_NOFOLLOW,
        };
        if let Some(size) = self.size {
            if follow == Links::Themselves {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            nix::unistd::truncate(path, i64::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?)?;
        }
        if self.permissions.is_some() {
            rustix::fs::chmodat(cwd, path, self.mode_or(0), flags)?;
        }
        if let Some(times) = self.timestamps() {
            rustix::fs::utimensat(cwd, path, &times, flags)?;
        }
        if let Some((uid, gid)) = self.owner {
            rustix::fs::chownat(cwd, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?;
        }
        Ok(())
    }

    /// Applies them to an open file.
    pub(crate) fn apply_to_file(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        if let Some(size) = self.size {
            rustix::fs::ftruncate(file, size)?;
        }
        if self.permissions.is_some() {
            rustix::fs::fchmod(file, self.mode_or(0))?;
        }
        if let Some(times) = self.timestamps() {
            rustix::fs::futimens(file, &times)?;
        }
        if let Some((uid, gid)) = self.owner {
            rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        Ok(())
    }
}

/// What a symbolic link at the end of a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// What it points to.
    Followed,
    /// Itself.
    Themselves,
}
