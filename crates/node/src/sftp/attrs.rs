//! File attributes, from a file and onto one.
//!
//! Which file, and whether the account may, is the operating system's word.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid};
use wire::sftp::Attrs;

/// What a symbolic link at the end of a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// What it points to.
    Followed,
    /// Itself.
    Themselves,
}

/// What a file says of itself.
pub(crate) fn of(stat: &Stat) -> Attrs {
    let seconds = |s: i64| u32::try_from(s.max(0)).unwrap_or(u32::MAX);
    Attrs {
        size: Some(u64::try_from(stat.st_size).unwrap_or(0)),
        owner: Some((stat.st_uid, stat.st_gid)),
        mode: Some(stat.st_mode),
        times: Some((seconds(stat.st_atime), seconds(stat.st_mtime))),
    }
}

/// The mode for a new file or directory: what was asked for or `default`, type bits removed.
pub(crate) fn mode_or(attrs: &Attrs, default: u32) -> Mode {
    Mode::from_raw_mode(attrs.mode.unwrap_or(default) & 0o7777)
}

fn timestamps(attrs: &Attrs) -> Option<Timestamps> {
    let spec = |seconds: u32| Timespec { tv_sec: i64::from(seconds), tv_nsec: 0 };
    attrs
        .times
        .map(|(access, modified)| Timestamps { last_access: spec(access), last_modification: spec(modified) })
}

/// Applies attributes to what is at `path`; `follow` a link at its end or not.
pub(crate) fn to_path(attrs: &Attrs, path: &std::path::Path, follow: Links) -> io::Result<()> {
    let cwd = rustix::fs::CWD;
    let flags = match follow {
        Links::Followed => AtFlags::empty(),
        Links::Themselves => AtFlags::SYMLINK_NOFOLLOW,
    };
    if let Some(size) = attrs.size {
        if follow == Links::Themselves {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        nix::unistd::truncate(path, i64::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?)?;
    }
    if attrs.mode.is_some() {
        rustix::fs::chmodat(cwd, path, mode_or(attrs, 0), flags)?;
    }
    if let Some(times) = timestamps(attrs) {
        rustix::fs::utimensat(cwd, path, &times, flags)?;
    }
    if let Some((uid, gid)) = attrs.owner {
        rustix::fs::chownat(cwd, path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?;
    }
    Ok(())
}

/// Applies attributes to an open file.
pub(crate) fn to_file(attrs: &Attrs, file: BorrowedFd<'_>) -> io::Result<()> {
    if let Some(size) = attrs.size {
        rustix::fs::ftruncate(file, size)?;
    }
    if attrs.mode.is_some() {
        rustix::fs::fchmod(file, mode_or(attrs, 0))?;
    }
    if let Some(times) = timestamps(attrs) {
        rustix::fs::futimens(file, &times)?;
    }
    if let Some((uid, gid)) = attrs.owner {
        rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    Ok(())
}
