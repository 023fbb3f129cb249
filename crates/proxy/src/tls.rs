//! TLS at the proxy: the host certificate on the cluster's own routes, web certificates on the web's.
//!
//! The cluster's routes take TLS 1.3 only, want a client certificate of one of the cluster's authorities, and resume
//! nothing: every connection is checked anew. Handshakes have a deadline.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::bare::{Bare, Records, leaves_tls};
use client::{BoxStream, Keyring, Material};
use model::Identity;
use pki::Trust;
use runtime::Clock;
use runtime::direct::Wrapped;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    SupportedCipherSuite,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wire::route::Route;

use crate::Error;
use crate::web_cert::{WebCerts, certified};

/// How long any handshake may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// Everything TLS needs, renewed as certificates and trust are.
pub(crate) struct Tls {
    keyring: Keyring,
    trust: watch::Receiver<Arc<Trust>>,
    clock: Clock,
    provider: Arc<CryptoProvider>,
    web: Arc<ServerConfig>,
    host: Mutex<Option<(Arc<Material>, HostConfigs)>>,
}

#[derive(Clone)]
struct HostConfigs {
    tunnel: Arc<ServerConfig>,
    ssh: Arc<ServerConfig>,
    carrier: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
}

impl Tls {
    pub(crate) fn new(
        keyring: Keyring,
        trust: watch::Receiver<Arc<Trust>>,
        (web, suites): (WebCerts, &[String]),
        clock: Clock,
    ) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let browsers =
            Arc::new(CryptoProvider { cipher_suites: cipher_suites(suites)?, ..(*provider).clone() });
        let web = web_config(&browsers, Arc::new(web)).map_err(Error::WebCert)?;
        let tls = Self { keyring, trust, clock, provider, web, host: Mutex::new(None) };
        tls.host().map_err(Error::HostCert)?;
        Ok(tls)
    }

    /// The configurations with the host certificate in use now.
    fn host(&self) -> Result<HostConfigs, String> {
        let material = self.keyring.current();
        let mut cached = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, configs)) = cached.as_ref()
            && Arc::ptr_eq(of, &material)
        {
            return Ok(configs.clone());
        }
        let own = material.certified().ok_or("this proxy has no host certificate yet")?;
        let shown = Arc::new(Always(certified(own.chain().to_vec(), &own.key())?));
        let configs = HostConfigs {
            tunnel: self.route_config(Route::Tunnel, shown.clone())?,
            ssh: self.route_config(Route::Ssh, shown.clone())?,
            carrier: self.route_config(Route::Carrier, shown.clone())?,
            web: web_config(&self.provider, shown)?,
        };
        *cached = Some((material, configs.clone()));
        Ok(configs)
    }

    fn route_config(&self, route: Route, shown: Arc<Always>) -> Result<Arc<ServerConfig>, String> {
        let verifier =
            Clients { trust: self.trust.clone(), clock: self.clock.clone(), provider: self.provider.clone() };
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| e.to_string())?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(shown);
        config.alpn_protocols = vec![route.alpn().to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// Shakes hands on a route of ours; says whose certificate the other end has. Where the route's bytes are sealed by
    /// themselves, TLS is left as the route says.
    pub(crate) async fn accept_route(
        &self,
        stream: BoxStream,
        route: Route,
        in_web_socket: bool,
    ) -> Result<(BoxStream, Identity), String> {
        let configs = self.host()?;
        let config = match route {
            Route::Tunnel => configs.tunnel,
            Route::Ssh => configs.ssh,
            Route::Carrier => configs.carrier,
            Route::Auth => return Err("the authority's route is passed on, not accepted".into()),
        };
        let stream = accept(Records::new(stream), config).await?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let leaf = leaf.ok_or("no client certificate")?;
        let trust = self.trust.borrow().clone();
        let identity = pki::x509::verify_client(leaf, &trust, self.clock.now()).map_err(|e| e.to_string())?;
        let stream: BoxStream = match leaves_tls(route).filter(|_| !in_web_socket) {
            Some(leave) => Box::new(Bare::new(tokio_rustls::TlsStream::from(stream), leave)),
            None => Box::new(Wrapped::new(stream)),
        };
        Ok((stream, identity))
    }

    /// Shakes hands with a browser, or with someone who asked for the host certificate by its name.
    pub(crate) async fn accept_web(
        &self,
        stream: BoxStream,
        server_name: Option<&str>,
    ) -> Result<TlsStream<BoxStream>, String> {
        let config = match server_name {
            Some(wire::route::PROXY_SERVER_NAME) => self.host()?.web,
            Some(_) | None => self.web.clone(),
        };
        accept(stream, config).await
    }
}

async fn accept<S: client::Stream>(stream: S, config: Arc<ServerConfig>) -> Result<TlsStream<S>, String> {
    tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream))
        .await
        .map_err(|_| format!("no handshake within {HANDSHAKE:?}"))?
        .map_err(|e| e.to_string())
}

/// The suites a browser may choose from: those of TLS 1.3, and of TLS 1.2 those named, or all when none is.
///
/// # Errors
/// A name that no suite has ([`Error::CipherSuite`]).
pub fn cipher_suites(names: &[String]) -> Result<Vec<SupportedCipherSuite>, Error> {
    let all = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
    let is_older = |suite: &SupportedCipherSuite| suite.tls13().is_none();
    if names.is_empty() {
        return Ok(all.to_vec());
    }
    let mut chosen: Vec<_> = all.iter().copied().filter(|suite| !is_older(suite)).collect();
    for name in names {
        let called = |suite: &&SupportedCipherSuite| {
            let own = format!("{:?}", suite.suite()).to_ascii_lowercase().replace('_', "-");
            // RFC 7905 ends the name with the hash; older files leave it away.
            own == *name
                || own.strip_suffix("-sha256").is_some_and(|short| short == name && own.contains("chacha"))
        };
        let found = all.iter().filter(|suite| is_older(suite)).find(called);
        chosen.push(*found.ok_or_else(|| Error::CipherSuite(name.clone()))?);
    }
    Ok(chosen)
}

fn web_config(
    provider: &Arc<CryptoProvider>,
    shown: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, String> {
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    // The web side speaks HTTP/1.1: upgrades need it, and a front that offers h2 alone is not ours.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Believes client certificates that `pki` believes, as of now.
#[derive(Debug)]
struct Clients {
    trust: watch::Receiver<Arc<Trust>>,
    clock: Clock,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let trust = self.trust.borrow().clone();
        match pki::x509::verify_client(leaf, &trust, self.clock.now()) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(pki::Error::Expired(_)) => Err(rustls::Error::InvalidCertificate(CertificateError::Expired)),
            Err(pki::Error::Untrusted) => {
                Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
            }
            Err(error) => {
                tracing::debug!(%error, "a client certificate was refused");
                let why = CertificateError::ApplicationVerificationFailure;
                Err(rustls::Error::InvalidCertificate(why))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
