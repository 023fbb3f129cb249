//! Entry points for fuzzing: each must return for every input.

use rustls_pki_types::CertificateDer;

use crate::webauthn::{Expected, PasskeyKey, challenge_of};
use crate::{KeyPair, Trust, identity, ssh, x509};

/// SSH certificates and keys as blobs.
pub fn ssh_blob(data: &[u8]) {
    if let Ok(cert) = ssh::Certificate::from_blob(data) {
        let _ = ssh::verify_user(&cert, &Trust::default(), None, model::Timestamp::default());
        // What trust in no authority never reaches.
        let _ = ssh::claimed_identity(&cert);
        let _ = cert.to_string().parse::<ssh::Certificate>();
    }
    if let Ok(key) = ssh::PublicKey::from_blob(data) {
        let _ = key.verify(data, data);
    }
    let _ = ssh::from_address(data, Some(std::net::Ipv4Addr::LOCALHOST.into()));
}

/// SSH keys, certificates and private keys as text; PEM.
pub fn text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = text.parse::<ssh::PublicKey>();
    let _ = text.parse::<ssh::Certificate>();
    let _ = KeyPair::from_openssh(text);
    let _ = KeyPair::from_pkcs8_pem(text);
    let _ = x509::certificate_from_pem(text);
}

/// Encoded identities: what decodes encodes to the same bytes.
pub fn encoded_identity(data: &[u8]) {
    if let Ok(read) = identity::decode(data) {
        assert_eq!(identity::encode(&read).as_deref(), Ok(data), "one encoding only");
    }
}

/// X.509 certificates.
pub fn certificate(data: &[u8]) {
    let der = CertificateDer::from(data);
    let _ = x509::verify_client(&der, &Trust::default(), model::Timestamp::default());
    let _ = x509::read_identity(&der);
    let _ = x509::pin(&der);
}

/// Attestation objects, authenticator data and client data of passkeys.
pub fn webauthn(data: &[u8]) {
    let origins = ["https://gate.example".to_owned()];
    let expected = Expected { party: "gate.example", origins: &origins, challenge: b"fuzz", verified: false };
    let client = br#"{"type":"webauthn.create","challenge":"ZnV6eg","origin":"https://gate.example"}"#;
    let _ = expected.made(client, data);
    let client = br#"{"type":"webauthn.get","challenge":"ZnV6eg","origin":"https://gate.example"}"#;
    let _ = expected.used((&PasskeyKey::Ed25519([0; 32]), 0), client, data, data);
    let _ = challenge_of(data);
}
