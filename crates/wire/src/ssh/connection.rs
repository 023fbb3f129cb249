//! Messages of the connection: channels, windows and data (RFC 4254, OpenSSH PROTOCOL 2).
//!
//! Data is borrowed from the packet; what is rare is owned.

use super::{Malformed, Reader, number, put_string, put_u32};

/// What a channel is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelKind {
    /// A shell, a command or a subsystem.
    Session,
    /// A TCP connection the server makes for the client.
    DirectTcp(TcpPath),
    /// A TCP connection that came in at a port the client asked the server to listen on.
    ForwardedTcp(TcpPath),
    /// A Unix socket the server connects to for the client.
    DirectUnix {
        /// The socket's path.
        path: String,
    },
    /// A connection to a Unix socket the client asked the server to listen on.
    ForwardedUnix {
        /// The socket's path.
        path: String,
    },
    /// The user's SSH agent.
    Agent,
    /// An X11 client.
    X11 {
        /// Where it came from.
        origin: String,
        /// Its port.
        origin_port: u32,
    },
    /// Something else, by name.
    Unknown(String),
    /// One of the above, by name, whose fields cannot be read: a host that is not UTF-8. Only this channel is refused
    /// then, as with a name that does not exist. Never sent.
    Unreadable(String),
}

/// The two ends of a forwarded TCP connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpPath {
    /// The host to connect to, or the address that was connected to.
    pub host: String,
    /// The port.
    pub port: u32,
    /// Where the connection came from, as the peer tells it: for logs only.
    pub origin: String,
    /// Its port there.
    pub origin_port: u32,
}

impl TcpPath {
    fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            host: from.text()?.to_owned(),
            port: from.u32()?,
            origin: from.text()?.to_owned(),
            origin_port: from.u32()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_string(out, self.host.as_bytes());
        put_u32(out, self.port);
        put_string(out, self.origin.as_bytes());
        put_u32(out, self.origin_port);
    }
}

impl ChannelKind {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Session => "session",
            Self::DirectTcp(_) => "direct-tcpip",
            Self::ForwardedTcp(_) => "forwarded-tcpip",
            Self::DirectUnix { .. } => "direct-streamlocal@openssh.com",
            Self::ForwardedUnix { .. } => "forwarded-streamlocal@openssh.com",
            Self::Agent => "auth-agent@openssh.com",
            Self::X11 { .. } => "x11",
            Self::Unknown(name) | Self::Unreadable(name) => name,
        }
    }

    fn decode(name: &str, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match name {
            "session" => Self::Session,
            "direct-tcpip" => Self::DirectTcp(TcpPath::decode(from)?),
            "forwarded-tcpip" => Self::ForwardedTcp(TcpPath::decode(from)?),
            "direct-streamlocal@openssh.com" => {
                let path = from.text()?.to_owned();
                from.string()?;
                from.u32()?;
                Self::DirectUnix { path }
            }
            "forwarded-streamlocal@openssh.com" => {
                let path = from.text()?.to_owned();
                from.string()?;
                Self::ForwardedUnix { path }
            }
            "auth-agent@openssh.com" => Self::Agent,
            "x11" => Self::X11 { origin: from.text()?.to_owned(), origin_port: from.u32()? },
            other => {
                from.skip();
                Self::Unknown(other.to_owned())
            }
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Session | Self::Agent | Self::Unknown(_) | Self::Unreadable(_) => {}
            Self::DirectTcp(path) | Self::ForwardedTcp(path) => path.encode(out),
            Self::DirectUnix { path } => {
                put_string(out, path.as_bytes());
                put_string(out, b"");
                put_u32(out, 0);
            }
            Self::ForwardedUnix { path } => {
                put_string(out, path.as_bytes());
                put_string(out, b"");
            }
            Self::X11 { origin, origin_port } => {
                put_string(out, origin.as_bytes());
                put_u32(out, *origin_port);
            }
        }
    }
}

/// A channel, please.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// What for.
    pub kind: ChannelKind,
    /// The sender's number for it.
    pub sender: u32,
    /// How many bytes the sender takes before it is asked.
    pub window: u32,
    /// The most data in one packet the sender takes.
    pub max_packet: u32,
}

impl Open {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one. Fields of its kind that cannot be read are [`ChannelKind::Unreadable`].
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.expect(number::CHANNEL_OPEN)?;
        let name = from.text()?;
        let (sender, window, max_packet) = (from.u32()?, from.u32()?, from.u32()?);
        let kind = ChannelKind::decode(name, from).unwrap_or_else(|_| {
            from.skip();
            ChannelKind::Unreadable(name.to_owned())
        });
        from.finish()?;
        Ok(Self { kind, sender, window, max_packet })
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::CHANNEL_OPEN);
        put_string(out, self.kind.name().as_bytes());
        put_u32(out, self.sender);
        put_u32(out, self.window);
        put_u32(out, self.max_packet);
        self.kind.encode(out);
    }
}

/// The channel is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The receiver's number for the channel.
    pub channel: u32,
    /// The sender's number for it.
    pub sender: u32,
    /// How many bytes the sender takes before it is asked.
    pub window: u32,
    /// The most data in one packet the sender takes.
    pub max_packet: u32,
}

impl Opened {
    /// Reads the message. Bytes of an unknown kind's own fields are skipped.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.expect(number::CHANNEL_OPEN_CONFIRMATION)?;
        let opened =
            Self { channel: from.u32()?, sender: from.u32()?, window: from.u32()?, max_packet: from.u32()? };
        from.skip();
        Ok(opened)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::CHANNEL_OPEN_CONFIRMATION);
        put_u32(out, self.channel);
        put_u32(out, self.sender);
        put_u32(out, self.window);
        put_u32(out, self.max_packet);
    }
}

/// The channel is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFailed {
    /// The receiver's number for the channel.
    pub channel: u32,
    /// A number of RFC 4254 section 5.1.
    pub reason: u32,
    /// Text for the person.
    pub text: String,
}

impl OpenFailed {
    /// Not allowed.
    pub const PROHIBITED: u32 = 1;
    /// The target could not be reached.
    pub const CONNECT_FAILED: u32 = 2;
    /// No such kind of channel.
    pub const UNKNOWN_KIND: u32 = 3;
    /// Too many channels.
    pub const SHORTAGE: u32 = 4;

    /// Reads the message.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.expect(number::CHANNEL_OPEN_FAILURE)?;
        let (channel, reason) = (from.u32()?, from.u32()?);
        let text = String::from_utf8_lossy(from.string()?).into_owned();
        from.skip();
        Ok(Self { channel, reason, text })
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::CHANNEL_OPEN_FAILURE);
        put_u32(out, self.channel);
        put_u32(out, self.reason);
        put_string(out, self.text.as_bytes());
        put_string(out, b"");
    }
}

/// The peer may send so many bytes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowAdjust {
    /// The receiver's number for the channel.
    pub channel: u32,
    /// How many.
    pub bytes: u32,
}

impl WindowAdjust {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        from.expect(number::CHANNEL_WINDOW_ADJUST)?;
        let adjust = Self { channel: from.u32()?, bytes: from.u32()? };
        from.finish()?;
        Ok(adjust)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::CHANNEL_WINDOW_ADJUST);
        put_u32(out, self.channel);
        put_u32(out, self.bytes);
    }
}

/// Bytes on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// The receiver's number for the channel.
    pub channel: u32,
    /// `None` for plain data; `Some(1)` for standard error.
    pub extended: Option<u32>,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> Data<'a> {
    /// How many bytes stand before the data of a plain message: number, channel, length.
    pub const OVERHEAD: usize = 9;

    /// Reads the message, plain or extended.
    ///
    /// # Errors
    /// It is neither.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let number = from.u8()?;
        let channel = from.u32()?;
        let extended = match number {
            number::CHANNEL_DATA => None,
            number::CHANNEL_EXTENDED_DATA => Some(from.u32()?),
            other => return Err(Malformed::Number(other)),
        };
        let bytes = from.string()?;
        from.finish()?;
        Ok(Self { channel, extended, bytes })
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        Self::head(out, self.channel, self.extended);
        put_string(out, self.bytes);
    }

    /// Appends all that stands before the bytes' length.
    pub fn head(out: &mut Vec<u8>, channel: u32, extended: Option<u32>) {
        match extended {
            None => {
                out.push(number::CHANNEL_DATA);
                put_u32(out, channel);
            }
            Some(kind) => {
                out.push(number::CHANNEL_EXTENDED_DATA);
                put_u32(out, channel);
                put_u32(out, kind);
            }
        }
    }
}

/// A message that holds nothing but a channel: `EOF`, `CLOSE`, `SUCCESS`, `FAILURE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bare {
    /// Which of the four.
    pub number: u8,
    /// The receiver's number for the channel.
    pub channel: u32,
}

impl Bare {
    /// Reads the message.
    ///
    /// # Errors
    /// It is none of the four.
    pub fn decode(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let number = from.u8()?;
        if !matches!(
            number,
            number::CHANNEL_EOF | number::CHANNEL_CLOSE | number::CHANNEL_SUCCESS | number::CHANNEL_FAILURE
        ) {
            return Err(Malformed::Number(number));
        }
        let bare = Self { number, channel: from.u32()? };
        from.finish()?;
        Ok(bare)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.number);
        put_u32(out, self.channel);
    }
}
