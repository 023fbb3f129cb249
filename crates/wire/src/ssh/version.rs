//! The identification line (RFC 4253 section 4.2).
//!
//! A line is at most [`MAX`] bytes. A server may send up to [`MAX_LINES`] other lines before it; a client none.

use super::Malformed;

/// The longest identification line, with its end.
pub const MAX: usize = 255;
/// The most lines a server may send before its identification.
pub const MAX_LINES: usize = 64;

/// A peer's identification, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// Reads one line, without its end.
    ///
    /// # Errors
    /// It is not `SSH-2.0-…` (or `SSH-1.99-…`) in printable ASCII, or is too long.
    pub fn decode(line: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(line).map_err(|_| Malformed::Version)?;
        let known = text.starts_with("SSH-2.0-") || text.starts_with("SSH-1.99-");
        let printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !known || !printable || line.len() + 2 > MAX {
            return Err(Malformed::Version);
        }
        Ok(Self(text.to_owned()))
    }

    /// The line, without its end: what the exchange hash covers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Appends the line with its end.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// What the first bytes of a peer hold.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// No whole line yet.
    NeedMore,
    /// A line that is not the identification, of so many bytes.
    OtherLine(usize),
    /// The identification, of so many bytes.
    Version(Version, usize),
}

/// Looks at the front of `bytes` for one line.
///
/// # Errors
/// The line is an identification that cannot be, holds a zero byte, or has no end within [`MAX`] bytes.
pub fn scan(bytes: &[u8]) -> Result<Seen, Malformed> {
    let window = bytes.get(..MAX).unwrap_or(bytes);
    let Some(end) = window.iter().position(|byte| matches!(byte, b'\n' | 0)) else {
        return if bytes.len() >= MAX { Err(Malformed::Version) } else { Ok(Seen::NeedMore) };
    };
    if window.get(end) == Some(&0) {
        return Err(Malformed::Version);
    }
    let line = window.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.starts_with(b"SSH-") {
        return Ok(Seen::OtherLine(end + 1));
    }
    Version::decode(line).map(|version| Seen::Version(version, end + 1))
}
