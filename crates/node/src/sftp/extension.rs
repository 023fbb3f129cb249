//! OpenSSH's extensions that are served (its PROTOCOL file, section 4), read out of `wire`'s extended requests.

use wire::sftp::{Attrs, MAX_HANDLE, MAX_PATH, Request};

use crate::codec::{Malformed, Reader};

/// An extended request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension<'a> {
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
    /// One that is not served.
    Unknown,
}

/// Extensions served, with their versions as OpenSSH numbers them.
pub(crate) const SERVED: [(&[u8], &[u8]); 10] = [
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"fstatvfs@openssh.com", b"2"),
    (b"hardlink@openssh.com", b"1"),
    (b"fsync@openssh.com", b"1"),
    (b"lsetstat@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
    (b"expand-path@openssh.com", b"1"),
    (b"copy-data", b"1"),
    (b"home-directory", b"1"),
];

/// Reads the fields of the extension `name`.
pub(crate) fn decode<'a>(name: &[u8], body: &'a [u8]) -> Result<Extension<'a>, Malformed> {
    let mut r = Reader::new(body);
    let r = &mut r;
    let both = || Request::two_paths(body).map_err(|_| Malformed("two paths"));
    Ok(match name {
        b"posix-rename@openssh.com" => {
            let (from, to) = both()?;
            Extension::PosixRename { from, to }
        }
        b"statvfs@openssh.com" => Extension::Statvfs { path: path(r)? },
        b"fstatvfs@openssh.com" => Extension::Fstatvfs { handle: r.string(MAX_HANDLE)? },
        b"hardlink@openssh.com" => {
            let (from, to) = both()?;
            Extension::Hardlink { from, to }
        }
        b"fsync@openssh.com" => Extension::Fsync { handle: r.string(MAX_HANDLE)? },
        b"lsetstat@openssh.com" => Extension::Lsetstat { path: path(r)?, attrs: attrs(body)? },
        b"limits@openssh.com" => Extension::Limits,
        b"expand-path@openssh.com" => Extension::ExpandPath { path: path(r)? },
        b"copy-data" => Extension::CopyData {
            from: r.string(MAX_HANDLE)?,
            from_offset: r.u64()?,
            len: r.u64()?,
            to: r.string(MAX_HANDLE)?,
            to_offset: r.u64()?,
        },
        b"home-directory" => Extension::HomeDirectory { user: r.string(256)? },
        _ => Extension::Unknown,
    })
}

fn path<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let path = r.string(MAX_PATH)?;
    if path.contains(&0) { Err(Malformed("path with a NUL byte")) } else { Ok(path) }
}

/// `lsetstat` has the fields of SETSTAT, which `wire` reads.
fn attrs(body: &[u8]) -> Result<Attrs, Malformed> {
    const SETSTAT: [u8; 5] = [9, 0, 0, 0, 0];
    match Request::decode(&[&SETSTAT, body].concat()) {
        Ok((_, Request::Setstat { attrs, .. })) => Ok(attrs),
        _ => Err(Malformed("attributes")),
    }
}
