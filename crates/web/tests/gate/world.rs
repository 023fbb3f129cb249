//! A web side over in-memory streams, the authority of a few answers behind it, and who asks.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use client::connect::Route;
use client::{BoxFuture, BoxStream, Client, Connect, ConnectError};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::{Random, Scope};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use web::{Carriers, Settings, Web};

/// An authority that notes what it is asked.
#[derive(Clone)]
pub(crate) struct Authority {
    pub(crate) scope: Scope,
    pub(crate) asked: Arc<Mutex<Vec<(String, Value)>>>,
    pub(crate) away: Arc<Mutex<bool>>,
    /// What the authority says of signing in.
    pub(crate) sign_in: Arc<Mutex<Value>>,
}

impl Authority {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        self.asked.lock().unwrap().push((path.clone(), body.clone()));
        let (status, answer) = match path.as_str() {
            "/v1/cluster" => (
                200,
                json!({"name": "gate", "version": "9.9.9", "level": 1, "ca_pins": ["sha256:00"],
                       "proxy_addrs": ["gate.example.com:443"], "message_of_the_day": "Mind the step.",
                       "sign_in": *self.sign_in.lock().unwrap()}),
            ),
            "/v1/trust" => (200, json!({"keys": [], "audit_key": ""})),
            "/v1/sign-in" if body["password"] == "right" => (
                200,
                json!({"user": "ann", "ssh_cert": "x", "tls_cert_pem": "y", "trust": {"keys": []}, "cluster": "gate",
                       "expires": "2026-11-21T12:00:00.000Z"}),
            ),
            "/v1/sign-in" => (401, json!({"fault": "unauthenticated", "message": "wrong"})),
            "/v1/invite" if body["secret"] == "good" => (
                200,
                json!({"user": "ann", "reset": false, "expires": "2026-11-21T12:00:00.000Z",
                       "otp_uri": "otpauth://totp/x?secret=ABC", "otp_qr_svg": "<svg/>"}),
            ),
            "/v1/invite/accept" if body["secret"] == "good" => (200, json!({})),
            _ => (404, json!({"fault": "not_found", "message": "not found"})),
        };
        Ok(Response::builder().status(status).body(Full::new(answer.to_string().into())).unwrap())
    }
}

impl Connect for Authority {
    fn connect(&self, _: Route) -> BoxFuture<'_, Result<BoxStream, ConnectError>> {
        let authority = self.clone();
        Box::pin(async move {
            if *authority.away.lock().unwrap() {
                return Err(ConnectError::Unreachable { to: "auth".into(), why: "away".into() });
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let scope = authority.scope.clone();
            scope.spawn("authority", async move {
                let service = service_fn(move |request| authority.clone().answer(request));
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(theirs), service)
                    .await;
            });
            Ok(Box::new(ours) as BoxStream)
        })
    }
}

/// Echoes what comes over a carrier, and notes from whom it came.
#[derive(Clone, Default)]
pub(crate) struct Echo(pub(crate) Arc<Mutex<Vec<SocketAddr>>>);

impl Carriers for Echo {
    fn upgraded(&self, mut stream: BoxStream, peer: SocketAddr) -> BoxFuture<'static, ()> {
        self.0.lock().unwrap().push(peer);
        Box::pin(async move {
            let mut buffer = [0; 1024];
            while let Ok(n) = stream.read(&mut buffer).await {
                if n == 0 || stream.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        })
    }
}

pub(crate) struct Gate {
    pub(crate) web: Web,
    pub(crate) client: Client,
    pub(crate) authority: Authority,
    pub(crate) echo: Echo,
    pub(crate) scope: Scope,
}

pub(crate) fn settings() -> Settings {
    Settings {
        listen: "0.0.0.0:3080".into(),
        public_addrs: vec!["gate.example.com:443".into()],
        ssh_public_addr: None,
        tunnel_public_addr: None,
        trust_forwarded_for: false,
        scrollback_lines: 700,
    }
}

pub(crate) fn gate_with(settings: Settings) -> Gate {
    let scope = Scope::root("test");
    let authority = Authority {
        scope: scope.clone(),
        asked: Arc::default(),
        away: Arc::default(),
        sign_in: Arc::new(Mutex::new(json!({"second_factor": "otp", "default_ttl": "12h0m0s"}))),
    };
    let client = Client::new(Arc::new(authority.clone()), &scope, Random::seeded(1));
    Gate { web: Web::new(settings, client.clone()), client, authority, echo: Echo::default(), scope }
}

pub(crate) fn gate() -> Gate {
    gate_with(settings())
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Gate {
    pub(crate) fn open(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        let (web, echo) = (self.web.clone(), self.echo.clone());
        self.scope.spawn("web", async move {
            web.serve(Box::new(theirs), "192.0.2.7:5000".parse().unwrap(), &echo).await;
        });
        ours
    }

    pub(crate) async fn raw(&self, request: &str) -> Answer {
        let mut stream = self.open();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        tokio::time::timeout(Duration::from_secs(120), stream.read_to_end(&mut all)).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&all).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, "").await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &str) -> Answer {
        self.raw(&format!("GET {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n{headers}\r\n")).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, "Content-Type: application/json; charset=utf-8\r\n", &body.to_string()).await
    }

    pub(crate) async fn post_with(&self, path: &str, headers: &str, body: &str) -> Answer {
        self.raw(&format!(
            "POST {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        ))
        .await
    }

    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.authority.asked.lock().unwrap().clone()
    }
}
