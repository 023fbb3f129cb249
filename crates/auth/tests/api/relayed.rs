//! Connections that a proxy passes on: whose they are is believed from proxies of the cluster, and from nobody else.

use std::net::SocketAddr;
use std::sync::Arc;

use model::api::Fault;
use model::api::access::WhoAmI;
use model::api::cluster::GetCluster;
use model::api::nodes::DeleteNode;
use model::api::roles::PutRole;
use model::resource::Role;
use runtime::direct::Wrapped;
use rustls_pki_types::ServerName;
use testkit::client::connect::Route;
use testkit::client::dial::HostPort;
use testkit::client::{BoxFuture, BoxStream, Client, Connect, ConnectError, Keyring, relay};
use tokio_rustls::TlsConnector;

use crate::world::{Host, Keys, World, fault};

/// A way to the authority through a proxy that says a connection comes from `client`.
struct Through {
    authority: auth::Authority,
    scope: runtime::Scope,
    proxy: Keyring,
    own: Keyring,
    client: SocketAddr,
    layers: usize,
}

impl Through {
    async fn dial(&self, route: Route) -> Result<BoxStream, ConnectError> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (authority, inner) = (self.authority.clone(), self.scope.clone());
        self.scope.spawn_graceful("connection", async move {
            authority.accept(far, Some("10.1.1.1:4000".parse().unwrap()), inner).await;
        });
        let at = HostPort { host: "pipe".into(), port: 0 };
        let mut stream: BoxStream = Box::new(near);
        for _ in 0..self.layers {
            stream = relay::wrap(stream, &at, &self.proxy, self.client).await?;
        }
        let config = self.own.current().config(route.alpn()).unwrap();
        let name = ServerName::try_from(route.server_name()).unwrap();
        let stream = TlsConnector::from(config).connect(name, stream).await;
        Ok(Box::new(Wrapped::new(stream.map_err(|e| ConnectError::from_handshake("pipe", &e))?)))
    }
}

impl Connect for Through {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<BoxStream, ConnectError>> {
        Box::pin(self.dial(route))
    }
}

fn shown(world: &World, host: &Host) -> Keyring {
    Keyring::new(world.trusting().showing(host.keys.certified(&host.certs.tls_cert_pem)))
}

fn through(world: &World, proxy: Keyring, own: Keyring, client: &str) -> Client {
    layered(world, proxy, own, client, 1)
}

fn layered(world: &World, proxy: Keyring, own: Keyring, client: &str, layers: usize) -> Client {
    let way = Through {
        authority: world.authority.clone(),
        scope: world.scope.clone(),
        proxy,
        own,
        client: client.parse().unwrap(),
        layers,
    };
    Client::new(Arc::new(way), &world.scope, world.random.clone())
}

fn pinned() -> PutRole {
    let role = serde_json::json!({
        "kind": "role", "version": "v7", "metadata": {"name": "pinned"},
        "spec": {"options": {"pin_source_ip": true}, "allow": {"logins": ["root"], "node_labels": {"*": "*"}}},
    });
    let role: Role = serde_json::from_value(role).unwrap();
    PutRole { name: "pinned".parse().unwrap(), role, replace: false }
}

#[tokio::test]
async fn a_person_bound_to_an_address_uses_the_api_through_a_proxy_from_there_and_from_nowhere_else() {
    let world = World::new().await;
    let proxy = shown(&world, &world.proxy().await);
    world.admin().await.call(&pinned()).await.unwrap();
    let ann = world.person("ann", "pinned").await;
    let keys = Keys::new(&world.random);
    let stranger = Keyring::new(world.trusting());
    let sign_in = world.sign_in_request(&ann, &keys);
    let certs = through(&world, proxy.clone(), stranger, "203.0.113.7:1111").call(&sign_in).await.unwrap();
    let own = Keyring::new(world.trusting().showing(keys.certified(&certs.tls_cert_pem)));

    let same = through(&world, proxy.clone(), own.clone(), "203.0.113.7:2222").call(&WhoAmI {}).await;
    let other = through(&world, proxy, own, "203.0.113.8:2222").call(&WhoAmI {}).await;

    assert_eq!(same.unwrap().user.as_str(), "ann");
    assert_eq!(fault(other), Fault::NotFound);
    let login = world.events().await.into_iter().rev().find(|e| e["event"] == "user.login").unwrap();
    assert!(login["addr.remote"].as_str().unwrap().starts_with("203.0.113.7"), "{login:?}");
}

#[tokio::test]
async fn nobody_but_a_proxy_in_its_place_says_whose_a_connection_is() {
    let world = World::new().await;
    let node = world.node("web-1", "test").await;
    let removed = world.proxy().await;
    let anyone = || Keyring::new(world.trusting());
    world.admin().await.call(&DeleteNode { id: removed.id.clone() }).await.unwrap();

    for pretender in [shown(&world, &node), anyone(), shown(&world, &removed)] {
        let outcome = through(&world, pretender, anyone(), "203.0.113.7:1111").call(&GetCluster {}).await;

        assert!(outcome.is_err(), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_proxy_passes_on_people_and_no_proxies() {
    let world = World::new().await;
    let proxy = shown(&world, &world.proxy().await);
    let anyone = Keyring::new(world.trusting());

    let once =
        layered(&world, proxy.clone(), anyone.clone(), "203.0.113.7:1111", 1).call(&GetCluster {}).await;
    let twice = layered(&world, proxy, anyone, "203.0.113.7:1111", 2).call(&GetCluster {}).await;

    assert!(once.is_ok(), "{once:?}");
    assert!(twice.is_err(), "{twice:?}");
}
