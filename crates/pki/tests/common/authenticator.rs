//! An authenticator for tests: one ES256 passkey, and what a browser would send for it.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;

pub(crate) struct Authenticator {
    key: EcdsaKeyPair,
    pub(crate) id: Vec<u8>,
    pub(crate) party: String,
    pub(crate) origin: String,
    pub(crate) counter: u32,
    /// Present, verified, with a key, as in section 6.1.
    pub(crate) flags: u8,
}

fn cbor_bytes(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0x59][..], &length, bytes].concat()
}

impl Authenticator {
    pub(crate) fn new(party: &str, origin: &str) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let id = digest(&SHA256, key.public_key().as_ref()).as_ref().to_vec();
        Self { key, id, party: party.to_owned(), origin: origin.to_owned(), counter: 0, flags: 0x05 }
    }

    pub(crate) fn client(&self, kind: &str, challenge: &[u8]) -> Vec<u8> {
        let challenge = BASE64URL_NOPAD.encode(challenge);
        format!(
            r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{}","crossOrigin":false,"other":1}}"#,
            self.origin
        )
        .into_bytes()
    }

    fn data(&self, more: u8) -> Vec<u8> {
        let party = digest(&SHA256, self.party.as_bytes());
        [party.as_ref(), &[self.flags | more], &self.counter.to_be_bytes()].concat()
    }

    /// Client data and attestation object.
    pub(crate) fn make(&self, challenge: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData".to_vec();
        object.extend(cbor_bytes(&self.made()));
        (self.client("webauthn.create", challenge), object)
    }

    /// The same with a self attestation that claims `algorithm`, as CBOR writes it: 0x26 for -7.
    #[allow(dead_code, reason = "each test file uses its part")]
    pub(crate) fn make_attested(&self, challenge: &[u8], algorithm: u8) -> (Vec<u8>, Vec<u8>) {
        let (client, data) = (self.client("webauthn.create", challenge), self.made());
        let message = [&data[..], digest(&SHA256, &client).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &message).unwrap();
        let mut object = b"\xa3\x63fmt\x66packed\x67attStmt\xa2\x63alg".to_vec();
        object.push(algorithm);
        object.extend(b"\x63sig");
        object.extend(cbor_bytes(signature.as_ref()));
        object.extend(b"\x68authData");
        object.extend(cbor_bytes(&data));
        (client, object)
    }

    /// Authenticator data with the new key.
    fn made(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        let mut data = self.data(0x40);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        // {1: 2, 3: -7, -1: 1, -2: x, -3: y}
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(&point[1..33]);
        data.extend([0x22, 0x58, 0x20]);
        data.extend(&point[33..]);
        data
    }

    /// Client data, authenticator data and signature.
    pub(crate) fn sign(&self, challenge: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let client = self.client("webauthn.get", challenge);
        let data = self.data(0);
        let message = [&data[..], digest(&SHA256, &client).as_ref()].concat();
        let signature = self.key.sign(&SystemRandom::new(), &message).unwrap().as_ref().to_vec();
        (client, data, signature)
    }
}
