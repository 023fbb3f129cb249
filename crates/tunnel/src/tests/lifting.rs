//! Streams that get a connection of their own, and what may go wrong with it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::world::{LIFE, World, echo, header, host};
use crate::Stream;
use crate::lift::{Unclaimed, WORTH, WORTH_PIECES};

/// More than is worth a connection, in no pattern that repeats soon.
fn much() -> Vec<u8> {
    (0..3 * WORTH as usize).map(|n| (n.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

/// Sends everything to an echoing agent while reading it back.
async fn round_trip(world: &World, say: &[u8]) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(world.dial("web-1").unwrap());
    let mut heard = Vec::new();
    let send = async {
        for part in say.chunks(10_007) {
            to.write_all(part).await.unwrap();
            to.flush().await.unwrap();
        }
        to.shutdown().await.unwrap();
    };
    tokio::join!(send, async { from.read_to_end(&mut heard).await.unwrap() });
    heard
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_carries_much_moves_whole_and_in_order_and_outlives_its_tunnel() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;
    let mut stream = world.dial("web-1").unwrap();
    for part in much().chunks(50_000) {
        echo(&mut stream, part).await.unwrap();
    }
    assert_eq!(world.lifts(1), 1, "once");

    world.cut_cables(1);
    world.until_agents(0).await;

    echo(&mut stream, b"still here").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "a clean end");
}

#[tokio::test(start_paused = true)]
async fn both_directions_at_full_speed_lose_nothing_when_they_move() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;
    let say = much();

    assert!(round_trip(&world, &say).await == say);
    assert_eq!(world.lifts(1), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_connection_does_not_come_about_stays_on_the_tunnel() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;
    world.refuse_lifts(1);
    let say = much();

    assert!(round_trip(&world, &say).await == say);
    assert_eq!(world.lifts(1), 1, "tried once");
}

#[tokio::test(start_paused = true)]
async fn little_is_not_worth_a_connection() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;

    let said = vec![5; 400_000];
    assert!(round_trip(&world, &said).await == said);

    assert_eq!(world.lifts(1), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_somebody_types_on_gets_a_connection_and_ends_with_its_tunnel() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;
    let mut stream = world.dial("web-1").unwrap();
    for _ in 1..WORTH_PIECES / 2 {
        echo(&mut stream, b"k").await.unwrap();
    }
    assert_eq!(world.lifts(1), 0, "a command that is over soon pays for no handshake");
    for _ in 0..3 {
        echo(&mut stream, b"k").await.unwrap();
    }
    assert_eq!(world.lifts(1), 1);
    let fallen = stream.fallen();

    world.cut_cables(1);
    world.until_agents(0).await;

    let broken = stream.read_u8().await.unwrap_err();
    assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionAborted);
    fallen.await;
}

/// A stream with a connection of its own, since somebody typed on it.
pub(super) async fn typed_on(world: &World) -> Stream {
    let (mut stream, lifts) = (world.dial("web-1").unwrap(), world.lifts(1));
    for _ in 0..WORTH_PIECES {
        echo(&mut stream, b"k").await.unwrap();
    }
    assert_eq!(world.lifts(1), lifts + 1);
    stream
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_begins_where_somebody_typed_outlives_its_tunnel() {
    for (part, copies) in [(100, false), (100_000, true)] {
        let mut world = World::new();
        world.echoing(1, "web-1");
        world.until_agents(1).await;
        let mut stream = typed_on(&world).await;
        for _ in 0..10 {
            echo(&mut stream, &vec![7; part]).await.unwrap();
        }
        let fallen = stream.fallen();

        world.cut_cables(1);
        world.until_agents(0).await;

        let ended = timeout(Duration::from_secs(60), fallen).await.is_ok();
        assert_eq!((ended, echo(&mut stream, b"more").await.is_err()), (!copies, !copies), "{part}");
    }
}

/// It works and nothing says that it is to end, also when time passes.
async fn goes_on(stream: &mut Stream, why: &str) {
    let fallen = stream.fallen();
    let waited = timeout(Duration::from_secs(60), fallen).await;
    assert!(waited.is_err(), "{why}");
    let echoed = echo(stream, b"still here").await;
    assert!(echoed.is_ok(), "{why}: {echoed:?}");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_types_on_goes_on_when_its_tunnel_is_replaced() {
    type Replace = fn(&World);
    let ways: [(&str, Replace); 3] = [
        ("the proxy closed it", |world| world.registry.close()),
        ("its connection was reset", |world| world.break_cables(1)),
        ("the node's agent began anew", |world| world.stop_agent(1)),
    ];
    for (why, replace) in ways {
        let mut world = World::new();
        world.echoing(1, "web-1");
        world.until_agents(1).await;
        let mut stream = typed_on(&world).await;
        let fallen = stream.fallen();

        replace(&world);
        world.until_replaced(1, "web-1").await;

        goes_on(&mut stream, why).await;
        assert!(timeout(Duration::from_secs(1), fallen).await.is_err(), "{why}");
        echo(&mut world.dial("web-1").unwrap(), b"through the new one").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_types_on_goes_on_when_its_proxy_drains_and_when_a_certificate_ends() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;
    let mut stream = typed_on(&world).await;

    let old = world.replace_proxy();
    old.drain();
    world.until_agents(1).await;
    assert!(old.dial(&header("web-1")).is_err());
    goes_on(&mut stream, "the proxy drains").await;
    old.close();
    goes_on(&mut stream, "the proxy that drained is gone").await;

    let (mut stream, dials) = (typed_on(&world).await, world.dials(1));
    tokio::time::sleep(LIFE).await;
    assert_eq!(world.dials(1), dials + 1, "the agent came again with a fresh certificate");
    goes_on(&mut stream, "the certificate ended").await;
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_once_and_for_its_own_agent_only() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.echoing(2, "web-2");
    world.until_agents(2).await;
    world.refuse_lifts(1);
    let mut stream = world.dial("web-1").unwrap();
    for part in much().chunks(50_000) {
        echo(&mut stream, part).await.unwrap();
    }

    for (who, token) in [(host(2, "web-2"), [0; 16]), (host(1, "web-1"), [1; 16])] {
        let (mut near, far) = tokio::io::duplex(64);
        near.write_all(&token).await.unwrap();
        let refused = world.registry.claim(Box::new(far), &who).await.unwrap_err();
        assert!(matches!(refused, Unclaimed::Unknown));
    }
    let (_near, far) = tokio::io::duplex(64);
    let silent = world.registry.claim(Box::new(far), &host(1, "web-1")).await.unwrap_err();
    assert!(matches!(silent, Unclaimed::Silent(_)));
    echo(&mut stream, b"and the stream goes on").await.unwrap();
}
