//! Whom we trust and what we show: the material of every TLS connection inside the cluster, swapped while running.
//!
//! Only the cluster's own host authorities are ever trusted here; the web's public authorities are the dialer's
//! business. Session resumption is off: a connection never outlives the certificate check that opened it.

use std::sync::{Arc, Mutex, PoisonError};

use model::api::cluster::{CaKind, TrustBundle};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::sync::watch;

/// The name every authority server's certificate carries.
pub const AUTH_NAME: &str = "auth.moongate.internal";
/// The name every proxy's host certificate carries.
pub const PROXY_NAME: &str = "proxy.moongate.internal";
/// ALPN of connections to the authority.
pub const AUTH_ALPN: &[u8] = b"moongate-auth";

/// Why no TLS configuration could be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key does not parse, or the two do not belong together.
    #[error("the certificate or key is unusable: {0}")]
    Unusable(String),
    /// The trust bundle holds no host authority.
    #[error("no host authority is trusted yet: join first, with a CA pin")]
    NoAuthority,
}

/// One certificate with its key.
#[derive(Debug)]
pub struct Certified {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certified {
    /// Reads a certificate (chain) and its PKCS#8 key, both PEM.
    ///
    /// # Errors
    /// Either does not parse.
    pub fn from_pem(cert: &str, key: &str) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(cert.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| TlsError::Unusable(e.to_string()))?;
        if chain.is_empty() {
            return Err(TlsError::Unusable("there is no certificate in the PEM text".into()));
        }
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| TlsError::Unusable(e.to_string()))?;
        Ok(Self { chain, key })
    }

    /// The certificates, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The leaf's key.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

#[derive(Debug)]
enum Trust {
    Anyone,
    Authorities(Vec<CertificateDer<'static>>),
}

/// Whom to trust and what to show.
#[derive(Debug)]
pub struct Material {
    trust: Trust,
    certified: Option<Certified>,
}

impl Material {
    /// Trusts whoever answers. Only for the first look of a join, which checks a pin right after, and `--insecure`.
    #[must_use]
    pub fn anyone() -> Self {
        Self { trust: Trust::Anyone, certified: None }
    }

    /// Trusts the host authorities of `bundle`, and shows nothing.
    ///
    /// # Errors
    /// The bundle has no host authority, or one that does not parse.
    pub fn trusting(bundle: &TrustBundle) -> Result<Self, TlsError> {
        let mut roots = Vec::new();
        for key in bundle.keys.iter().filter(|k| k.kind == CaKind::Host) {
            for cert in CertificateDer::pem_slice_iter(key.x509_pem.as_bytes()) {
                roots.push(cert.map_err(|e| TlsError::Unusable(e.to_string()))?);
            }
        }
        if roots.is_empty() {
            return Err(TlsError::NoAuthority);
        }
        Ok(Self { trust: Trust::Authorities(roots), certified: None })
    }

    /// The same trust, showing `certified`.
    #[must_use]
    pub fn showing(mut self, certified: Certified) -> Self {
        self.certified = Some(certified);
        self
    }

    /// True when a certificate is shown.
    #[must_use]
    pub fn shows(&self) -> bool {
        self.certified.is_some()
    }

    /// What is shown, for servers that present the same certificate.
    #[must_use]
    pub fn certified(&self) -> Option<&Certified> {
        self.certified.as_ref()
    }

    /// The trusted host authorities; empty when anyone is trusted.
    #[must_use]
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        match &self.trust {
            Trust::Anyone => &[],
            Trust::Authorities(roots) => roots,
        }
    }

    /// A client configuration that offers `alpn`.
    ///
    /// # Errors
    /// The certificate and key do not belong together.
    pub fn config(&self, alpn: &[u8]) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let unusable = |e: rustls::Error| TlsError::Unusable(e.to_string());
        let verifier = verifier(&self.trust, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.certified {
            Some(own) => {
                builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key()).map_err(unusable)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn verifier(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    match trust {
        Trust::Anyone => Ok(Arc::new(Unverified(provider.clone()))),
        Trust::Authorities(roots) => {
            let mut store = RootCertStore::empty();
            for root in roots {
                store.add(root.clone()).map_err(|e| TlsError::Unusable(e.to_string()))?;
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
                .build()
                .map_err(|e| TlsError::Unusable(e.to_string()))?;
            Ok(verifier)
        }
    }
}

/// Accepts any certificate, but still checks that the far end holds its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The material in use now. Clones share: renewing swaps it for everyone who dials next.
#[derive(Clone, Debug)]
pub struct Keyring(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    now: Mutex<Arc<Material>>,
    changed: watch::Sender<u64>,
}

impl Keyring {
    /// Starts with `material`.
    #[must_use]
    pub fn new(material: Material) -> Self {
        let (changed, _) = watch::channel(0);
        Self(Arc::new(Shared { now: Mutex::new(Arc::new(material)), changed }))
    }

    /// The material for the next connection.
    #[must_use]
    pub fn current(&self) -> Arc<Material> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the material; connections that stand keep what they began with.
    pub fn swap(&self, material: Material) {
        *self.0.now.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(material);
        self.0.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Tells of each swap: servers that present the same certificate reload then.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }
}
