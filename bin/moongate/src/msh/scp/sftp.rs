//! An SFTP client over one channel: requests overlap, so a copy is as fast as the way, not as its round trips.
//!
//! At most [`WINDOW`] reads or writes are under way; memory is that many chunks.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use wire::Reader;
use wire::sftp::{Attrs, OpenFlags, Reply, Request, Status, VERSION, frame};

/// Reads or writes under way at once.
const WINDOW: usize = 64;
/// Bytes of one read or write: what every server takes.
pub(crate) const CHUNK: usize = 32 * 1024;

/// A conversation with a server.
pub(crate) struct Sftp<S> {
    stream: S,
    input: Vec<u8>,
    /// Bytes of `input` that have been consumed.
    used: usize,
    next: u32,
}

/// An answer, owned.
#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    Eof,
    Failed(Status, String),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<(Vec<u8>, Attrs)>),
    Attrs(Attrs),
}

fn own(reply: Reply<'_>) -> Answer {
    match reply {
        Reply::Status { status: Status::Ok, .. } | Reply::Version { .. } | Reply::Extended(_) => Answer::Done,
        Reply::Status { status: Status::Eof, .. } => Answer::Eof,
        Reply::Status { status, message } => Answer::Failed(status, message.to_owned()),
        Reply::Handle(handle) => Answer::Handle(handle.to_vec()),
        Reply::Data(data) => Answer::Data(data.to_vec()),
        Reply::Names(names) => Answer::Names(names.iter().map(|n| (n.name.to_vec(), n.attrs)).collect()),
        Reply::Attrs(attrs) => Answer::Attrs(attrs),
    }
}

fn unexpected(answer: &Answer) -> anyhow::Error {
    match answer {
        Answer::Failed(Status::NoSuchFile, _) => anyhow::anyhow!("no such file or directory"),
        Answer::Failed(Status::PermissionDenied, _) => anyhow::anyhow!("permission denied"),
        Answer::Failed(_, message) => anyhow::anyhow!("{}", crate::show::clean(message)),
        Answer::Eof => anyhow::anyhow!("nothing there"),
        Answer::Done | Answer::Handle(_) | Answer::Data(_) | Answer::Names(_) | Answer::Attrs(_) => {
            anyhow::anyhow!("the server answered something else than was asked")
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sftp<S> {
    /// Begins the conversation.
    ///
    /// # Errors
    /// The server hung up or speaks another protocol.
    pub(crate) async fn begin(stream: S) -> Result<Self> {
        let mut sftp = Self { stream, input: Vec::new(), used: 0, next: 1 };
        let mut out = Vec::new();
        Request::Init { version: VERSION }.encode(0, &mut out);
        sftp.stream.write_all(&out).await?;
        sftp.stream.flush().await?;
        sftp.receive().await.context("the node offers no file transfer")?;
        Ok(sftp)
    }

    async fn send(&mut self, request: &Request<'_>) -> Result<u32> {
        let id = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        let mut out = Vec::with_capacity(CHUNK + 64);
        request.encode(id, &mut out);
        self.stream.write_all(&out).await?;
        Ok(id)
    }

    async fn receive(&mut self) -> Result<(u32, Answer)> {
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
                bail!("the node hung up");
            }
        }
    }

    /// Asks one thing and waits for its answer.
    ///
    /// # Errors
    /// The connection broke.
    async fn ask(&mut self, request: &Request<'_>) -> Result<Answer> {
        let id = self.send(request).await?;
        let (answered, answer) = self.receive().await?;
        anyhow::ensure!(answered == id, "the server answered out of turn");
        Ok(answer)
    }

    async fn expect_done(&mut self, request: &Request<'_>) -> Result<()> {
        match self.ask(request).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Attributes of a path; `None` when it is not there.
    ///
    /// # Errors
    /// The server refused.
    pub(crate) async fn stat(&mut self, path: &[u8]) -> Result<Option<Attrs>> {
        match self.ask(&Request::Stat { path }).await? {
            Answer::Attrs(attrs) => Ok(Some(attrs)),
            Answer::Failed(Status::NoSuchFile, _) => Ok(None),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a directory; fine when it is there.
    ///
    /// # Errors
    /// The server refused.
    pub(crate) async fn mkdir(&mut self, path: &[u8], mode: u32) -> Result<()> {
        if self.stat(path).await?.and_then(|a| a.mode).is_some_and(is_dir) {
            return Ok(());
        }
        let attrs = Attrs { mode: Some(mode & 0o7777), ..Attrs::default() };
        self.expect_done(&Request::Mkdir { path, attrs }).await
    }

    /// Names in a directory, without `.` and `..`, sorted.
    ///
    /// # Errors
    /// The server refused.
    pub(crate) async fn list(&mut self, path: &[u8]) -> Result<Vec<(Vec<u8>, Attrs)>> {
        let handle = match self.ask(&Request::Opendir { path }).await? {
            Answer::Handle(handle) => handle,
            other => return Err(unexpected(&other)),
        };
        let mut names = Vec::new();
        loop {
            match self.ask(&Request::Readdir { handle: &handle }).await? {
                Answer::Names(more) => {
                    names.extend(more.into_iter().filter(|(n, _)| n != b"." && n != b".."));
                }
                Answer::Eof => break,
                other => return Err(unexpected(&other)),
            }
        }
        self.expect_done(&Request::Close { handle: &handle }).await?;
        names.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(names)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// The server refused.
    async fn open(&mut self, path: &[u8], flags: u32, mode: Option<u32>) -> Result<Vec<u8>> {
        let attrs = Attrs { mode: mode.map(|m| m & 0o7777), ..Attrs::default() };
        match self.ask(&Request::Open { path, flags: OpenFlags(flags), attrs }).await? {
            Answer::Handle(handle) => Ok(handle),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads a file whole into `to`, and tells `progress` how many bytes came.
    ///
    /// # Errors
    /// The server refused, the connection broke, or `to` did.
    pub(crate) async fn download(
        &mut self,
        path: &[u8],
        to: &mut impl std::io::Write,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let handle = self.open(path, OpenFlags::READ, None).await?;
        let mut next_offset = 0u64;
        let mut waiting: VecDeque<(u32, u64, u32)> = VecDeque::new();
        let mut early: BTreeMap<u32, Answer> = BTreeMap::new();
        let mut at_end = false;
        loop {
            while !at_end && waiting.len() < WINDOW {
                let length = CHUNK as u32;
                let id = self.send(&Request::Read { handle: &handle, offset: next_offset, length }).await?;
                waiting.push_back((id, next_offset, length));
                next_offset += u64::from(length);
            }
            let Some((id, offset, length)) = waiting.pop_front() else { break };
            let answer = loop {
                if let Some(answer) = early.remove(&id) {
                    break answer;
                }
                let (answered, answer) = self.receive().await?;
                early.insert(answered, answer);
            };
            match answer {
                Answer::Data(data) if data.is_empty() || data.len() > CHUNK => {
                    bail!("the server sent no sense")
                }
                Answer::Data(data) => {
                    to.write_all(&data)?;
                    let got = data.len() as u64;
                    progress(got);
                    if got < u64::from(length) {
                        // A short read: the rest of that piece is asked for again, before what follows it.
                        let rest = length - data.len() as u32;
                        let id = self
                            .send(&Request::Read { handle: &handle, offset: offset + got, length: rest })
                            .await?;
                        waiting.push_front((id, offset + got, rest));
                    }
                }
                Answer::Eof => at_end = true,
                other => return Err(unexpected(&other)),
            }
        }
        self.expect_done(&Request::Close { handle: &handle }).await
    }

    /// Writes a file whole from `from`, and tells `progress` how many bytes went.
    ///
    /// # Errors
    /// The server refused, the connection broke, or `from` did.
    pub(crate) async fn upload(
        &mut self,
        path: &[u8],
        mode: u32,
        from: &mut impl std::io::Read,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let handle = self.open(path, flags, Some(mode)).await?;
        let mut offset = 0u64;
        let mut under_way = 0usize;
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = read_full(from, &mut buffer)?;
            if n > 0 {
                let data = buffer.get(..n).unwrap_or_default();
                self.send(&Request::Write { handle: &handle, offset, data }).await?;
                offset += n as u64;
                under_way += 1;
                progress(n as u64);
            }
            while under_way > 0 && (n == 0 || under_way >= WINDOW) {
                match self.receive().await?.1 {
                    Answer::Done => under_way -= 1,
                    other => return Err(unexpected(&other)),
                }
            }
            if n == 0 {
                break;
            }
        }
        self.expect_done(&Request::Close { handle: &handle }).await
    }

    /// Sets mode and times.
    ///
    /// # Errors
    /// The server refused.
    pub(crate) async fn set(&mut self, path: &[u8], attrs: Attrs) -> Result<()> {
        self.expect_done(&Request::Setstat { path, attrs }).await
    }
}

fn read_full(from: &mut impl std::io::Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether mode bits say directory.
pub(crate) fn is_dir(mode: u32) -> bool {
    mode & 0o170_000 == 0o040_000
}
