//! What remains of a sign-in for somebody else to check: which key signed for which login in which session.
//!
//! It proves that the holder of the key signed for this login in a session of this id. It does not prove when, nor
//! with which host: the id is a hash that only the two ends of the exchange can vouch for (RFC 4253 section 7.2).

use wire::ssh::userauth::signed_data;

use crate::Error;
use crate::verify::verify;

/// The service every user asks for in the end.
pub(crate) const CONNECTION: &[u8] = b"ssh-connection";

/// A user's signature with all that it was made over (RFC 4252 section 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The id of the session: the hash of its first key exchange.
    pub session: Vec<u8>,
    /// The login that was asked for.
    pub login: String,
    /// By which algorithm it was signed.
    pub algorithm: String,
    /// The key or certificate that signed, as SSH packs it.
    pub key: Vec<u8>,
    /// The signature, as SSH packs it.
    pub signature: Vec<u8>,
}

impl Proof {
    /// Verifies the signature. What a certificate says is the caller's to judge.
    ///
    /// # Errors
    /// The key did not sign this, or not by an algorithm that fits it.
    pub fn check(&self) -> Result<(), Error> {
        let Self { session, login, algorithm, key, signature } = self;
        let data = signed_data(session, login, CONNECTION, algorithm, key);
        verify(key, algorithm, &data, signature)
    }
}
