//! Keys: paths such as `users/ann`. Bounded, printable, ordered by bytes.

use std::fmt;

/// A key: 1 to 512 bytes of parts separated by `/`; no empty part, no control character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a key (parts separated by `/`, none empty, at most 512 bytes, no control characters)")]
pub struct BadKey(String);

impl Key {
    /// The longest key, in bytes.
    pub const MAX: usize = 512;

    /// Parses a key.
    ///
    /// # Errors
    /// The text is no key; see [`BadKey`].
    pub fn new(text: impl Into<String>) -> Result<Self, BadKey> {
        let text = text.into();
        let good = !text.is_empty()
            && text.len() <= Self::MAX
            && text.split('/').all(|part| !part.is_empty())
            && !text.chars().any(char::is_control);
        if good {
            Ok(Self(text))
        } else {
            Err(BadKey(text.chars().take(64).flat_map(char::escape_default).collect()))
        }
    }

    /// The key of a `noun` and a `name`, e.g. `users` and `ann`. A `/` in the name is kept.
    ///
    /// # Errors
    /// The parts make no key.
    pub fn of(noun: &str, name: impl fmt::Display) -> Result<Self, BadKey> {
        Self::new(format!("{noun}/{name}"))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows `prefix/`, if the key is under it.
    #[must_use]
    pub fn under(&self, prefix: &str) -> Option<&str> {
        self.0.strip_prefix(prefix)?.strip_prefix('/')
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_without_holes() {
        for bad in ["", "/", "a//b", "/a", "a/", "a\nb"] {
            assert!(Key::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Key::of("users", "ann").unwrap().under("users"), Some("ann"));
        assert_eq!(Key::of("usersx", "ann").unwrap().under("users"), None);
    }
}
