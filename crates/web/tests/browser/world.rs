//! A gate, an authority of a few answers that issues real certificates, and a node whose shell plays a script.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::connect::Route;
use client::tls::Keyring;
use client::{BoxFuture, BoxStream, Client, Connect, ConnectError};
use futures_util::{Stream, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::api::access::SignIn;
use model::api::certs::UserCerts;
use model::api::cluster::{CaKey, CaKind, TrustBundle};
use model::{Identity, NodeId, Subject, Timestamp, UserName};
use pki::ssh::{HostRequest, Permits, UserRequest};
use pki::{Authority as Ca, KeyType, Signer};
use runtime::{Clock, Random, Scope};
use serde_json::{Value, json};
use ssh::server::{self, Accepted, Gate as Door};
use ssh::{Event, HostKey, PrivateKey, PublicKey, Received, RequestKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use web::{Carriers, IdleLimits, NoWay, Sessions, Settings, Ways, Web};

pub(crate) const IDLE: IdleLimits =
    IdleLimits { lock: Some(Duration::from_secs(15 * 60)), end: Some(Duration::from_secs(30 * 60)) };
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// Everything outside the room under test.
pub(crate) struct World {
    pub(crate) scope: Scope,
    pub(crate) clock: Clock,
    pub(crate) node: NodeId,
    host_ca: Ca,
    user_ca: Ca,
    bundle: TrustBundle,
    /// `METHOD path?query` of each call made with a person's certificate.
    pub(crate) asked: Mutex<Vec<String>>,
    /// Where browsers come from.
    pub(crate) peer: Mutex<SocketAddr>,
    /// Certificates are bound to the address of the sign-in.
    pub(crate) pins: Mutex<bool>,
    /// What people may do.
    pub(crate) may: Mutex<Value>,
    /// How long browsers are left alone.
    pub(crate) idle: Mutex<IdleLimits>,
    /// What people are told before sessions.
    pub(crate) notice: Mutex<Value>,
    /// Variables that came before programs, as `NAME=value`.
    pub(crate) variables: Mutex<Vec<String>>,
    /// The far ends of shells, for tests to play.
    pub(crate) shells: Mutex<Vec<ssh::Channel>>,
    /// What its file service has.
    pub(crate) disk: super::files::Disk,
}

type Lines = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;
/// What the authority answers: a value, or lines without an end.
type Body = Either<Full<Bytes>, StreamBody<Lines>>;

/// Who calls: the proxy, or a person.
struct Caller(Arc<World>, bool);

pub(crate) fn identity(subject: Subject, now: Timestamp) -> Identity {
    Identity {
        subject,
        cluster: "gate".parse().unwrap(),
        expires_at: now + Duration::from_secs(8 * 3600),
        login_ip: None,
        pin_ip: false,
        mfa_at: None,
        impersonator: None,
        disallow_reissue: false,
    }
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        let ca = |seed: u8| Ca::generate(KeyType::Ed25519, &[seed; 32]).unwrap();
        let (host_ca, user_ca) = (ca(1), ca(2));
        let key = |kind, ca: &Ca| CaKey {
            kind,
            ssh: ca.ssh_public().to_string(),
            x509_pem: pki::x509::authority_certificate(ca, kind, &"gate".parse().unwrap(), [3; 16], NOW)
                .unwrap(),
            active: true,
        };
        let bundle = TrustBundle {
            keys: vec![key(CaKind::Host, &host_ca), key(CaKind::User, &user_ca)],
            audit_key: String::new(),
        };
        Arc::new(Self {
            scope: Scope::root("test"),
            clock: Clock::manual(NOW),
            node: NodeId::from_random([9; 16]),
            host_ca,
            user_ca,
            bundle,
            asked: Mutex::default(),
            peer: Mutex::new("192.0.2.7:5000".parse().unwrap()),
            pins: Mutex::default(),
            may: Mutex::new(json!({"own": ["list", "read"]})),
            idle: Mutex::new(IDLE),
            notice: Mutex::default(),
            variables: Mutex::default(),
            shells: Mutex::default(),
            disk: Default::default(),
        })
    }

    fn certs(&self, ask: &SignIn) -> UserCerts {
        let subject = Subject::User {
            name: ask.user.parse().unwrap(),
            roles: ["dev".parse().unwrap()].into(),
            traits: Default::default(),
            logins: ["ubuntu".parse().unwrap()].into(),
        };
        let pin_ip = *self.pins.lock().unwrap();
        let identity = Identity { pin_ip, login_ip: ask.client_addr, ..identity(subject, NOW) };
        let key = ask.ssh_key.parse().unwrap();
        let request = UserRequest {
            key: &key,
            identity: &identity,
            permits: Permits::default(),
            serial: 1,
            nonce: [4; 32],
            now: NOW,
        };
        let leaf = pki::x509::Leaf {
            key_pem: &ask.tls_key_pem,
            identity: &identity,
            names: &[],
            serial: [5; 16],
            now: NOW,
        };
        UserCerts {
            user: ask.user.parse().unwrap(),
            ssh_cert: pki::ssh::issue_user(&self.user_ca, &request).unwrap().to_string(),
            tls_cert_pem: pki::x509::issue(&self.user_ca, &leaf).unwrap(),
            trust: self.bundle.clone(),
            cluster: "gate".parse().unwrap(),
            expires: identity.expires_at,
        }
    }

    async fn answer(
        self: Arc<Self>,
        person: bool,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let path = request.uri().path().to_owned();
        if person {
            let line = format!("{} {}", request.method(), request.uri().path_and_query().unwrap());
            self.asked.lock().unwrap().push(line);
        }
        if path == "/v1/events/tail" {
            let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"{}\n")))]);
            let lines: Lines = Box::pin(first.chain(futures_util::stream::pending()));
            let answer = Response::builder().header("content-type", "application/x-ndjson");
            return Ok(answer.body(Either::Right(StreamBody::new(lines))).unwrap());
        }
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (status, answer) = match (person, path.as_str()) {
            (false, "/v1/sign-in") if body["password"] == "right" => {
                let ask: SignIn = serde_json::from_value(body).unwrap();
                assert_eq!(ask.client_addr, Some("192.0.2.7".parse().unwrap()));
                (200, serde_json::to_value(self.certs(&ask)).unwrap())
            }
            (false, "/v1/unlock") if body["password"] == "right" => {
                assert_eq!((&body["user"], &body["client_addr"]), (&json!("ann"), &json!("192.0.2.7")));
                (200, json!({}))
            }
            (false, "/v1/sign-in" | "/v1/unlock") => {
                (401, json!({"fault": "unauthenticated", "message": "wrong"}))
            }
            (true, "/v1/me") => {
                let may = self.may.lock().unwrap().clone();
                let mut me = json!({"user": "ann", "roles": ["dev"], "logins": ["ubuntu"], "may": may});
                let notice = self.notice.lock().unwrap().clone();
                if !notice.is_null() {
                    me["notice"] = notice;
                }
                (200, me)
            }
            (true, "/v1/nodes") => (200, json!({"items": []})),
            (true, "/v1/locks") => (200, json!({"ok": body})),
            _ => (404, json!({"fault": "not_found", "message": "not found"})),
        };
        Ok(Response::builder().status(status).body(Either::Left(answer.to_string().into())).unwrap())
    }

    /// The node's side: lets certificates in, starts any shell.
    async fn serve_node(self: Arc<Self>, stream: BoxStream) {
        let key = Arc::new(PrivateKey::from_seed(&[7; 32], "node").unwrap());
        let subject = Subject::Host {
            id: self.node.clone(),
            name: "n1".parse().unwrap(),
            roles: [model::SystemRole::Node].into(),
        };
        let identity = identity(subject, NOW);
        let public = key.public().to_openssh().parse().unwrap();
        let request = HostRequest {
            key: &public,
            identity: &identity,
            principals: &[],
            serial: 1,
            nonce: [6; 32],
            now: NOW,
        };
        let cert = pki::ssh::issue_host(&self.host_ca, &request).unwrap();
        let host = HostKey::certified(key, PublicKey::from_bytes(cert.blob().to_vec()).unwrap()).unwrap();
        let config = Arc::new(server::Config::new(vec![host]));
        let Ok(Accepted { mut incoming, driver, connection, .. }) =
            server::accept(stream, config, &Anyone).await
        else {
            return;
        };
        self.scope.spawn("node", driver);
        while let Some(event) = incoming.next().await {
            let Event::Open(opening) = event else { continue };
            let channel = opening.accept().unwrap();
            while let Ok(Received::Request(request)) = channel.recv().await {
                if let RequestKind::Env { name, value } = &request.kind {
                    let line = format!("{name}={}", String::from_utf8_lossy(value));
                    self.variables.lock().unwrap().push(line);
                }
                let (shell, files) = match &request.kind {
                    RequestKind::Shell => (true, false),
                    RequestKind::Subsystem { name } if name == "resume@moongate" => (true, false),
                    RequestKind::Subsystem { name } => (false, name == "sftp"),
                    _ => (false, false),
                };
                request.accept();
                if files {
                    let service = super::files::serve(channel, self.disk.clone());
                    self.scope.spawn("files", service);
                    break;
                }
                if shell {
                    self.shells.lock().unwrap().push(channel);
                    break;
                }
            }
        }
        drop(connection);
    }
}

/// Lets in whoever signed with a certificate, but not as root.
struct Anyone;

impl Door for Anyone {
    type Who = ();
    async fn admit(&self, login: &str, key: &PublicKey) -> Option<()> {
        (key.is_certificate() && login != "root").then_some(())
    }
}

impl Connect for Caller {
    fn connect(&self, _: Route) -> BoxFuture<'_, Result<BoxStream, ConnectError>> {
        let (world, person) = (self.0.clone(), self.1);
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let scope = world.scope.clone();
            scope.spawn("authority", async move {
                let service = service_fn(move |request| world.clone().answer(person, request));
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(theirs), service)
                    .await;
            });
            Ok(Box::new(ours) as BoxStream)
        })
    }
}

struct Out(Arc<World>);

impl Ways for Out {
    fn authority(&self, keyring: Keyring, client: std::net::IpAddr) -> Arc<dyn Connect> {
        assert!(keyring.current().shows(), "a person shows a certificate");
        assert_eq!(client.to_string(), "192.0.2.7");
        Arc::new(Caller(self.0.clone(), true))
    }

    fn node(
        &self,
        id: NodeId,
        user: &UserName,
        client: SocketAddr,
    ) -> BoxFuture<'_, Result<BoxStream, NoWay>> {
        assert_eq!(user.as_str(), "ann");
        Box::pin(async move {
            assert_eq!(client.ip(), "192.0.2.7".parse::<std::net::IpAddr>().unwrap());
            if id != self.0.node {
                return Err(NoWay("there is no such node".into()));
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            self.0.scope.spawn("node", self.0.clone().serve_node(Box::new(theirs)));
            Ok(Box::new(ours) as BoxStream)
        })
    }

    fn carrier(&self, id: &NodeId) -> Option<String> {
        (*id == self.0.node).then(|| "tls".to_owned())
    }

    fn dial_timeout(&self) -> Duration {
        Duration::from_secs(7)
    }

    fn idle(&self) -> IdleLimits {
        *self.0.idle.lock().unwrap()
    }
}

struct NoCarriers;

impl Carriers for NoCarriers {
    fn upgraded(&self, _: BoxStream, _: SocketAddr) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// The gate as a browser sees it.
pub(crate) struct Gate {
    pub(crate) world: Arc<World>,
    pub(crate) sessions: Sessions,
    web: Web,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let ways = Arc::new(Out(world.clone()));
        let sessions = Sessions::new(ways, world.clock.clone(), Random::seeded(7), &world.scope);
        let client = Client::new(Arc::new(Caller(world.clone(), false)), &world.scope, Random::seeded(1));
        let settings = Settings {
            listen: "0.0.0.0:3080".into(),
            public_addrs: vec![],
            ssh_public_addr: None,
            tunnel_public_addr: None,
            trust_forwarded_for: false,
            scrollback_lines: 700,
        };
        Self { web: Web::with_sessions(settings, client, sessions.clone()), world, sessions }
    }

    pub(crate) fn open(&self) -> BoxStream {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let web = self.web.clone();
        let peer = *self.world.peer.lock().unwrap();
        self.world.scope.spawn("web", async move {
            web.serve(Box::new(theirs), peer, &NoCarriers).await;
        });
        Box::new(ours)
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = format!("Content-Type: application/json\r\n{headers}");
        self.send_bytes(method, path, &headers, body.as_bytes()).await
    }

    pub(crate) async fn send_bytes(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.open();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut all = Vec::new();
        tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut all)).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&all).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
            body.split("\r\n").nth(1).unwrap_or_default()
        } else {
            body
        };
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            text: body.to_owned(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    /// Signs Ann in.
    pub(crate) async fn sign_in(&self) -> Page {
        let ask = json!({"user": "ann", "password": "right", "otp": "123456"});
        let answer = self.send("POST", "/webapi/sessions/web", OURS, &ask).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap();
        Page {
            cookie: format!("Cookie: {cookie}\r\n"),
            csrf: format!("X-CSRF-Token: {}\r\n", answer.body["csrf"].as_str().unwrap()),
        }
    }
}

/// What a page of ours sends.
pub(crate) const OURS: &str = "Sec-Fetch-Site: same-origin\r\nOrigin: https://gate\r\n";

/// A signed-in page.
pub(crate) struct Page {
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl Page {
    /// Its headers.
    pub(crate) fn all(&self) -> String {
        format!("{OURS}{}{}", self.cookie, self.csrf)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}
