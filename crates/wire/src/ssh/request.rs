//! Requests about one channel or the whole connection (RFC 4254 sections 4, 6, 7; OpenSSH PROTOCOL 2).
//!
//! A request of a known name whose fields make no sense is [`RequestKind::Unknown`]: it is refused, and the
//! connection lives on.

use super::{Malformed, Reader, number, put_bool, put_string, put_u32};

/// The most terminal modes one `pty-req` may hold.
pub const MAX_MODES: usize = 256;

/// The size of a terminal, in characters and pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Columns.
    pub columns: u32,
    /// Rows.
    pub rows: u32,
    /// Width in pixels; zero when unknown.
    pub width: u32,
    /// Height in pixels; zero when unknown.
    pub height: u32,
}

impl Size {
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { columns: from.u32()?, rows: from.u32()?, width: from.u32()?, height: from.u32()? })
    }

    fn encode(self, out: &mut Vec<u8>) {
        for value in [self.columns, self.rows, self.width, self.height] {
            put_u32(out, value);
        }
    }
}

/// A terminal, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pty {
    /// The value of `TERM`.
    pub term: String,
    /// Its size.
    pub size: Size,
    /// Terminal modes of RFC 4254 section 8: opcode and argument.
    pub modes: Vec<(u8, u32)>,
}

impl Pty {
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let term = from.text()?.to_owned();
        let size = Size::decode(from)?;
        let mut bytes = Reader::new(from.string()?);
        let mut modes = Vec::new();
        while bytes.left() > 0 {
            // 0 ends the list; 160 and above have no defined form, so reading stops there.
            match bytes.u8()? {
                0 | 160.. => break,
                opcode => modes.push((opcode, bytes.u32()?)),
            }
            if modes.len() > MAX_MODES {
                return Err(Malformed::TooMany);
            }
        }
        Ok(Self { term, size, modes })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_string(out, self.term.as_bytes());
        self.size.encode(out);
        let mut bytes = Vec::with_capacity(self.modes.len() * 5 + 1);
        for (opcode, argument) in &self.modes {
            bytes.push(*opcode);
            put_u32(&mut bytes, *argument);
        }
        bytes.push(0);
        put_string(out, &bytes);
    }
}

/// What is asked of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestKind {
    /// A terminal.
    Pty(Pty),
    /// An environment variable.
    Env {
        /// Its name.
        name: String,
        /// Its value.
        value: Vec<u8>,
    },
    /// A login shell.
    Shell,
    /// A command.
    Exec {
        /// The command line, as typed.
        command: Vec<u8>,
    },
    /// A subsystem such as `sftp`.
    Subsystem {
        /// Its name.
        name: String,
    },
    /// The terminal has a new size.
    WindowChange(Size),
    /// A signal for the process.
    Signal {
        /// Its name without `SIG`.
        name: String,
    },
    /// A break of so many milliseconds.
    Break {
        /// Zero for a default.
        milliseconds: u32,
    },
    /// The process ended.
    ExitStatus(u32),
    /// The process was killed.
    ExitSignal {
        /// The signal's name without `SIG`.
        name: String,
        /// It dumped core.
        core_dumped: bool,
        /// Text for the person.
        message: String,
    },
    /// Agent forwarding.
    Agent,
    /// X11 forwarding.
    X11 {
        /// One connection only.
        single: bool,
        /// The authentication protocol.
        protocol: String,
        /// The authentication cookie, in hexadecimal.
        cookie: String,
        /// The screen.
        screen: u32,
    },
    /// The peer's reader of output is gone (OpenSSH).
    Eow,
    /// Are you there? (OpenSSH)
    Keepalive,
    /// Anything else, by name.
    Unknown(String),
}

impl RequestKind {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Pty(_) => "pty-req",
            Self::Env { .. } => "env",
            Self::Shell => "shell",
            Self::Exec { .. } => "exec",
            Self::Subsystem { .. } => "subsystem",
            Self::WindowChange(_) => "window-change",
            Self::Signal { .. } => "signal",
            Self::Break { .. } => "break",
            Self::ExitStatus(_) => "exit-status",
            Self::ExitSignal { .. } => "exit-signal",
            Self::Agent => "auth-agent-req@openssh.com",
            Self::X11 { .. } => "x11-req",
            Self::Eow => "eow@openssh.com",
            Self::Keepalive => "keepalive@openssh.com",
            Self::Unknown(name) => name,
        }
    }

    fn decode(name: &str, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match name {
            "pty-req" => Self::Pty(Pty::decode(from)?),
            "env" => Self::Env { name: from.text()?.to_owned(), value: from.string()?.to_vec() },
            "shell" => Self::Shell,
            "exec" => Self::Exec { command: from.string()?.to_vec() },
            "subsystem" => Self::Subsystem { name: from.text()?.to_owned() },
            "window-change" => Self::WindowChange(Size::decode(from)?),
            "signal" => Self::Signal { name: from.text()?.to_owned() },
            "break" => Self::Break { milliseconds: from.u32()? },
            "exit-status" => Self::ExitStatus(from.u32()?),
            "exit-signal" => {
                let (name, core_dumped) = (from.text()?.to_owned(), from.bool()?);
                let message = String::from_utf8_lossy(from.string()?).into_owned();
                from.string()?;
                Self::ExitSignal { name, core_dumped, message }
            }
            "auth-agent-req@openssh.com" => Self::Agent,
            "x11-req" => Self::X11 {
                single: from.bool()?,
                protocol: from.text()?.to_owned(),
                cookie: from.text()?.to_owned(),
                screen: from.u32()?,
            },
            "eow@openssh.com" => Self::Eow,
            "keepalive@openssh.com" => Self::Keepalive,
            other => {
                from.skip();
                Self::Unknown(other.to_owned())
            }
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Shell | Self::Agent | Self::Eow | Self::Keepalive | Self::Unknown(_) => {}
            Self::Pty(pty) => pty.encode(out),
            Self::Env { name, value } => {
                put_string(out, name.as_bytes());
                put_string(out, value);
            }
            Self::Exec { command } => put_string(out, command),
            Self::Subsystem { name } | Self::Signal { name } => put_string(out, name.as_bytes()),
            Self::WindowChange(size) => size.encode(out),
            Self::Break { milliseconds: value } | Self::ExitStatus(value) => put_u32(out, *value),
            Self::ExitSignal { name, core_dumped, message } => {
                put_string(out, name.as_bytes());
                put_bool(out, *core_dumped);
                put_string(out, message.as_bytes());
                put_string(out, b"");
            }
            Self::X11 { single, protocol, cookie, screen } => {
                put_bool(out, *single);
                put_string(out, protocol.as_bytes());
                put_string(out, cookie.as_bytes());
                put_u32(out, *screen);
            }
        }
    }
}

/// A request about one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRequest {
    /// The receiver's number for the channel.
    pub channel: u32,
    /// The sender waits for an answer.
    pub wants_reply: bool,
    /// What is asked.
    pub kind: RequestKind,
}

impl ChannelRequest {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one. Fields that make no sense are no error, but an unknown request.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.expect(number::CHANNEL_REQUEST)?;
        let channel = from.u32()?;
        let name = String::from_utf8_lossy(from.string()?).into_owned();
        let wants_reply = from.bool()?;
        let kind = RequestKind::decode(&name, from).unwrap_or(RequestKind::Unknown(name));
        from.skip();
        Ok(Self { channel, wants_reply, kind })
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::CHANNEL_REQUEST);
        put_u32(out, self.channel);
        put_string(out, self.kind.name().as_bytes());
        put_bool(out, self.wants_reply);
        self.kind.encode(out);
    }
}

/// What is asked of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GlobalKind {
    /// Listen on a TCP port and forward what comes in.
    Listen {
        /// The address to bind, as RFC 4254 section 7.1 reads it.
        host: String,
        /// The port; zero lets the server choose.
        port: u32,
    },
    /// Stop listening there.
    Unlisten {
        /// The address.
        host: String,
        /// The port.
        port: u32,
    },
    /// Listen on a Unix socket and forward what comes in.
    ListenUnix {
        /// The socket's path.
        path: String,
    },
    /// Stop listening there.
    UnlistenUnix {
        /// The socket's path.
        path: String,
    },
    /// Are you there?
    Keepalive,
    /// The server's other host keys.
    HostKeys,
    /// The client will open no more sessions.
    NoMoreSessions,
    /// Anything else, by name.
    Unknown(String),
}

impl GlobalKind {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Listen { .. } => "tcpip-forward",
            Self::Unlisten { .. } => "cancel-tcpip-forward",
            Self::ListenUnix { .. } => "streamlocal-forward@openssh.com",
            Self::UnlistenUnix { .. } => "cancel-streamlocal-forward@openssh.com",
            Self::Keepalive => "keepalive@openssh.com",
            Self::HostKeys => "hostkeys-00@openssh.com",
            Self::NoMoreSessions => "no-more-sessions@openssh.com",
            Self::Unknown(name) => name,
        }
    }

    fn decode(name: &str, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match name {
            "tcpip-forward" => Self::Listen { host: from.text()?.to_owned(), port: from.u32()? },
            "cancel-tcpip-forward" => Self::Unlisten { host: from.text()?.to_owned(), port: from.u32()? },
            "streamlocal-forward@openssh.com" => Self::ListenUnix { path: from.text()?.to_owned() },
            "cancel-streamlocal-forward@openssh.com" => Self::UnlistenUnix { path: from.text()?.to_owned() },
            "keepalive@openssh.com" => Self::Keepalive,
            "hostkeys-00@openssh.com" => {
                from.skip();
                Self::HostKeys
            }
            "no-more-sessions@openssh.com" => Self::NoMoreSessions,
            other => {
                from.skip();
                Self::Unknown(other.to_owned())
            }
        })
    }
}

/// A request about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalRequest {
    /// The sender waits for an answer.
    pub wants_reply: bool,
    /// What is asked.
    pub kind: GlobalKind,
}

impl GlobalRequest {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one. Fields that make no sense are no error, but an unknown request.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.expect(number::GLOBAL_REQUEST)?;
        let name = String::from_utf8_lossy(from.string()?).into_owned();
        let wants_reply = from.bool()?;
        let kind = GlobalKind::decode(&name, from).unwrap_or(GlobalKind::Unknown(name));
        from.skip();
        Ok(Self { wants_reply, kind })
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::GLOBAL_REQUEST);
        put_string(out, self.kind.name().as_bytes());
        put_bool(out, self.wants_reply);
        match &self.kind {
            GlobalKind::Listen { host, port } | GlobalKind::Unlisten { host, port } => {
                put_string(out, host.as_bytes());
                put_u32(out, *port);
            }
            GlobalKind::ListenUnix { path } | GlobalKind::UnlistenUnix { path } => {
                put_string(out, path.as_bytes());
            }
            GlobalKind::Keepalive
            | GlobalKind::HostKeys
            | GlobalKind::NoMoreSessions
            | GlobalKind::Unknown(_) => {}
        }
    }
}
