//! Authenticator data (WebAuthn section 6.1) and the public key in it (RFC 9053, COSE).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};

use super::cbor::Cbor;
use crate::Error;

/// The longest id of a credential (WebAuthn section 7.1, step 25).
const MAX_ID: usize = 1023;
const MALFORMED: Error = Error::Malformed("authenticator data");

/// A passkey's public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasskeyKey {
    /// ECDSA on P-256 with SHA-256 (COSE -7): both coordinates.
    Es256([u8; 64]),
    /// Ed25519 (COSE -8).
    Ed25519([u8; 32]),
}

impl PasskeyKey {
    /// The numbers by which registrations ask for them, best first.
    pub const ALGORITHMS: [i64; 2] = [-7, -8];

    /// Its number among [`PasskeyKey::ALGORITHMS`].
    pub(super) fn algorithm(self) -> i64 {
        match self {
            Self::Es256(_) => -7,
            Self::Ed25519(_) => -8,
        }
    }

    /// One byte for the kind, then the key.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Es256(point) => [&[1][..], &point].concat(),
            Self::Ed25519(key) => [&[2][..], &key].concat(),
        }
    }

    /// Reads [`PasskeyKey::to_bytes`].
    ///
    /// # Errors
    /// Another kind or length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |_| Error::Malformed("passkey");
        match bytes.split_first() {
            Some((1, point)) => Ok(Self::Es256(point.try_into().map_err(wrong)?)),
            Some((2, key)) => Ok(Self::Ed25519(key.try_into().map_err(wrong)?)),
            _ => Err(Error::Malformed("passkey")),
        }
    }

    /// Reads a COSE key and says how long it was.
    fn decode(bytes: &[u8]) -> Result<(Self, usize), Error> {
        let mut cbor = Cbor::new(bytes);
        let (mut kind, mut algorithm, mut curve) = (None, None, None);
        let (mut x, mut y) = (None, None);
        for _ in 0..cbor.map()? {
            match cbor.number()? {
                1 => kind = Some(cbor.number()?),
                3 => algorithm = Some(cbor.number()?),
                -1 => curve = Some(cbor.number()?),
                -2 => x = Some(cbor.bytes()?),
                -3 => y = Some(cbor.bytes()?),
                _ => cbor.skip()?,
            }
        }
        let key = match (kind, algorithm, curve, x, y) {
            (Some(2), Some(-7), Some(1), Some(x), Some(y)) if x.len() == 32 && y.len() == 32 => {
                Self::Es256([x, y].concat().try_into().map_err(|_| MALFORMED)?)
            }
            (Some(1), Some(-8), Some(6), Some(x), None) => {
                Self::Ed25519(x.try_into().map_err(|_| MALFORMED)?)
            }
            _ => return Err(Error::Passkey("its key is neither ES256 nor EdDSA")),
        };
        Ok((key, bytes.len() - cbor.rest().len()))
    }

    /// Verifies a signature.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let outcome = match self {
            Self::Es256(point) => {
                let point = [&[4][..], point].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
        };
        outcome.map_err(|_| Error::BadSignature)
    }
}

/// What an authenticator says.
pub(super) struct Data<'a> {
    pub(super) party: &'a [u8],
    flags: u8,
    pub(super) counter: u32,
    /// The new credential's id and key.
    pub(super) made: Option<(&'a [u8], PasskeyKey)>,
}

impl<'a> Data<'a> {
    /// Somebody was there.
    pub(super) fn is_present(&self) -> bool {
        self.flags & 0x01 != 0
    }

    /// Who it was has been verified, by a PIN or a finger.
    pub(super) fn is_verified(&self) -> bool {
        self.flags & 0x04 != 0
    }

    /// Reads it, to its last byte.
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let (party, rest) = bytes.split_at_checked(32).ok_or(MALFORMED)?;
        let (&flags, rest) = rest.split_first().ok_or(MALFORMED)?;
        let (counter, mut rest) = rest.split_first_chunk::<4>().ok_or(MALFORMED)?;
        let mut made = None;
        if flags & 0x40 != 0 {
            let (_aaguid, tail) = rest.split_at_checked(16).ok_or(MALFORMED)?;
            let (length, tail) = tail.split_first_chunk::<2>().ok_or(MALFORMED)?;
            let length = usize::from(u16::from_be_bytes(*length));
            if length == 0 || length > MAX_ID {
                return Err(MALFORMED);
            }
            let (id, tail) = tail.split_at_checked(length).ok_or(MALFORMED)?;
            let (key, used) = PasskeyKey::decode(tail)?;
            made = Some((id, key));
            rest = tail.get(used..).ok_or(MALFORMED)?;
        }
        if flags & 0x80 != 0 {
            let mut extensions = Cbor::new(rest);
            extensions.skip()?;
            rest = extensions.rest();
        }
        // A credential cannot be backed up that may not be.
        if !rest.is_empty() || flags & 0x18 == 0x10 {
            return Err(MALFORMED);
        }
        Ok(Self { party, flags, counter: u32::from_be_bytes(*counter), made })
    }
}
