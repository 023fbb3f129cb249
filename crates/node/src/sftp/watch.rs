//! Reads file-transfer packets as they pass, and says what was done to which file.
//!
//! Pure: bytes in, [`Deed`]s and [`Moved`] out; it changes nothing and holds nothing back. Data is hashed as it
//! passes and never gathered; other packets are gathered up to [`wire::sftp::MAX`]. Our server answers every request,
//! in order: so a reply belongs to the oldest request without one, whatever numbers the client chose for them, and one
//! with another number is a breach. At most [`PENDING`] requests may wait for replies and [`FILES`] files be open;
//! more, or bytes that are not the protocol, are [`Malformed`], and the caller ends the session: what cannot be watched
//! does not pass.

use std::collections::{BTreeMap, VecDeque};

use aws_lc_rs::digest;
use wire::sftp::{OpenFlags, Reply, Request, Status};

use super::cut::{DATA, Half, Piece, WRITE};
use super::extension::{self, Extension};
use crate::codec::Malformed;

/// Requests that may wait for replies: more than the pipes between client and server can hold.
pub const PENDING: usize = 65_536;
/// Files that may be open.
pub const FILES: usize = 4_096;

/// Handles can be guessed, and what went through a guessed one before its file is known would not be seen.
const NOT_GIVEN: Malformed = Malformed("a handle the server has not given");

/// What a client did, or tried to do, to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What.
    pub action: Action,
    /// To what; bytes that are no text are replaced.
    pub path: String,
    /// The other path of a rename or link.
    pub target: Option<String>,
    /// `OPEN`'s flags.
    pub flags: Option<u32>,
    /// Why not, in the server's words; `None` when it worked.
    pub error: Option<String>,
}

/// The actions that are told. Looking at attributes, names and lists is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the protocol's own words")]
pub enum Action {
    Open,
    Setstat,
    Fsetstat,
    Opendir,
    Remove,
    Mkdir,
    Rmdir,
    Rename,
    Symlink,
    Link,
    /// On the host itself, from one open file to another.
    Copy,
}

/// What went through one open file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The path it was opened by.
    pub path: String,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Hex SHA-256 of what was read, when it was read in order from the start.
    pub read_sha256: Option<String>,
    /// Hex SHA-256 of what was written, when it was written in order from the start.
    pub written_sha256: Option<String>,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An action has its outcome.
    Deed(Deed),
    /// A file was closed.
    Moved(Moved),
}

/// One direction of one file.
struct Flow {
    bytes: u64,
    /// Gone once something came out of order.
    hash: Option<digest::Context>,
}

impl Flow {
    fn new() -> Self {
        Self { bytes: 0, hash: Some(digest::Context::new(&digest::SHA256)) }
    }

    fn at(&mut self, offset: u64) {
        if offset != self.bytes {
            self.hash = None;
        }
    }

    fn data(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(data);
        }
    }

    /// So many of the bytes that passed were not taken: the hash is of what is not there.
    fn refused(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.hash = None;
    }

    fn finish(self) -> (u64, Option<String>) {
        let hex = |hash: digest::Context| {
            hash.finish().as_ref().iter().fold(String::with_capacity(64), |mut out, byte| {
                use std::fmt::Write;
                let _ = write!(out, "{byte:02x}");
                out
            })
        };
        (self.bytes, self.hash.filter(|_| self.bytes > 0).map(hex))
    }
}

struct File {
    path: String,
    read: Flow,
    written: Flow,
}

impl File {
    fn finish(self) -> Moved {
        let (read, read_sha256) = self.read.finish();
        let (written, written_sha256) = self.written.finish();
        Moved { path: self.path, read, written, read_sha256, written_sha256 }
    }
}

/// What a reply will be about.
enum Pending {
    /// The greeting, whose answer bears no number.
    Greeting,
    /// Nothing that is told.
    Nothing,
    Deed(Deed),
    Close(Vec<u8>),
    Read {
        handle: Vec<u8>,
        offset: u64,
    },
    /// So many bytes, counted and hashed as they passed.
    Write {
        handle: Vec<u8>,
        bytes: u64,
    },
}

/// Watches one conversation.
pub struct Watcher {
    up: Half,
    down: Half,
    /// Requests without replies, oldest first, with their numbers.
    pending: VecDeque<(u32, Pending)>,
    greeted: bool,
    files: BTreeMap<Vec<u8>, File>,
    /// The file a reply's or request's data is streaming through.
    streaming_up: Option<Vec<u8>>,
    streaming_down: Option<Vec<u8>>,
    seen: Vec<Seen>,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Watcher({} files)", self.files.len())
    }
}

impl Default for Watcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Watcher {
    /// A watcher of a conversation that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self {
            up: Half::new(WRITE),
            down: Half::new(DATA),
            pending: VecDeque::new(),
            greeted: false,
            files: BTreeMap::new(),
            streaming_up: None,
            streaming_down: None,
            seen: Vec::new(),
        }
    }

    /// Bytes from the client.
    ///
    /// # Errors
    /// They are not the protocol, or too much is pending.
    pub fn client(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while let Some(piece) = self.up.next(&mut bytes)? {
            match piece {
                Piece::Packet(body) => self.request(&body)?,
                Piece::Data(data) => {
                    if let Some(file) = self.streaming_up.as_ref().and_then(|h| self.files.get_mut(h)) {
                        file.written.data(data);
                    }
                    if let Some((_, Pending::Write { bytes, .. })) = self.pending.back_mut() {
                        *bytes += data.len() as u64;
                    }
                }
            }
        }
        Ok(())
    }

    /// Bytes from the server.
    ///
    /// # Errors
    /// They are not the protocol.
    pub fn server(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while let Some(piece) = self.down.next(&mut bytes)? {
            match piece {
                Piece::Packet(body) => self.reply(&body)?,
                Piece::Data(data) => {
                    if let Some(file) = self.streaming_down.as_ref().and_then(|h| self.files.get_mut(h)) {
                        file.read.data(data);
                    }
                }
            }
        }
        Ok(())
    }

    /// What was seen since the last call.
    pub fn take(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// What was seen, and every file still open.
    #[must_use]
    pub fn finish(mut self) -> Vec<Seen> {
        let open = std::mem::take(&mut self.files);
        self.seen.extend(open.into_values().map(|file| Seen::Moved(file.finish())));
        self.seen
    }

    fn request(&mut self, body: &[u8]) -> Result<(), Malformed> {
        self.streaming_up = None;
        let (id, pending) = if std::mem::replace(&mut self.greeted, true) {
            self.asked(body)?
        } else {
            (0, Pending::Greeting)
        };
        if self.pending.len() >= PENDING {
            return Err(Malformed("too many requests without replies"));
        }
        self.pending.push_back((id, pending));
        Ok(())
    }

    /// A request's number, and what its reply will be about.
    fn asked(&mut self, body: &[u8]) -> Result<(u32, Pending), Malformed> {
        let Ok((id, request)) = Request::decode(body) else {
            // What makes no sense to us makes none to the server, which reads it the same way and says so.
            return Ok((number(body)?, Pending::Nothing));
        };
        let pending = match request {
            Request::Close { handle } => Pending::Close(handle.to_vec()),
            Request::Read { handle, offset, .. } => Pending::Read { handle: handle.to_vec(), offset },
            Request::Write { handle, offset, .. } => {
                self.files.get_mut(handle).ok_or(NOT_GIVEN)?.written.at(offset);
                self.streaming_up = Some(handle.to_vec());
                Pending::Write { handle: handle.to_vec(), bytes: 0 }
            }
            other => self.deed(other)?.map_or(Pending::Nothing, Pending::Deed),
        };
        Ok((id, pending))
    }

    fn deed(&self, request: Request<'_>) -> Result<Option<Deed>, Malformed> {
        Ok(Some(match request {
            Request::Open { path, flags, .. } => Deed { flags: Some(flags.0), ..plain(Action::Open, path) },
            Request::Setstat { path, .. } => plain(Action::Setstat, path),
            Request::Fsetstat { handle, .. } => plain(Action::Fsetstat, self.path(handle)?),
            Request::Opendir { path } => plain(Action::Opendir, path),
            Request::Remove { path } => plain(Action::Remove, path),
            Request::Mkdir { path, .. } => plain(Action::Mkdir, path),
            Request::Rmdir { path } => plain(Action::Rmdir, path),
            Request::Rename { from, to } => pair(Action::Rename, from, to),
            Request::Symlink { target, link } => pair(Action::Symlink, link, target),
            Request::Extended { name, body } => {
                return extension::decode(name, body).map_or(Ok(None), |extension| self.extended(extension));
            }
            Request::Init { .. }
            | Request::Close { .. }
            | Request::Read { .. }
            | Request::Write { .. }
            | Request::Lstat { .. }
            | Request::Fstat { .. }
            | Request::Readdir { .. }
            | Request::Realpath { .. }
            | Request::Stat { .. }
            | Request::Readlink { .. } => return Ok(None),
        }))
    }

    fn extended(&self, extension: Extension<'_>) -> Result<Option<Deed>, Malformed> {
        Ok(Some(match extension {
            Extension::PosixRename { from, to } => pair(Action::Rename, from, to),
            Extension::Hardlink { from, to } => pair(Action::Link, to, from),
            Extension::Lsetstat { path, .. } => plain(Action::Setstat, path),
            Extension::CopyData { from, to, .. } => pair(Action::Copy, self.path(from)?, self.path(to)?),
            Extension::Statvfs { .. }
            | Extension::Fstatvfs { .. }
            | Extension::Fsync { .. }
            | Extension::Limits
            | Extension::ExpandPath { .. }
            | Extension::HomeDirectory { .. }
            | Extension::Unknown => return Ok(None),
        }))
    }

    /// The path an open file was opened by.
    fn path(&self, handle: &[u8]) -> Result<&[u8], Malformed> {
        self.files.get(handle).map(|file| file.path.as_bytes()).ok_or(NOT_GIVEN)
    }

    fn reply(&mut self, body: &[u8]) -> Result<(), Malformed> {
        self.streaming_down = None;
        let (id, pending) = self.pending.pop_front().ok_or(Malformed("a reply nobody waits for"))?;
        match pending {
            // Listings are long and tell us nothing: only what is told of is read.
            Pending::Greeting => return Ok(()),
            _ if number(body)? != id => return Err(Malformed("a reply to another request")),
            Pending::Nothing => return Ok(()),
            Pending::Deed(_) | Pending::Close(_) | Pending::Read { .. } | Pending::Write { .. } => {}
        }
        let (_, reply) = Reply::decode(body).map_err(|error| Malformed(error.why()))?;
        match (pending, reply) {
            (Pending::Read { handle, offset }, Reply::Data(_)) => {
                if let Some(file) = self.files.get_mut(&handle) {
                    file.read.at(offset);
                    self.streaming_down = Some(handle);
                }
            }
            (Pending::Write { handle, bytes }, reply) => {
                if !matches!(reply, Reply::Status { status: Status::Ok, .. })
                    && let Some(file) = self.files.get_mut(&handle)
                {
                    file.written.refused(bytes);
                }
            }
            (Pending::Greeting | Pending::Nothing | Pending::Read { .. }, _) => {}
            (Pending::Close(handle), _) => {
                if let Some(file) = self.files.remove(&handle) {
                    self.seen.push(Seen::Moved(file.finish()));
                }
            }
            (Pending::Deed(mut deed), reply) => {
                match reply {
                    Reply::Handle(handle) if deed.action == Action::Open => self.opened(&deed, handle)?,
                    Reply::Status { status, message } if status != Status::Ok => {
                        deed.error = Some(if message.is_empty() { "failed" } else { message }.to_owned());
                    }
                    _ => {}
                }
                self.seen.push(Seen::Deed(deed));
            }
        }
        Ok(())
    }

    fn opened(&mut self, deed: &Deed, handle: &[u8]) -> Result<(), Malformed> {
        if self.files.len() >= FILES {
            return Err(Malformed("too many open files"));
        }
        let mut file = File { path: deed.path.clone(), read: Flow::new(), written: Flow::new() };
        if deed.flags.is_some_and(|flags| OpenFlags(flags).has(OpenFlags::APPEND)) {
            // Where the data lands is the file's end, not the offset.
            file.written.hash = None;
        }
        self.files.insert(handle.to_vec(), file);
        Ok(())
    }
}

/// The number every packet but the greeting's two has behind its type.
fn number(body: &[u8]) -> Result<u32, Malformed> {
    let number = body.get(1..5).and_then(|number| number.first_chunk::<4>());
    number.map(|number| u32::from_be_bytes(*number)).ok_or(Malformed("a packet without a number"))
}

fn plain(action: Action, path: &[u8]) -> Deed {
    Deed { action, path: text(path), target: None, flags: None, error: None }
}

fn pair(action: Action, path: &[u8], target: &[u8]) -> Deed {
    Deed { target: Some(text(target)), ..plain(action, path) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
