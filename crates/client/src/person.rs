//! A person in this process: a TLS key made and kept in memory, where their certificate is good, and how a node proves
//! that it is the one meant.
//!
//! Nothing here touches a disk. Knows no session and no password.

use std::net::IpAddr;

use model::api::cluster::TrustBundle;
use model::{NodeId, Subject, Timestamp};
use pki::ssh::Certificate;
use pki::{KeyPair, KeyType};
use runtime::Random;

use crate::tls::{Certified, TlsError};

/// A TLS key that lives and dies with this value.
pub struct TlsKey(KeyPair);

impl std::fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsKey")
    }
}

impl TlsKey {
    /// A fresh key.
    ///
    /// # Errors
    /// None in practice.
    pub fn generate(random: &Random) -> Result<Self, TlsError> {
        KeyPair::generate(KeyType::Ed25519, &random.bytes())
            .map(Self)
            .map_err(|e| TlsError::Unusable(e.to_string()))
    }

    /// Its public half: `tls_key_pem` of the API.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.0.spki_pem()
    }

    /// The key with the certificate made for it.
    ///
    /// # Errors
    /// The certificate does not parse.
    pub fn certified(&self, cert_pem: &str) -> Result<Certified, TlsError> {
        let key = self.0.to_pkcs8_pem().map_err(|e| TlsError::Unusable(e.to_string()))?;
        Certified::from_pem(cert_pem, &key)
    }
}

/// The only address that a person's own SSH certificate is good from; `None` when it is good from everywhere.
///
/// # Errors
/// The certificate does not parse, or is bound to an address without saying which.
pub fn pinned_to(ssh_cert: &str) -> Result<Option<IpAddr>, String> {
    let cert: Certificate = ssh_cert.trim().parse().map_err(|e: pki::Error| e.to_string())?;
    let identity = pki::ssh::claimed_identity(&cert).map_err(|e| e.to_string())?;
    match (identity.pin_ip, identity.login_ip) {
        (false, _) => Ok(None),
        (true, Some(ip)) => Ok(Some(ip.to_canonical())),
        (true, None) => Err("the certificate is bound to an address that it does not say".into()),
    }
}

/// Checks that an SSH host key is a certificate of this cluster for node `id`.
///
/// # Errors
/// It is not; the text says why.
pub fn verify_node(key: &[u8], bundle: &TrustBundle, id: &NodeId, now: Timestamp) -> Result<(), String> {
    if !Certificate::is_certificate(key) {
        return Err("the node shows a bare key and no certificate of this cluster".into());
    }
    let trust = pki::Trust::from_bundle(bundle).map_err(|e| e.to_string())?;
    let cert = Certificate::from_blob(key).map_err(|e| e.to_string())?;
    let host = pki::ssh::verify_host(&cert, &trust, Some(id.as_str()), now).map_err(|e| e.to_string())?;
    match host.identity.subject {
        Subject::Host { .. } => Ok(()),
        Subject::User { .. } => Err("the node shows a person's certificate".into()),
    }
}
