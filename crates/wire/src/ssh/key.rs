//! Public keys, certificates and signatures as bytes (RFC 4253 section 6.6, 5656, 8332, 8709; OpenSSH
//! PROTOCOL.certkeys and PROTOCOL.u2f).
//!
//! Knows where the key is inside a certificate; whether the certificate is worth anything is `pki`'s to say.

use super::{Malformed, Reader, put_mpint, put_string, put_u32};

/// The ending that makes a key's name a certificate's.
pub const CERTIFICATE: &str = "-cert-v01@openssh.com";
/// The longest RSA modulus accepted, in bytes.
pub const MAX_RSA: usize = 1024;

/// A plain public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey<'a> {
    /// `ssh-ed25519`.
    Ed25519(&'a [u8; 32]),
    /// `ecdsa-sha2-nistp256`, `-nistp384`, `-nistp521`.
    Ecdsa {
        /// The curve.
        curve: Curve,
        /// The point, uncompressed.
        point: &'a [u8],
    },
    /// `ssh-rsa`.
    Rsa {
        /// The public exponent.
        exponent: &'a [u8],
        /// The modulus.
        modulus: &'a [u8],
    },
    /// `sk-ssh-ed25519@openssh.com`.
    SkEd25519 {
        /// The key.
        key: &'a [u8; 32],
        /// The application the hardware bound it to.
        application: &'a [u8],
    },
    /// `sk-ecdsa-sha2-nistp256@openssh.com`.
    SkEcdsa {
        /// The point, uncompressed.
        point: &'a [u8],
        /// The application the hardware bound it to.
        application: &'a [u8],
    },
}

/// A NIST curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// P-521.
    P521,
}

impl Curve {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
            Self::P521 => "nistp521",
        }
    }

    /// The name of ECDSA keys on it.
    #[must_use]
    pub fn ecdsa(self) -> &'static str {
        match self {
            Self::P256 => "ecdsa-sha2-nistp256",
            Self::P384 => "ecdsa-sha2-nistp384",
            Self::P521 => "ecdsa-sha2-nistp521",
        }
    }

    fn point_len(self) -> usize {
        match self {
            Self::P256 => 65,
            Self::P384 => 97,
            Self::P521 => 133,
        }
    }
}

impl<'a> PublicKey<'a> {
    /// Reads a plain key's blob.
    ///
    /// # Errors
    /// It is not one of a known kind, or holds more.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let kind = from.text()?;
        let key = Self::fields(kind, from)?;
        from.finish()?;
        Ok(key)
    }

    fn fields(kind: &str, from: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match kind {
            "ssh-ed25519" => Self::Ed25519(fixed(from.string()?)?),
            "ecdsa-sha2-nistp256" => ecdsa(Curve::P256, from)?,
            "ecdsa-sha2-nistp384" => ecdsa(Curve::P384, from)?,
            "ecdsa-sha2-nistp521" => ecdsa(Curve::P521, from)?,
            "ssh-rsa" => {
                let (exponent, modulus) = (from.mpint()?, from.mpint()?);
                if modulus.len() > MAX_RSA || exponent.len() > 8 {
                    return Err(Malformed::Key);
                }
                Self::Rsa { exponent, modulus }
            }
            "sk-ssh-ed25519@openssh.com" => {
                Self::SkEd25519 { key: fixed(from.string()?)?, application: from.string()? }
            }
            "sk-ecdsa-sha2-nistp256@openssh.com" => match ecdsa(Curve::P256, from)? {
                Self::Ecdsa { point, .. } => Self::SkEcdsa { point, application: from.string()? },
                _ => return Err(Malformed::Key),
            },
            _ => return Err(Malformed::Key),
        })
    }

    /// The key's kind on the wire.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ssh-ed25519",
            Self::Ecdsa { curve, .. } => curve.ecdsa(),
            Self::Rsa { .. } => "ssh-rsa",
            Self::SkEd25519 { .. } => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsa { .. } => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// Appends the blob.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_string(out, self.kind().as_bytes());
        self.encode_fields(out);
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ed25519(key) => put_string(out, *key),
            Self::Ecdsa { curve, point } => {
                put_string(out, curve.name().as_bytes());
                put_string(out, point);
            }
            Self::Rsa { exponent, modulus } => {
                put_mpint(out, exponent);
                put_mpint(out, modulus);
            }
            Self::SkEd25519 { key, application } => {
                put_string(out, *key);
                put_string(out, application);
            }
            Self::SkEcdsa { point, application } => {
                put_string(out, Curve::P256.name().as_bytes());
                put_string(out, point);
                put_string(out, application);
            }
        }
    }
}

fn fixed(bytes: &[u8]) -> Result<&[u8; 32], Malformed> {
    bytes.try_into().map_err(|_| Malformed::Key)
}

fn ecdsa<'a>(curve: Curve, from: &mut Reader<'a>) -> Result<PublicKey<'a>, Malformed> {
    if from.string()? != curve.name().as_bytes() {
        return Err(Malformed::Key);
    }
    let point = from.string()?;
    if point.len() != curve.point_len() || point.first() != Some(&4) {
        return Err(Malformed::Key);
    }
    Ok(PublicKey::Ecdsa { curve, point })
}

/// A certificate, read only as far as the key in it; the rest is kept as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// Random bytes of the issuer.
    pub nonce: &'a [u8],
    /// The certified key.
    pub key: PublicKey<'a>,
    /// Serial number.
    pub serial: u64,
    /// 1 for a user, 2 for a host.
    pub role: u32,
    /// The issuer's name for the holder.
    pub id: &'a [u8],
    /// Principals, as a packed list of strings.
    pub principals: &'a [u8],
    /// Seconds of the epoch.
    pub valid_after: u64,
    /// Seconds of the epoch.
    pub valid_before: u64,
    /// Critical options, packed.
    pub critical: &'a [u8],
    /// Extensions, packed.
    pub extensions: &'a [u8],
    /// The issuer's key.
    pub authority: &'a [u8],
    /// The issuer's signature of all before it.
    pub signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads a certificate's blob.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let kind = certified(from.text()?).ok_or(Malformed::Key)?;
        let nonce = from.string()?;
        let key = PublicKey::fields(&kind, from)?;
        let certificate = Self {
            nonce,
            key,
            serial: from.u64()?,
            role: from.u32()?,
            id: from.string()?,
            principals: from.string()?,
            valid_after: from.u64()?,
            valid_before: from.u64()?,
            critical: from.string()?,
            extensions: { from.string()? },
            authority: {
                from.string()?;
                from.string()?
            },
            signature: from.string()?,
        };
        from.finish()?;
        Ok(certificate)
    }

    /// Appends the blob.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_string(out, certificate_kind(self.key.kind()).as_bytes());
        put_string(out, self.nonce);
        self.key.encode_fields(out);
        super::put_u64(out, self.serial);
        put_u32(out, self.role);
        put_string(out, self.id);
        put_string(out, self.principals);
        super::put_u64(out, self.valid_after);
        super::put_u64(out, self.valid_before);
        put_string(out, self.critical);
        put_string(out, self.extensions);
        put_string(out, b"");
        put_string(out, self.authority);
        put_string(out, self.signature);
    }
}

/// The plain kind inside a certificate kind, or `None` for a plain kind.
#[must_use]
pub fn certified(kind: &str) -> Option<String> {
    let plain = kind.strip_suffix(CERTIFICATE)?;
    Some(if plain.starts_with("sk-") { format!("{plain}@openssh.com") } else { plain.to_owned() })
}

/// The certificate kind of a plain kind.
#[must_use]
pub fn certificate_kind(plain: &str) -> String {
    format!("{}{CERTIFICATE}", plain.strip_suffix("@openssh.com").unwrap_or(plain))
}

/// A key as offered: plain, or inside a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered<'a> {
    /// A plain key.
    Plain(PublicKey<'a>),
    /// A certificate.
    Certificate(Box<Certificate<'a>>),
}

impl<'a> Offered<'a> {
    /// Reads either.
    ///
    /// # Errors
    /// It is neither.
    pub fn decode(blob: &'a [u8]) -> Result<Self, Malformed> {
        let kind = Reader::new(blob).text()?;
        let mut from = Reader::new(blob);
        if kind.ends_with(CERTIFICATE) {
            Certificate::decode(&mut from).map(|certificate| Self::Certificate(Box::new(certificate)))
        } else {
            PublicKey::decode(&mut from).map(Self::Plain)
        }
    }

    /// The key that can sign.
    #[must_use]
    pub fn key(&self) -> &PublicKey<'a> {
        match self {
            Self::Plain(key) => key,
            Self::Certificate(certificate) => &certificate.key,
        }
    }
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature<'a> {
    /// The algorithm that made it.
    pub algorithm: &'a str,
    /// Its bytes, in the algorithm's own form.
    pub bytes: &'a [u8],
    /// What a hardware key adds: flags and counter.
    pub hardware: Option<(u8, u32)>,
}

impl<'a> Signature<'a> {
    /// Reads a signature's blob.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let (algorithm, bytes) = (from.text()?, from.string()?);
        let hardware = if algorithm.starts_with("sk-") { Some((from.u8()?, from.u32()?)) } else { None };
        from.finish()?;
        Ok(Self { algorithm, bytes, hardware })
    }

    /// Appends the blob.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_string(out, self.algorithm.as_bytes());
        put_string(out, self.bytes);
        if let Some((flags, counter)) = self.hardware {
            out.push(flags);
            put_u32(out, counter);
        }
    }
}

/// The two numbers of an ECDSA signature.
///
/// # Errors
/// There are not two.
pub fn ecdsa_numbers(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut from = Reader::new(bytes);
    let numbers = (from.mpint()?, from.mpint()?);
    from.finish()?;
    Ok(numbers)
}
