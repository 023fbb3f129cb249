//! What a host joins with: tokens, their sources and the authority's pins.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use model::{Secret, SystemRole};

use crate::Unfit;

/// A secret as text, or the file that holds it (read by the daemon, trailing newline dropped).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The secret itself.
    Literal(Secret),
    /// An absolute path.
    File(PathBuf),
}

impl SecretSource {
    fn of(text: &str) -> Self {
        if Path::new(text).is_absolute() {
            SecretSource::File(PathBuf::from(text))
        } else {
            SecretSource::Literal(Secret::new(text))
        }
    }

    /// Reads what a joining host was given: a token, a path, or (as people copy it out of an authority's file) a
    /// static token with its roles in front, of which only the value counts.
    ///
    /// # Errors
    /// The text is empty.
    pub fn join_token(text: &str) -> Result<Self, Unfit> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Unfit::new(text, "a token or the absolute path of a file that holds one"));
        }
        Ok(match StaticToken::parse(text) {
            Ok(token) => token.value,
            Err(_) => Self::of(text),
        })
    }
}

/// A join token of the file: `node,app,proxy:value` or `node:/path/to/file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticToken {
    /// What may join with it.
    pub roles: BTreeSet<SystemRole>,
    /// The secret.
    pub value: SecretSource,
}

impl StaticToken {
    /// Parses `role[,role]:value`.
    ///
    /// # Errors
    /// No colon, no role, a word that is no role, no value. The secret is not part of the error.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        let expected = "a static token (roles:value, e.g. node,app:s3cret or node:/path/to/file)";
        let Some((roles, value)) = text.trim().split_once(':') else {
            return Err(Unfit { text: "…".to_owned(), expected: expected.to_owned() });
        };
        if value.trim().is_empty() {
            return Err(Unfit::new(&format!("{roles}:"), expected));
        }
        let roles = parse_roles(roles)?;
        Ok(Self { roles, value: SecretSource::of(value.trim()) })
    }
}

/// Parses `node,proxy,auth`.
///
/// # Errors
/// A word that is no role, or none at all.
pub(crate) fn parse_roles(text: &str) -> Result<BTreeSet<SystemRole>, Unfit> {
    let words: Vec<&str> = text.split(',').map(str::trim).filter(|w| !w.is_empty()).collect();
    if words.is_empty() {
        return Err(Unfit::new(text, "one or more roles (auth, proxy, node, app, db, kube, bot)"));
    }
    words
        .into_iter()
        .map(|word| {
            word.parse::<SystemRole>()
                .map_err(|_| Unfit::new(word, "a role (auth, proxy, node, app, db, kube or bot)"))
        })
        .collect()
}

/// The fingerprint of an authority: `sha256:` and 64 hexadecimal digits, or a file of such lines.
#[derive(Clone, PartialEq, Eq)]
pub enum CaPin {
    /// SHA-256 over the authority's public key.
    Sha256([u8; 32]),
    /// An absolute path, read by the daemon.
    File(PathBuf),
}

impl CaPin {
    /// Parses a pin or an absolute path.
    ///
    /// # Errors
    /// Another algorithm, a missing colon, digits that are not 64 hexadecimal ones.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        let text = text.trim();
        let bad =
            || Unfit::new(text, "a pin (sha256: and 64 hexadecimal digits) or the absolute path of a file");
        if Path::new(text).is_absolute() {
            return Ok(CaPin::File(PathBuf::from(text)));
        }
        let digits = text.strip_prefix("sha256:").ok_or_else(bad)?;
        let mut bytes = [0u8; 32];
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(bad());
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            let pair = digits.get(2 * i..2 * i + 2).ok_or_else(bad)?;
            if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(CaPin::Sha256(bytes))
    }
}

impl fmt::Display for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaPin::Sha256(bytes) => {
                f.write_str("sha256:")?;
                bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
            CaPin::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for CaPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_token_has_roles_and_a_value() {
        let token = StaticToken::parse("proxy,node,app:f7adb7cc").unwrap();

        assert_eq!(token.roles, [SystemRole::Proxy, SystemRole::Node, SystemRole::App].into());
        assert_eq!(token.value, SecretSource::Literal(Secret::new("f7adb7cc")));
        let file = StaticToken::parse("node:/etc/token").unwrap();
        assert_eq!(file.value, SecretSource::File("/etc/token".into()));
        for bad in ["", "value", "node:", ":value", "knot:value", "node,knot:v"] {
            assert!(StaticToken::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refused_token_does_not_show_its_secret() {
        let error = StaticToken::parse("knot:hunter2").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(!StaticToken::parse("hunter2").unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn a_join_token_may_be_copied_with_its_roles() {
        let joined = SecretSource::join_token("proxy,node,app:f7ad").unwrap();
        assert_eq!(joined, SecretSource::Literal(Secret::new("f7ad")));
        assert_eq!(SecretSource::join_token("xyz").unwrap(), SecretSource::Literal(Secret::new("xyz")));
        assert_eq!(SecretSource::join_token("/run/token").unwrap(), SecretSource::File("/run/token".into()));
    }

    #[test]
    fn a_pin_round_trips_and_nothing_else_passes() {
        let text = "sha256:7e12c17c20d9cb504bbcb3f0236be3f446861f1396dcbb44425fe28ec1c108f1";
        assert_eq!(CaPin::parse(text).unwrap().to_string(), text);
        for bad in ["", "sha256:", "md5:00", "7e12", "sha256:7e12", &text.replace("7e", "+e")] {
            assert!(CaPin::parse(bad).is_err(), "{bad}");
        }
    }
}
