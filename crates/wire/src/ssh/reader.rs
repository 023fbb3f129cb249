//! The data types of RFC 4251 section 5, read from and written to one packet.
//!
//! A reader never allocates: it hands out slices of the packet. It does not know what they mean.

use thiserror::Error;

/// Why bytes are not what they should be. The peer's fault: end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The packet ends inside a field.
    #[error("the packet ends inside a field")]
    Short,
    /// The packet goes on after its last field.
    #[error("bytes after the last field")]
    Trailing,
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// A name-list holds something other than printable ASCII names.
    #[error("a malformed name-list")]
    Names,
    /// Another message than the one expected.
    #[error("message {0} where another belongs")]
    Number(u8),
    /// A key, certificate or signature that cannot be.
    #[error("a malformed key or signature")]
    Key,
    /// An identification line that cannot be.
    #[error("a malformed identification line")]
    Version,
    /// A number that must be positive is not, or is not in its shortest form.
    #[error("a malformed number")]
    Mpint,
    /// More items than the bound.
    #[error("too many items")]
    TooMany,
}

/// Reads fields off the front of one packet.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `packet` from its first byte.
    #[must_use]
    pub fn new(packet: &'a [u8]) -> Self {
        Self { rest: packet }
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// None is left.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A message number, which must be `number`.
    ///
    /// # Errors
    /// It is another.
    pub fn expect(&mut self, number: u8) -> Result<(), Malformed> {
        match self.u8()? {
            found if found == number => Ok(()),
            other => Err(Malformed::Number(other)),
        }
    }

    /// A boolean: zero is false, all else is true.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.u8()? != 0)
    }

    /// A 32-bit number.
    ///
    /// # Errors
    /// Fewer than four bytes are left.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// A 64-bit number.
    ///
    /// # Errors
    /// Fewer than eight bytes are left.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// A string of bytes.
    ///
    /// # Errors
    /// Its length says more than is left.
    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| Malformed::Short)?)
    }

    /// A string of UTF-8.
    ///
    /// # Errors
    /// It is not.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.string()?).map_err(|_| Malformed::Text)
    }

    /// A positive multiple-precision number, big-endian, without leading zeros.
    ///
    /// # Errors
    /// It is negative, or longer than it need be.
    pub fn mpint(&mut self) -> Result<&'a [u8], Malformed> {
        match self.string()? {
            [] => Ok(&[]),
            [0] => Err(Malformed::Mpint),
            [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => Ok(rest),
            [first, ..] if *first == 0 || first & 0x80 != 0 => Err(Malformed::Mpint),
            whole => Ok(whole),
        }
    }

    /// A comma-separated list of names.
    ///
    /// # Errors
    /// It holds anything but printable ASCII, or an empty name.
    pub fn names(&mut self) -> Result<NameList<'a>, Malformed> {
        NameList::new(self.string()?)
    }

    /// All that is left.
    #[must_use]
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Passes over all that is left.
    pub fn skip(&mut self) {
        self.rest = &[];
    }

    /// How much is left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing must be left.
    ///
    /// # Errors
    /// Something is.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }
}

/// Names in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameList<'a>(&'a str);

impl<'a> NameList<'a> {
    /// Checks the list's form.
    ///
    /// # Errors
    /// It holds anything but printable ASCII, or an empty name.
    pub fn new(list: &'a [u8]) -> Result<Self, Malformed> {
        let fine = list.iter().all(u8::is_ascii_graphic)
            && (list.is_empty() || list.split(|byte| *byte == b',').all(|name| !name.is_empty()));
        if !fine {
            return Err(Malformed::Names);
        }
        std::str::from_utf8(list).map(Self).map_err(|_| Malformed::Names)
    }

    /// The names.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        self.0.split(',').filter(|name| !name.is_empty())
    }

    /// Whether `name` is among them.
    #[must_use]
    pub fn contains(self, name: &str) -> bool {
        self.iter().any(|found| found == name)
    }

    /// The list as it stood.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// Appends a boolean.
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// Appends a 32-bit number.
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a 64-bit number.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a string. Callers keep strings under 4 GiB; a longer one is cut, never mis-framed.
pub fn put_string(out: &mut Vec<u8>, value: &[u8]) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    put_u32(out, length);
    out.extend_from_slice(value.get(..length as usize).unwrap_or(value));
}

/// Appends a positive number given as big-endian bytes.
pub fn put_mpint(out: &mut Vec<u8>, value: &[u8]) {
    let zeros = value.iter().take_while(|byte| **byte == 0).count();
    let digits = value.get(zeros..).unwrap_or_default();
    let sign = digits.first().is_some_and(|byte| byte & 0x80 != 0);
    put_u32(out, u32::try_from(digits.len() + usize::from(sign)).unwrap_or(u32::MAX));
    if sign {
        out.push(0);
    }
    out.extend_from_slice(digits);
}

/// Appends a name-list.
pub fn put_names<'n>(out: &mut Vec<u8>, names: impl IntoIterator<Item = &'n str>) {
    let start = out.len();
    put_u32(out, 0);
    for (n, name) in names.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(slot) = out.get_mut(start..start + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}
