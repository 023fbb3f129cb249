//! Messages of the transport: key exchange, extensions, disconnect, ping (RFC 4253, 8308, OpenSSH PROTOCOL 1.11).

use super::{Malformed, NameList, Reader, number, put_bool, put_names, put_string, put_u32};

/// The most extensions one `EXT_INFO` may hold.
pub const MAX_EXTENSIONS: u32 = 64;

/// What one side can do, in its order of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KexInit<'a> {
    /// Random.
    pub cookie: [u8; 16],
    /// Key exchange methods, and markers such as `ext-info-c`.
    pub kex: NameList<'a>,
    /// Host key algorithms.
    pub host_key: NameList<'a>,
    /// Ciphers, client to server.
    pub cipher_in: NameList<'a>,
    /// Ciphers, server to client.
    pub cipher_out: NameList<'a>,
    /// MACs, client to server.
    pub mac_in: NameList<'a>,
    /// MACs, server to client.
    pub mac_out: NameList<'a>,
    /// Compression, client to server.
    pub compression_in: NameList<'a>,
    /// Compression, server to client.
    pub compression_out: NameList<'a>,
    /// Languages, client to server.
    pub language_in: NameList<'a>,
    /// Languages, server to client.
    pub language_out: NameList<'a>,
    /// A guessed key exchange packet follows.
    pub guess_follows: bool,
}

impl<'a> KexInit<'a> {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.expect(number::KEXINIT)?;
        let init = Self {
            cookie: from.array()?,
            kex: from.names()?,
            host_key: from.names()?,
            cipher_in: from.names()?,
            cipher_out: from.names()?,
            mac_in: from.names()?,
            mac_out: from.names()?,
            compression_in: from.names()?,
            compression_out: from.names()?,
            language_in: from.names()?,
            language_out: from.names()?,
            guess_follows: from.bool()?,
        };
        from.u32()?;
        from.finish()?;
        Ok(init)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::KEXINIT);
        out.extend_from_slice(&self.cookie);
        for list in [
            self.kex,
            self.host_key,
            self.cipher_in,
            self.cipher_out,
            self.mac_in,
            self.mac_out,
            self.compression_in,
            self.compression_out,
            self.language_in,
            self.language_out,
        ] {
            put_names(out, list.iter());
        }
        put_bool(out, self.guess_follows);
        put_u32(out, 0);
    }
}

/// The client's half of an exchange: its public value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer<'a> {
    /// `Q_C`, or `C_INIT` of a hybrid exchange.
    pub public: &'a [u8],
}

impl<'a> Offer<'a> {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.expect(number::KEX_INIT)?;
        let offer = Self { public: from.string()? };
        from.finish()?;
        Ok(offer)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::KEX_INIT);
        put_string(out, self.public);
    }
}

/// The server's half of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The host key or host certificate.
    pub host_key: &'a [u8],
    /// `Q_S`, or `S_REPLY` of a hybrid exchange.
    pub public: &'a [u8],
    /// The host key's signature of the exchange hash.
    pub signature: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads the message.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.expect(number::KEX_REPLY)?;
        let answer = Self { host_key: from.string()?, public: from.string()?, signature: from.string()? };
        from.finish()?;
        Ok(answer)
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::KEX_REPLY);
        put_string(out, self.host_key);
        put_string(out, self.public);
        put_string(out, self.signature);
    }
}

/// Why a peer ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// A number of RFC 4253 section 11.1.
    pub reason: u32,
    /// Text for a log, not to be shown raw.
    pub text: &'a [u8],
}

impl<'a> Disconnect<'a> {
    /// Not allowed to connect.
    pub const NOT_ALLOWED: u32 = 1;
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: u32 = 2;
    /// No common algorithm, or a bad exchange.
    pub const KEX_FAILED: u32 = 3;
    /// A packet's MAC was wrong.
    pub const MAC_ERROR: u32 = 5;
    /// Host key not accepted.
    pub const HOST_KEY: u32 = 9;
    /// The connection is no longer there.
    pub const CONNECTION_LOST: u32 = 10;
    /// The application asked for it.
    pub const BY_APPLICATION: u32 = 11;
    /// No way in is left.
    pub const NO_MORE_AUTH: u32 = 14;

    /// Reads the message. A missing language tag is forgiven: the peer is leaving.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.expect(number::DISCONNECT)?;
        Ok(Self { reason: from.u32()?, text: from.string()? })
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::DISCONNECT);
        put_u32(out, self.reason);
        put_string(out, self.text);
        put_string(out, b"");
    }
}

/// Extensions a side understands, as name and value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtInfo<'a>(pub Vec<(&'a [u8], &'a [u8])>);

impl<'a> ExtInfo<'a> {
    /// Reads the message: at most [`MAX_EXTENSIONS`].
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        from.expect(number::EXT_INFO)?;
        let count = from.u32()?;
        if count > MAX_EXTENSIONS {
            return Err(Malformed::TooMany);
        }
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((from.string()?, from.string()?));
        }
        from.finish()?;
        Ok(Self(pairs))
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(number::EXT_INFO);
        put_u32(out, u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        for (name, value) in &self.0 {
            put_string(out, name);
            put_string(out, value);
        }
    }

    /// The value of extension `name`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| *value)
    }
}
