//! Bytes to text: UTF-8 of at most [`MAX_BYTES`], or why not.

use crate::finding::At;

/// Longest text.
pub const MAX_BYTES: usize = 1 << 20;

/// Why bytes are no text that is read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// There are too many of them.
    #[error("longer than {MAX_BYTES} bytes, the most that is read: is it the file you mean?")]
    Long,
    /// They begin as UTF-16 does.
    #[error("UTF-16: save it as UTF-8")]
    Utf16,
    /// A byte belongs to no character.
    #[error("line {}, column {}: not UTF-8 text", .0.line, .0.column)]
    Utf8(At),
}

/// The text that `bytes` are. Whoever reads them needs no more than one beyond [`MAX_BYTES`].
///
/// # Errors
/// They are not UTF-8, or too many.
pub fn text_of(bytes: Vec<u8>) -> Result<String, NotText> {
    if bytes.len() > MAX_BYTES {
        return Err(NotText::Long);
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(NotText::Utf16);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        let behind = good.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        NotText::Utf8(At { line, column: 1 + String::from_utf8_lossy(behind).chars().count() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_with_its_place() {
        assert_eq!(text_of("caf\u{e9}\n".into()).unwrap(), "caf\u{e9}\n");
        // What is cut at the bound may be cut within a character.
        let long = "\u{e9}".repeat(MAX_BYTES).into_bytes();
        for (bytes, said) in [
            (&b"caf\xe9"[..], "line 1, column 4: not UTF-8 text"),
            (b"a: 1\n\xc3\xa9 \xff", "line 2, column 3: not UTF-8 text"),
            (b"\xff\xfea\0", "UTF-16: save it as UTF-8"),
            (b"\xfe\xff\0a", "UTF-16: save it as UTF-8"),
            (
                &long[..=MAX_BYTES],
                "longer than 1048576 bytes, the most that is read: is it the file you mean?",
            ),
        ] {
            assert_eq!(text_of(bytes.to_vec()).unwrap_err().to_string(), said);
        }
    }
}
