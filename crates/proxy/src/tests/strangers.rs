//! Strangers: what they may say and how much of it, how many there may be, and how often they may come.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use wire::dial::DialReply;

use super::world::{How, World, dial};
use crate::{Limits, Rate};

#[tokio::test]
async fn an_oversized_or_endless_hello_is_refused() {
    let world = World::new();
    let mut large = vec![22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff];
    large.resize(20_000, 0);

    assert_eq!(world.ask(&large).await, "");
    let in_crumbs: Vec<u8> = (0..100).flat_map(|_| [22, 3, 1, 0, 1, 1]).collect();
    assert_eq!(world.ask(&in_crumbs).await, "");
}

#[tokio::test]
async fn a_thousand_idlers_and_talkers_of_nonsense_delay_nobody() {
    let world = World::new();
    world.echoing(1, "web-1", None).await;
    let mut idle = Vec::new();
    for n in 0..1200u32 {
        let mut tcp = world.tcp().await;
        if n % 3 == 0 {
            tcp.write_all(b"\x16\x03").await.unwrap();
        }
        if n % 3 == 1 {
            tcp.write_all(b"nonsense").await.unwrap();
        }
        idle.push(tcp);
    }

    let dialer = world.dialer(world.cluster.keyring(&world.cluster.ann()));
    let (reply, _) = dial(&dialer, "web-1").await;

    assert_eq!(reply, DialReply::Ok);
}

#[tokio::test]
async fn the_half_open_have_a_limit_and_make_way() {
    let limits = Limits { half_open: 3, half_open_per_address: 3, ..Limits::default() };
    let world = World::with(How { limits, ..How::default() });
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut tcp = world.tcp().await;
        tcp.write_all(b"\x16\x03").await.unwrap();
        idle.push(tcp);
    }
    while world.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP") {
        tokio::task::yield_now().await;
    }

    drop(idle);
    while !world.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_comes_too_often_stays_out_for_a_while() {
    let rates = vec![Rate { period: Duration::from_secs(3600), average: 1, burst: 2 }];
    let limits = Limits { rates, ..Limits::default() };
    let world = World::with(How { limits, ..How::default() });
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    assert!(world.ask(request).await.starts_with("HTTP"));
    assert!(world.ask(request).await.starts_with("HTTP"));
    assert!(!world.ask(request).await.starts_with("HTTP"));
}
