//! CBOR as authenticators write it (RFC 8949, CTAP2 canonical form): definite lengths only, at most [`DEPTH`] deep.
//!
//! Hands out slices of what it was given and allocates nothing.

use crate::Error;

/// How deep arrays and maps may lie in each other: CTAP2 allows four.
const DEPTH: u32 = 4;
const MALFORMED: Error = Error::Malformed("CBOR");

/// Reads items one after the other.
pub(super) struct Cbor<'a>(&'a [u8]);

impl<'a> Cbor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Error> {
        let length = usize::try_from(length).map_err(|_| MALFORMED)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The major type and its number.
    fn head(&mut self) -> Result<(u8, u64), Error> {
        let first = *self.take(1)?.first().ok_or(MALFORMED)?;
        let number = match first & 0x1f {
            small @ 0..=23 => u64::from(small),
            wide @ 24..=27 => {
                let bytes = self.take(1 << (wide - 24))?;
                bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
            }
            _ => return Err(MALFORMED),
        };
        Ok((first >> 5, number))
    }

    fn of(&mut self, major: u8) -> Result<u64, Error> {
        match self.head()? {
            (found, number) if found == major => Ok(number),
            _ => Err(MALFORMED),
        }
    }

    /// A map: how many pairs follow.
    pub(super) fn map(&mut self) -> Result<u64, Error> {
        self.of(5)
    }

    /// A string of bytes.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.of(2)?;
        self.take(length)
    }

    /// A string of text.
    pub(super) fn text(&mut self) -> Result<&'a str, Error> {
        let length = self.of(3)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| MALFORMED)
    }

    /// A whole number of either sign.
    pub(super) fn number(&mut self) -> Result<i64, Error> {
        let (major, number) = self.head()?;
        let number = i64::try_from(number).map_err(|_| MALFORMED)?;
        match major {
            0 => Ok(number),
            1 => Ok(-1 - number),
            _ => Err(MALFORMED),
        }
    }

    /// Reads over one item of any kind.
    pub(super) fn skip(&mut self) -> Result<(), Error> {
        self.skip_within(DEPTH)
    }

    fn skip_within(&mut self, depth: u32) -> Result<(), Error> {
        let (major, number) = self.head()?;
        match major {
            2 | 3 => self.take(number).map(|_| ()),
            4 | 5 => {
                let depth = depth.checked_sub(1).ok_or(MALFORMED)?;
                let items = number.checked_mul(u64::from(major - 3)).ok_or(MALFORMED)?;
                // Each item is a byte at least: a count beyond that ends at the first read that fails.
                for _ in 0..items {
                    self.skip_within(depth)?;
                }
                Ok(())
            }
            0 | 1 | 7 => Ok(()),
            _ => Err(MALFORMED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_as_the_standard_writes_them() {
        let mut cbor = Cbor::new(&[0xa1, 0x20, 0x43, 1, 2, 3, 0x63, b'f', b'm', b't', 0x18, 200]);

        assert_eq!(cbor.map(), Ok(1));
        assert_eq!(cbor.number(), Ok(-1));
        assert_eq!(cbor.bytes(), Ok(&[1, 2, 3][..]));
        assert_eq!(cbor.text(), Ok("fmt"));
        assert_eq!(cbor.number(), Ok(200));
        assert!(cbor.rest().is_empty());
    }

    #[test]
    fn what_is_deep_open_or_cut_is_refused() {
        for bytes in
            [&[0x81, 0x81, 0x81, 0x81, 0x81, 0x00][..], &[0x9f, 0xff], &[0x43, 1], &[0x1c], &[0xc0, 0]]
        {
            assert!(Cbor::new(bytes).skip().is_err(), "{bytes:?}");
        }
    }
}
