//! Typed identifiers: 128 random bits each, written as lower-case UUID text.
//!
//! Randomness is an argument: rooms that make ids get the bytes from their caller.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id (expected 8-4-4-4-12 lower-case hexadecimal digits)")]
pub struct BadId(String);

/// Formats 16 bytes as UUID text (RFC 9562 section 4), setting version 4 and the variant bits.
fn text_of(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut out = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&data_encoding::HEXLOWER.encode(&[*byte]));
    }
    out
}

fn is_uuid_text(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Makes an id from 16 random bytes.
            #[must_use]
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(text_of(bytes))
            }

            /// The id as text, always 36 ASCII characters.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                if is_uuid_text(text) { Ok(Self(text.to_owned())) } else { Err(BadId(text.chars().take(64).collect())) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id!(
    /// One agent's host: made once when it joins, kept for life, the only name a dial trusts.
    NodeId
);
id!(
    /// One session of one person on one target; also the name of its recording.
    SessionId
);
id!(
    /// One audit event, lock, or pending request.
    RequestId
);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_round_trips_through_text() {
        let id = NodeId::from_random([0xab; 16]);

        assert_eq!(id.as_str(), "abababab-abab-4bab-abab-abababababab");
        assert_eq!(id.as_str().parse::<NodeId>().unwrap(), id);
    }

    #[test]
    fn text_that_is_no_uuid_is_refused() {
        for bad in
            ["", "../../etc", "ABABABAB-abab-4bab-abab-abababababab", "abababab-abab-4bab-abab-ababababababa"]
        {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }
}
