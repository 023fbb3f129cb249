//! An SFTP client over one channel: requests overlap, so a copy is as fast as the way, not as its round trips.
//!
//! ```text
//! Sftp::begin(stream) → stat, list, rename, …      one question, one answer
//!                     → reading(path) → next()      pieces of a file in order, read ahead
//!                     → writing(path) → write()     pieces sent on, settled when asked
//! ```
//!
//! At most [`WINDOW`] reads or writes are under way; memory is that many chunks of [`CHUNK`]. One file is open for
//! reading or writing at a time. No deadlines: they are the caller's, who may drop a conversation at any moment.

mod transfer;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use wire::Reader;
pub use wire::sftp::Attrs;
use wire::sftp::{Reply, Request, Status, VERSION, frame};

pub use transfer::{Reading, Start, Writing};

/// Reads or writes under way at once.
pub const WINDOW: usize = 64;
/// Bytes of one read or write: what every server takes.
pub const CHUNK: usize = 32 * 1024;

/// Why something asked of a server failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path is not there.
    #[error("no such file or directory")]
    NotFound,
    /// The account may not.
    #[error("permission denied")]
    Denied,
    /// The server said no, in its words, cleaned of control characters.
    #[error("{0}")]
    Refused(String),
    /// The server does not know the request.
    #[error("the server cannot do that")]
    Unsupported,
    /// The answer does not fit the question.
    #[error("the server answered something else than was asked")]
    Confused,
    /// The server's bytes cannot be.
    #[error("malformed packet from the server")]
    Malformed(#[from] wire::Malformed),
    /// The stream under the conversation failed, or the server hung up.
    #[error("the connection to the server broke")]
    Broken(#[from] std::io::Error),
}

/// A conversation with a server.
#[derive(Debug)]
pub struct Sftp<S> {
    stream: S,
    input: Vec<u8>,
    /// Bytes of `input` that have been consumed.
    used: usize,
    next: u32,
}

/// A name of a directory and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name; a stranger's bytes.
    pub name: Vec<u8>,
    /// Its attributes, not following a link.
    pub attrs: Attrs,
}

/// An answer, owned.
#[derive(Debug)]
enum Answer {
    Done,
    Eof,
    Failed(Status, String),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<Entry>),
    Attrs(Attrs),
}

fn own(reply: Reply<'_>) -> Answer {
    match reply {
        Reply::Status { status: Status::Ok, .. } | Reply::Version { .. } | Reply::Extended(_) => Answer::Done,
        Reply::Status { status: Status::Eof, .. } => Answer::Eof,
        Reply::Status { status, message } => Answer::Failed(status, crate::error::clean(message.as_bytes())),
        Reply::Handle(handle) => Answer::Handle(handle.to_vec()),
        Reply::Data(data) => Answer::Data(data.to_vec()),
        Reply::Names(names) => {
            Answer::Names(names.iter().map(|n| Entry { name: n.name.to_vec(), attrs: n.attrs }).collect())
        }
        Reply::Attrs(attrs) => Answer::Attrs(attrs),
    }
}

fn unexpected(answer: Answer) -> Error {
    match answer {
        Answer::Failed(Status::NoSuchFile, _) => Error::NotFound,
        Answer::Failed(Status::PermissionDenied, _) => Error::Denied,
        Answer::Failed(Status::Unsupported, _) => Error::Unsupported,
        Answer::Failed(_, words) if words.is_empty() => Error::Refused("the server refused".to_owned()),
        Answer::Failed(_, words) => Error::Refused(words),
        Answer::Eof
        | Answer::Done
        | Answer::Handle(_)
        | Answer::Data(_)
        | Answer::Names(_)
        | Answer::Attrs(_) => Error::Confused,
    }
}

/// A path within an extended request.
fn put_path(body: &mut Vec<u8>, path: &[u8]) {
    body.extend_from_slice(&u32::try_from(path.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(path);
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sftp<S> {
    /// Begins the conversation.
    ///
    /// # Errors
    /// The server hung up or speaks another protocol.
    pub async fn begin(stream: S) -> Result<Self, Error> {
        let mut sftp = Self { stream, input: Vec::new(), used: 0, next: 1 };
        let mut out = Vec::new();
        Request::Init { version: VERSION }.encode(0, &mut out);
        sftp.stream.write_all(&out).await?;
        sftp.stream.flush().await?;
        sftp.receive().await?;
        Ok(sftp)
    }

    async fn send(&mut self, request: &Request<'_>) -> Result<u32, Error> {
        let id = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        let mut out = Vec::with_capacity(CHUNK + 64);
        request.encode(id, &mut out);
        self.stream.write_all(&out).await?;
        Ok(id)
    }

    async fn receive(&mut self) -> Result<(u32, Answer), Error> {
        self.stream.flush().await?;
        loop {
            let pending = self.input.get(self.used..).unwrap_or_default();
            let mut reader = Reader::new(pending);
            if let Some(body) = frame(&mut reader)? {
                let (id, reply) = Reply::decode(body)?;
                let answer = own(reply);
                self.used += pending.len() - reader.remaining();
                return Ok((id, answer));
            }
            self.input.drain(..self.used);
            self.used = 0;
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Asks one thing and waits for its answer.
    async fn ask(&mut self, request: &Request<'_>) -> Result<Answer, Error> {
        let id = self.send(request).await?;
        let (answered, answer) = self.receive().await?;
        if answered == id { Ok(answer) } else { Err(Error::Confused) }
    }

    async fn expect_done(&mut self, request: &Request<'_>) -> Result<(), Error> {
        match self.ask(request).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    async fn expect_attrs(&mut self, request: &Request<'_>) -> Result<Option<Attrs>, Error> {
        match self.ask(request).await? {
            Answer::Attrs(attrs) => Ok(Some(attrs)),
            Answer::Failed(Status::NoSuchFile, _) => Ok(None),
            other => Err(unexpected(other)),
        }
    }

    /// Attributes of a path, links followed; `None` when it is not there.
    ///
    /// # Errors
    /// The server refused.
    pub async fn stat(&mut self, path: &[u8]) -> Result<Option<Attrs>, Error> {
        self.expect_attrs(&Request::Stat { path }).await
    }

    /// Attributes of a path, a last link not followed; `None` when it is not there.
    ///
    /// # Errors
    /// The server refused.
    pub async fn lstat(&mut self, path: &[u8]) -> Result<Option<Attrs>, Error> {
        self.expect_attrs(&Request::Lstat { path }).await
    }

    /// The absolute path without links; the last part need not be there.
    ///
    /// # Errors
    /// The server refused.
    pub async fn real_path(&mut self, path: &[u8]) -> Result<Vec<u8>, Error> {
        match self.ask(&Request::Realpath { path }).await? {
            Answer::Names(names) => names.into_iter().next().map(|n| n.name).ok_or(Error::Confused),
            other => Err(unexpected(other)),
        }
    }

    /// The absolute path of one that begins with `~` or `~user`; only the server knows what those stand for
    /// (`expand-path@openssh.com`).
    ///
    /// # Errors
    /// The server refused, or does not know how.
    pub async fn expand(&mut self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let mut body = Vec::with_capacity(path.len() + 4);
        put_path(&mut body, path);
        match self.ask(&Request::Extended { name: b"expand-path@openssh.com", body: &body }).await? {
            Answer::Names(names) => names.into_iter().next().map(|n| n.name).ok_or(Error::Confused),
            other => Err(unexpected(other)),
        }
    }

    /// Makes a directory; fine when it is there.
    ///
    /// # Errors
    /// The server refused.
    pub async fn mkdir(&mut self, path: &[u8], mode: u32) -> Result<(), Error> {
        if self.stat(path).await?.and_then(|a| a.mode).is_some_and(is_dir) {
            return Ok(());
        }
        let attrs = Attrs { mode: Some(mode & 0o7777), ..Attrs::default() };
        self.expect_done(&Request::Mkdir { path, attrs }).await
    }

    /// At most about `most` names in a directory, without `.` and `..`, sorted, and whether there are more.
    ///
    /// # Errors
    /// The server refused.
    pub async fn list(&mut self, path: &[u8], most: usize) -> Result<(Vec<Entry>, bool), Error> {
        let handle = match self.ask(&Request::Opendir { path }).await? {
            Answer::Handle(handle) => handle,
            other => return Err(unexpected(other)),
        };
        let mut names = Vec::new();
        let more = loop {
            match self.ask(&Request::Readdir { handle: &handle }).await? {
                Answer::Names(more) => {
                    names.extend(more.into_iter().filter(|n| n.name != b"." && n.name != b".."));
                }
                Answer::Eof => break false,
                other => return Err(unexpected(other)),
            }
            if names.len() > most {
                break true;
            }
        };
        self.expect_done(&Request::Close { handle: &handle }).await?;
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok((names, more))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// The server refused.
    pub async fn remove(&mut self, path: &[u8]) -> Result<(), Error> {
        self.expect_done(&Request::Remove { path }).await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The server refused.
    pub async fn rmdir(&mut self, path: &[u8]) -> Result<(), Error> {
        self.expect_done(&Request::Rmdir { path }).await
    }

    /// Renames; the new name must not be there.
    ///
    /// # Errors
    /// The server refused.
    pub async fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        self.expect_done(&Request::Rename { from, to }).await
    }

    /// Renames and replaces what has the new name, in one step (`posix-rename@openssh.com`).
    ///
    /// # Errors
    /// The server refused, or does not know how.
    pub async fn replace(&mut self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let mut body = Vec::with_capacity(from.len() + to.len() + 8);
        for path in [from, to] {
            put_path(&mut body, path);
        }
        self.expect_done(&Request::Extended { name: b"posix-rename@openssh.com", body: &body }).await
    }

    /// Sets what `attrs` has: size, mode, times.
    ///
    /// # Errors
    /// The server refused.
    pub async fn set(&mut self, path: &[u8], attrs: Attrs) -> Result<(), Error> {
        self.expect_done(&Request::Setstat { path, attrs }).await
    }
}

/// Whether mode bits say directory.
#[must_use]
pub const fn is_dir(mode: u32) -> bool {
    mode & 0o170_000 == 0o040_000
}

/// True when a mode is that of a regular file, or does not say what it is of.
#[must_use]
pub const fn is_regular(mode: u32) -> bool {
    matches!(mode & 0o170_000, 0 | 0o100_000)
}
