//! Reading and writing numbers in the formats of this crate: big-endian, bounded, never past the end.
//!
//! Every decoder has one shape: `fn decode(&mut Reader<'_>) -> Result<Option<Self>, Malformed>`, where `None` means
//! "the bytes so far are a beginning; bring more" and leaves the reader where it was. Nothing here allocates.

/// Bytes that no honest peer sends. The connection they came on is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}: {why}")]
pub struct Malformed {
    what: &'static str,
    why: &'static str,
}

impl Malformed {
    /// Says which format was broken, and how.
    #[must_use]
    pub const fn new(what: &'static str, why: &'static str) -> Self {
        Self { what, why }
    }

    /// Which format was broken.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        self.what
    }

    /// How it was broken.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        self.why
    }
}

/// A cursor over received bytes. Every getter answers `None` when too few are left, and then has not moved.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How much has not been read.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// True at the end.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(count)?;
        self.rest = tail;
        Some(head)
    }

    /// The next `N` bytes by value.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>()?;
        self.rest = tail;
        Some(*head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next three bytes as a number (TLS handshake lengths).
    pub fn u24(&mut self) -> Option<u32> {
        self.array::<3>().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Bytes behind an 8-bit length.
    pub fn short(&mut self) -> Option<&'a [u8]> {
        let mut ahead = self.clone();
        let length = ahead.u8()?;
        let bytes = ahead.take(usize::from(length))?;
        *self = ahead;
        Some(bytes)
    }

    /// Bytes behind a 16-bit length.
    pub fn long(&mut self) -> Option<&'a [u8]> {
        let mut ahead = self.clone();
        let length = ahead.u16()?;
        let bytes = ahead.take(usize::from(length))?;
        *self = ahead;
        Some(bytes)
    }
}

/// Lets `decode` run on a copy of the reader and moves the real one only when a whole value was read.
pub(crate) fn whole<T>(
    reader: &mut Reader<'_>,
    decode: impl FnOnce(&mut Reader<'_>) -> Result<Option<T>, Malformed>,
) -> Result<Option<T>, Malformed> {
    let mut ahead = reader.clone();
    let value = decode(&mut ahead)?;
    if value.is_some() {
        reader.rest =
            reader.rest.split_at_checked(reader.rest.len() - ahead.rest.len()).map_or(&[], |(_, t)| t);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_getter_that_finds_too_little_does_not_move() {
        let mut reader = Reader::new(&[0, 9, 1]);

        assert_eq!(reader.u32(), None);
        assert_eq!(reader.long(), None);
        assert_eq!(reader.rest(), [0, 9, 1]);
        assert_eq!(reader.u16(), Some(9));
        assert_eq!(reader.u8(), Some(1));
        assert!(reader.is_empty());
    }
}
