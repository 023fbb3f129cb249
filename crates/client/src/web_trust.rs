//! Whom to trust on the open web: the certificate a browser would see.
//!
//! The operating system's bundle is read from the places where distributions put it. Nothing here is used between
//! parts of the cluster: those trust the cluster's own authorities only.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runtime::direct::Wrapped;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

use crate::connect::{BoxStream, ConnectError};
use crate::proxy_env::HostPort;
use crate::tls::Material;

const HANDSHAKE: Duration = Duration::from_secs(10);

/// Whose certificates to believe.
#[derive(Debug, Clone, Default)]
pub enum WebTrust {
    /// The operating system's authorities.
    #[default]
    System,
    /// These authorities and the operating system's.
    Extra(Vec<CertificateDer<'static>>),
    /// The cluster's host authorities, as the dialer's keyring has them.
    Cluster,
    /// Anyone: `--insecure`.
    Insecure,
}

const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

fn system_roots(store: &mut RootCertStore) {
    let found = BUNDLES.iter().map(Path::new).find(|path| path.exists());
    let Some(Ok(certs)) = found.map(CertificateDer::pem_file_iter) else { return };
    store.add_parsable_certificates(certs.filter_map(Result::ok));
}

fn config(trust: &WebTrust) -> Result<Arc<ClientConfig>, String> {
    let extra = match trust {
        WebTrust::Insecure | WebTrust::Cluster => {
            return Material::anyone().config(b"http/1.1").map_err(|e| e.to_string());
        }
        WebTrust::System => [].as_slice(),
        WebTrust::Extra(certs) => certs.as_slice(),
    };
    let mut store = RootCertStore::empty();
    system_roots(&mut store);
    store.add_parsable_certificates(extra.iter().cloned());
    if store.is_empty() {
        return Err("this system has no CA bundle: install ca-certificates".into());
    }
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(store)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// TLS as a browser does it, to `to`, over `stream`. [`WebTrust::Cluster`] is the dialer's to resolve; here it is as
/// good as nobody.
pub(crate) async fn handshake(
    stream: BoxStream,
    to: &HostPort,
    trust: &WebTrust,
) -> Result<BoxStream, ConnectError> {
    let unusable = |why: String| ConnectError::Unreachable { to: to.to_string(), why };
    if matches!(trust, WebTrust::Cluster) {
        return Err(unusable("the cluster's authorities are not used for this hop".into()));
    }
    let config = config(trust).map_err(unusable)?;
    let name = server_name(to)?;
    Ok(Box::new(Wrapped::new(secure(stream, config, name, to).await?)))
}

pub(crate) fn server_name(to: &HostPort) -> Result<ServerName<'static>, ConnectError> {
    ServerName::try_from(to.host.clone()).map_err(|_| ConnectError::Unreachable {
        to: to.to_string(),
        why: "its name cannot be in a certificate".into(),
    })
}

/// How a TLS handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Somebody answered, and not as who was meant does.
    Otherwise,
    /// The connection broke.
    BrokenOff,
    /// Nothing came in time.
    Silence,
}

/// A TLS handshake failed.
#[derive(Debug)]
pub(crate) struct NoHandshake {
    pub(crate) error: ConnectError,
    pub(crate) how: How,
}

impl From<NoHandshake> for ConnectError {
    fn from(failed: NoHandshake) -> Self {
        failed.error
    }
}

/// One TLS handshake with a deadline.
pub(crate) async fn secure<S: crate::Stream>(
    stream: S,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    to: &HostPort,
) -> Result<tokio_rustls::client::TlsStream<S>, NoHandshake> {
    let text = to.to_string();
    match tokio::time::timeout(HANDSHAKE, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let answered = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            let how = if answered { How::Otherwise } else { How::BrokenOff };
            Err(NoHandshake { error: ConnectError::from_handshake(&text, &error), how })
        }
        Err(_) => {
            let why = format!("the TLS handshake took longer than {HANDSHAKE:?}");
            Err(NoHandshake { error: ConnectError::Unreachable { to: text, why }, how: How::Silence })
        }
    }
}
