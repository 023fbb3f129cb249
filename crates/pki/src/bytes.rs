//! SSH's wire types (RFC 4251 section 5): big-endian numbers and counted strings.
//!
//! Never allocates by a length it was told; a reader only hands out slices of what it was given.

use crate::Error;

/// Reads from a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, naming `what` in errors.
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, what }
    }

    fn malformed(&self) -> Error {
        Error::Malformed(self.what)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Error::Malformed(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    /// A 32-bit number.
    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        let bytes = self.take(4)?.try_into().map_err(|_| self.malformed())?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// A 64-bit number.
    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        let bytes = self.take(8)?.try_into().map_err(|_| self.malformed())?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// A counted string of bytes.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Error> {
        let len = usize::try_from(self.u32()?).map_err(|_| self.malformed())?;
        self.take(len)
    }

    /// A counted string of UTF-8 text.
    pub(crate) fn text(&mut self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.string()?).map_err(|_| self.malformed())
    }

    /// A positive multiple-precision integer, without its sign byte. Zero, negative and padded ones are refused.
    pub(crate) fn mpint(&mut self) -> Result<&'a [u8], Error> {
        match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|b| *b >= 0x80) => Ok(rest),
            plain @ [1..=0x7f, ..] => Ok(plain),
            _ => Err(self.malformed()),
        }
    }

    /// True when nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Insists that nothing is left.
    pub(crate) fn end(self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}

/// Appends a 32-bit number.
pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a 64-bit number.
pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a counted string. Longer than 4 GiB cannot happen: every input is bounded far below.
pub(crate) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

/// Appends a positive integer given as big-endian bytes.
pub(crate) fn put_mpint(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let digits = bytes.get(start..).unwrap_or_default();
    if digits.first().is_some_and(|b| *b >= 0x80) {
        put_u32(out, u32::try_from(digits.len().saturating_add(1)).unwrap_or(u32::MAX));
        out.push(0);
        out.extend_from_slice(digits);
    } else {
        put_string(out, digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_form() {
        for digits in [&[1u8][..], &[0x7f], &[0x80], &[0xff, 0, 1]] {
            let mut out = Vec::new();
            put_mpint(&mut out, digits);
            assert_eq!(Reader::new("x", &out).mpint().unwrap(), digits);
        }
        for bad in [&[0u8, 0, 0, 0][..], &[0, 0, 0, 1, 0], &[0, 0, 0, 1, 0x80], &[0, 0, 0, 2, 0, 1]] {
            assert!(Reader::new("x", bad).mpint().is_err(), "{bad:?}");
        }
    }
}
