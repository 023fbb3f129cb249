//! Names people choose: parsed once, so that nothing behind them needs to check again.
//!
//! Refused everywhere: control characters, spaces, commas, slashes and a leading dash, because names become
//! certificate principals, file names, log fields and command-line words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing was given.
    #[error("{0} may not be empty")]
    Empty(&'static str),
    /// Longer than the bound.
    #[error("{0} is longer than {1} characters")]
    TooLong(&'static str, usize),
    /// A character that would be dangerous later.
    #[error("{kind} `{text}` has a character that is not allowed: {found:?}")]
    Character {
        /// What was being named.
        kind: &'static str,
        /// The text, shortened, with control characters escaped.
        text: String,
        /// The first character at fault.
        found: char,
    },
}

fn check(
    kind: &'static str,
    text: &str,
    max: usize,
    allowed: fn(usize, char) -> bool,
) -> Result<(), BadName> {
    if text.is_empty() {
        return Err(BadName::Empty(kind));
    }
    if text.chars().count() > max {
        return Err(BadName::TooLong(kind, max));
    }
    match text.chars().enumerate().find(|(i, c)| !allowed(*i, *c)) {
        Some((_, found)) => Err(BadName::Character {
            kind,
            text: text.chars().take(64).flat_map(char::escape_default).collect(),
            found,
        }),
        None => Ok(()),
    }
}

fn plain(position: usize, c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '_' | '.' | '@' | '+')
        || (position > 0 && matches!(c, '-' | '$'))
}

fn host(position: usize, c: char) -> bool {
    c.is_ascii_alphanumeric() || (position > 0 && matches!(c, '-' | '.' | '_'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $allowed:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The longest name of this kind, in characters.
            pub const MAX: usize = $max;

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                check($kind, text, Self::MAX, $allowed)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

name!(
    /// A person or robot who can sign in.
    UserName, "user name", 128, plain
);
name!(
    /// A role.
    RoleName, "role name", 128, plain
);
name!(
    /// A local account on a target host: a certificate principal.
    Login, "login", 64, plain
);
name!(
    /// The cluster's name, part of every certificate; changing it orphans them all.
    ClusterName, "cluster name", 190, host
);
name!(
    /// What people call a node: its host name unless configured.
    NodeName, "node name", 190, host
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_cannot_smuggle_separators() {
        for bad in ["", "a b", "a,b", "a\nb", "-oProxyCommand=x", "a/b", "r\u{f6}ot", "a\0b"] {
            assert!(bad.parse::<Login>().is_err(), "{bad:?}");
        }
        for good in ["root", "ubuntu", "svc-backup", "ann@example.com", "DOMAIN.user", "touko", "host$"] {
            assert!(good.parse::<Login>().is_ok(), "{good:?}");
        }
    }
}
