//! A value that a program gave, not a file, and that is not what was asked for.

/// Why a text that a program (not a file) gave is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct Unfit {
    /// The text, shortened.
    pub text: String,
    /// What was expected, with an example.
    pub expected: String,
}

impl Unfit {
    pub(crate) fn new(text: &str, expected: impl Into<String>) -> Self {
        Self {
            text: text.chars().take(80).flat_map(char::escape_default).collect(),
            expected: expected.into(),
        }
    }
}
