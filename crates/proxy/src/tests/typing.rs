//! Somebody types: their stream has left its tunnel, and only sockets are left of it.

use std::time::Duration;

use client::BoxStream;
use client::dial::Dialer;
use model::SystemRole;
use runtime::direct::Wrapped;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wire::dial::DialReply;

use super::jump;
use super::world::{LIFE, PATIENCE, World, dial, echo, line};

/// What an SSH connection begins with, as far as it is in the clear: from here on it leaves TLS.
const NEW_KEYS: &[u8] = b"SSH-2.0-x\r\n\0\0\0\x0c\x0a\x15\0\0\0\0\0\0\0\0\0\0";

/// Types until the stream has left its tunnel: two sockets are left, and who only passes bytes on has them.
async fn typed_on(world: &World, dialer: &Dialer) -> BoxStream {
    let (_, mut stream) = dial(dialer, "web-1").await;
    line(&mut stream).await;
    echo(&mut stream, NEW_KEYS).await;
    let typing = async {
        while world.registry.open_streams() > 0 {
            echo(&mut stream, b"k").await;
        }
    };
    timeout(PATIENCE, typing).await.unwrap();
    stream
}

#[tokio::test]
async fn who_types_goes_on_when_the_tunnel_is_replaced() {
    let world = World::new();
    world.echoing(1, "web-1", None).await;
    let dialer = world.dialer(world.cluster.keyring(&world.cluster.ann()));
    let mut stream = typed_on(&world, &dialer).await;
    let mut watch = world.registry.watch();
    let before = *watch.borrow_and_update();

    world.registry.close();
    // It goes, and the next one comes.
    timeout(PATIENCE, watch.wait_for(|changes| *changes >= before + 2)).await.unwrap().unwrap();

    echo(&mut stream, b"still typing").await;
    let (reply, mut other) = dial(&dialer, "web-1").await;
    assert_eq!(reply, DialReply::Ok);
    line(&mut other).await;
}

/// Stops the proxy: its tunnels stay for as long as somebody talks on `stream`, and no longer.
async fn is_waited_for(world: &World, mut stream: BoxStream) {
    let gone = async {
        let mut watch = world.registry.watch();
        while !world.registry.list().is_empty() {
            watch.changed().await.unwrap();
        }
    };
    tokio::pin!(gone);

    world.proxy.cancel();
    let cut = timeout(Duration::from_secs(3), gone.as_mut()).await;
    assert!(cut.is_err(), "its tunnels stay for as long as somebody talks");
    echo(&mut stream, b"still typing").await;

    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    drop(stream);
    timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn a_stopping_proxy_waits_for_who_types_and_for_nobody_else() {
    let world = World::new();
    world.echoing(1, "web-1", None).await;
    let dialer = world.dialer(world.cluster.keyring(&world.cluster.ann()));
    let stream = typed_on(&world, &dialer).await;

    is_waited_for(&world, stream).await;
}

#[tokio::test]
async fn a_stopping_proxy_waits_for_a_jump_on_a_tunnel_that_has_been_replaced() {
    let world = World::new();
    world.echoing(1, "web-1", None).await;
    let connected = jump(&world, world.cluster.ssh_credential(&world.cluster.ann())).await.unwrap();
    world.scope.spawn("driver", connected.driver);
    let channel = connected.connection.open_direct_tcp("web-1", 22, ("127.0.0.1", 1)).await.unwrap();
    let mut stream: BoxStream = Box::new(Wrapped::new(channel.into_stream()));
    line(&mut stream).await;
    let mut watch = world.registry.watch();
    let before = *watch.borrow_and_update();
    let (_near, far) = tokio::io::duplex(4096);
    let (registry, node) =
        (world.registry.clone(), world.cluster.host_identity(1, "web-1", SystemRole::Node));
    world.scope.spawn("another", async move { registry.serve(far, &node, "tls", LIFE).await });
    // It takes the tunnel's place, and the node comes again.
    timeout(PATIENCE, watch.wait_for(|changes| *changes >= before + 2)).await.unwrap().unwrap();

    is_waited_for(&world, stream).await;
}
