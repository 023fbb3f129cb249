//! What runs over a connection: requests, forwards, exit codes, rekey, goodbye.

use super::*;
use crate::driver::Driver;
use crate::{GlobalKind, Pty, Size, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::ssh::number;

#[tokio::test]
async fn a_command_runs_and_says_how_it_ended() {
    let world = World::new();
    let mut joined = world.join().await;
    let (ours, theirs) = joined.session().await;

    let server = async {
        let Received::Request(request) = theirs.recv().await.unwrap() else { panic!() };
        assert_eq!(request.kind, RequestKind::Exec { command: b"make".to_vec() });
        request.accept();
        theirs.write_all(b"out").await.unwrap();
        theirs.write_stderr(b"err").await.unwrap();
        theirs.exit_status(3);
        theirs.eof();
        theirs.close();
    };
    let client = async {
        ours.exec("make").await.unwrap();
        let mut seen = Vec::new();
        loop {
            match ours.recv().await.unwrap() {
                Received::Data(bytes) => seen.push(format!("out {bytes:?}")),
                Received::Extended(kind, bytes) => seen.push(format!("{kind} {bytes:?}")),
                Received::Exit(kind) => seen.push(format!("{kind:?}")),
                Received::Eof => seen.push("eof".to_owned()),
                Received::Closed => break,
                Received::Request(request) => panic!("{request:?}"),
            }
        }
        seen
    };

    let ((), seen) = soon(async { tokio::join!(server, client) }).await;
    assert_eq!(seen, ["out b\"out\"", "1 b\"err\"", "ExitStatus(3)", "eof"]);
}

#[tokio::test]
async fn requests_arrive_whole_and_refusals_are_told() {
    let world = World::new();
    let mut joined = world.join().await;
    let (ours, theirs) = joined.session().await;
    let pty = Pty {
        term: "xterm".to_owned(),
        size: Size { columns: 80, rows: 24, width: 0, height: 0 },
        modes: vec![(1, 3), (53, 1)],
    };

    let wanted = pty.clone();
    let server = async {
        let mut seen = Vec::new();
        while seen.len() < 5 {
            let Received::Request(request) = theirs.recv().await.unwrap() else { panic!() };
            seen.push(request.kind.clone());
            match request.kind {
                RequestKind::Agent => request.refuse(),
                _ => request.accept(),
            }
        }
        seen
    };
    let client = async {
        ours.request_pty(pty).await.unwrap();
        ours.env("LANG", "C").unwrap();
        assert!(!ours.request(RequestKind::Agent).await.unwrap());
        ours.shell().await.unwrap();
        ours.window_change(Size { columns: 100, rows: 30, width: 0, height: 0 }).unwrap();
    };

    let (seen, ()) = soon(async { tokio::join!(server, client) }).await;
    assert_eq!(seen[0], RequestKind::Pty(wanted));
    assert_eq!(seen[1], RequestKind::Env { name: "LANG".to_owned(), value: b"C".to_vec() });
    assert_eq!(seen[3], RequestKind::Shell);
    assert!(matches!(seen[4], RequestKind::WindowChange(size) if size.columns == 100));
}

async fn talk(mut near: Stream, mut far: Stream) {
    let (sent, mut got) = (pattern(300_000), Vec::new());
    let back = b"bye".to_vec();
    let mut answer = Vec::new();
    soon(async {
        tokio::join!(
            async {
                near.write_all(&sent).await.unwrap();
                near.shutdown().await.unwrap();
                near.read_to_end(&mut answer).await.unwrap();
            },
            async {
                far.read_to_end(&mut got).await.unwrap();
                far.write_all(&back).await.unwrap();
                far.shutdown().await.unwrap();
            }
        )
    })
    .await;
    assert!(got == sent);
    assert_eq!(answer, back);
}

#[tokio::test]
async fn forwards_go_both_ways() {
    let world = World::new();
    let mut joined = world.join().await;

    let (near, far) = soon(async {
        tokio::join!(joined.client.open_direct_tcp("db", 5432, ("127.0.0.1", 1)), async {
            let Some(Event::Open(opening)) = joined.server_incoming.next().await else { panic!() };
            let ChannelKind::DirectTcp(path) = &opening.kind else { panic!() };
            assert_eq!((path.host.as_str(), path.port), ("db", 5432));
            opening.accept().unwrap()
        })
    })
    .await;
    talk(near.unwrap().into_stream(), far.into_stream()).await;

    let (port, ()) = soon(async {
        tokio::join!(joined.client.listen("localhost", 0), async {
            let Some(Event::Listen(listen)) = joined.server_incoming.next().await else { panic!() };
            assert_eq!(listen.kind, GlobalKind::Listen { host: "localhost".to_owned(), port: 0 });
            listen.accept(40_000);
        })
    })
    .await;
    assert_eq!(port.unwrap(), 40_000);

    let (near, far) = soon(async {
        tokio::join!(joined.server.open_forwarded_tcp("localhost", 40_000, ("10.0.0.1", 2)), async {
            let Some(Event::Open(opening)) = joined.client_incoming.next().await else { panic!() };
            assert!(matches!(opening.kind, ChannelKind::ForwardedTcp(_)));
            opening.accept().unwrap()
        })
    })
    .await;
    talk(near.unwrap().into_stream(), far.into_stream()).await;
}

#[tokio::test]
async fn what_nobody_answers_is_refused() {
    let world = World::new();
    let Joined { client, server, server_incoming, client_incoming } = world.join().await;
    drop((server_incoming, client_incoming));

    let refused = soon(client.open_session()).await;
    assert!(matches!(refused, Err(Error::OpenRefused { reason: 1, .. })), "{refused:?}");
    assert!(soon(client.listen("", 0)).await.is_err());
    let refused = soon(server.open(ChannelKind::Agent)).await;
    assert!(matches!(refused, Err(Error::OpenRefused { .. })), "{refused:?}");
    soon(client.ping()).await.unwrap();
}

#[tokio::test]
async fn a_dropped_opening_is_refused_and_its_number_is_free_again() {
    let world = World::new();
    let mut joined = world.join().await;
    for _ in 0..2000 {
        let (refused, ()) = tokio::join!(joined.client.open_session(), async {
            drop(joined.server_incoming.next().await);
        });
        assert!(matches!(refused, Err(Error::OpenRefused { .. })));
    }
    let (ours, _theirs) = joined.session().await;
    assert_eq!(ours.id(), 0);
}

#[tokio::test]
async fn thousands_of_short_channels_leave_nothing_behind() {
    let world = World::new();
    let mut joined = world.join().await;
    for _ in 0..2000 {
        let (ours, theirs) = soon(joined.session()).await;
        theirs.exit_status(0);
        drop(theirs);
        soon(read_all(&ours)).await;
    }
    assert_eq!(joined.client.held(), 0);
    assert_eq!(joined.server.held(), 0);
}

#[tokio::test]
async fn too_many_channels_are_refused() {
    let mut world = World::new();
    world.server.limits.max_channels = 3;
    let mut joined = world.join().await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(soon(joined.session()).await);
    }
    let refused = soon(joined.client.open_session()).await;
    assert!(matches!(refused, Err(Error::OpenRefused { reason: 4, .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_under_load_from_both_sides() {
    for (ours, theirs) in [(1 << 20, 4 << 30), (4 << 30, 1 << 20), (700_000, 900_000)] {
        let mut world = World::new();
        world.client.rekey.bytes = ours;
        world.server.rekey.bytes = theirs;
        let mut joined = world.join().await;
        let (near, far) = joined.session().await;
        world.scope.spawn("echo", echo(far));
        let sent = pattern(16 << 20);
        let (_, got) = soon(async {
            tokio::join!(
                async {
                    near.write_all(&sent).await.unwrap();
                    near.eof();
                },
                read_all(&near)
            )
        })
        .await;
        assert!(got == sent, "{ours} {theirs}");
    }
}

#[tokio::test]
async fn a_goodbye_reaches_the_other_side() {
    let world = World::new();
    let (ours, theirs) = tokio::io::duplex(4096);
    let (client, server) = world.shake(ours, theirs).await;
    let (client, mut server) = (client.unwrap(), server.unwrap());
    let ours = world.scope.spawn("client", client.driver);
    let theirs = world.scope.spawn("server", server.driver);

    client.connection.disconnect("done");

    assert!(soon(server.incoming.next()).await.is_none());
    assert!(soon(ours).await.unwrap().unwrap().is_ok());
    assert!(soon(theirs).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn a_connection_nobody_holds_ends() {
    let world = World::new();
    let (ours, theirs) = tokio::io::duplex(4096);
    let (client, server) = world.shake(ours, theirs).await;
    let (client, mut server) = (client.unwrap(), server.unwrap());
    let ours = world.scope.spawn("client", client.driver);
    world.scope.spawn("server", server.driver);

    drop((client.connection, client.incoming));

    assert!(soon(server.incoming.next()).await.is_none());
    assert!(soon(ours).await.unwrap().unwrap().is_ok());
}

/// No word of a silent peer would be missed here: only the goodbye is timed.
#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_does_not_put_off_the_end() {
    let mut world = World::new();
    world.server.keepalive = None;
    let (ours, theirs) = tokio::io::duplex(4096);
    let (client, server) = world.shake(ours, theirs).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    let driver = world.scope.spawn("server", server.driver);
    let channel = async {
        let Some(Event::Open(opening)) = server.incoming.next().await else { panic!("no opening") };
        opening.accept().unwrap()
    };
    let channel = tokio::select! {
        _ = &mut client.driver => panic!("the client ended"),
        (_ours, channel) = async { tokio::join!(client.connection.open_session(), channel) } => channel,
    };

    // From here on the client's driver does not run.
    soon(super::defects::fill(&channel)).await;
    server.connection.disconnect("no longer");

    soon(driver).await.unwrap();
}

/// Both drivers run by hand: for a while nothing passes.
#[tokio::test(start_paused = true)]
async fn a_stall_while_keys_change_is_waited_out_as_long_as_any_other() {
    for (stall, survives) in [(60, true), (140, true), (160, false)] {
        let mut world = World::new();
        world.client.keepalive = None;
        world.client.rekey.every = Duration::from_secs(100_000);
        world.server.rekey.every = Duration::from_secs(10);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (client, server) = world.shake(ours, theirs).await;
        let (mut client, mut server) = (client.unwrap(), server.unwrap());

        // The server asks for new keys at 10 s, and the client says nothing.
        let silence = tokio::time::timeout(Duration::from_secs(stall), &mut server.driver).await;
        assert_eq!(silence.is_err(), survives, "{stall}: {silence:?}");
        if !survives {
            continue;
        }
        let both = async { tokio::join!(&mut client.driver, &mut server.driver) };

        let later = tokio::time::timeout(Duration::from_secs(5), both).await;
        assert!(later.is_err(), "{stall}: {later:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_talks_and_never_agrees_on_keys_is_given_up() {
    let mut world = World::new();
    world.server.keepalive = None;
    world.server.rekey.every = Duration::from_secs(10);
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (client, server) = world.shake(ours, theirs).await;
    let (client, server) = (client.unwrap(), server.unwrap());
    let mut driver = client.driver;
    let talks = async {
        let Driver { stream, transport, .. } = &mut driver;
        loop {
            transport.send(|out| out.extend([number::IGNORE, 0, 0, 0, 0])).unwrap();
            let length = transport.output().len();
            if stream.write_all(transport.output()).await.is_err() {
                return;
            }
            transport.written(length);
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
    };

    let outcome = tokio::select! {
        outcome = server.driver => outcome,
        () = talks => panic!("the stream ended"),
    };

    assert!(matches!(outcome, Err(Error::StaleKeys)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_is_found_out() {
    let world = World::new();
    let (ours, theirs) = tokio::io::duplex(4096);
    let (client, server) = world.shake(ours, theirs).await;
    let (client, server) = (client.unwrap(), server.unwrap());

    // The client's driver never runs: nothing is answered.
    let outcome = server.driver.await;

    assert!(matches!(outcome, Err(Error::Unresponsive)), "{outcome:?}");
    drop(client);
}
