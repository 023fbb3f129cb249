//! Three defects seen elsewhere, each of which must never be seen here.

use super::*;

const NEIGHBOURS: usize = 5;

/// Five sessions that answer, on a connection where something is stuck.
async fn neighbours_answer(world: &World, joined: &mut Joined) {
    for n in 0..NEIGHBOURS {
        let (ours, theirs) = soon(joined.session()).await;
        world.scope.spawn("echo", echo(theirs));
        let sent = pattern(200_000 + n);
        let (_, got) = soon(async {
            tokio::join!(
                async {
                    ours.write_all(&sent).await.unwrap();
                    ours.eof();
                },
                read_all(&ours)
            )
        })
        .await;
        assert!(got == sent);
    }
}

/// Writes until the channel takes no more, and says how much it took.
pub(super) async fn fill(channel: &Channel) -> usize {
    let block = vec![7; 32 * 1024];
    let mut taken = 0;
    loop {
        let mut write = std::pin::pin!(channel.write(&block));
        // Room comes back as long as the peer's window lasts; a hundred turns of all tasks without any is stuck.
        let mut patience = 0;
        let wrote = std::future::poll_fn(|cx| match write.as_mut().poll(cx) {
            std::task::Poll::Ready(wrote) => std::task::Poll::Ready(Some(wrote.unwrap())),
            std::task::Poll::Pending if patience > 1000 => std::task::Poll::Ready(None),
            std::task::Poll::Pending => {
                patience += 1;
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            }
        })
        .await;
        match wrote {
            Some(wrote) => taken += wrote,
            None => return taken,
        }
    }
}

#[tokio::test]
async fn a_download_nobody_reads_holds_up_nobody() {
    let world = World::new();
    let mut joined = world.join().await;
    let (ours, theirs) = joined.session().await;

    let taken = soon(fill(&theirs)).await;

    let limits = &world.client.limits;
    assert!(taken >= limits.window as usize, "{taken}");
    assert!(taken <= limits.max_window as usize + limits.send_buffer, "{taken}");
    assert!(joined.client.held() <= limits.max_window as usize);
    assert!(joined.server.held() <= limits.send_buffer);
    neighbours_answer(&world, &mut joined).await;
    drop(ours);
}

#[tokio::test]
async fn an_upload_nobody_reads_holds_up_nobody() {
    let world = World::new();
    let mut joined = world.join().await;
    let (ours, theirs) = joined.session().await;

    let taken = soon(fill(&ours)).await;

    let limits = &world.server.limits;
    assert!(taken <= limits.max_window as usize + limits.send_buffer, "{taken}");
    assert!(joined.server.held() <= limits.max_window as usize);
    neighbours_answer(&world, &mut joined).await;
    drop(theirs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_duplex_copy_never_stalls() {
    let world = World::new();
    let mut joined = world.join().await;
    let (ours, theirs) = joined.session().await;
    world.scope.spawn("echo", echo(theirs));
    let (block, blocks) = (pattern(1 << 20), 256);

    let up = async {
        for _ in 0..blocks {
            ours.write_all(&block).await.unwrap();
        }
        ours.eof();
    };
    let down = async {
        let mut got = 0;
        loop {
            match ours.recv().await.unwrap() {
                Received::Data(bytes) => {
                    let at = got % block.len();
                    let first = bytes.len().min(block.len() - at);
                    assert!(bytes[..first] == block[at..at + first]);
                    got += bytes.len();
                }
                Received::Eof | Received::Closed => return got,
                _ => {}
            }
        }
    };

    let ((), got) = tokio::time::timeout(Duration::from_secs(240), async { tokio::join!(up, down) })
        .await
        .expect("it stalls");
    assert_eq!(got, blocks * block.len());
    assert!(joined.client.held() <= world.client.limits.max_window as usize);
}

#[tokio::test]
async fn credit_comes_with_reading_and_not_before() {
    let world = World::new();
    let mut joined = world.join().await;
    let (ours, theirs) = joined.session().await;
    let first = soon(fill(&theirs)).await;
    let again = soon(fill(&theirs)).await;
    assert_eq!(again, 0, "credit without reading");

    let mut read = 0;
    while read < first / 2 {
        let Received::Data(bytes) = soon(ours.recv()).await.unwrap() else { panic!() };
        read += bytes.len();
    }

    let more = soon(fill(&theirs)).await;
    assert!(more > 0);
    assert!(joined.client.held() <= world.client.limits.max_window as usize);
}

#[tokio::test]
async fn what_was_read_by_nobody_is_given_back_when_the_channel_is_dropped() {
    let world = World::new();
    let mut joined = world.join().await;
    let (ours, theirs) = joined.session().await;
    soon(fill(&theirs)).await;

    drop(ours);
    soon(async {
        loop {
            if matches!(theirs.recv().await, Ok(Received::Closed) | Err(_)) {
                break;
            }
        }
    })
    .await;

    assert_eq!(joined.client.held(), 0);
}

#[tokio::test]
async fn a_flood_of_pings_whose_answers_nobody_reads_is_bounded() {
    use std::task::{Context, Waker};
    let world = World::new();
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (client, server) = world.shake(ours, theirs).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    let mut ping = vec![wire::ssh::number::PING];
    wire::ssh::put_string(&mut ping, &[0; 1000]);
    let mut cx = Context::from_waker(Waker::noop());
    let mut most = 0;

    for _ in 0..4000 {
        client.driver.transport.send(|out| out.extend_from_slice(&ping)).unwrap();
        let driver = &mut client.driver;
        let wrote = crate::link::poll_write(&mut driver.transport, &mut driver.stream, &mut cx);
        assert!(!matches!(wrote, std::task::Poll::Ready(Err(_))));
        assert!(std::pin::Pin::new(&mut server.driver).poll(&mut cx).is_pending());
        most = most.max(server.driver.transport.output().len());
        tokio::task::consume_budget().await;
    }

    assert!(most > 512 * 1024, "the flood was no flood: {most}");
    assert!(most < 1024 * 1024, "{most}");
}
