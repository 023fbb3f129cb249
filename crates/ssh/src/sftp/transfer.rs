//! Files through a conversation: read ahead in order, or written piece after piece from any offset.

use std::collections::{BTreeMap, VecDeque};

use tokio::io::{AsyncRead, AsyncWrite};
use wire::sftp::{Attrs, OpenFlags, Request};

use super::{Answer, CHUNK, Error, Sftp, WINDOW, unexpected};

/// A file that is being read from its start.
#[derive(Debug)]
pub struct Reading {
    handle: Vec<u8>,
    next_offset: u64,
    /// Id, offset and length of what was asked for, in the file's order.
    waiting: VecDeque<(u32, u64, u32)>,
    /// Answers that overtook others.
    early: BTreeMap<u32, Answer>,
    at_end: bool,
}

/// A file that is being written.
#[derive(Debug)]
pub struct Writing {
    handle: Vec<u8>,
    offset: u64,
    under_way: usize,
}

/// What a file is to be when writing begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Emptied when it is there, made when it is not.
    Over,
    /// Made; it must not be there, not even as a link.
    New,
    /// It is there, and what comes goes to this offset.
    At(u64),
}

impl Writing {
    /// Where the next byte goes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sftp<S> {
    async fn open(&mut self, path: &[u8], flags: u32, mode: Option<u32>) -> Result<Vec<u8>, Error> {
        let attrs = Attrs { mode: mode.map(|m| m & 0o7777), ..Attrs::default() };
        match self.ask(&Request::Open { path, flags: OpenFlags(flags), attrs }).await? {
            Answer::Handle(handle) => Ok(handle),
            other => Err(unexpected(other)),
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// The server refused.
    pub async fn reading(&mut self, path: &[u8]) -> Result<Reading, Error> {
        Ok(Reading {
            handle: self.open(path, OpenFlags::READ, None).await?,
            next_offset: 0,
            waiting: VecDeque::new(),
            early: BTreeMap::new(),
            at_end: false,
        })
    }

    /// The next piece of the file, at most [`CHUNK`] bytes; `None` at its end, which closes it.
    ///
    /// # Errors
    /// The server refused, or the connection broke: the conversation is then of no more use.
    pub async fn next(&mut self, file: &mut Reading) -> Result<Option<Vec<u8>>, Error> {
        loop {
            while !file.at_end && file.waiting.len() < WINDOW {
                let (offset, length) = (file.next_offset, CHUNK as u32);
                let id = self.send(&Request::Read { handle: &file.handle, offset, length }).await?;
                file.waiting.push_back((id, offset, length));
                file.next_offset += u64::from(length);
            }
            let Some((id, offset, length)) = file.waiting.pop_front() else {
                self.expect_done(&Request::Close { handle: &file.handle }).await?;
                return Ok(None);
            };
            let answer = loop {
                if let Some(answer) = file.early.remove(&id) {
                    break answer;
                }
                let (answered, answer) = self.receive().await?;
                file.early.insert(answered, answer);
                if file.early.len() > WINDOW {
                    return Err(Error::Confused);
                }
            };
            match answer {
                Answer::Data(data) if data.is_empty() || data.len() > length as usize => {
                    return Err(Error::Confused);
                }
                Answer::Data(data) => {
                    let got = data.len() as u64;
                    if got < u64::from(length) {
                        // A short read: the rest of that piece is asked for again, before what follows it.
                        let (offset, length) = (offset + got, length - data.len() as u32);
                        let id = self.send(&Request::Read { handle: &file.handle, offset, length }).await?;
                        file.waiting.push_front((id, offset, length));
                    }
                    return Ok(Some(data));
                }
                Answer::Eof => file.at_end = true,
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Opens a file for writing.
    ///
    /// # Errors
    /// The server refused.
    pub async fn writing(&mut self, path: &[u8], mode: u32, start: Start) -> Result<Writing, Error> {
        let (flags, offset) = match start {
            Start::Over => (OpenFlags::CREATE | OpenFlags::TRUNCATE, 0),
            Start::New => (OpenFlags::CREATE | OpenFlags::EXCLUSIVE, 0),
            Start::At(offset) => (0, offset),
        };
        let handle = self.open(path, OpenFlags::WRITE | flags, Some(mode)).await?;
        Ok(Writing { handle, offset, under_way: 0 })
    }

    /// Sends bytes on; waits only while too much is under way.
    ///
    /// # Errors
    /// The server refused this piece or one before it, or the connection broke.
    pub async fn write(&mut self, file: &mut Writing, data: &[u8]) -> Result<(), Error> {
        for data in data.chunks(CHUNK) {
            self.send(&Request::Write { handle: &file.handle, offset: file.offset, data }).await?;
            file.offset += data.len() as u64;
            file.under_way += 1;
            self.drain(file, WINDOW - 1).await?;
        }
        Ok(())
    }

    /// Waits until the server has taken everything written.
    ///
    /// # Errors
    /// It did not.
    pub async fn settle(&mut self, file: &mut Writing) -> Result<(), Error> {
        self.drain(file, 0).await
    }

    async fn drain(&mut self, file: &mut Writing, left: usize) -> Result<(), Error> {
        while file.under_way > left {
            match self.receive().await?.1 {
                Answer::Done => file.under_way -= 1,
                other => return Err(unexpected(other)),
            }
        }
        Ok(())
    }

    /// Waits until everything is taken and closes the file.
    ///
    /// # Errors
    /// The server refused a piece, or the closing.
    pub async fn finish(&mut self, mut file: Writing) -> Result<(), Error> {
        self.settle(&mut file).await?;
        self.expect_done(&Request::Close { handle: &file.handle }).await
    }
}
