//! The file-transfer server's loop: packets in, replies out, as many as have come before anything is written.
//!
//! Blocking and single-threaded; it runs as the account in a process of its own. Memory is bounded by one packet in
//! and [`FLUSH`] bytes and one packet out.

use std::io::{self, Read, Write};

use wire::sftp::{Reply, Request, Status};

use super::extension;
use super::handles::Handles;
use super::listing::Names;
use crate::Error;
use crate::codec::{Malformed, Reader};

/// Longest packet without its length field; OpenSSH's bound, and what `limits@openssh.com` tells.
pub(super) const MAX: usize = 256 * 1024;
/// Replies gathered before they are written although more requests wait.
const FLUSH: usize = 512 * 1024;
/// How much is read at a time.
const CHUNK: usize = 128 * 1024;

/// The file-transfer server's `main`: standard input and output, until the input ends.
///
/// # Errors
/// The client does not speak the protocol, or is gone.
pub fn main() -> Result<(), Error> {
    // A client that goes away shows as an error of the write.
    let input = std::io::stdin().lock();
    let output = std::io::stdout().lock();
    let fd = |fd: std::os::fd::BorrowedFd<'_>| {
        fd.try_clone_to_owned().map(std::fs::File::from).map_err(Error::io("taking standard input"))
    };
    use std::os::fd::AsFd;
    serve(fd(input.as_fd())?, fd(output.as_fd())?)
}

/// Serves one client over any pair of streams.
///
/// # Errors
/// The client does not speak the protocol, or is gone.
pub fn serve(mut input: impl Read, mut output: impl Write) -> Result<(), Error> {
    let mut server =
        Server { handles: Handles::default(), names: Names::default(), data: Vec::new(), greeted: false };
    let mut inbox = Inbox::default();
    let mut out = Vec::with_capacity(64 * 1024);
    loop {
        let answered = server.answer_all(&mut inbox, &mut out, &mut output);
        // What was answered before a breach is still owed.
        flush(&mut output, &mut out)?;
        answered?;
        if !inbox.fill(&mut input).map_err(Error::io("reading requests"))? {
            return Ok(());
        }
    }
}

fn flush(output: &mut impl Write, out: &mut Vec<u8>) -> Result<(), Error> {
    if !out.is_empty() {
        output.write_all(out).and_then(|()| output.flush()).map_err(Error::io("writing replies"))?;
        out.clear();
    }
    Ok(())
}

fn greet(body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let Ok((_, Request::Init { .. })) = Request::decode(body) else { return Err(Malformed("no greeting")) };
    let extensions = extension::SERVED.to_vec();
    Reply::Version { version: wire::sftp::VERSION, extensions }.encode(0, out);
    Ok(())
}

/// Bytes that have come and not been answered.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    start: usize,
}

impl Inbox {
    /// The next whole packet without its length.
    fn packet(&mut self) -> Result<Option<&[u8]>, Malformed> {
        let waiting = self.bytes.get(self.start..).unwrap_or_default();
        let Some((field, rest)) = waiting.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_be_bytes(*field) as usize;
        if len == 0 || len > MAX {
            return Err(Malformed("packet length"));
        }
        if rest.len() < len {
            return Ok(None);
        }
        self.start += 4 + len;
        Ok(rest.get(..len))
    }

    /// Reads more; `false` at the end.
    fn fill(&mut self, input: &mut impl Read) -> io::Result<bool> {
        self.bytes.drain(..self.start);
        self.start = 0;
        let have = self.bytes.len();
        self.bytes.resize(have + CHUNK, 0);
        let got = loop {
            match input.read(self.bytes.get_mut(have..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                got => break got,
            }
        };
        self.bytes.truncate(have + *got.as_ref().unwrap_or(&0));
        Ok(got? > 0)
    }
}

/// One client's state.
pub(super) struct Server {
    pub(super) handles: Handles,
    pub(super) names: Names,
    /// What a read brings, on its way into the reply.
    pub(super) data: Vec<u8>,
    greeted: bool,
}

impl Server {
    fn answer_all(
        &mut self,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
        output: &mut impl Write,
    ) -> Result<(), Error> {
        while let Some(body) = inbox.packet()? {
            if self.greeted {
                self.answer(body, out)?;
            } else {
                greet(body, out)?;
                self.greeted = true;
            }
            if out.len() >= FLUSH {
                flush(output, out)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let Ok((id, request)) = Request::decode(body) else { return cannot_read(body, out) };
        let start = out.len();
        if let Err(fault) = self.carry_out(id, request, out) {
            out.truncate(start);
            Reply::Status { status: status(&fault), message: &words(&fault) }.encode(id, out);
        }
        Ok(())
    }
}

/// Answers a request that makes no sense, as far as it says which one it is.
fn cannot_read(body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut r = Reader::new(body);
    let (kind, id) = (r.u8()?, r.u32()?);
    let (status, message) = match kind {
        3..=20 | 200 => (Status::BadMessage, "malformed request"),
        _ => (Status::Unsupported, "not supported"),
    };
    Reply::Status { status, message }.encode(id, out);
    Ok(())
}

/// Why a request could not be carried out.
#[derive(Debug)]
pub(super) enum Fault {
    System(io::Error),
    Status(Status, &'static str),
}

impl From<Malformed> for Fault {
    fn from(error: Malformed) -> Self {
        Fault::Status(Status::BadMessage, error.0)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::System(error)
    }
}

impl From<rustix::io::Errno> for Fault {
    fn from(error: rustix::io::Errno) -> Self {
        Fault::System(error.into())
    }
}

fn status(fault: &Fault) -> Status {
    use nix::libc;
    match fault {
        Fault::Status(status, _) => *status,
        Fault::System(error) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => Status::NoSuchFile,
            Some(libc::EPERM | libc::EACCES) => Status::PermissionDenied,
            Some(libc::ENAMETOOLONG | libc::EINVAL) => Status::BadMessage,
            Some(libc::ENOSYS | libc::EOPNOTSUPP) => Status::Unsupported,
            _ => Status::Failure,
        },
    }
}

fn words(fault: &Fault) -> String {
    match fault {
        Fault::Status(_, words) => (*words).to_owned(),
        Fault::System(error) => match error.raw_os_error() {
            Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
            None => error.to_string(),
        },
    }
}
