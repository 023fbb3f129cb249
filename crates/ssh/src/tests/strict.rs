//! A man in the middle who may add to the unencrypted beginning (the Terrapin attack, CVE-2023-48795).

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// `SSH_MSG_IGNORE`, unencrypted.
const IGNORE: [u8; 16] = [0, 0, 0, 12, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Where in the first flight the extra packet goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    BeforeLists,
    AfterLists,
}

/// Passes everything on, with one packet more.
async fn slip_in(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, place: Place) {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(from.read_u8().await.unwrap());
    }
    let length = from.read_u32().await.unwrap();
    let mut lists = vec![0; length as usize];
    from.read_exact(&mut lists).await.unwrap();
    to.write_all(&line).await.unwrap();
    if matches!(place, Place::BeforeLists) {
        to.write_all(&IGNORE).await.unwrap();
    }
    to.write_u32(length).await.unwrap();
    to.write_all(&lists).await.unwrap();
    if matches!(place, Place::AfterLists) {
        to.write_all(&IGNORE).await.unwrap();
    }
    drop(tokio::io::copy(&mut from, &mut to).await);
}

/// Runs both, and says what became of the first.
async fn victim(
    first: impl Future<Output = Result<(), Error>>,
    second: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    let second = async {
        drop(second.await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = first => outcome,
        () = second => Ok(()),
    }
}

async fn refused(world: &World, place: Place, towards_client: bool) {
    let (ours, middle_near) = tokio::io::duplex(1 << 16);
    let (middle_far, theirs) = tokio::io::duplex(1 << 16);
    let (near_read, mut near_write) = tokio::io::split(middle_near);
    let (far_read, mut far_write) = tokio::io::split(middle_far);
    if towards_client {
        world.scope.spawn("attack", slip_in(far_read, near_write, place));
        world.scope.spawn("pass", async move {
            let mut near_read = near_read;
            drop(tokio::io::copy(&mut near_read, &mut far_write).await);
        });
    } else {
        world.scope.spawn("attack", slip_in(near_read, far_write, place));
        world.scope.spawn("pass", async move {
            let mut far_read = far_read;
            drop(tokio::io::copy(&mut far_read, &mut near_write).await);
        });
    }
    let gate = Only(world.user.public());
    let credentials = [world.credential()];
    let trust = |_: &PublicKey| Ok(());
    let client = client::connect(ours, Arc::new(world.client.clone()), &trust, "ann", &credentials);
    let server = server::accept(theirs, Arc::new(world.server.clone()), &gate);

    let client = async { client.await.map(drop) };
    let server = async { server.await.map(drop) };
    let outcome = soon(async {
        if towards_client { victim(client, server).await } else { victim(server, client).await }
    });

    let error = outcome.await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{place:?} {towards_client} {error:?}");
}

#[tokio::test]
async fn a_packet_slipped_into_the_key_exchange_ends_it() {
    for towards_client in [true, false] {
        for place in [Place::BeforeLists, Place::AfterLists] {
            let world = World::new();
            refused(&world, place, towards_client).await;
        }
    }
}
