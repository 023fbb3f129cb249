//! The file-transfer server's loop: packets in, replies out, as many as have come before anything is written.
//!
//! Blocking and single-threaded; it runs as the account in a process of its own. Memory is bounded by one packet in
//! and [`FLUSH`] bytes and one packet out.

use std::io::{self, Read, Write};

use super::handles::Handles;
use super::listing::Names;
use super::packet::{self, Code};
use crate::Error;
use crate::codec::{Malformed, Put};

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
    let mut server = Server { handles: Handles::default(), names: Names::default(), greeted: false };
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
    if body.first() != Some(&packet::INIT) {
        return Err(Malformed("no greeting"));
    }
    let start = out.len();
    out.put_u32(0);
    out.push(packet::VERSION);
    out.put_u32(3);
    for (name, version) in packet::EXTENSIONS {
        out.put_string(name.as_bytes());
        out.put_string(version.as_bytes());
    }
    packet::close(out, start);
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
        if len == 0 || len > packet::MAX {
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
        let (id, request) = packet::decode(body)?;
        let start = out.len();
        let outcome = match request {
            Ok(request) => self.carry_out(id, request, out),
            Err(error) => {
                packet::status(out, id, Code::BadMessage, error.0);
                return Ok(());
            }
        };
        if let Err(error) = outcome {
            out.truncate(start);
            packet::status(out, id, code(&error), &words(&error));
        }
        Ok(())
    }
}

/// Why a request could not be carried out.
#[derive(Debug)]
pub(super) enum Fault {
    System(io::Error),
    Status(Code, &'static str),
}

impl<E: Into<io::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Fault::System(error.into())
    }
}

fn code(fault: &Fault) -> Code {
    use nix::libc;
    match fault {
        Fault::Status(code, _) => *code,
        Fault::System(error) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => Code::NoSuchFile,
            Some(libc::EPERM | libc::EACCES) => Code::PermissionDenied,
            Some(libc::ENAMETOOLONG | libc::EINVAL) => Code::BadMessage,
            Some(libc::ENOSYS | libc::EOPNOTSUPP) => Code::Unsupported,
            _ => Code::Failure,
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
