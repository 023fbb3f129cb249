//! The server's side of mutual TLS: its own certificate, and callers' certificates by the cluster's live keys.
//!
//! A caller may come without a certificate (to sign in or join); one with a certificate that does not verify is
//! refused in the handshake. No resumption: every connection is checked anew.

use std::sync::{Arc, Mutex, PoisonError};

use model::Timestamp;
use runtime::Clock;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use wire::route::{RELAY_ALPN, Route};

use crate::error::Error;
use crate::keys::KeyCell;

/// The certificate the server shows; replaced while running.
#[derive(Debug, Default)]
pub(crate) struct Shown(Mutex<Option<(Arc<CertifiedKey>, Timestamp)>>);

impl Shown {
    pub(crate) fn replace(&self, cert_pem: &str, key_pem: &str, issued: Timestamp) -> Result<(), Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Tls(e.to_string());
        let chain = CertificateDer::pem_slice_iter(cert_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| failed(&e))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|e| failed(&e))?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|e| failed(&e))?;
        let certified = CertifiedKey::new(chain, key);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::new(certified), issued));
        Ok(())
    }

    /// When it was issued; `None` while there is none.
    pub(crate) fn issued(&self) -> Option<Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(_, issued)| *issued)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|(key, _)| key.clone())
    }
}

/// The server's configuration: TLS 1.3 only, client certificates optional.
pub(crate) fn server_config(
    shown: Arc<Shown>,
    keys: Arc<KeyCell>,
    clock: Clock,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let callers = Callers { keys, clock, provider: provider.clone() };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| Error::Tls(e.to_string()))?
        .with_client_cert_verifier(Arc::new(callers))
        .with_cert_resolver(shown);
    config.alpn_protocols =
        vec![Route::Auth.alpn().to_vec(), RELAY_ALPN.to_vec(), b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Verifies callers' certificates against the keys trusted now.
struct Callers {
    keys: Arc<KeyCell>,
    clock: Clock,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for Callers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callers")
    }
}

impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        use rustls::CertificateError as Bad;
        match pki::x509::verify_client(leaf, self.keys.now().trust(), self.clock.now()) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(pki::Error::Expired(_)) => Err(Bad::Expired.into()),
            Err(pki::Error::NotYetValid(_)) => Err(Bad::NotValidYet.into()),
            Err(pki::Error::Untrusted) => Err(Bad::UnknownIssuer.into()),
            Err(error) => {
                tracing::info!(%error, "a caller's certificate was refused");
                Err(Bad::ApplicationVerificationFailure.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
