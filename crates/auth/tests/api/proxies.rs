//! Proxies: where agents find them, and what becomes of one whose host is a node too.

use auth::LocalHost;
use model::api::Fault;
use model::api::cluster::{GetCluster, ReportProxy};
use model::api::nodes::{DeleteNode, ListNodes, ReportTunnels};
use model::{NodeId, SystemRole};
use pki::Signer;

use crate::world::{Host, Keys, World, fault, refused};

fn reached(public: &[&str], tunnel: &[&str]) -> ReportProxy {
    let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect();
    ReportProxy { public_addrs: texts(public), tunnel_addrs: texts(tunnel) }
}

#[tokio::test]
async fn agents_are_told_of_each_proxy_where_they_find_it_until_it_is_removed() {
    let world = World::new().await;
    let anyone = world.anyone();
    let told = async || {
        let cluster = anyone.call(&GetCluster {}).await.unwrap();
        let mut all: Vec<_> = cluster.proxies.into_iter().map(|p| (p.addrs, p.id)).collect();
        all.sort();
        all
    };
    let place = |addrs: &[&str], id: &NodeId| (addrs.iter().map(ToString::to_string).collect(), id.clone());
    assert_eq!(told().await, [place(&["gate.example:3080"], &world.settings.host_id)], "as configured");
    let (one, two) = (world.proxy().await, world.proxy().await);
    one.client.call(&reached(&["a:443", "b:443"], &[])).await.unwrap();
    two.client.call(&reached(&["c:443"], &["d:3024", "e:3024"])).await.unwrap();
    assert_eq!(told().await, [place(&["a:443", "b:443"], &one.id), place(&["d:3024", "e:3024"], &two.id)]);

    two.client.call(&reached(&["c:443"], &[])).await.unwrap();
    world.admin().await.call(&DeleteNode { id: one.id.clone() }).await.unwrap();

    assert_eq!(told().await, [place(&["c:443"], &two.id)]);
    assert_eq!(anyone.call(&GetCluster {}).await.unwrap().proxy_addrs, ["c:443"]);
    let odd = two.client.call(&reached(&[], &["not an address"])).await;
    assert_eq!(fault(odd), Fault::BadRequest);
}

#[tokio::test]
async fn a_host_that_is_a_proxy_too_keeps_its_place_when_its_node_goes() {
    let world = World::new().await;
    let admin = world.admin().await;
    let id = NodeId::from_random([8; 16]);
    let certified = async |id: &NodeId, roles: &[SystemRole]| {
        let keys = Keys::new(&world.random);
        let host = LocalHost {
            id: id.clone(),
            name: "gate-1".parse().unwrap(),
            roles: roles.iter().copied().collect(),
            principals: vec![],
            ssh_key: keys.ssh.ssh_public().to_string(),
            tls_key_pem: keys.tls.spki_pem(),
        };
        let certs = world.authority.certify_local(host).await.unwrap();
        let client = world.client(world.trusting().showing(keys.certified(&certs.tls_cert_pem)));
        client.call(&ReportTunnels { tunnels: vec![] }).await.unwrap();
        Host { id: id.clone(), keys, certs, client }
    };
    let remove = async |id: &NodeId| admin.call(&DeleteNode { id: id.clone() }).await;
    let both = certified(&id, &[SystemRole::Proxy, SystemRole::Node]).await;
    both.client.call(&world.report(&both, "gate-1", "prod")).await.unwrap();

    let (why, said) = refused(remove(&id).await);

    assert_eq!(why, Fault::Conflict);
    assert!(said.contains("`gate-1` is a proxy") && said.contains("mctl lock --node"), "{said}");
    assert!(both.client.call(&reached(&["gate:443"], &[])).await.is_ok(), "nothing was taken from it");

    let proxy = certified(&id, &[SystemRole::Proxy]).await;
    remove(&id).await.unwrap();

    assert!(admin.call(&ListNodes::default()).await.unwrap().items.is_empty());
    assert!(proxy.client.call(&reached(&["gate:443"], &[])).await.is_ok());
    remove(&id).await.unwrap();
    assert_eq!(
        fault(proxy.client.call(&reached(&["gate:443"], &[])).await),
        Fault::NotFound,
        "put out itself"
    );
    let own = certified(&world.settings.host_id, &[SystemRole::Proxy]).await;
    assert_eq!(fault(remove(&own.id).await), Fault::Conflict, "the authority's own host");
    let gone = certified(&NodeId::from_random([7; 16]), &[SystemRole::Proxy, SystemRole::Node]).await;
    world.clock.advance(world.settings.times.tunnel_report);
    remove(&gone.id).await.unwrap();
    let outcome = gone.client.call(&reached(&["gate:443"], &[])).await;
    assert_eq!(fault(outcome), Fault::NotFound, "one that is not heard any more goes whole");
}
