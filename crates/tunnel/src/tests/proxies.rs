//! Which proxies there are: their addresses, and how they come and go.

use std::sync::Arc;
use std::time::Duration;

use runtime::Random;
use tokio::sync::watch;

use super::world::{Road, World, echo, header, host};
use crate::{Connect, Proxy, Registry};

fn proxy(key: &str, roads: &[&Arc<Road>]) -> Proxy {
    let way = |road: &&Arc<Road>| Arc::new(Arc::clone(road)) as Arc<dyn Connect>;
    Proxy { key: key.to_owned(), ways: roads.iter().map(way).collect() }
}

fn road(world: &World, address: &'static str, registry: &Registry) -> Arc<Road> {
    Arc::new(Road::new(address, registry, &world.scope, host(1, "web-1")))
}

#[tokio::test(start_paused = true)]
async fn a_proxy_of_two_addresses_has_one_tunnel_by_whichever_leads_there() {
    let mut world = World::new();
    let one = road(&world, "one.example:443", &world.registry);
    let two = road(&world, "two.example:443", &world.registry);
    let (_tell, told) = watch::channel(vec![proxy("gate", &[&one, &two])]);
    let (mut links, _arrivals) = world.follow(1, told);
    world.until_agents(1).await;

    tokio::time::sleep(Duration::from_secs(600)).await;

    assert_eq!((one.dials(), two.dials()), (1, 0), "nothing that stands is dialed again");
    one.close();
    links.wait_for(|links| links[0].up && links[0].proxy == "two.example:443").await.unwrap();
    assert_eq!(links.borrow().len(), 1);
    let dials = one.dials();
    two.close();
    links.wait_for(|links| !links[0].up).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(one.dials() > dials && two.dials() > 1, "both are tried until one leads there");
    assert_eq!(links.borrow()[0].proxy, "one.example:443, two.example:443");
}

#[tokio::test(start_paused = true)]
async fn proxies_come_and_go_while_the_agent_runs_and_their_addresses_change() {
    let mut world = World::new();
    let second = Registry::new(Random::seeded(7));
    let (one, two) =
        (road(&world, "one.example:443", &world.registry), road(&world, "two.example:443", &second));
    let moved = road(&world, "new.example:443", &second);
    let (tell, told) = watch::channel(vec![proxy("one", &[&one])]);
    let (mut links, mut arrivals) = world.follow(1, told);
    world.until_agents(1).await;
    let mut stream = world.dial("web-1").unwrap();
    let mut there = arrivals.next().await.unwrap().stream;
    world.scope.spawn("echo", async move {
        let (mut from, mut to) = tokio::io::split(&mut there);
        tokio::io::copy(&mut from, &mut to).await
    });

    tell.send_replace(vec![proxy("one", &[&one]), proxy("two", &[&two])]);
    links.wait_for(|links| links.len() == 2 && links.iter().all(|link| link.up)).await.unwrap();
    tell.send_replace(vec![proxy("two", &[&moved])]);
    links.wait_for(|links| links.len() == 1).await.unwrap();

    echo(&mut stream, b"through the one that is no longer wanted").await.unwrap();
    drop(stream);
    world.until_agents(0).await;
    assert_eq!(one.dials(), 1);
    assert!(second.dial(&header("web-1")).is_ok(), "a tunnel that stands is left alone");
    two.close();
    links.wait_for(|links| links[0].up && links[0].proxy == "new.example:443").await.unwrap();
}
