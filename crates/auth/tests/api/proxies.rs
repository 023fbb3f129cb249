//! Proxies: where agents find them.

use model::NodeId;
use model::api::Fault;
use model::api::cluster::{GetCluster, ReportProxy};
use model::api::nodes::DeleteNode;

use crate::world::{World, fault};

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
