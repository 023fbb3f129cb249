//! Hosts that are kept out though their certificates are good.

use std::sync::Arc;
use std::time::Duration;

use model::{NodeId, Subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::lifting::typed_on;
use super::world::{LIFE, World, cable, echo, host, id};
use crate::registry::NotServed;
use crate::{DialError, Judge, Unclaimed};

fn out(which: NodeId) -> Judge {
    Arc::new(move |who| match &who.subject {
        Subject::Host { id, .. } if *id == which => Some("it is locked".to_owned()),
        Subject::Host { .. } | Subject::User { .. } => None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_kept_out_loses_its_tunnel_and_gets_no_other_and_nobody_else_does() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.echoing(2, "db-1");
    world.until_agents(2).await;
    let mut streams = [world.dial("web-1").unwrap(), world.dial("db-1").unwrap()];
    for stream in &mut streams {
        echo(stream, b"hello").await.unwrap();
    }

    world.registry.judge(out(id(1)));

    assert!(matches!(world.dial("web-1"), Err(DialError::Unknown(_))));
    assert!(echo(&mut streams[0], b"more").await.is_err());
    echo(&mut streams[1], b"more").await.unwrap();
    let dials = world.dials(1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.dials(1) > dials, "it comes again");
    assert_eq!(world.registry.list().into_iter().map(|tunnel| tunnel.id).collect::<Vec<_>>(), [id(2)]);

    let (_near, far, _) = cable(1024);
    let served = world.registry.serve(far, &host(1, "web-1"), "tls", LIFE).await;
    assert_eq!(served.unwrap_err(), NotServed::KeptOut(id(1), "it is locked".to_owned()));
    let (mut near, far) = tokio::io::duplex(64);
    near.write_all(&[1; 16]).await.unwrap();
    let claimed = world.registry.claim(Box::new(far), &host(1, "web-1")).await;
    assert!(matches!(claimed, Err(Unclaimed::KeptOut(_))));

    world.registry.judge(out(id(9)));
    world.until_agents(2).await;
    echo(&mut world.dial("web-1").unwrap(), b"hello again").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_beside_its_tunnel_ends_too_when_its_node_is_kept_out() {
    for replaced in [false, true] {
        let mut world = World::new();
        world.echoing(1, "web-1");
        world.until_agents(1).await;
        let mut stream = typed_on(&world).await;
        if replaced {
            world.registry.close();
            world.until_replaced(1, "web-1").await;
        }
        echo(&mut stream, b"still here").await.unwrap();
        let fallen = stream.fallen();
        let waits = world.scope.spawn("reader", async move { stream.read(&mut [0; 8]).await });

        world.registry.judge(out(id(1)));

        let read = timeout(Duration::from_secs(1), waits).await.unwrap().unwrap().unwrap();
        let why = read.unwrap_err().to_string();
        assert!(!replaced || why == "the node is kept out: it is locked", "{why}");
        timeout(Duration::from_secs(1), fallen).await.unwrap();
    }
}
