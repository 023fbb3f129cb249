//! A simulated world: agents and a proxy over in-memory cables, under paused time.

mod lifting;
mod proxies;
mod standing;
mod world;

use std::time::Duration;

use model::resource::RoutingStrategy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use wire::dial::{Class, Target};
use wire::mux::{ResetCode, Settings, Side};
use world::{LIFE, World, cable, echo, host, id, slow_path};

use crate::{DialError, Routing, shell};

#[tokio::test(start_paused = true)]
async fn an_agent_is_reached_by_name_and_by_id() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;

    for target in ["web-1", "WEB-1", "web-1.gate.example", id(1).as_str()] {
        echo(&mut world.dial(target).unwrap(), b"hello").await.unwrap();
    }
    assert_eq!(world.registry.list()[0].carrier, "tls");
}

#[tokio::test(start_paused = true)]
async fn the_header_arrives_with_the_first_bytes() {
    let mut world = World::new();
    let (_links, mut arrivals) = world.agent(1, "web-1");
    world.until_agents(1).await;

    let mut stream = world.dial("web-1").unwrap();
    stream.write_all(b"SSH-2.0-").await.unwrap();

    let mut arrival = arrivals.next().await.unwrap();
    assert_eq!(arrival.header, world::header("web-1"));
    let mut first = [0; 8];
    arrival.stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"SSH-2.0-");
}

#[tokio::test(start_paused = true)]
async fn two_nodes_of_one_name_are_told_apart_by_id() {
    let mut world = World::new();
    world.echoing(1, "web");
    world.echoing(2, "web");
    world.until_agents(2).await;

    let error = world.dial("web").unwrap_err();

    assert_eq!(error, DialError::Ambiguous { name: "web".parse().unwrap(), ids: vec![id(1), id(2)] });
    assert!(error.to_string().contains(id(2).as_str()));
    echo(&mut world.dial(id(2).as_str()).unwrap(), b"hello").await.unwrap();
    let nobody = world.dial("db").unwrap_err();
    assert_eq!(nobody, DialError::Unknown(Target::Name("db".parse().unwrap())));
}

#[tokio::test(start_paused = true)]
async fn of_two_nodes_of_one_name_the_one_that_came_last_is_taken_where_that_is_wanted() {
    let mut world = World::new();
    let routing = Routing { strategy: RoutingStrategy::MostRecent, ..Routing::default() };
    world.registry.route(routing);
    let (_first_links, mut first) = world.agent(1, "web");
    world.until_agents(1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (_last_links, mut last) = world.agent(2, "web");
    world.until_agents(2).await;

    let _stream = world.dial("WEB").unwrap();
    assert!(last.next().await.is_some());
    // A tunnel that takes another's place at its certificate's end makes no node younger.
    tokio::time::sleep(LIFE - Duration::from_secs(30)).await;
    assert_eq!((world.dials(1), world.dials(2)), (2, 1));
    let _stream = world.dial("web").unwrap();
    assert!(last.next().await.is_some());
    let _stream = world.dial(id(1).as_str()).unwrap();
    assert!(first.next().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_says_nothing_is_waited_for_as_long_as_the_cluster_wants() {
    let mut world = World::new();
    world.registry.route(Routing { patience: Duration::from_secs(7), ..Routing::default() });
    let (_links, mut arrivals) = world.agent(1, "web-1");
    world.until_agents(1).await;
    let began = Instant::now();

    let mut silent = world.dial("web-1").unwrap();
    let mut heard = arrivals.next().await.unwrap();
    let error = silent.read(&mut [0; 8]).await.unwrap_err();

    assert_eq!((error.kind(), began.elapsed().as_secs()), (std::io::ErrorKind::TimedOut, 7));
    assert!(error.to_string().ends_with("did not answer within 7s"), "{error}");
    assert!(heard.stream.read(&mut [0; 1]).await.is_err(), "the node hears that nobody waits any more");
    // Who has answered once may be silent.
    let mut slow = world.dial("web-1").unwrap();
    let mut heard = arrivals.next().await.unwrap();
    heard.stream.write_all(b"SSH").await.unwrap();
    slow.read_exact(&mut [0; 3]).await.unwrap();
    assert!(timeout(Duration::from_secs(3600), slow.read(&mut [0; 1])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_cut_cable_is_noticed_at_both_ends_within_five_seconds_and_mended() {
    let mut world = World::new();
    let mut links = world.echoing(1, "web-1");
    world.until_agents(1).await;
    let mut stream = world.dial("web-1").unwrap();
    echo(&mut stream, b"hello").await.unwrap();
    let cut = Instant::now();
    world.cut_cables(1);

    stream.write_all(b"lost").await.unwrap();
    assert!(stream.read(&mut [0; 8]).await.is_err(), "the proxy's end notices");
    assert!(cut.elapsed() <= Duration::from_secs(6), "{:?}", cut.elapsed());
    links.wait_for(|links| !links[0].up).await.unwrap();
    assert!(links.borrow()[0].last_error.as_ref().unwrap().contains("not been heard"));
    assert!(cut.elapsed() <= Duration::from_secs(6), "{:?}", cut.elapsed());
    links.wait_for(|links| links[0].up).await.unwrap();
    world.until_agents(1).await;
    assert!(cut.elapsed() <= Duration::from_secs(8), "{:?}", cut.elapsed());
    echo(&mut world.dial("web-1").unwrap(), b"hello again").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_comes_back_is_found_within_ten_seconds_however_long_it_was_away() {
    for away in [Duration::from_secs(3), Duration::from_secs(600)] {
        let mut world = World::new();
        let mut links = world.echoing(1, "web-1");
        world.until_agents(1).await;
        world.close_road(1);
        world.registry.close();
        links.wait_for(|links| !links[0].up).await.unwrap();
        tokio::time::sleep(away).await;
        let dials = world.dials(1);
        assert!(dials < 10 + usize::try_from(away.as_secs()).unwrap() / 4, "{dials}");

        world.open_road(1);
        let back = Instant::now();
        links.wait_for(|links| links[0].up).await.unwrap();
        assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_leaving_proxy_is_replaced_before_it_is_left_and_no_stream_is_lost() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut old_stream = world.dial("web-1").unwrap();
    echo(&mut old_stream, b"hello").await.unwrap();

    let old = world.replace_proxy();
    old.drain();
    world.until_agents(1).await;

    echo(&mut world.dial("web-1").unwrap(), b"through the new one").await.unwrap();
    echo(&mut old_stream, b"through the old one").await.unwrap();
    assert!(matches!(old.dial(&world::header("web-1")), Err(DialError::Unavailable(..))));
    let mut watch = old.watch();
    drop(old_stream);
    timeout(Duration::from_secs(10), watch.changed()).await.unwrap().unwrap();
    assert!(old.list().is_empty(), "the old tunnel goes once it is idle");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_connects_twice_is_dialed_on_the_newer_tunnel() {
    let world = World::new();
    let mut ends = Vec::new();
    for _ in 0..2 {
        let (near, far, _) = cable(64 * 1024);
        let (handle, incoming, pump) = shell::start(near, Side::Dialer, Settings::default());
        world.scope.spawn("pump", pump.run());
        let registry = world.registry.clone();
        let mut watch = registry.watch();
        world.scope.spawn("serve", async move { registry.serve(far, &host(1, "web-1"), "tls", LIFE).await });
        watch.changed().await.unwrap();
        ends.push((handle, incoming));
    }

    let _stream = world.dial("web-1").unwrap();

    assert_eq!(world.registry.list().len(), 1);
    assert!(ends[1].1.recv().await.is_some());
    ends[0].0.peer_leaving().await;
    ends[0].0.close();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.registry.list().len(), 1, "the older one's end does not forget the newer one");
}

#[tokio::test(start_paused = true)]
async fn who_talks_on_an_older_tunnel_or_beside_it_is_not_over() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;
    let mut stream = world.dial("web-1").unwrap();
    echo(&mut stream, b"hello").await.unwrap();
    let (_near, far, _) = cable(64 * 1024);
    let (registry, mut watch) = (world.registry.clone(), world.registry.watch());
    world.scope.spawn("serve", async move { registry.serve(far, &host(1, "web-1"), "tls", LIFE).await });
    watch.changed().await.unwrap();

    assert_eq!(world.registry.open_streams(), 0, "the newer tunnel has none");
    assert!(!world.registry.is_quiet());
    let beside = stream.conversation();
    drop(stream);
    assert!(!world.registry.is_quiet());
    drop(beside);
    assert!(world.registry.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_certificate_ends_comes_again_and_loses_no_stream() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;
    let mut stream = world.dial("web-1").unwrap();
    echo(&mut stream, b"hello").await.unwrap();

    tokio::time::sleep(LIFE + Duration::from_secs(5)).await;

    assert_eq!(world.dials(1), 2);
    echo(&mut stream, b"through the old one").await.unwrap();
    echo(&mut world.dial("web-1").unwrap(), b"through the new one").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_certificate_ended_and_who_stays_away_leaves_its_name_to_another() {
    let mut world = World::new();
    let (near, far, _) = cable(64 * 1024);
    let (_agent, mut incoming, pump) = shell::start(near, Side::Dialer, Settings::default());
    world.scope.spawn("pump", pump.run());
    let registry = world.registry.clone();
    let served =
        world.scope.spawn("serve", async move { registry.serve(far, &host(1, "web"), "tls", LIFE).await });
    world.until_agents(1).await;
    let mut stream = world.dial("web").unwrap();
    let mut there = incoming.recv().await.unwrap().stream;
    there.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    tokio::time::sleep(LIFE - Duration::from_secs(1)).await;
    world.echoing(2, "web");
    world.until_agents(2).await;

    world.until_agents(1).await;

    echo(&mut world.dial("web").unwrap(), b"to the other").await.unwrap();
    there.write_all(b"through the old one").await.unwrap();
    stream.read_exact(&mut [0; 19]).await.unwrap();
    drop((stream, there));
    let ended = served.await.unwrap().unwrap().unwrap();
    assert!(matches!(ended, crate::Ended::Closed), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn stalled_readers_stop_nobody_and_cost_their_window() {
    let mut world = World::new();
    let (_links, mut arrivals) = world.agent(1, "web-1");
    world.until_agents(1).await;
    let mut stuck = Vec::new();
    for _ in 0..100 {
        let mut stream = world.dial("web-1").unwrap();
        let arrival = arrivals.next().await.unwrap();
        let flood = timeout(Duration::from_millis(10), stream.write_all(&[7; 4 << 20])).await;
        assert!(flood.is_err(), "nobody reads, so it must block");
        stuck.push((stream, arrival));
    }

    let mut alive = world.dial("web-1").unwrap();
    let mut arrival = arrivals.next().await.unwrap();
    for _ in 0..64 {
        let (wrote, read) = tokio::join!(alive.write_all(&[1; 1 << 18]), async {
            arrival.stream.read_exact(&mut vec![0; 1 << 18]).await
        });
        wrote.unwrap();
        read.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_reaches_the_far_end_with_its_reason() {
    let mut world = World::new();
    let (_links, mut arrivals) = world.agent(1, "web-1");
    world.until_agents(1).await;
    let mut stream = world.dial("web-1").unwrap();

    arrivals.next().await.unwrap().stream.reset(ResetCode::Unreachable);

    let error = stream.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(stream.write_all(b"x").await.is_err());
    drop(stream);
    assert_eq!(world.registry.open_streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn half_closing_ends_one_direction_only() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;
    let (mut from, mut to) = tokio::io::split(world.dial("web-1").unwrap());

    let write = async {
        to.write_all(&[5; 500_000]).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut all = Vec::new();
    let (read, ()) = tokio::join!(from.read_to_end(&mut all), write);

    assert_eq!(read.unwrap(), 500_000);
    drop((from, to));
    assert_eq!(world.registry.open_streams(), 0);
}

#[tokio::test]
async fn ten_thousand_streams_share_one_tunnel() {
    let (near, far, _) = cable(256 * 1024);
    let (proxy, _none, pump) = shell::start(near, Side::Listener, Settings::default());
    let (agent, mut incoming, other) = shell::start(far, Side::Dialer, Settings::default());
    let scope = runtime::Scope::root("test");
    scope.spawn("pump", pump.run());
    scope.spawn("pump", other.run());
    let mut pairs = Vec::new();
    for n in 0..10_000u32 {
        let mut stream = proxy.open(Class::Interactive, b"idle").unwrap();
        stream.write_all(&n.to_be_bytes()).await.unwrap();
        let mut taken = incoming.recv().await.unwrap().stream;
        assert_eq!(taken.read_u32().await.unwrap(), n);
        pairs.push((stream, taken));
    }

    assert_eq!((proxy.open_streams(), agent.open_streams()), (10_000, 10_000));
    assert_eq!(proxy.held() + agent.held(), 0, "idle streams hold no bytes");
    for (stream, taken) in pairs.iter_mut().step_by(997) {
        taken.write_all(b"still here").await.unwrap();
        let mut got = [0; 10];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"still here");
    }
    pairs.clear();
    let idle = async {
        while agent.open_streams() + proxy.open_streams() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(120), idle).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_taker_makes_the_proxy_see_busy_and_holds_a_bounded_backlog() {
    let mut world = World::new();
    let (_links, mut arrivals) = world.agent(1, "web-1");
    world.until_agents(1).await;
    let mut streams: Vec<_> = (0..1000).map(|_| world.dial("web-1").unwrap()).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let error = streams.last_mut().unwrap().read(&mut [0; 1]).await.unwrap_err();
    assert!(error.to_string().contains("Busy"), "{error}");
    assert!(arrivals.next().await.is_some());
}

/// 50 Mbit/s and 40 ms there and back, filled by a copy: a keystroke's echo takes little more than the path itself, and
/// the copy gets the path.
#[tokio::test(start_paused = true)]
async fn a_keystroke_beside_a_copy_on_a_slow_path_is_quick_and_the_copy_fills_the_path() {
    const RATE: u32 = 50_000_000 / 8;
    const PATH: Duration = Duration::from_millis(40);
    let scope = runtime::Scope::root("test");
    let (near, far) = slow_path(&scope, RATE, PATH / 2);
    let (proxy, _none, pump) = shell::start(near, Side::Listener, Settings::default());
    let (_agent, mut incoming, other) = shell::start(far, Side::Dialer, Settings::default());
    scope.spawn("pump", pump.run());
    scope.spawn("pump", other.run());
    let mut copy = proxy.open(Class::Interactive, b"").unwrap();
    let mut copied = incoming.recv().await.unwrap().stream;
    let moved = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = moved.clone();
    scope.spawn("copy", async move { while copy.write_all(&[7; 32 * 1024]).await.is_ok() {} });
    scope.spawn("copied", async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(part @ 1..) = copied.read(&mut buffer).await {
            count.fetch_add(part, std::sync::atomic::Ordering::SeqCst);
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    moved.store(0, std::sync::atomic::Ordering::SeqCst);
    let mut shell = proxy.open(Class::Interactive, b"").unwrap();
    let mut far = incoming.recv().await.unwrap().stream;
    scope.spawn("echo", async move {
        while let Ok(key) = far.read_u8().await {
            far.write_u8(key).await.unwrap();
        }
    });

    let began = Instant::now();
    let mut times = Vec::new();
    for _ in 0..50 {
        let pressed = Instant::now();
        shell.write_u8(b'k').await.unwrap();
        shell.read_u8().await.unwrap();
        times.push(pressed.elapsed());
        tokio::time::sleep(Duration::from_millis(60)).await;
    }

    times.sort();
    assert!(times[25] <= PATH + Duration::from_millis(40), "p50 {:?}", times[25]);
    assert!(times[49] <= PATH + Duration::from_millis(150), "worst {:?}", times[49]);
    let moved = moved.load(std::sync::atomic::Ordering::SeqCst);
    let possible = usize::try_from(RATE).unwrap() * began.elapsed().as_millis() as usize / 1000;
    assert!(moved * 10 >= possible * 9, "{moved} of {possible}");
}

#[test]
fn an_end_without_a_word_is_told_apart_from_a_fault() {
    use std::io::{Error, ErrorKind};
    for (kind, silent) in [
        (ErrorKind::UnexpectedEof, true),
        (ErrorKind::ConnectionReset, true),
        (ErrorKind::InvalidData, false),
        (ErrorKind::TimedOut, false),
    ] {
        let ended = crate::Ended::of(Error::new(kind, "of the library"));
        assert_eq!(matches!(ended, crate::Ended::HungUp), silent, "{kind}");
        assert_eq!(runtime::causes(&ended).contains("of the library"), !silent, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_on_the_tunnel_is_cut_off() {
    let world = World::new();
    let (mut near, far, _) = cable(64 * 1024);
    let registry = world.registry.clone();
    let served =
        world.scope.spawn("serve", async move { registry.serve(far, &host(1, "web-1"), "tls", LIFE).await });

    near.write_all(b"SSH-2.0-OpenSSH\r\n").await.unwrap();

    let ended = served.await.unwrap().unwrap().unwrap();
    assert!(matches!(ended, crate::Ended::Malformed(_)), "{ended:?}");
    assert!(world.registry.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn everything_ends_with_its_scope() {
    let mut world = World::new();
    world.echoing(1, "web-1");
    world.until_agents(1).await;
    let mut stream = world.dial("web-1").unwrap();

    assert!(world.scope.drain(Duration::from_secs(10)).await);

    assert!(stream.read(&mut [0; 1]).await.is_err());
    assert_eq!(world.scope.alive(), 0);
}
