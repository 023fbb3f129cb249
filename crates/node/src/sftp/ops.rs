//! Each request carried out with the account's own rights.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, StatVfs};

use wire::sftp::{Attrs, Name, OpenFlags, Reply, Request, Status};

use super::attrs::{self, Links};
use super::extension::{self, Extension};
use super::handles::{self, Open};
use super::serve::{Fault, MAX, Server};
use crate::codec::Put;

/// Longest data of one read or write; the rest of a packet is its header.
const MAX_DATA: usize = MAX - 1024;

/// Most names in one reply of a listing.
const NAMES: usize = 128;

const BAD_HANDLE: Fault = Fault::Status(Status::Failure, "no such handle");

fn at(path: &[u8]) -> &Path {
    if path.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(path)) }
}

impl Server {
    /// Carries out one request and writes its reply, or says why not.
    pub(super) fn carry_out(
        &mut self,
        id: u32,
        request: Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match request {
            Request::Open { path, flags, attrs } => return self.open(id, at(path), (flags, attrs), out),
            Request::Opendir { path } => return self.opendir(id, at(path), out),
            Request::Readdir { handle } => return self.readdir(id, handle, out),
            Request::Read { handle, offset, length } => return self.read(id, handle, (offset, length), out),
            Request::Lstat { path } => return told(id, &rustix::fs::lstat(at(path))?, out),
            Request::Stat { path } => return told(id, &rustix::fs::stat(at(path))?, out),
            Request::Fstat { handle } => return told(id, &rustix::fs::fstat(self.file(handle)?)?, out),
            Request::Realpath { path } => return name(id, &real_path(at(path))?, out),
            Request::Readlink { path } => {
                return name(id, &path_of(rustix::fs::readlink(at(path), Vec::new())?.into_bytes()), out);
            }
            Request::Extended { name, body } => {
                return self.extended(id, extension::decode(name, body)?, out);
            }
            Request::Close { handle } => drop(self.handles.close(handle).ok_or(BAD_HANDLE)?),
            Request::Write { handle, offset, data } => self.write(handle, offset, data)?,
            Request::Setstat { path, attrs } => attrs::to_path(&attrs, at(path), Links::Followed)?,
            Request::Fsetstat { handle, attrs } => attrs::to_file(&attrs, self.file(handle)?.as_fd())?,
            Request::Remove { path } => rustix::fs::unlink(at(path))?,
            Request::Mkdir { path, attrs } => rustix::fs::mkdir(at(path), attrs::mode_or(&attrs, 0o777))?,
            Request::Rmdir { path } => rustix::fs::rmdir(at(path))?,
            Request::Rename { from, to } => rename_without_replacing(at(from), at(to))?,
            Request::Symlink { target, link } => rustix::fs::symlink(at(target), at(link))?,
            Request::Init { .. } => return Err(Fault::Status(Status::BadMessage, "greeted twice")),
        }
        done(id, out)
    }

    fn extended(&self, id: u32, extension: Extension<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match extension {
            Extension::ExpandPath { path } => return name(id, &real_path(&expand(path)?)?, out),
            Extension::HomeDirectory { user } => return name(id, &home_of(user)?, out),
            Extension::Statvfs { path } => return statvfs(id, &rustix::fs::statvfs(at(path))?, out),
            Extension::Fstatvfs { handle } => {
                return statvfs(id, &rustix::fs::fstatvfs(self.file(handle)?)?, out);
            }
            Extension::Limits => return limits(id, out),
            Extension::PosixRename { from, to } => rustix::fs::rename(at(from), at(to))?,
            Extension::Hardlink { from, to } => rustix::fs::link(at(from), at(to))?,
            Extension::Fsync { handle } => rustix::fs::fsync(self.file(handle)?)?,
            Extension::Lsetstat { path, attrs } => attrs::to_path(&attrs, at(path), Links::Themselves)?,
            Extension::CopyData { from, from_offset, len, to, to_offset } => {
                copy((self.file(from)?, from_offset), len, (self.file(to)?, to_offset))?;
            }
            Extension::Unknown => return Err(Fault::Status(Status::Unsupported, "not supported")),
        }
        done(id, out)
    }

    fn file(&self, handle: &[u8]) -> Result<&OwnedFd, Fault> {
        self.handles.file(handle).map(|(file, _)| file).ok_or(BAD_HANDLE)
    }

    fn keep(&mut self, id: u32, open: Open, out: &mut Vec<u8>) -> Result<(), Fault> {
        let handle = self.handles.keep(open).ok_or(Fault::Status(Status::Failure, "too many open files"))?;
        Reply::Handle(&handle).encode(id, out);
        Ok(())
    }

    fn open(
        &mut self,
        id: u32,
        path: &Path,
        (flags, attrs): (OpenFlags, Attrs),
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if self.handles.len() >= handles::MAX {
            return Err(Fault::Status(Status::Failure, "too many open files"));
        }
        let mut how = match (flags.has(OpenFlags::READ), flags.has(OpenFlags::WRITE)) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            (true, false) | (false, false) => OFlags::RDONLY,
        } | OFlags::CLOEXEC
            | OFlags::NOCTTY;
        for (bit, flag) in [
            (OpenFlags::APPEND, OFlags::APPEND),
            (OpenFlags::CREATE, OFlags::CREATE),
            (OpenFlags::TRUNCATE, OFlags::TRUNC),
            (OpenFlags::EXCLUSIVE, OFlags::EXCL),
        ] {
            how.set(flag, flags.has(bit));
        }
        let file = rustix::fs::open(path, how, attrs::mode_or(&attrs, 0o666))?;
        self.keep(id, Open::File { file, append: flags.has(OpenFlags::APPEND) }, out)
    }

    fn opendir(&mut self, id: u32, path: &Path, out: &mut Vec<u8>) -> Result<(), Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::Dir::new(rustix::fs::open(path, flags, Mode::empty())?)?;
        self.keep(id, Open::Directory(Box::new(directory)), out)
    }

    fn read(
        &mut self,
        id: u32,
        handle: &[u8],
        (offset, length): (u64, u32),
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Some((file, _)) = self.handles.file(handle) else { return Err(BAD_HANDLE) };
        let wanted = (length as usize).min(MAX_DATA);
        self.data.resize(wanted, 0);
        let got = rustix::io::retry_on_intr(|| rustix::io::pread(file, self.data.as_mut_slice(), offset));
        let got = match got {
            // Pipes and terminals cannot seek.
            Err(rustix::io::Errno::SPIPE) => {
                rustix::io::retry_on_intr(|| rustix::io::read(file, self.data.as_mut_slice()))?
            }
            got => got?,
        };
        if got == 0 && wanted > 0 {
            return Err(Fault::Status(Status::Eof, "end of file"));
        }
        Reply::Data(self.data.get(..got).unwrap_or_default()).encode(id, out);
        Ok(())
    }

    fn write(&mut self, handle: &[u8], offset: u64, mut data: &[u8]) -> Result<(), Fault> {
        let (file, append) = self.handles.file(handle).ok_or(BAD_HANDLE)?;
        let mut offset = offset;
        while !data.is_empty() {
            let wrote = rustix::io::retry_on_intr(|| {
                if append { rustix::io::write(file, data) } else { rustix::io::pwrite(file, data, offset) }
            });
            let wrote = match wrote {
                Err(rustix::io::Errno::SPIPE) => rustix::io::retry_on_intr(|| rustix::io::write(file, data))?,
                wrote => wrote?,
            };
            data = data.get(wrote..).unwrap_or_default();
            offset += wrote as u64;
        }
        Ok(())
    }

    fn readdir(&mut self, id: u32, handle: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(Open::Directory(directory)) = self.handles.get_mut(handle) else { return Err(BAD_HANDLE) };
        let now = now();
        let mut names: Vec<(Vec<u8>, Vec<u8>, Attrs)> = Vec::new();
        while names.len() < NAMES {
            let Some(entry) = directory.read() else { break };
            let entry = entry?;
            let file = entry.file_name();
            // Gone between listing and looking: not there.
            let Ok(stat) = rustix::fs::statat(directory.fd()?, file, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let line = self.names.line(file.to_bytes(), &stat, now);
            names.push((file.to_bytes().to_vec(), line, attrs::of(&stat)));
        }
        if names.is_empty() {
            return Err(Fault::Status(Status::Eof, "end of directory"));
        }
        let names = names.iter().map(|(name, long, attrs)| Name { name, long, attrs: *attrs }).collect();
        Reply::Names(names).encode(id, out);
        Ok(())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every way of answering reads alike")]
fn done(id: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
    Reply::Status { status: Status::Ok, message: "" }.encode(id, out);
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "every way of answering reads alike")]
fn told(id: u32, stat: &rustix::fs::Stat, out: &mut Vec<u8>) -> Result<(), Fault> {
    Reply::Attrs(attrs::of(stat)).encode(id, out);
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "every way of answering reads alike")]
fn name(id: u32, path: &Path, out: &mut Vec<u8>) -> Result<(), Fault> {
    let bytes = path.as_os_str().as_bytes();
    Reply::Names(vec![Name { name: bytes, long: bytes, attrs: Attrs::default() }]).encode(id, out);
    Ok(())
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    std::ffi::OsString::from_vec(bytes).into()
}

/// The absolute path without links. The last part need not exist yet.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Some(parent), Some(last)) = (path.parent(), path.file_name()) else { return Err(error) };
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(std::fs::canonicalize(parent)?.join(last))
        }
        found => found,
    }
}

/// `~`, `~/x`, `~user/x`; anything else stays.
fn expand(path: &[u8]) -> io::Result<PathBuf> {
    let Some(rest) = path.strip_prefix(b"~") else { return Ok(at(path).to_owned()) };
    let (user, rest) = match rest.iter().position(|b| *b == b'/') {
        Some(slash) => (rest.get(..slash).unwrap_or_default(), rest.get(slash + 1..).unwrap_or_default()),
        None => (rest, [].as_slice()),
    };
    let home = home_of(user)?;
    Ok(if rest.is_empty() { home } else { home.join(at(rest)) })
}

fn home_of(user: &[u8]) -> io::Result<PathBuf> {
    let found = if user.is_empty() {
        nix::unistd::User::from_uid(nix::unistd::Uid::current())?
    } else {
        nix::unistd::User::from_name(&String::from_utf8_lossy(user))?
    };
    found.map(|user| user.dir).ok_or_else(|| io::Error::from_raw_os_error(nix::libc::ENOENT))
}

/// Version 3's rename fails where something is already.
fn rename_without_replacing(from: &Path, to: &Path) -> Result<(), Fault> {
    use rustix::io::Errno;
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system cannot promise it: look first.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if rustix::fs::lstat(to).is_ok() {
                return Err(Fault::Status(Status::Failure, "file exists"));
            }
            Ok(rustix::fs::rename(from, to)?)
        }
        done => Ok(done?),
    }
}

/// Copies on the host; a length of 0 means to the end. Within one file the two ranges must lie apart, or a copy to the
/// end would never reach it (draft-ietf-secsh-filexfer-extensions-00, section 7).
fn copy(from: (&OwnedFd, u64), len: u64, to: (&OwnedFd, u64)) -> Result<(), Fault> {
    let apart = len != 0 && from.1.abs_diff(to.1) >= len;
    if !apart && is_same(from.0, to.0)? {
        return Err(Fault::Status(Status::Failure, "the two ranges overlap"));
    }
    let (mut read_at, mut write_at) = (from.1, to.1);
    let mut left = if len == 0 { u64::MAX } else { len };
    let mut buffer = vec![0; 128 * 1024];
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let got = rustix::io::pread(from.0, buffer.get_mut(..want).unwrap_or_default(), read_at)?;
        if got == 0 {
            if len == 0 {
                break;
            }
            return Err(Fault::Status(Status::Failure, "file shorter than asked"));
        }
        let mut data = buffer.get(..got).unwrap_or_default();
        while !data.is_empty() {
            let wrote = rustix::io::pwrite(to.0, data, write_at)?;
            data = data.get(wrote..).unwrap_or_default();
            write_at += wrote as u64;
        }
        read_at += got as u64;
        left -= got as u64;
    }
    Ok(())
}

fn is_same(one: &OwnedFd, other: &OwnedFd) -> io::Result<bool> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

fn statvfs(id: u32, fs: &StatVfs, out: &mut Vec<u8>) -> Result<(), Fault> {
    let flags = fs.f_flag.bits() & 3;
    let blocks = [fs.f_bsize, fs.f_frsize, fs.f_blocks, fs.f_bfree, fs.f_bavail];
    let files = [fs.f_files, fs.f_ffree, fs.f_favail, fs.f_fsid, flags, fs.f_namemax];
    numbers(id, &[&blocks[..], &files].concat(), out)
}

fn limits(id: u32, out: &mut Vec<u8>) -> Result<(), Fault> {
    numbers(id, &[MAX, MAX_DATA, MAX_DATA, handles::MAX].map(|number| number as u64), out)
}

#[expect(clippy::unnecessary_wraps, reason = "every way of answering reads alike")]
fn numbers(id: u32, numbers: &[u64], out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut body = Vec::with_capacity(numbers.len() * 8);
    for number in numbers {
        body.put_u64(*number);
    }
    Reply::Extended(&body).encode(id, out);
    Ok(())
}

fn now() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "this process is given no clock, and only `ls` lines need one"
    )]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
