//! Requests and replies of SFTP version 3: reading the ones, writing the others.
//!
//! A packet is at most [`MAX`] bytes; a longer one ends the conversation before anything is kept. Nothing is copied
//! while reading.

use super::attrs::Attrs;
use crate::codec::{Malformed, Put, Reader};

/// Longest packet without its length field; OpenSSH's bound.
pub const MAX: usize = 256 * 1024;
/// Longest data of one read or write.
pub const MAX_DATA: usize = MAX - 1024;
/// Longest path.
pub const MAX_PATH: usize = 4096;
/// Longest handle, by the protocol.
pub const MAX_HANDLE: usize = 256;

pub(crate) const INIT: u8 = 1;
pub(crate) const VERSION: u8 = 2;
pub(crate) const STATUS: u8 = 101;
pub(crate) const HANDLE: u8 = 102;
pub(crate) const DATA: u8 = 103;
pub(crate) const NAME: u8 = 104;
pub(crate) const ATTRS: u8 = 105;
pub(crate) const EXTENDED_REPLY: u8 = 201;

pub(crate) const WRITE: u8 = 6;

/// How a request went, in the protocol's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// It worked.
    Ok = 0,
    /// Nothing is left.
    Eof = 1,
    /// No such file.
    NoSuchFile = 2,
    /// The account may not.
    PermissionDenied = 3,
    /// Anything else.
    Failure = 4,
    /// The request makes no sense.
    BadMessage = 5,
    /// The request is unknown here.
    Unsupported = 8,
}

/// `OPEN`'s flags.
pub mod flag {
    /// Open for reading.
    pub const READ: u32 = 1;
    /// Open for writing.
    pub const WRITE: u32 = 2;
    /// Write at the end.
    pub const APPEND: u32 = 4;
    /// Make it if it is not there.
    pub const CREATE: u32 = 8;
    /// Empty it.
    pub const TRUNCATE: u32 = 16;
    /// Fail if it is there.
    pub const EXCLUSIVE: u32 = 32;
}

/// A request. Paths and handles are bytes: file names need not be text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the protocol's own words")]
pub enum Request<'a> {
    Open {
        path: &'a [u8],
        flags: u32,
        attrs: Attrs,
    },
    Close {
        handle: &'a [u8],
    },
    Read {
        handle: &'a [u8],
        offset: u64,
        len: u32,
    },
    Write {
        handle: &'a [u8],
        offset: u64,
        data: &'a [u8],
    },
    Lstat {
        path: &'a [u8],
    },
    Fstat {
        handle: &'a [u8],
    },
    Setstat {
        path: &'a [u8],
        attrs: Attrs,
    },
    Fsetstat {
        handle: &'a [u8],
        attrs: Attrs,
    },
    Opendir {
        path: &'a [u8],
    },
    Readdir {
        handle: &'a [u8],
    },
    Remove {
        path: &'a [u8],
    },
    Mkdir {
        path: &'a [u8],
        attrs: Attrs,
    },
    Rmdir {
        path: &'a [u8],
    },
    Realpath {
        path: &'a [u8],
    },
    Stat {
        path: &'a [u8],
    },
    Rename {
        from: &'a [u8],
        to: &'a [u8],
    },
    Readlink {
        path: &'a [u8],
    },
    /// Target first, as every implementation sends it.
    Symlink {
        target: &'a [u8],
        link: &'a [u8],
    },
    PosixRename {
        from: &'a [u8],
        to: &'a [u8],
    },
    Statvfs {
        path: &'a [u8],
    },
    Fstatvfs {
        handle: &'a [u8],
    },
    Hardlink {
        from: &'a [u8],
        to: &'a [u8],
    },
    Fsync {
        handle: &'a [u8],
    },
    Lsetstat {
        path: &'a [u8],
        attrs: Attrs,
    },
    Limits,
    ExpandPath {
        path: &'a [u8],
    },
    CopyData {
        from: &'a [u8],
        from_offset: u64,
        len: u64,
        to: &'a [u8],
        to_offset: u64,
    },
    HomeDirectory {
        user: &'a [u8],
    },
    /// A type or extension that is not known here.
    Unknown,
}

/// Extensions served, with their versions as OpenSSH numbers them.
pub(crate) const EXTENSIONS: &[(&str, &str)] = &[
    ("posix-rename@openssh.com", "1"),
    ("statvfs@openssh.com", "2"),
    ("fstatvfs@openssh.com", "2"),
    ("hardlink@openssh.com", "1"),
    ("fsync@openssh.com", "1"),
    ("lsetstat@openssh.com", "1"),
    ("limits@openssh.com", "1"),
    ("expand-path@openssh.com", "1"),
    ("copy-data", "1"),
    ("home-directory", "1"),
];

/// Splits a packet's body (without its length) into the request's id and the request.
///
/// # Errors
/// No id can be read, or with the id in `Ok(id, Err)`: the rest makes no sense.
pub fn decode(body: &[u8]) -> Result<(u32, Result<Request<'_>, Malformed>), Malformed> {
    let mut r = Reader::new(body);
    let kind = r.u8()?;
    let id = r.u32()?;
    Ok((id, request(kind, r)))
}

fn request(kind: u8, mut r: Reader<'_>) -> Result<Request<'_>, Malformed> {
    let r = &mut r;
    Ok(match kind {
        3 => Request::Open { path: path(r)?, flags: r.u32()?, attrs: Attrs::decode(r)? },
        4 => Request::Close { handle: handle(r)? },
        5 => Request::Read { handle: handle(r)?, offset: r.u64()?, len: r.u32()? },
        WRITE => Request::Write { handle: handle(r)?, offset: r.u64()?, data: r.string(MAX)? },
        7 => Request::Lstat { path: path(r)? },
        8 => Request::Fstat { handle: handle(r)? },
        9 => Request::Setstat { path: path(r)?, attrs: Attrs::decode(r)? },
        10 => Request::Fsetstat { handle: handle(r)?, attrs: Attrs::decode(r)? },
        11 => Request::Opendir { path: path(r)? },
        12 => Request::Readdir { handle: handle(r)? },
        13 => Request::Remove { path: path(r)? },
        14 => Request::Mkdir { path: path(r)?, attrs: Attrs::decode(r)? },
        15 => Request::Rmdir { path: path(r)? },
        16 => Request::Realpath { path: path(r)? },
        17 => Request::Stat { path: path(r)? },
        18 => Request::Rename { from: path(r)?, to: path(r)? },
        19 => Request::Readlink { path: path(r)? },
        20 => Request::Symlink { target: path(r)?, link: path(r)? },
        200 => extended(r)?,
        _ => Request::Unknown,
    })
}

fn extended<'a>(r: &mut Reader<'a>) -> Result<Request<'a>, Malformed> {
    Ok(match r.string(256)? {
        b"posix-rename@openssh.com" => Request::PosixRename { from: path(r)?, to: path(r)? },
        b"statvfs@openssh.com" => Request::Statvfs { path: path(r)? },
        b"fstatvfs@openssh.com" => Request::Fstatvfs { handle: handle(r)? },
        b"hardlink@openssh.com" => Request::Hardlink { from: path(r)?, to: path(r)? },
        b"fsync@openssh.com" => Request::Fsync { handle: handle(r)? },
        b"lsetstat@openssh.com" => Request::Lsetstat { path: path(r)?, attrs: Attrs::decode(r)? },
        b"limits@openssh.com" => Request::Limits,
        b"expand-path@openssh.com" => Request::ExpandPath { path: path(r)? },
        b"copy-data" => Request::CopyData {
            from: handle(r)?,
            from_offset: r.u64()?,
            len: r.u64()?,
            to: handle(r)?,
            to_offset: r.u64()?,
        },
        b"home-directory" => Request::HomeDirectory { user: r.string(256)? },
        _ => Request::Unknown,
    })
}

fn path<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let path = r.string(MAX_PATH)?;
    if path.contains(&0) { Err(Malformed("path with a NUL byte")) } else { Ok(path) }
}

fn handle<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    r.string(MAX_HANDLE)
}

/// Writes one packet: `fill` adds what follows type and id, and the length is put in front.
pub(crate) fn reply(out: &mut Vec<u8>, kind: u8, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    out.push(kind);
    out.put_u32(id);
    fill(out);
    close(out, start);
}

/// Fills in the length of the packet that began at `start`.
pub(crate) fn close(out: &mut [u8], start: usize) {
    let len = u32::try_from(out.len().saturating_sub(start + 4)).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

/// Writes a status with words for the person.
pub(crate) fn status(out: &mut Vec<u8>, id: u32, code: Code, words: &str) {
    reply(out, STATUS, id, |out| {
        out.put_u32(code as u32);
        out.put_string(words.as_bytes());
        out.put_string(b"");
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            crate::fuzz::sftp_packet(&bytes);
        }

        #[test]
        fn attributes_survive_the_wire(
            size in proptest::option::of(any::<u64>()),
            owner in proptest::option::of(any::<(u32, u32)>()),
            permissions in proptest::option::of(any::<u32>()),
            times in proptest::option::of(any::<(u32, u32)>()),
        ) {
            let attrs = Attrs { size, owner, permissions, times };
            let mut bytes = Vec::new();
            attrs.encode(&mut bytes);
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(Attrs::decode(&mut r).unwrap(), attrs);
            prop_assert_eq!(r.remaining(), 0);
        }
    }

    #[test]
    fn a_path_with_a_nul_or_of_5000_bytes_is_refused() {
        for bad in [b"a\0b".to_vec(), vec![b'x'; 5000]] {
            let mut body = vec![13];
            body.put_u32(9);
            body.put_string(&bad);
            let (id, request) = decode(&body).unwrap();
            assert_eq!(id, 9);
            assert!(request.is_err());
        }
    }
}
