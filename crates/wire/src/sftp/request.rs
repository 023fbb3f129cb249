//! What a client asks.

use super::{Attrs, Body, MAX, Malformed, Reader, bad, begin, end, put_string};

/// How a file is opened: the bits of SSH_FXP_OPEN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// For reading.
    pub const READ: u32 = 0x01;
    /// For writing.
    pub const WRITE: u32 = 0x02;
    /// Every write goes to the end.
    pub const APPEND: u32 = 0x04;
    /// Made when it is not there.
    pub const CREATE: u32 = 0x08;
    /// Emptied when it is there.
    pub const TRUNCATE: u32 = 0x10;
    /// Must not be there.
    pub const EXCLUSIVE: u32 = 0x20;

    /// Whether all of `bits` are set.
    #[must_use]
    pub const fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }
}

/// A request. Paths are bytes, as file names are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Begins the conversation; the only one without an id.
    Init {
        /// The version the client speaks.
        version: u32,
    },
    /// Opens a file.
    Open {
        /// Which.
        path: &'a [u8],
        /// How.
        flags: OpenFlags,
        /// Attributes of a file that is made.
        attrs: Attrs,
    },
    /// Gives a handle back.
    Close {
        /// Which.
        handle: &'a [u8],
    },
    /// Reads.
    Read {
        /// From which file.
        handle: &'a [u8],
        /// From where.
        offset: u64,
        /// At most this many bytes.
        length: u32,
    },
    /// Writes.
    Write {
        /// To which file.
        handle: &'a [u8],
        /// Where.
        offset: u64,
        /// What.
        data: &'a [u8],
    },
    /// Attributes of a path, without following a last link.
    Lstat {
        /// Which.
        path: &'a [u8],
    },
    /// Attributes of an open file.
    Fstat {
        /// Which.
        handle: &'a [u8],
    },
    /// Sets attributes of a path.
    Setstat {
        /// Which.
        path: &'a [u8],
        /// To what.
        attrs: Attrs,
    },
    /// Sets attributes of an open file.
    Fsetstat {
        /// Which.
        handle: &'a [u8],
        /// To what.
        attrs: Attrs,
    },
    /// Opens a directory for listing.
    Opendir {
        /// Which.
        path: &'a [u8],
    },
    /// The next names of a directory.
    Readdir {
        /// Which.
        handle: &'a [u8],
    },
    /// Removes a file.
    Remove {
        /// Which.
        path: &'a [u8],
    },
    /// Makes a directory.
    Mkdir {
        /// Which.
        path: &'a [u8],
        /// With which attributes.
        attrs: Attrs,
    },
    /// Removes an empty directory.
    Rmdir {
        /// Which.
        path: &'a [u8],
    },
    /// The absolute path.
    Realpath {
        /// Of which.
        path: &'a [u8],
    },
    /// Attributes of a path.
    Stat {
        /// Which.
        path: &'a [u8],
    },
    /// Renames; the new name must not exist.
    Rename {
        /// From.
        from: &'a [u8],
        /// To.
        to: &'a [u8],
    },
    /// Where a link points.
    Readlink {
        /// Which.
        path: &'a [u8],
    },
    /// Makes a symbolic link. On the wire the target comes first, as OpenSSH has always sent it.
    Symlink {
        /// What the link says.
        target: &'a [u8],
        /// Where the link is made.
        link: &'a [u8],
    },
    /// A vendor's request, e.g. `posix-rename@openssh.com`.
    Extended {
        /// Its name.
        name: &'a [u8],
        /// Its fields, undecoded: whoever serves the extension reads them; see [`Request::two_paths`].
        body: &'a [u8],
    },
}

impl<'a> Request<'a> {
    /// Decodes a packet body (see [`frame`](super::frame)) into request id and request. The id of [`Request::Init`]
    /// is 0.
    ///
    /// # Errors
    /// A type that is no request, a field that is cut or too long, bytes left over.
    pub fn decode(bytes: &'a [u8]) -> Result<(u32, Self), Malformed> {
        let mut body = Body(Reader::new(bytes));
        let kind = body.u8()?;
        if kind == 1 {
            // Extensions of INIT follow and are read over.
            return Ok((0, Request::Init { version: body.u32()? }));
        }
        let id = body.u32()?;
        let request = match kind {
            3 => Request::Open {
                path: body.path()?,
                flags: OpenFlags(body.u32()?),
                attrs: Attrs::decode(&mut body)?,
            },
            4 => Request::Close { handle: body.handle()? },
            5 => Request::Read { handle: body.handle()?, offset: body.u64()?, length: body.u32()? },
            6 => Request::Write { handle: body.handle()?, offset: body.u64()?, data: body.string(MAX)? },
            7 => Request::Lstat { path: body.path()? },
            8 => Request::Fstat { handle: body.handle()? },
            9 => Request::Setstat { path: body.path()?, attrs: Attrs::decode(&mut body)? },
            10 => Request::Fsetstat { handle: body.handle()?, attrs: Attrs::decode(&mut body)? },
            11 => Request::Opendir { path: body.path()? },
            12 => Request::Readdir { handle: body.handle()? },
            13 => Request::Remove { path: body.path()? },
            14 => Request::Mkdir { path: body.path()?, attrs: Attrs::decode(&mut body)? },
            15 => Request::Rmdir { path: body.path()? },
            16 => Request::Realpath { path: body.path()? },
            17 => Request::Stat { path: body.path()? },
            18 => Request::Rename { from: body.path()?, to: body.path()? },
            19 => Request::Readlink { path: body.path()? },
            20 => Request::Symlink { target: body.path()?, link: body.path()? },
            200 => {
                let name = body.string(256)?;
                let rest = body.0.take(body.0.remaining()).unwrap_or_default();
                Request::Extended { name, body: rest }
            }
            _ => return Err(bad("a type that is no request")),
        };
        if body.0.is_empty() { Ok((id, request)) } else { Err(bad("bytes after its last field")) }
    }

    /// Appends the packet, its length first.
    pub fn encode(&self, id: u32, out: &mut Vec<u8>) {
        let at = match self {
            Request::Init { .. } => begin(out, 1, None),
            other => begin(out, other.kind(), Some(id)),
        };
        match self {
            Request::Init { version } => out.extend_from_slice(&version.to_be_bytes()),
            Request::Open { path, flags, attrs } => {
                put_string(out, path);
                out.extend_from_slice(&flags.0.to_be_bytes());
                attrs.encode(out);
            }
            Request::Close { handle } | Request::Fstat { handle } | Request::Readdir { handle } => {
                put_string(out, handle);
            }
            Request::Read { handle, offset, length } => {
                put_string(out, handle);
                out.extend_from_slice(&offset.to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
            }
            Request::Write { handle, offset, data } => {
                put_string(out, handle);
                out.extend_from_slice(&offset.to_be_bytes());
                put_string(out, data);
            }
            Request::Lstat { path }
            | Request::Opendir { path }
            | Request::Remove { path }
            | Request::Rmdir { path }
            | Request::Realpath { path }
            | Request::Stat { path }
            | Request::Readlink { path } => put_string(out, path),
            Request::Setstat { path, attrs } | Request::Mkdir { path, attrs } => {
                put_string(out, path);
                attrs.encode(out);
            }
            Request::Fsetstat { handle, attrs } => {
                put_string(out, handle);
                attrs.encode(out);
            }
            Request::Rename { from, to } => {
                put_string(out, from);
                put_string(out, to);
            }
            Request::Symlink { target, link } => {
                put_string(out, target);
                put_string(out, link);
            }
            Request::Extended { name, body } => {
                put_string(out, name);
                out.extend_from_slice(body);
            }
        }
        end(out, at);
    }

    const fn kind(&self) -> u8 {
        match self {
            Request::Init { .. } => 1,
            Request::Open { .. } => 3,
            Request::Close { .. } => 4,
            Request::Read { .. } => 5,
            Request::Write { .. } => 6,
            Request::Lstat { .. } => 7,
            Request::Fstat { .. } => 8,
            Request::Setstat { .. } => 9,
            Request::Fsetstat { .. } => 10,
            Request::Opendir { .. } => 11,
            Request::Readdir { .. } => 12,
            Request::Remove { .. } => 13,
            Request::Mkdir { .. } => 14,
            Request::Rmdir { .. } => 15,
            Request::Realpath { .. } => 16,
            Request::Stat { .. } => 17,
            Request::Rename { .. } => 18,
            Request::Readlink { .. } => 19,
            Request::Symlink { .. } => 20,
            Request::Extended { .. } => 200,
        }
    }

    /// The two paths of an extended request such as `posix-rename@openssh.com` or `hardlink@openssh.com`.
    ///
    /// # Errors
    /// The body holds something else.
    pub fn two_paths(body: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Malformed> {
        let mut body = Body(Reader::new(body));
        let both = (body.path()?, body.path()?);
        if body.0.is_empty() { Ok(both) } else { Err(bad("bytes after its last field")) }
    }
}
