//! Passkeys: what a browser sends when one is made and used, verified.
//!
//! W3C Web Authentication Level 2, sections 7.1 and 7.2, for ES256 and EdDSA, attestation `none` and self
//! attestation. Strict about type, challenge, origin, relying party, presence, verification, signature and counter.
//! Pure: the challenge is the caller's to make, to keep and to use up. Bound: [`MAX`] bytes of each part.

mod cbor;
mod data;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

pub use data::PasskeyKey;

use self::cbor::Cbor;
use self::data::Data;
use crate::Error;

/// The most bytes of one part of an answer.
pub const MAX: usize = 16 * 1024;

/// What an answer must be an answer to.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The relying party's id: a host name.
    pub party: &'a str,
    /// The pages' origins that may ask, `https://host[:port]`.
    pub origins: &'a [String],
    /// What was to be signed.
    pub challenge: &'a [u8],
    /// The authenticator must have verified who it was.
    pub verified: bool,
}

/// A passkey that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: Vec<u8>,
    /// Its key.
    pub key: PasskeyKey,
    /// Its counter.
    pub counter: u32,
}

/// What the browser says it asked for.
#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
}

fn client_data(bytes: &[u8]) -> Result<ClientData, Error> {
    if bytes.len() > MAX {
        return Err(Error::TooLong("client data", MAX));
    }
    serde_json::from_slice(bytes).map_err(|_| Error::Malformed("client data"))
}

/// The challenge an answer claims to answer: only to look up whether there is one.
///
/// # Errors
/// It is no client data.
pub fn challenge_of(client: &[u8]) -> Result<Vec<u8>, Error> {
    let claimed = client_data(client)?.challenge;
    BASE64URL_NOPAD.decode(claimed.as_bytes()).map_err(|_| Error::Malformed("client data"))
}

impl Expected<'_> {
    /// Steps that both ceremonies share: client data, then authenticator data.
    fn check<'d>(&self, kind: &str, client: &[u8], authenticator: &'d [u8]) -> Result<Data<'d>, Error> {
        let said = client_data(client)?;
        if said.kind != kind {
            return Err(Error::Passkey("it is for something else"));
        }
        let challenge = BASE64URL_NOPAD.encode(self.challenge);
        if verify_slices_are_equal(said.challenge.as_bytes(), challenge.as_bytes()).is_err() {
            return Err(Error::Passkey("it answers another challenge"));
        }
        if said.cross_origin || !self.origins.contains(&said.origin) {
            return Err(Error::Passkey("it comes from another page"));
        }
        if authenticator.len() > MAX {
            return Err(Error::TooLong("authenticator data", MAX));
        }
        let data = Data::decode(authenticator)?;
        if data.party != digest(&SHA256, self.party.as_bytes()).as_ref() {
            return Err(Error::Passkey("it is for another party"));
        }
        if !data.is_present() {
            return Err(Error::Passkey("nobody was there"));
        }
        if self.verified && !data.is_verified() {
            return Err(Error::Passkey("the authenticator did not verify who it was"));
        }
        Ok(data)
    }

    /// Verifies the making of a passkey (section 7.1).
    ///
    /// # Errors
    /// Anything that does not fit, and attestations other than none and self.
    pub fn made(&self, client: &[u8], attestation: &[u8]) -> Result<Made, Error> {
        if attestation.len() > MAX {
            return Err(Error::TooLong("attestation", MAX));
        }
        let attestation = Attestation::decode(attestation)?;
        let data = self.check("webauthn.create", client, attestation.data)?;
        let (id, key) = data.made.ok_or(Error::Passkey("there is no key in it"))?;
        if let Some((algorithm, signature)) = attestation.own {
            if algorithm != key.algorithm() {
                return Err(Error::Passkey("its attestation is by another kind of key"));
            }
            key.verify(&signed(attestation.data, client), signature)?;
        }
        Ok(Made { id: id.to_vec(), key, counter: data.counter })
    }

    /// Verifies the use of a passkey (section 7.2) and gives its new counter.
    ///
    /// # Errors
    /// Anything that does not fit, and a counter that did not grow: there are two of it.
    pub fn used(
        &self,
        (key, counter): (&PasskeyKey, u32),
        client: &[u8],
        authenticator: &[u8],
        signature: &[u8],
    ) -> Result<u32, Error> {
        let data = self.check("webauthn.get", client, authenticator)?;
        key.verify(&signed(authenticator, client), signature)?;
        if (data.counter != 0 || counter != 0) && data.counter <= counter {
            return Err(Error::Passkey("its counter went backwards: there may be a copy of it"));
        }
        Ok(data.counter)
    }
}

/// What is signed: the authenticator's data and the hash of the client's.
fn signed(authenticator: &[u8], client: &[u8]) -> Vec<u8> {
    [authenticator, digest(&SHA256, client).as_ref()].concat()
}

/// An attestation object: its data, and a self attestation's algorithm and signature (section 8.2).
struct Attestation<'a> {
    data: &'a [u8],
    own: Option<(i64, &'a [u8])>,
}

impl<'a> Attestation<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        const MALFORMED: Error = Error::Malformed("attestation");
        let mut cbor = Cbor::new(bytes);
        let (mut format, mut statement, mut data) = (None, None, None);
        for _ in 0..cbor.map()? {
            match cbor.text()? {
                "fmt" => format = Some(cbor.text()?),
                "attStmt" => {
                    statement = Some(cbor.rest());
                    cbor.skip()?;
                }
                "authData" => data = Some(cbor.bytes()?),
                _ => return Err(MALFORMED),
            }
        }
        if !cbor.rest().is_empty() {
            return Err(MALFORMED);
        }
        let data = data.ok_or(MALFORMED)?;
        let mut statement = Cbor::new(statement.ok_or(MALFORMED)?);
        let pairs = statement.map()?;
        match (format, pairs) {
            (Some("none"), 0) => Ok(Self { data, own: None }),
            (Some("packed"), 2) => {
                let (mut algorithm, mut signature) = (None, None);
                for _ in 0..pairs {
                    match statement.text()? {
                        "alg" => algorithm = Some(statement.number()?),
                        "sig" => signature = Some(statement.bytes()?),
                        _ => return Err(MALFORMED),
                    }
                }
                Ok(Self { data, own: Some(algorithm.zip(signature).ok_or(MALFORMED)?) })
            }
            _ => Err(Error::Passkey("its attestation is none we asked for")),
        }
    }
}
