//! Whom to trust: every key of every authority of the cluster, from the bundle the authority publishes.
//!
//! An authority may have several keys at a time (while one replaces another); all of them count.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::api::cluster::{CaKind, TrustBundle};
use rustls_pki_types::CertificateDer;

use crate::ssh::PublicKey;
use crate::{Error, x509};

/// The trusted authorities, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    user_ssh: Vec<PublicKey>,
    host_ssh: Vec<PublicKey>,
    user_roots: Vec<CertificateDer<'static>>,
    host_roots: Vec<CertificateDer<'static>>,
    host_pins: Vec<String>,
    audit_key: Option<[u8; 32]>,
}

impl Trust {
    /// Reads a bundle. All of it must be good: half a trust store is worse than none.
    ///
    /// # Errors
    /// A key or certificate in it is malformed.
    pub fn from_bundle(bundle: &TrustBundle) -> Result<Self, Error> {
        let mut trust = Self::default();
        for key in &bundle.keys {
            let ssh: PublicKey = key.ssh.parse()?;
            let root = x509::certificate_from_pem(&key.x509_pem)?;
            let pin = x509::pin(&root)?;
            match key.kind {
                CaKind::User => {
                    trust.user_ssh.push(ssh);
                    trust.user_roots.push(root);
                }
                CaKind::Host => {
                    trust.host_ssh.push(ssh);
                    trust.host_roots.push(root);
                    trust.host_pins.push(pin);
                }
            }
        }
        if !bundle.audit_key.is_empty() {
            let raw = STANDARD.decode(&bundle.audit_key).map_err(|_| Error::Malformed("audit key"))?;
            trust.audit_key = Some(raw.try_into().map_err(|_| Error::Malformed("audit key"))?);
        }
        Ok(trust)
    }

    /// Trusts these keys (as SSH packs them) to sign people's SSH certificates, and nobody for anything else.
    ///
    /// # Errors
    /// One is malformed, or a certificate: that is never an authority.
    pub fn of_user_keys(keys: &[Vec<u8>]) -> Result<Self, Error> {
        let user_ssh = keys.iter().map(|key| PublicKey::from_blob(key)).collect::<Result<_, _>>()?;
        Ok(Self { user_ssh, ..Self::default() })
    }

    /// Keys that sign people's SSH certificates.
    #[must_use]
    pub fn user_ssh(&self) -> &[PublicKey] {
        &self.user_ssh
    }

    /// Keys that sign hosts' SSH certificates.
    #[must_use]
    pub fn host_ssh(&self) -> &[PublicKey] {
        &self.host_ssh
    }

    /// Roots of people's X.509 certificates, DER.
    #[must_use]
    pub fn user_roots(&self) -> &[CertificateDer<'static>] {
        &self.user_roots
    }

    /// Roots of hosts' X.509 certificates, DER.
    #[must_use]
    pub fn host_roots(&self) -> &[CertificateDer<'static>] {
        &self.host_roots
    }

    /// The key that signs audit checkpoints and receipts.
    #[must_use]
    pub fn audit_key(&self) -> Option<&[u8; 32]> {
        self.audit_key.as_ref()
    }

    /// `sha256:<hex>` of each host authority's public key.
    #[must_use]
    pub fn ca_pins(&self) -> &[String] {
        &self.host_pins
    }

    /// Insists that at least one host authority has one of the pinned keys.
    ///
    /// # Errors
    /// None has.
    pub fn check_pins(&self, pins: &[String]) -> Result<(), Error> {
        let wanted = |pin: &String| pins.iter().any(|p| p.trim().eq_ignore_ascii_case(pin));
        if self.host_pins.iter().any(wanted) { Ok(()) } else { Err(Error::PinMismatch) }
    }

    /// Lines for a stock client's `known_hosts`: each host authority for the given patterns, separated by commas.
    #[must_use]
    pub fn known_hosts(&self, patterns: &str) -> String {
        self.host_ssh.iter().map(|key| format!("@cert-authority {patterns} {key} type=host\n")).collect()
    }
}
