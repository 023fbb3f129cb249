//! Entry points for fuzzing: each must return for every input.

use rustls_pki_types::CertificateDer;

use crate::{KeyPair, Trust, identity, ssh, x509};

/// SSH certificates and keys as blobs.
pub fn ssh_blob(data: &[u8]) {
    if let Ok(cert) = ssh::Certificate::from_blob(data) {
        let _ = ssh::verify_user(&cert, &Trust::default(), None, model::Timestamp::default());
        let _ = cert.to_string().parse::<ssh::Certificate>();
    }
    if let Ok(key) = ssh::PublicKey::from_blob(data) {
        let _ = key.verify(data, data);
    }
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
    let _ = x509::pin(&der);
}
