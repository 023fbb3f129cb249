//! Messages of user authentication (RFC 4252): who asks, by which method, and the answers.

use super::{Malformed, NameList, Reader, number, put_bool, put_names, put_string};

/// The longest user name.
pub const MAX_USER: usize = 256;

/// A request to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The login asked for: a claim, nothing more.
    pub user: &'a str,
    /// The service to start afterwards.
    pub service: &'a [u8],
    /// How.
    pub method: Method<'a>,
}

/// A way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method<'a> {
    /// Asks which methods there are.
    None,
    /// A key or certificate.
    PublicKey {
        /// The signature algorithm.
        algorithm: &'a str,
        /// The key or certificate.
        key: &'a [u8],
        /// Its signature of [`signed_data`]; absent in a question.
        signature: Option<&'a [u8]>,
    },
    /// Another method: its name and its bytes.
    Unknown(&'a [u8], &'a [u8]),
}

impl<'a> Request<'a> {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one, or the user's name is longer than [`MAX_USER`].
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.expect(number::USERAUTH_REQUEST)?;
        let user = from.text()?;
        if user.len() > MAX_USER {
            return Err(Malformed::TooMany);
        }
        let service = from.string()?;
        let method = match from.string()? {
            b"none" => Method::None,
            b"publickey" => {
                let signs = from.bool()?;
                let (algorithm, key) = (from.text()?, from.string()?);
                let signature = if signs { Some(from.string()?) } else { None };
                Method::PublicKey { algorithm, key, signature }
            }
            name => Method::Unknown(name, from.rest()),
        };
        from.finish()?;
        Ok(Self { user, service, method })
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::USERAUTH_REQUEST);
        put_string(out, self.user.as_bytes());
        put_string(out, self.service);
        match &self.method {
            Method::None => put_string(out, b"none"),
            Method::PublicKey { algorithm, key, signature } => {
                put_string(out, b"publickey");
                put_bool(out, signature.is_some());
                put_string(out, algorithm.as_bytes());
                put_string(out, key);
                if let Some(signature) = signature {
                    put_string(out, signature);
                }
            }
            Method::Unknown(name, bytes) => {
                put_string(out, name);
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// The bytes a user's key signs: this session, this user, this key (RFC 4252 section 7).
#[must_use]
pub fn signed_data(session: &[u8], user: &str, service: &[u8], algorithm: &str, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(session.len() + user.len() + algorithm.len() + key.len() + 80);
    put_string(&mut out, session);
    out.push(number::USERAUTH_REQUEST);
    put_string(&mut out, user.as_bytes());
    put_string(&mut out, service);
    put_string(&mut out, b"publickey");
    put_bool(&mut out, true);
    put_string(&mut out, algorithm.as_bytes());
    put_string(&mut out, key);
    out
}

/// No, and what else may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Methods that may go on.
    pub methods: NameList<'a>,
    /// The method succeeded but is not enough.
    pub partial: bool,
}

impl<'a> Failure<'a> {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.expect(number::USERAUTH_FAILURE)?;
        let failure = Self { methods: from.names()?, partial: from.bool()? };
        from.finish()?;
        Ok(failure)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::USERAUTH_FAILURE);
        put_names(out, self.methods.iter());
        put_bool(out, self.partial);
    }
}

/// This key would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOk<'a> {
    /// The signature algorithm asked about.
    pub algorithm: &'a [u8],
    /// The key asked about.
    pub key: &'a [u8],
}

impl<'a> KeyOk<'a> {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.expect(number::USERAUTH_PK_OK)?;
        let ok = Self { algorithm: from.string()?, key: from.string()? };
        from.finish()?;
        Ok(ok)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::USERAUTH_PK_OK);
        put_string(out, self.algorithm);
        put_string(out, self.key);
    }
}

/// Text for the person, before they are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banner<'a> {
    /// UTF-8 in principle; clean it before it reaches a terminal.
    pub text: &'a [u8],
}

impl<'a> Banner<'a> {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.expect(number::USERAUTH_BANNER)?;
        let banner = Self { text: from.string()? };
        from.string()?;
        from.finish()?;
        Ok(banner)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::USERAUTH_BANNER);
        put_string(out, self.text);
        put_string(out, b"");
    }
}
