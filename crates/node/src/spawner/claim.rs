//! What the unprivileged half shows to get an account: who signed for it, and from where.
//!
//! Pure: form only. Whether to believe it is `authorities`' work and the [`Judge`]'s.

use std::net::IpAddr;

use model::Timestamp;
use ssh::server::Proof;

use crate::codec::{Malformed, Put, Reader};

/// Most authorities of a cluster: one that is replaced and the one that replaces it, for each kind of key.
pub const MAX_AUTHORITIES: usize = 16;

/// Longest public key of an authority: RSA of 8,192 bits has 1.1 KiB.
const MAX_KEY: usize = 2 * 1024;
/// Longest certificate: what a packet holds before anybody is let in.
const MAX_CERTIFICATE: usize = 35_000;
/// Longest signature.
const MAX_SIGNATURE: usize = 4 * 1024;
/// Longest session id: SHA-512.
const MAX_SESSION: usize = 64;
const MAX_NAME: usize = 128;

/// A sign-in that is to open an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The signature and what it was made over: the certificate is its key.
    pub proof: Proof,
    /// Where the person comes from, as the unprivileged half says.
    pub from: Option<IpAddr>,
}

/// What a certificate that was found good says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good {
    /// The accounts it is good for.
    pub logins: Vec<String>,
    /// When it stops being good.
    pub expires_at: Timestamp,
}

/// Verifies a user certificate (as SSH packs it) that one of these authorities must have signed, used from this
/// address at this time. The executable brings it: this room knows no certificate's fields.
pub type Judge = fn(&[u8], &[Vec<u8>], Option<IpAddr>, Timestamp) -> Result<Good, String>;

impl Claim {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Proof { session, login, algorithm, key, signature } = &self.proof;
        for field in [login.as_bytes(), session, algorithm.as_bytes(), key, signature] {
            out.put_string(field);
        }
        let from = self.from.map(|from| from.to_string()).unwrap_or_default();
        out.put_string(from.as_bytes());
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let proof = Proof {
            login: r.text(MAX_NAME)?.to_owned(),
            session: r.string(MAX_SESSION)?.to_vec(),
            algorithm: r.text(MAX_NAME)?.to_owned(),
            key: r.string(MAX_CERTIFICATE)?.to_vec(),
            signature: r.string(MAX_SIGNATURE)?.to_vec(),
        };
        let from = match r.text(MAX_NAME)? {
            "" => None,
            from => Some(from.parse().map_err(|_| Malformed("address"))?),
        };
        Ok(Self { proof, from })
    }
}

pub(super) fn encode_keys(keys: &[Vec<u8>], out: &mut Vec<u8>) {
    out.put_u32(u32::try_from(keys.len()).unwrap_or(u32::MAX));
    for key in keys {
        out.put_string(key);
    }
}

pub(super) fn decode_keys(r: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    let count = usize::try_from(r.u32()?).map_err(|_| Malformed("length"))?;
    if count > MAX_AUTHORITIES {
        return Err(Malformed("too many authorities"));
    }
    (0..count).map(|_| r.string(MAX_KEY).map(<[u8]>::to_vec)).collect()
}
