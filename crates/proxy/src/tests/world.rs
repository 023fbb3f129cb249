//! A proxy on a loopback port with a cluster's certificates, and everyone who comes to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::dial::{Dialer, HostPort, ProxyEnv};
use client::tls::Certified;
use client::{BoxStream, Keyring, Material};
use model::api::cluster::{CaKey, CaKind, TrustBundle};
use model::api::nodes::TunnelState;
use model::{Identity, NodeId, Subject, SystemRole, Timestamp};
use pki::ssh::{Permits, UserRequest};
use pki::x509::Leaf;
use pki::{Authority, KeyPair, KeyType, Signer as _, Trust};
use runtime::direct::Wrapped;
use runtime::{Clock, Random, Scope, Service as _};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;
use tunnel::{BoxError, BoxIo};
use wire::Reader;
use wire::dial::{Class, DialHeader, DialReply, Target, TraceId};
use wire::route::Route;

use crate::{
    AuthDial, BoxFuture, Limits, Network, People, Proxy, ProxyHeaders, Report, Settings, WebCerts, WebConn,
    WebHandler,
};

pub(crate) const LIFE: Duration = Duration::from_secs(86_400);
/// Longer than anything waited for takes, on a machine that does ten other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The cluster's authorities and what they issue.
pub(crate) struct Cluster {
    host: Authority,
    user: Authority,
    pub(crate) bundle: TrustBundle,
    random: Random,
    pub(crate) clock: Clock,
}

impl Cluster {
    pub(crate) fn new(seed: u64) -> Self {
        let (random, clock) = (Random::seeded(seed), Clock::manual(Clock::system().now()));
        let make = || Authority::generate(KeyType::EcdsaP256, &random.bytes()).unwrap();
        let (host, user) = (make(), make());
        let key = |kind, ca: &Authority| CaKey {
            kind,
            ssh: ca.ssh_public().to_string(),
            x509_pem: pki::x509::authority_certificate(
                ca,
                kind,
                &"gate.example".parse().unwrap(),
                random.bytes(),
                clock.now(),
            )
            .unwrap(),
            active: true,
        };
        let keys = vec![key(CaKind::Host, &host), key(CaKind::User, &user)];
        let bundle = TrustBundle { keys, audit_key: String::new() };
        Self { host, user, bundle, random, clock }
    }

    pub(crate) fn trust(&self) -> Arc<Trust> {
        Arc::new(Trust::from_bundle(&self.bundle).unwrap())
    }

    fn identity(&self, subject: Subject) -> Identity {
        Identity {
            subject,
            cluster: "gate.example".parse().unwrap(),
            expires_at: self.clock.now() + LIFE,
            login_ip: None,
            pin_ip: false,
            mfa_at: None,
            impersonator: None,
            disallow_reissue: false,
        }
    }

    pub(crate) fn host_identity(&self, n: u8, name: &str, role: SystemRole) -> Identity {
        self.identity(Subject::Host {
            id: NodeId::from_random([n; 16]),
            name: name.parse().unwrap(),
            roles: [role].into(),
        })
    }

    pub(crate) fn ann(&self) -> Identity {
        self.person("ann")
    }

    pub(crate) fn person(&self, name: &str) -> Identity {
        self.identity(Subject::User {
            name: name.parse().unwrap(),
            roles: [].into(),
            traits: Default::default(),
            logins: ["root".parse().unwrap()].into(),
        })
    }

    /// What somebody of this identity trusts and shows.
    pub(crate) fn keyring(&self, identity: &Identity) -> Keyring {
        let key = KeyPair::generate(KeyType::EcdsaP256, &self.random.bytes()).unwrap();
        let ca = if identity.user().is_some() { &self.user } else { &self.host };
        let leaf = Leaf {
            key_pem: &key.spki_pem(),
            identity,
            names: &[],
            serial: self.random.bytes(),
            now: self.clock.now(),
        };
        let cert = pki::x509::issue(ca, &leaf).unwrap();
        let shown = Certified::from_pem(&cert, &key.to_pkcs8_pem().unwrap()).unwrap();
        Keyring::new(Material::trusting(&self.bundle).unwrap().showing(shown))
    }

    /// Somebody who trusts the cluster and shows nothing.
    pub(crate) fn nobody(&self) -> Keyring {
        Keyring::new(Material::trusting(&self.bundle).unwrap())
    }

    /// An SSH credential with a certificate of the user authority.
    pub(crate) fn ssh_credential(&self, identity: &Identity) -> ssh::client::Credential {
        let key = ssh::PrivateKey::generate("ann").unwrap();
        let public = key.public().to_openssh().parse().unwrap();
        let request = UserRequest {
            key: &public,
            identity,
            permits: Permits::default(),
            serial: 1,
            nonce: self.random.bytes(),
            now: self.clock.now(),
        };
        let certificate = pki::ssh::issue_user(&self.user, &request).unwrap();
        ssh::client::Credential {
            key: ssh::PublicKey::from_bytes(certificate.blob().to_vec()).unwrap(),
            signer: Arc::new(key),
        }
    }
}

/// Answers the first request with the address it came from; where a second one is for the upgrade's path, it is granted, for
/// whom its header names.
struct WhereFrom;

/// The head of the next request; `None` at the end.
async fn head(stream: &mut BoxStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

impl WebHandler for WhereFrom {
    fn serve(&self, mut conn: WebConn) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Some(first) = head(&mut conn.stream).await else { return };
            let body = format!("{} h2={}", conn.peer.ip(), conn.http2);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = conn.stream.write_all(answer.as_bytes()).await;
            let _ = conn.stream.flush().await;
            if !first.contains("\r\nConnection: keep-alive\r\n") {
                let _ = conn.stream.shutdown().await;
                return;
            }
            let Some(upgrade) = head(&mut conn.stream).await else { return };
            let named = upgrade.split_once("X-Forwarded-For: ").and_then(|(_, rest)| rest.lines().next());
            let client = named.map_or(conn.peer, |ip| SocketAddr::new(ip.parse().unwrap(), 0));
            let _ = conn.stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
            let _ = conn.stream.flush().await;
            conn.back.upgraded(conn.stream, client).await;
        })
    }
}

/// An authority whose TLS only it can read: it counts what comes and answers with how TLS records begin.
struct Sealed;

impl AuthDial for Sealed {
    fn connect(&self, _peer: SocketAddr) -> BoxFuture<'_, std::io::Result<BoxStream>> {
        Box::pin(async {
            let (near, mut far) = tokio::io::duplex(4096);
            let scope = Scope::root("authority");
            scope.spawn("authority", async move {
                let mut first = [0; 3];
                let _ = far.read_exact(&mut first).await;
                let _ = far.write_all(&first).await;
            });
            // Its scope lives as long as the stream.
            Ok(Box::new(Wrapped::keeping(near, scope)) as BoxStream)
        })
    }
}

/// Remembers the last report.
pub(crate) struct Reported {
    last: watch::Sender<Vec<TunnelState>>,
    /// Nothing is ever lost here.
    lost: watch::Sender<u64>,
}

impl Report for Reported {
    fn tunnels(&self, tunnels: Vec<TunnelState>) -> BoxFuture<'_, Result<(), String>> {
        self.last.send_replace(tunnels);
        Box::pin(std::future::ready(Ok(())))
    }

    fn lost(&self) -> watch::Receiver<u64> {
        self.lost.subscribe()
    }
}

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) scope: Scope,
    pub(crate) at: SocketAddr,
    web_cert: rustls_pki_types::CertificateDer<'static>,
    pub(crate) registry: tunnel::Registry,
    pub(crate) reported: watch::Receiver<Vec<TunnelState>>,
    pub(crate) proxy: Scope,
}

pub(crate) struct How {
    pub(crate) headers: ProxyHeaders,
    pub(crate) forwarded_for: Vec<Network>,
    pub(crate) limits: Limits,
    pub(crate) most_people: Option<usize>,
    pub(crate) cipher_suites: Vec<String>,
}

impl Default for How {
    fn default() -> Self {
        Self {
            headers: ProxyHeaders::Refused,
            forwarded_for: vec![],
            limits: Limits { half_open_per_address: 4096, ..Limits::default() },
            most_people: None,
            cipher_suites: vec![],
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(How::default())
    }

    pub(crate) fn with(how: How) -> Self {
        let cluster = Cluster::new(1);
        let scope = Scope::root("world");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let made = rcgen::generate_simple_self_signed(["gate.example".to_owned()]).unwrap();
        let web_certs =
            WebCerts::from_memory(vec![made.cert.der().clone()], &made.signing_key.serialize_der()).unwrap();
        let host_key = ssh::HostKey::plain(Arc::new(ssh::PrivateKey::generate("proxy").unwrap()));
        let registry = tunnel::Registry::new(runtime::Random::seeded(7));
        let (last, reported) = watch::channel(vec![]);
        let report = Reported { last, lost: watch::Sender::default() };
        let proxy = cluster.host_identity(200, "gate", SystemRole::Proxy);
        let settings = Settings {
            cluster: "gate.example".parse().unwrap(),
            keyring: cluster.keyring(&proxy),
            trust: watch::Sender::new(cluster.trust()).subscribe(),
            ssh: watch::Sender::new(Arc::new(ssh::server::Config::new(vec![host_key]))).subscribe(),
            web_certs,
            cipher_suites: how.cipher_suites,
            web: Arc::new(WhereFrom),
            auth: Arc::new(Sealed),
            registry: registry.clone(),
            proxy_headers: how.headers,
            forwarded_for: how.forwarded_for,
            limits: how.limits,
            people: People::at_most(how.most_people),
            clock: cluster.clock.clone(),
            random: Random::seeded(9),
        };
        let service = Proxy::build(vec![listener], settings, Arc::new(report)).unwrap();
        let proxy = Scope::root("proxy");
        let running = proxy.clone();
        scope.spawn("proxy", async move { service.run(running).await.unwrap() });
        let web_cert = made.cert.der().clone();
        Self { cluster, scope, at, web_cert, registry, reported, proxy }
    }

    pub(crate) fn address(&self) -> HostPort {
        HostPort { host: self.at.ip().to_string(), port: self.at.port() }
    }

    pub(crate) fn dialer(&self, keyring: Keyring) -> Dialer {
        Dialer::new(self.address(), ProxyEnv::none(), keyring)
    }

    /// Whether a client of TLS 1.2 that knows one cipher suite gets through the handshake.
    pub(crate) async fn tls12(&self, wanted: rustls::CipherSuite) -> bool {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.cipher_suites.retain(|suite| suite.suite() == wanted);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.web_cert.clone()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = rustls_pki_types::ServerName::try_from("gate.example").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(name, self.tcp().await).await.is_ok()
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.at).await.unwrap()
    }

    /// Says `bytes` and hears everything until the proxy hangs up.
    pub(crate) async fn ask(&self, bytes: &[u8]) -> String {
        let mut stream = self.tcp().await;
        stream.write_all(bytes).await.unwrap();
        let mut all = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.unwrap();
        String::from_utf8_lossy(&all).into_owned()
    }

    /// An agent whose streams nobody takes.
    pub(crate) async fn silent(&self, n: u8, name: &str) -> tunnel::Arrivals {
        let arrivals = self.agent(n, name, None);
        self.until(name).await;
        arrivals
    }

    /// An agent, through `front` if there is one.
    fn agent(&self, n: u8, name: &str, front: Option<HostPort>) -> tunnel::Arrivals {
        let identity = self.cluster.host_identity(n, name, SystemRole::Node);
        let to = front.unwrap_or_else(|| self.address());
        let dialer = Dialer::new(to, ProxyEnv::none(), self.cluster.keyring(&identity));
        let gate = tunnel::Proxy { key: "gate".into(), ways: vec![Arc::new(Uplink(dialer))] };
        let (_, proxies) = tokio::sync::watch::channel(vec![gate]);
        let (agent, arrivals) = tunnel::Agent::new(proxies, &self.cluster.clock, &Random::seeded(n.into()));
        let scope = self.scope.child("agent");
        self.scope.spawn("agent", async move { agent.run(scope).await.unwrap() });
        arrivals
    }

    /// One whose streams echo.
    pub(crate) async fn echoing(&self, n: u8, name: &str, front: Option<HostPort>) {
        let (mut arrivals, echoes) = (self.agent(n, name, front), self.scope.clone());
        self.scope.spawn("echo", async move {
            while let Some(mut arrival) = arrivals.next().await {
                echoes.spawn("echo stream", async move {
                    let client = arrival.header.client.map(|c| c.ip().to_string()).unwrap_or_default();
                    let hello = format!("{client}\n");
                    let _ = arrival.stream.write_all(hello.as_bytes()).await;
                    let (mut from, mut to) = tokio::io::split(arrival.stream);
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    let _ = to.shutdown().await;
                });
            }
        });
        self.until(name).await;
    }

    pub(crate) async fn until(&self, name: &str) {
        let mut watch = self.registry.watch();
        while !self.registry.list().iter().any(|t| t.name.as_str() == name) {
            tokio::time::timeout(PATIENCE, watch.changed()).await.unwrap().unwrap();
        }
    }
}

struct Uplink(Dialer);

impl tunnel::Connect for Uplink {
    fn connect(&self) -> BoxFuture<'_, Result<BoxIo, BoxError>> {
        Box::pin(async {
            match client::Connect::connect(&self.0, Route::Tunnel).await {
                Ok(stream) => Ok(Box::new(stream) as BoxIo),
                Err(error) => Err(error.into()),
            }
        })
    }
    fn connect_for_one(&self) -> BoxFuture<'_, Result<BoxIo, BoxError>> {
        Box::pin(async { Ok(Box::new(self.0.connect(Route::Carrier).await?) as BoxIo) })
    }
    fn name(&self) -> String {
        self.0.address().to_string()
    }
    fn carrier(&self) -> String {
        self.0.carrier().map(|c| c.to_string()).unwrap_or_default()
    }
}

/// TLS as a browser begins it that trusts anyone.
pub(crate) async fn insecure(tcp: TcpStream) -> TlsStream<TcpStream> {
    browsers(tcp, &["http/1.1"]).await.unwrap()
}

/// The same, with these protocols on offer.
pub(crate) async fn browsers<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    offers: &[&str],
) -> std::io::Result<TlsStream<S>> {
    let mut config = (*Material::anyone().config(b"http/1.1").unwrap()).clone();
    config.alpn_protocols = offers.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = rustls_pki_types::ServerName::try_from("gate.example").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Dials a node by the route for people.
pub(crate) async fn dial(dialer: &Dialer, target: &str) -> (DialReply, BoxStream) {
    let mut stream = dialer.connect(Route::Ssh).await.unwrap();
    let target = Target::parse(target, "gate.example").unwrap();
    let mut bytes = Vec::new();
    DialHeader {
        target,
        client: Some("198.51.100.1:1".parse().unwrap()),
        trace: TraceId([1; 16]),
        class: Class::Interactive,
    }
    .encode(&mut bytes);
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
    let mut seen = Vec::new();
    loop {
        seen.push(stream.read_u8().await.unwrap());
        if let Some(reply) = DialReply::decode(&mut Reader::new(&seen)).unwrap() {
            return (reply, stream);
        }
    }
}

/// Reads the echoing agent's first line: the client address it was told.
pub(crate) async fn line(stream: &mut BoxStream) -> String {
    let mut line = String::new();
    loop {
        match stream.read_u8().await.unwrap() {
            b'\n' => return line,
            byte => line.push(char::from(byte)),
        }
    }
}

pub(crate) async fn echo(stream: &mut BoxStream, bytes: &[u8]) {
    let mut back = vec![0; bytes.len()];
    let (mut from, mut to) = tokio::io::split(stream);
    let both = async {
        let write = async {
            to.write_all(bytes).await.unwrap();
            to.flush().await.unwrap();
        };
        tokio::join!(write, async { from.read_exact(&mut back).await.unwrap() });
    };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert!(back == bytes);
}

/// The same, ending at `at`.
pub(crate) fn ended(mut identity: Identity, at: Timestamp) -> Identity {
    identity.expires_at = at;
    identity
}
