//! Each request carried out with the account's own rights.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, StatVfs};

use super::attrs::{Attrs, Links};
use super::handles::{self, Open};
use super::packet::{self, Code, MAX, MAX_DATA, Request, flag, reply};
use super::serve::{Fault, Server};
use crate::codec::Put;

/// Most names in one reply of a listing.
const NAMES: usize = 128;

const BAD_HANDLE: Fault = Fault::Status(Code::Failure, "no such handle");

fn at(path: &[u8]) -> &Path {
    if path.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(path)) }
}

impl Server {
    pub(super) fn carry_out(
        &mut self,
        id: u32,
        request: Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match request {
            Request::Open { path, flags, attrs } => return self.open(id, at(path), flags, attrs, out),
            Request::Close { handle } => drop(self.handles.close(handle).ok_or(BAD_HANDLE)?),
            Request::Read { handle, offset, len } => return self.read(id, handle, offset, len, out),
            Request::Write { handle, offset, data } => self.write(handle, offset, data)?,
            Request::Lstat { path } => {
                let stat = rustix::fs::lstat(at(path))?;
                reply(out, packet::ATTRS, id, |out| Attrs::of(&stat).encode(out));
                return Ok(());
            }
            Request::Stat { path } => {
                let stat = rustix::fs::stat(at(path))?;
                reply(out, packet::ATTRS, id, |out| Attrs::of(&stat).encode(out));
                return Ok(());
            }
            Request::Fstat { handle } => {
                let stat = rustix::fs::fstat(self.file(handle)?)?;
                reply(out, packet::ATTRS, id, |out| Attrs::of(&stat).encode(out));
                return Ok(());
            }
            Request::Setstat { path, attrs } => attrs.apply_to_path(at(path), Links::Followed)?,
            Request::Lsetstat { path, attrs } => attrs.apply_to_path(at(path), Links::Themselves)?,
            Request::Fsetstat { handle, attrs } => attrs.apply_to_file(self.file(handle)?.as_fd())?,
            Request::Opendir { path } => return self.opendir(id, at(path), out),
            Request::Readdir { handle } => return self.readdir(id, handle, out),
            Request::Remove { path } => rustix::fs::unlink(at(path))?,
            Request::Mkdir { path, attrs } => rustix::fs::mkdir(at(path), attrs.mode_or(0o777))?,
            Request::Rmdir { path } => rustix::fs::rmdir(at(path))?,
            Request::Rename { from, to } => rename_without_replacing(at(from), at(to))?,
            Request::PosixRename { from, to } => rustix::fs::rename(at(from), at(to))?,
            Request::Symlink { target, link } => rustix::fs::symlink(at(target), at(link))?,
            Request::Hardlink { from, to } => rustix::fs::link(at(from), at(to))?,
            Request::Fsync { handle } => rustix::fs::fsync(self.file(handle)?)?,
            Request::CopyData { from, from_offset, len, to, to_offset } => {
                copy((self.file(from)?, from_offset), len, (self.file(to)?, to_offset))?;
            }
            Request::Realpath { path } => return Ok(name(id, &real_path(at(path))?, out)),
            Request::ExpandPath { path } => return Ok(name(id, &real_path(&expand(path)?)?, out)),
            Request::HomeDirectory { user } => return Ok(name(id, &home_of(user)?, out)),
            Request::Readlink { path } => {
                return Ok(name(id, &path_of(rustix::fs::readlink(at(path), Vec::new())?.into_bytes()), out));
            }
            Request::Statvfs { path } => return Ok(statvfs(id, &rustix::fs::statvfs(at(path))?, out)),
            Request::Fstatvfs { handle } => {
                return Ok(statvfs(id, &rustix::fs::fstatvfs(self.file(handle)?)?, out));
            }
            Request::Limits => return Ok(limits(id, out)),
            Request::Unknown => return Err(Fault::Status(Code::Unsupported, "not supported")),
        }
        packet::status(out, id, Code::Ok, "");
        Ok(())
    }

    fn file(&self, handle: &[u8]) -> Result<&OwnedFd, Fault> {
        self.handles.file(handle).map(|(file, _)| file).ok_or(BAD_HANDLE)
    }

    fn keep(&mut self, id: u32, open: Open, out: &mut Vec<u8>) -> Result<(), Fault> {
        let handle = self.handles.keep(open).ok_or(Fault::Status(Code::Failure, "too many open files"))?;
        reply(out, packet::HANDLE, id, |out| out.put_string(&handle));
        Ok(())
    }

    fn open(
        &mut self,
        id: u32,
        path: &Path,
        flags: u32,
        attrs: Attrs,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        if self.handles.len() >= handles::MAX {
            return Err(Fault::Status(Code::Failure, "too many open files"));
        }
        let mut how = match (flags & flag::READ != 0, flags & flag::WRITE != 0) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            (true, false) | (false, false) => OFlags::RDONLY,
        } | OFlags::CLOEXEC
            | OFlags::NOCTTY;
        for (bit, flag) in [
            (flag::APPEND, OFlags::APPEND),
            (flag::CREATE, OFlags::CREATE),
            (flag::TRUNCATE, OFlags::TRUNC),
            (flag::EXCLUSIVE, OFlags::EXCL),
        ] {
            how.set(flag, flags & bit != 0);
        }
        let file = rustix::fs::open(path, how, attrs.mode_or(0o666))?;
        self.keep(id, Open::File { file, append: flags & flag::APPEND != 0 }, out)
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
        offset: u64,
        len: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let file = self.file(handle)?;
        let len = (len as usize).min(MAX_DATA);
        let start = out.len();
        out.put_u32(0);
        out.push(packet::DATA);
        out.put_u32(id);
        out.put_u32(0);
        let from = out.len();
        out.resize(from + len, 0);
        let got = rustix::io::retry_on_intr(|| {
            rustix::io::pread(file, out.get_mut(from..).unwrap_or_default(), offset)
        });
        let got = match got {
            // Pipes and terminals cannot seek.
            Err(rustix::io::Errno::SPIPE) => {
                rustix::io::retry_on_intr(|| rustix::io::read(file, out.get_mut(from..).unwrap_or_default()))?
            }
            got => got?,
        };
        if got == 0 && len > 0 {
            return Err(Fault::Status(Code::Eof, "end of file"));
        }
        out.truncate(from + got);
        if let Some(field) = out.get_mut(from - 4..from) {
            field.copy_from_slice(&u32::try_from(got).unwrap_or(0).to_be_bytes());
        }
        packet::close(out, start);
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
        let mut names = Vec::new();
        let mut count = 0;
        while count < NAMES as u32 && names.len() < MAX / 2 {
            let Some(entry) = directory.read() else { break };
            let entry = entry?;
            let file_name = entry.file_name();
            // Gone between listing and looking: not there.
            let Ok(stat) = rustix::fs::statat(directory.fd()?, file_name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            names.put_string(file_name.to_bytes());
            names.put_string(&self.names.line(file_name.to_bytes(), &stat, now));
            Attrs::of(&stat).encode(&mut names);
            count += 1;
        }
        if count == 0 {
            return Err(Fault::Status(Code::Eof, "end of directory"));
        }
        reply(out, packet::NAME, id, |out| {
            out.put_u32(count);
            out.extend_from_slice(&names);
        });
        Ok(())
    }
}

fn name(id: u32, path: &Path, out: &mut Vec<u8>) {
    reply(out, packet::NAME, id, |out| {
        out.put_u32(1);
        out.put_string(path.as_os_str().as_bytes());
        out.put_string(path.as_os_str().as_bytes());
        Attrs::default().encode(out);
    });
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
                return Err(Fault::Status(Code::Failure, "file exists"));
            }
            Ok(rustix::fs::rename(from, to)?)
        }
        done => Ok(done?),
    }
}

/// Copies on the host; a length of 0 means to the end.
fn copy(from: (&OwnedFd, u64), len: u64, to: (&OwnedFd, u64)) -> Result<(), Fault> {
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
            return Err(Fault::Status(Code::Failure, "file shorter than asked"));
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

fn statvfs(id: u32, fs: &StatVfs, out: &mut Vec<u8>) {
    reply(out, packet::EXTENDED_REPLY, id, |out| {
        for number in [
            fs.f_bsize,
            fs.f_frsize,
            fs.f_blocks,
            fs.f_bfree,
            fs.f_bavail,
            fs.f_files,
            fs.f_ffree,
            fs.f_favail,
            fs.f_fsid,
            fs.f_flag.bits() & 3,
            fs.f_namemax,
        ] {
            out.put_u64(number);
        }
    });
}

fn limits(id: u32, out: &mut Vec<u8>) {
    reply(out, packet::EXTENDED_REPLY, id, |out| {
        for number in [MAX, MAX_DATA, MAX_DATA, handles::MAX] {
            out.put_u64(number as u64);
        }
    });
}

fn now() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "this process is given no clock, and only `ls` lines need one"
    )]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
