//! Messages between an SSH client and its agent (draft-miller-ssh-agent, OpenSSH PROTOCOL.agent).
//!
//! A frame is a length and a message; [`MAX`] bounds it before anything is read.

use super::{Malformed, Reader, put_string, put_u32};

/// The longest message, as OpenSSH has it.
pub const MAX: usize = 256 * 1024;
/// The most identities read from one answer.
pub const MAX_IDENTITIES: u32 = 1024;

/// What a client asks of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Which keys are there?
    List,
    /// Sign.
    Sign {
        /// The key or certificate to sign with.
        key: &'a [u8],
        /// What to sign.
        data: &'a [u8],
        /// 2 asks RSA for SHA-256, 4 for SHA-512.
        flags: u32,
    },
    /// Keep a key: its private fields, a comment, and constraints.
    Add {
        /// Kind and private fields, packed as the agent protocol has them.
        key: &'a [u8],
        /// Seconds to keep it.
        lifetime: Option<u32>,
    },
    /// Forget a key.
    Remove {
        /// The key or certificate.
        key: &'a [u8],
    },
}

impl Ask<'_> {
    /// Appends the message, without its frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::List => out.push(11),
            Self::Sign { key, data, flags } => {
                out.push(13);
                put_string(out, key);
                put_string(out, data);
                put_u32(out, *flags);
            }
            Self::Add { key, lifetime } => {
                out.push(if lifetime.is_some() { 25 } else { 17 });
                out.extend_from_slice(key);
                if let Some(seconds) = lifetime {
                    out.push(1);
                    put_u32(out, *seconds);
                }
            }
            Self::Remove { key } => {
                out.push(18);
                put_string(out, key);
            }
        }
    }
}

/// A key an agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The key or certificate.
    pub key: &'a [u8],
    /// Its comment.
    pub comment: &'a [u8],
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// No.
    Failure,
    /// Done.
    Success,
    /// The keys.
    Identities(Vec<Identity<'a>>),
    /// A signature.
    Signature(&'a [u8]),
}

impl<'a> Answer<'a> {
    /// Reads the message, without its frame.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let answer = match from.u8()? {
            5 => Self::Failure,
            6 => Self::Success,
            12 => {
                let count = from.u32()?;
                if count > MAX_IDENTITIES {
                    return Err(Malformed::TooMany);
                }
                let mut keys = Vec::new();
                for _ in 0..count {
                    keys.push(Identity { key: from.string()?, comment: from.string()? });
                }
                Self::Identities(keys)
            }
            14 => Self::Signature(from.string()?),
            other => return Err(Malformed::Number(other)),
        };
        from.finish()?;
        Ok(answer)
    }

    /// Appends the message, without its frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Failure => out.push(5),
            Self::Success => out.push(6),
            Self::Identities(keys) => {
                out.push(12);
                put_u32(out, u32::try_from(keys.len()).unwrap_or(u32::MAX));
                for key in keys {
                    put_string(out, key.key);
                    put_string(out, key.comment);
                }
            }
            Self::Signature(signature) => {
                out.push(14);
                put_string(out, signature);
            }
        }
    }
}
