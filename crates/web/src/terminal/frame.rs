//! The frames of a terminal's WebSocket: one byte says what it is, the rest is fixed or runs to the end.

/// The largest message a page may send.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// What a page sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromPage<'a> {
    /// Typed or pasted.
    Input(&'a [u8]),
    /// Output up to this offset has been drawn.
    Ack(u64),
    /// The terminal's size.
    Resize {
        /// Columns.
        cols: u16,
        /// Rows.
        rows: u16,
    },
    /// To be sent back as it is.
    Ping([u8; 8]),
    /// The person closed the terminal: the shell ends.
    Close,
}

impl<'a> FromPage<'a> {
    /// Reads a message; `None` when it is none.
    #[must_use]
    pub fn decode(message: &'a [u8]) -> Option<Self> {
        let (kind, rest) = message.split_first()?;
        match kind {
            0 if rest.len() < MAX_MESSAGE => Some(Self::Input(rest)),
            1 => Some(Self::Ack(u64::from_be_bytes(rest.try_into().ok()?))),
            2 => {
                let (cols, rows) = rest.split_at_checked(2)?;
                let cols = u16::from_be_bytes(cols.try_into().ok()?);
                let rows = u16::from_be_bytes(rows.try_into().ok()?);
                (cols > 0 && rows > 0).then_some(Self::Resize { cols, rows })
            }
            3 => Some(Self::Ping(rest.try_into().ok()?)),
            4 if rest.is_empty() => Some(Self::Close),
            _ => None,
        }
    }

    /// Writes the message.
    #[must_use]
    pub fn encode(self) -> Vec<u8> {
        let with = |kind: u8, rest: &[u8]| {
            let mut out = Vec::with_capacity(rest.len() + 1);
            out.push(kind);
            out.extend_from_slice(rest);
            out
        };
        match self {
            Self::Input(bytes) => with(0, bytes),
            Self::Ack(offset) => with(1, &offset.to_be_bytes()),
            Self::Resize { cols, rows } => {
                let mut out = with(2, &cols.to_be_bytes());
                out.extend_from_slice(&rows.to_be_bytes());
                out
            }
            Self::Ping(bytes) => with(3, &bytes),
            Self::Close => with(4, &[]),
        }
    }
}

/// Output from `offset` on.
pub(crate) fn output(offset: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 9);
    out.push(0);
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(bytes);
    out
}

/// News of the terminal, as JSON.
pub(crate) fn news(json: &serde_json::Value) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(json.to_string().as_bytes());
    out
}

/// So many bytes of input have been written to the node's channel since the terminal began.
pub(crate) fn taken(bytes: u64) -> Vec<u8> {
    let mut out = vec![2];
    out.extend_from_slice(&bytes.to_be_bytes());
    out
}

/// A ping's answer.
pub(crate) fn pong(bytes: [u8; 8]) -> Vec<u8> {
    let mut out = vec![3];
    out.extend_from_slice(&bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for frame in [
            FromPage::Input(b"ls\r"),
            FromPage::Input(b""),
            FromPage::Ack(u64::MAX),
            FromPage::Resize { cols: 80, rows: 24 },
            FromPage::Ping(*b"12345678"),
            FromPage::Close,
        ] {
            assert_eq!(FromPage::decode(&frame.encode()), Some(frame));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [&b""[..], b"\x01123", b"\x02\0\x50", b"\x02\0\0\0\x01", b"\x03x", b"\x04x", b"\x09"] {
            assert_eq!(FromPage::decode(bytes), None, "{bytes:?}");
        }
    }
}
