//! What a server answers.

use super::{Attrs, Body, MAX, Malformed, Reader, bad, begin, end, put_string};

/// How a request went: the codes of SSH_FXP_STATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Nothing left to read.
    Eof,
    /// There is no such file.
    NoSuchFile,
    /// Not allowed.
    PermissionDenied,
    /// Something else.
    Failure,
    /// The request makes no sense.
    BadMessage,
    /// Not known here.
    Unsupported,
    /// A code of a later version.
    Unknown(u32),
}

impl Status {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Status::Ok => 0,
            Status::Eof => 1,
            Status::NoSuchFile => 2,
            Status::PermissionDenied => 3,
            Status::Failure => 4,
            Status::BadMessage => 5,
            Status::Unsupported => 8,
            Status::Unknown(code) => code,
        }
    }

    const fn from_code(code: u32) -> Self {
        match code {
            0 => Status::Ok,
            1 => Status::Eof,
            2 => Status::NoSuchFile,
            3 => Status::PermissionDenied,
            4 => Status::Failure,
            5 => Status::BadMessage,
            8 => Status::Unsupported,
            other => Status::Unknown(other),
        }
    }
}

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// The file's name.
    pub name: &'a [u8],
    /// A line as `ls -l` prints it.
    pub long: &'a [u8],
    /// Its attributes.
    pub attrs: Attrs,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Answers Init; the only one without an id.
    Version {
        /// The version both speak from now on.
        version: u32,
        /// Extensions: name and data.
        extensions: Vec<(&'a [u8], &'a [u8])>,
    },
    /// How it went.
    Status {
        /// The code.
        status: Status,
        /// For people.
        message: &'a str,
    },
    /// A file or directory is open.
    Handle(&'a [u8]),
    /// Bytes read.
    Data(&'a [u8]),
    /// Names.
    Names(Vec<Name<'a>>),
    /// Attributes.
    Attrs(Attrs),
    /// The answer to an extended request.
    Extended(&'a [u8]),
}

impl<'a> Reply<'a> {
    /// Decodes a packet body into request id and answer. The id of [`Reply::Version`] is 0.
    ///
    /// # Errors
    /// A type that is no answer, a field that is cut or too long.
    pub fn decode(bytes: &'a [u8]) -> Result<(u32, Self), Malformed> {
        let mut body = Body(Reader::new(bytes));
        let kind = body.u8()?;
        if kind == 2 {
            let version = body.u32()?;
            let mut extensions = Vec::new();
            while !body.0.is_empty() && extensions.len() < 64 {
                extensions.push((body.string(256)?, body.string(4096)?));
            }
            return Ok((0, Reply::Version { version, extensions }));
        }
        let id = body.u32()?;
        let reply = match kind {
            101 => {
                let status = Status::from_code(body.u32()?);
                // Version 3 servers send message and language; some old ones leave them out.
                let message = if body.0.is_empty() { &[][..] } else { body.string(4096)? };
                Reply::Status { status, message: std::str::from_utf8(message).unwrap_or_default() }
            }
            102 => Reply::Handle(body.handle()?),
            103 => Reply::Data(body.string(MAX)?),
            104 => Reply::Names(names(&mut body)?),
            105 => Reply::Attrs(Attrs::decode(&mut body)?),
            201 => Reply::Extended(body.0.take(body.0.remaining()).unwrap_or_default()),
            _ => return Err(bad("a type that is no answer")),
        };
        Ok((id, reply))
    }

    /// Appends the packet, its length first.
    pub fn encode(&self, id: u32, out: &mut Vec<u8>) {
        match self {
            Reply::Version { version, extensions } => {
                let at = begin(out, 2, None);
                out.extend_from_slice(&version.to_be_bytes());
                for (name, data) in extensions {
                    put_string(out, name);
                    put_string(out, data);
                }
                end(out, at);
            }
            Reply::Status { status, message } => {
                let at = begin(out, 101, Some(id));
                out.extend_from_slice(&status.code().to_be_bytes());
                put_string(out, message.as_bytes());
                put_string(out, b"en");
                end(out, at);
            }
            Reply::Handle(handle) => whole(out, 102, id, |out| put_string(out, handle)),
            Reply::Data(data) => whole(out, 103, id, |out| put_string(out, data)),
            Reply::Names(names) => whole(out, 104, id, |out| {
                out.extend_from_slice(&u32::try_from(names.len()).unwrap_or(u32::MAX).to_be_bytes());
                for name in names {
                    put_string(out, name.name);
                    put_string(out, name.long);
                    name.attrs.encode(out);
                }
            }),
            Reply::Attrs(attrs) => whole(out, 105, id, |out| attrs.encode(out)),
            Reply::Extended(body) => whole(out, 201, id, |out| out.extend_from_slice(body)),
        }
    }
}

fn whole(out: &mut Vec<u8>, kind: u8, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let at = begin(out, kind, Some(id));
    fill(out);
    end(out, at);
}

/// Names: the count is believed only as far as there are bytes for it (12 a name at least).
fn names<'a>(body: &mut Body<'a>) -> Result<Vec<Name<'a>>, Malformed> {
    let count = usize::try_from(body.u32()?).unwrap_or(usize::MAX);
    if count > body.0.remaining() / 12 {
        return Err(bad("more names than bytes"));
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        names.push(Name { name: body.path()?, long: body.string(MAX)?, attrs: Attrs::decode(body)? });
    }
    Ok(names)
}
