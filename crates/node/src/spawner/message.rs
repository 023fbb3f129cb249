//! The questions the unprivileged half may ask the spawner, the answers, and how both look on the socket between
//! them (docs/formats/spawner.md).
//!
//! One datagram is one message of at most [`MAX`] bytes; each field has its own bound, checked before it is copied.
//! Descriptors travel beside the bytes and are not described here. Whether a question is *allowed now* is `phase`'s
//! work.

use super::claim::{self, Claim};
pub use super::signal::Signal;
use crate::codec::{Malformed, Put, Reader};

/// Longest message. Fits the default socket buffer.
pub const MAX: usize = 192 * 1024;
/// Longest command: what Linux takes as one argument, less its end.
pub const MAX_COMMAND: usize = 128 * 1024 - 1;
/// Longest path.
pub const MAX_PATH: usize = 4096;
/// Most environment variables in one question.
pub const MAX_ENV: usize = 64;
/// Longest value of one.
pub const MAX_VALUE: usize = 4096;
/// Version of these messages. Both halves are the same executable, so they must agree.
pub const VERSION: u16 = 4;

const MAX_NAME: usize = 128;
const MAX_TEXT: usize = 4096;

/// Columns, rows and pixels of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// Width in pixels, 0 when unknown.
    pub width: u16,
    /// Height in pixels, 0 when unknown.
    pub height: u16,
}

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The account's shell as a login shell.
    Shell,
    /// The account's shell with `-c` and this command.
    Command(Vec<u8>),
    /// Our own file-transfer server.
    FileTransfer,
}

/// What the unprivileged half may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Opens the conversation.
    Hello {
        /// [`VERSION`].
        version: u16,
    },
    /// Whom people's certificates are believed from now on.
    Trust {
        /// Public keys of the cluster's user authorities, as SSH packs them.
        authorities: Vec<Vec<u8>>,
    },
    /// May this login have sessions for who signed this, and what is it?
    Lookup(Claim),
    /// A terminal for this account.
    OpenPty {
        /// From [`Answer::Found`].
        account: u32,
        /// Its first size.
        size: Size,
    },
    /// Starts a program as the account, in its own session.
    Spawn {
        /// From [`Answer::Found`].
        account: u32,
        /// From [`Answer::Pty`]; without one, three pipes are made.
        pty: Option<u32>,
        /// What.
        program: Program,
        /// Variables; only the allowed names arrive.
        env: Vec<(String, String)>,
    },
    /// Signals the process group of a running program.
    Signal {
        /// From [`Answer::Spawned`].
        session: u32,
        /// Which signal.
        signal: Signal,
    },
    /// A listening socket only the account can reach, for its forwarded agent.
    AgentSocket {
        /// From [`Answer::Found`].
        account: u32,
    },
    /// A listening socket at a path, bound as the account.
    Bind {
        /// From [`Answer::Found`].
        account: u32,
        /// Where; relative to the home directory unless absolute.
        path: Vec<u8>,
    },
    /// A connection to the socket at a path, made as the account.
    Connect {
        /// From [`Answer::Found`].
        account: u32,
        /// Where; relative to the home directory unless absolute.
        path: Vec<u8>,
    },
    /// Forgets an account or a socket, whether it is there already or not, or an unused terminal. What is bound is removed as
    /// its account.
    Close {
        /// From the answer that gave it.
        handle: u32,
    },
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By a signal.
    Signal {
        /// Its number.
        number: u8,
        /// It left a core.
        core: bool,
    },
}

impl Exit {
    /// The signal's name in the protocol, for those it names; `None` for an exit code or another signal.
    #[must_use]
    pub fn signal_name(self) -> Option<&'static str> {
        match self {
            Exit::Code(_) => None,
            Exit::Signal { number, .. } => {
                Signal::ALL.iter().find(|(s, _)| *s as u8 == number).map(|(_, name)| *name)
            }
        }
    }
}

/// What the spawner answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Answers Hello.
    Hello {
        /// [`VERSION`].
        version: u16,
        /// `None` when it can become any user; else the only user it is.
        only: Option<String>,
    },
    /// What was asked may be, and another process is at it: what comes of it is told unasked.
    Begun {
        /// Its handle, and that of what comes of it.
        handle: u32,
    },
    /// Unasked: the account exists and may have sessions.
    Found {
        /// Its handle: the one that was told when it was asked for.
        account: u32,
        /// User id.
        uid: u32,
        /// Primary group id.
        gid: u32,
        /// Home directory.
        home: Vec<u8>,
        /// Shell.
        shell: Vec<u8>,
    },
    /// A terminal; its master comes beside.
    Pty {
        /// Its handle.
        pty: u32,
        /// The path of its other side.
        path: Vec<u8>,
    },
    /// A program runs; without a terminal stdin, stdout and stderr come beside.
    Spawned {
        /// Its handle.
        session: u32,
        /// Its process id.
        pid: u32,
    },
    /// Unasked: a listening or connected socket comes beside.
    Socket {
        /// Its handle: the one that was told when it was asked for. A connection's ends with this.
        socket: u32,
        /// Its path.
        path: Vec<u8>,
    },
    /// Done.
    Done,
    /// No, and why, in words fit for the person.
    Refused {
        /// The words.
        reason: String,
    },
    /// Unasked: the account does not exist, may not have sessions or could not be looked up in time, or there is no socket.
    /// Ends the handle.
    Denied {
        /// From [`Answer::Begun`].
        handle: u32,
        /// Why, in words fit for the person.
        reason: String,
    },
    /// Unasked: a program ended.
    Exited {
        /// Which.
        session: u32,
        /// How.
        exit: Exit,
    },
}

impl Question {
    /// Writes the question.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            Question::Hello { version } => {
                out.push(1);
                out.put_u16(*version);
            }
            Question::Lookup(claim) => {
                out.push(2);
                claim.encode(&mut out);
            }
            Question::OpenPty { account, size } => {
                out.push(3);
                out.put_u32(*account);
                for side in [size.cols, size.rows, size.width, size.height] {
                    out.put_u16(side);
                }
            }
            Question::Spawn { account, pty, program, env } => {
                out.push(4);
                out.put_u32(*account);
                out.put_u32(pty.unwrap_or(0));
                program.encode(&mut out);
                out.put_u32(u32::try_from(env.len()).unwrap_or(u32::MAX));
                for (name, value) in env {
                    out.put_string(name.as_bytes());
                    out.put_string(value.as_bytes());
                }
            }
            Question::Signal { session, signal } => {
                out.push(5);
                out.put_u32(*session);
                out.push(*signal as u8);
            }
            Question::AgentSocket { account } => {
                out.push(6);
                out.put_u32(*account);
            }
            Question::Bind { account, path } => {
                out.push(7);
                out.put_u32(*account);
                out.put_string(path);
            }
            Question::Connect { account, path } => {
                out.push(8);
                out.put_u32(*account);
                out.put_string(path);
            }
            Question::Close { handle } => {
                out.push(9);
                out.put_u32(*handle);
            }
            Question::Trust { authorities } => {
                out.push(10);
                claim::encode_keys(authorities, &mut out);
            }
        }
        out
    }

    /// Reads one question: the whole of `bytes`.
    ///
    /// # Errors
    /// Anything but exactly one question within its bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX {
            return Err(Malformed("message too long"));
        }
        let mut r = Reader::new(bytes);
        let question = match r.u8()? {
            1 => Question::Hello { version: r.u16()? },
            2 => Question::Lookup(Claim::decode(&mut r)?),
            3 => Question::OpenPty {
                account: r.u32()?,
                size: Size { cols: r.u16()?, rows: r.u16()?, width: r.u16()?, height: r.u16()? },
            },
            4 => Question::Spawn {
                account: r.u32()?,
                pty: Some(r.u32()?).filter(|pty| *pty != 0),
                program: Program::decode(&mut r)?,
                env: decode_env(&mut r)?,
            },
            5 => Question::Signal {
                session: r.u32()?,
                signal: Signal::numbered(r.u8()?).ok_or(Malformed("signal"))?,
            },
            6 => Question::AgentSocket { account: r.u32()? },
            7 => Question::Bind { account: r.u32()?, path: r.string(MAX_PATH)?.to_vec() },
            8 => Question::Connect { account: r.u32()?, path: r.string(MAX_PATH)?.to_vec() },
            9 => Question::Close { handle: r.u32()? },
            10 => Question::Trust { authorities: claim::decode_keys(&mut r)? },
            _ => return Err(Malformed("unknown question")),
        };
        r.end()?;
        Ok(question)
    }
}

fn decode_env(r: &mut Reader<'_>) -> Result<Vec<(String, String)>, Malformed> {
    let count = usize::try_from(r.u32()?).map_err(|_| Malformed("length"))?;
    if count > MAX_ENV {
        return Err(Malformed("too many variables"));
    }
    let mut env = Vec::with_capacity(count);
    for _ in 0..count {
        env.push((r.text(MAX_NAME)?.to_owned(), r.text(MAX_VALUE)?.to_owned()));
    }
    Ok(env)
}

impl Program {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Program::Shell => out.push(1),
            Program::Command(command) => {
                out.push(2);
                out.put_string(command);
            }
            Program::FileTransfer => out.push(3),
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        match r.u8()? {
            1 => Ok(Program::Shell),
            2 => Ok(Program::Command(r.string(MAX_COMMAND)?.to_vec())),
            3 => Ok(Program::FileTransfer),
            _ => Err(Malformed("unknown program")),
        }
    }
}

impl Answer {
    /// Writes the answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            Answer::Hello { version, only } => {
                out.push(1);
                out.put_u16(*version);
                out.put_string(only.as_deref().unwrap_or_default().as_bytes());
            }
            Answer::Found { account, uid, gid, home, shell } => {
                out.push(2);
                out.put_u32(*account);
                out.put_u32(*uid);
                out.put_u32(*gid);
                out.put_string(home);
                out.put_string(shell);
            }
            Answer::Pty { pty, path } => {
                out.push(3);
                out.put_u32(*pty);
                out.put_string(path);
            }
            Answer::Spawned { session, pid } => {
                out.push(4);
                out.put_u32(*session);
                out.put_u32(*pid);
            }
            Answer::Socket { socket, path } => {
                out.push(5);
                out.put_u32(*socket);
                out.put_string(path);
            }
            Answer::Done => out.push(6),
            Answer::Refused { reason } => {
                out.push(7);
                put_reason(&mut out, reason);
            }
            Answer::Exited { session, exit } => {
                out.push(8);
                out.put_u32(*session);
                let fields = match exit {
                    Exit::Code(code) => [0, *code, 0],
                    Exit::Signal { number, core } => [1, *number, u8::from(*core)],
                };
                out.extend_from_slice(&fields);
            }
            Answer::Begun { handle } => {
                out.push(9);
                out.put_u32(*handle);
            }
            Answer::Denied { handle, reason } => {
                out.push(10);
                out.put_u32(*handle);
                put_reason(&mut out, reason);
            }
        }
        out
    }

    /// What undoes this answer when nobody heard it: a program that nobody watches must not run.
    pub(super) fn undone(&self) -> Option<Question> {
        match *self {
            Answer::Begun { handle }
            | Answer::Found { account: handle, .. }
            | Answer::Pty { pty: handle, .. }
            | Answer::Socket { socket: handle, .. } => Some(Question::Close { handle }),
            Answer::Spawned { session, .. } => Some(Question::Signal { session, signal: Signal::Kill }),
            Answer::Hello { .. }
            | Answer::Done
            | Answer::Refused { .. }
            | Answer::Denied { .. }
            | Answer::Exited { .. } => None,
        }
    }

    /// Reads one answer: the whole of `bytes`.
    ///
    /// # Errors
    /// Anything but exactly one answer within its bounds.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let answer = match r.u8()? {
            1 => Answer::Hello {
                version: r.u16()?,
                only: Some(r.text(MAX_NAME)?.to_owned()).filter(|only| !only.is_empty()),
            },
            2 => Answer::Found {
                account: r.u32()?,
                uid: r.u32()?,
                gid: r.u32()?,
                home: r.string(MAX_PATH)?.to_vec(),
                shell: r.string(MAX_PATH)?.to_vec(),
            },
            3 => Answer::Pty { pty: r.u32()?, path: r.string(MAX_PATH)?.to_vec() },
            4 => Answer::Spawned { session: r.u32()?, pid: r.u32()? },
            5 => Answer::Socket { socket: r.u32()?, path: r.string(MAX_PATH)?.to_vec() },
            6 => Answer::Done,
            7 => Answer::Refused { reason: r.text(MAX_TEXT)?.to_owned() },
            8 => Answer::Exited {
                session: r.u32()?,
                exit: match (r.u8()?, r.u8()?, r.u8()?) {
                    (0, code, 0) => Exit::Code(code),
                    (1, number, core @ 0..=1) => Exit::Signal { number, core: core == 1 },
                    _ => return Err(Malformed("exit status")),
                },
            },
            9 => Answer::Begun { handle: r.u32()? },
            10 => Answer::Denied { handle: r.u32()?, reason: r.text(MAX_TEXT)?.to_owned() },
            _ => return Err(Malformed("unknown answer")),
        };
        r.end()?;
        Ok(answer)
    }
}

/// As much of it as there is room for.
fn put_reason(out: &mut Vec<u8>, reason: &str) {
    let end = reason.floor_char_boundary(MAX_TEXT);
    out.put_string(reason.as_bytes().get(..end).unwrap_or_default());
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
