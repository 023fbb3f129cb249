//! Every endpoint, asked by everybody: nothing is reachable without its decision.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use model::api::{Asker, Endpoint};
use model::resource::Kind;
use runtime::Service;
use testkit::client::connect::{Connect, Route};
use testkit::client::dial::Dialer;
use testkit::client::proxy_env::{HostPort, ProxyEnv};
use testkit::client::tls::Material;
use testkit::client::{Client, Keyring};

use crate::world::{Keys, World};

const ID: &str = "abababab-abab-4bab-abab-abababababab";

/// Sends a bare request to an endpoint and gives status and body.
async fn ask(world: &World, material: Material, endpoint: &Endpoint) -> (u16, String) {
    let path = endpoint.path.replace("{id}", ID).replace("{n}", "0").replace("{name}", "somebody");
    raw(world, material, endpoint.method.as_str(), &path, "{}").await
}

pub async fn raw(world: &World, material: Material, method: &str, path: &str, body: &str) -> (u16, String) {
    let stream = world.pipe(material).connect(Route::Auth).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    world.scope.spawn("http", connection);
    let request = Request::builder().method(method).uri(path).header("host", "auth");
    let body = if method == "GET" { Bytes::new() } else { Bytes::from(body.to_owned()) };
    let response = sender.send_request(request.body(Full::new(body)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    // A stream has no end to wait for.
    if status == 200 {
        return (status, String::new());
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

struct Callers {
    user: (Keys, String),
    node: (Keys, String),
    trust: model::api::cluster::TrustBundle,
}

impl Callers {
    async fn new(world: &World) -> Self {
        let keys = Keys::new(&world.random);
        let vendor = world.person("vendor", "vendor").await;
        let certs = world.anyone().call(&world.sign_in_request(&vendor, &keys)).await.unwrap();
        let node = world.node("web-1", "prod").await;
        Self {
            user: (keys, certs.tls_cert_pem),
            node: (node.keys, node.certs.tls_cert_pem),
            trust: world.authority.trust(),
        }
    }

    fn material(&self, who: &str) -> Material {
        let trusting = Material::trusting(&self.trust).unwrap();
        match who {
            "stranger" => trusting,
            "user" => trusting.showing(self.user.0.certified(&self.user.1)),
            "node" => trusting.showing(self.node.0.certified(&self.node.1)),
            _ => panic!("{who}"),
        }
    }
}

#[tokio::test]
async fn no_endpoint_is_reachable_without_its_decision() {
    let world = World::new().await;
    let callers = Callers::new(&world).await;

    let mut wrong = BTreeMap::new();
    for endpoint in model::api::endpoints() {
        for who in ["stranger", "user", "node"] {
            let (status, _) = ask(&world, callers.material(who), &endpoint).await;
            let expected: &[u16] = match (endpoint.asker, who) {
                // Let through: what comes then is about the request.
                (Asker::Anyone, _) => &[200, 400, 404],
                (Asker::Granted(..) | Asker::Host | Asker::Proxy, "stranger") => &[401],
                // Own things: what comes then is about the request.
                (Asker::Granted(Kind::Own, _), "user") => &[200, 400, 404],
                // A vendor may connect, and nothing else; a host has no say over people's things.
                (Asker::Granted(..), _) => &[404],
                (Asker::Host, "user") | (Asker::Proxy, _) => &[404],
                (Asker::Host, _) => &[200, 400, 404],
            };
            if !expected.contains(&status) {
                wrong.insert((endpoint.name, who), status);
            }
        }
    }

    assert!(wrong.is_empty(), "{wrong:?}");
    world.stop().await;
}

#[tokio::test]
async fn forbidden_and_unknown_are_the_same_answer() {
    let world = World::new().await;
    let callers = Callers::new(&world).await;
    let user = || callers.material("user");

    let forbidden = raw(&world, user(), "GET", "/v1/users/vendor", "").await;
    let unknown_user = raw(&world, user(), "GET", "/v1/users/nobody", "").await;
    let unknown_path = raw(&world, user(), "GET", "/v1/nothing/here", "").await;
    let unknown_recording = raw(&world, user(), "GET", &format!("/v1/recordings/{ID}"), "").await;

    assert_eq!(forbidden.0, 404);
    for other in [unknown_user, unknown_path, unknown_recording] {
        assert_eq!(forbidden, other);
    }
}

#[tokio::test]
async fn odd_paths_and_bodies_are_refused() {
    let world = World::new().await;
    let callers = Callers::new(&world).await;
    let node = || callers.material("node");

    for (method, path, body, expected) in [
        ("GET", "//v1/cluster", "", 404),
        ("GET", "/v1/cluster/", "", 404),
        ("GET", "/v1/cluster;x", "", 404),
        ("GET", "/v1//cluster", "", 404),
        ("GET", "/v1/%63luster", "", 404),
        ("GET", "/v1/cluster?a=1&a=2", "", 400),
        ("POST", "/v1/cluster", "", 404),
        ("POST", "/v1/events", "not json", 400),
        ("POST", "/v1/events", r#"{"events":[]}"#, 400),
        ("PUT", "/v1/live/not-an-id", "{}", 400),
    ] {
        let (status, _) = raw(&world, node(), method, path, body).await;
        assert_eq!(status, expected, "{method} {path} {body}");
    }
    let large = "x".repeat(600 * 1024);
    assert_eq!(raw(&world, node(), "PUT", &format!("/v1/nodes/{ID}"), &large).await.0, 413);
    assert_eq!(raw(&world, callers.material("stranger"), "POST", "/v1/sign-in", &large).await.0, 413);
}

#[tokio::test]
async fn a_certificate_of_another_cluster_is_refused_in_the_handshake() {
    let world = World::new().await;
    let other = World::new().await;
    let node = other.node("web-1", "prod").await;

    let material = world.trusting().showing(node.keys.certified(&node.certs.tls_cert_pem));
    let outcome = world.client(material).call(&model::api::cluster::GetCluster {}).await;

    assert!(outcome.is_err(), "{outcome:?}");
    assert!(world.anyone().call(&model::api::cluster::GetCluster {}).await.is_ok());
}

#[tokio::test]
async fn an_authority_of_another_cluster_is_not_believed() {
    let world = World::new().await;
    let other = World::new().await;

    let outcome = world.client(other.trusting()).call(&model::api::cluster::GetTrust {}).await;

    assert!(outcome.is_err(), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_says_nothing_is_let_go_and_the_next_is_served() {
    let world = World::new().await;
    let silent = world.pipe(world.trusting()).connect(Route::Auth).await.unwrap();
    let (mut read, mut write) = tokio::io::split(silent);
    tokio::io::AsyncWriteExt::write_all(&mut write, b"PRI * HT").await.unwrap();

    // Ends by itself: time is moved on by waiting.
    let mut rest = Vec::new();
    drop(tokio::io::AsyncReadExt::read_to_end(&mut read, &mut rest).await);

    assert!(rest.is_empty());
    assert!(world.anyone().call(&model::api::cluster::GetCluster {}).await.is_ok());
}

#[tokio::test]
async fn silence_from_one_address_keeps_no_other_out() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let port = auth::Port { authority: world.authority.clone(), listener };
    let inner = world.scope.clone();
    world.scope.spawn_graceful("port", async move { port.run(inner).await.unwrap() });

    let (told, mut closed) = tokio::sync::mpsc::channel(300);
    for _ in 0..300 {
        let mut silent = tokio::net::TcpStream::connect(at).await.unwrap();
        let told = told.clone();
        world.scope.spawn("silent", async move {
            let _ = tokio::io::AsyncReadExt::read_u8(&mut silent).await;
            let _ = told.send(()).await;
        });
    }
    for _ in 256..300 {
        closed.recv().await.unwrap();
    }

    assert!(world.anyone().call(&model::api::cluster::GetCluster {}).await.is_ok());
    world.stop().await;
}

#[tokio::test]
async fn the_port_serves_agents_that_dial_it() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = HostPort::parse(&listener.local_addr().unwrap().to_string(), 3025).unwrap();
    let port = auth::Port { authority: world.authority.clone(), listener };
    let inner = world.scope.clone();
    world.scope.spawn_graceful("port", async move { port.run(inner).await.unwrap() });
    let node = world.node("web-1", "prod").await;

    let material = world.trusting().showing(node.keys.certified(&node.certs.tls_cert_pem));
    let dialer = Dialer::new(to, ProxyEnv::none(), Keyring::new(material));
    let client = Client::new(std::sync::Arc::new(dialer), &world.scope, world.random.clone());

    assert!(client.call(&world.report(&node, "web-1", "prod")).await.is_ok());
    world.stop().await;
}
