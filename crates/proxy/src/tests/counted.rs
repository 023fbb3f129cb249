//! Where a front stands before the port: whose word about the client is taken, and that the client is counted as if it
//! were not there.

use std::time::Duration;

use client::{BoxStream, websocket};
use runtime::direct::Wrapped;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::world::{How, PATIENCE, World, insecure};
use crate::{Limits, Network, ProxyHeaders, Rate};

fn proxied(client: &str) -> String {
    format!("PROXY TCP4 {client} 10.0.0.1 999 443\r\nSSH-2.0-x\r\n")
}

fn forwarded(client: &str) -> String {
    format!(
        "GET /webapi/connectionupgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: {client}\r\n\r\n"
    )
}

/// What a connection begins with whose client is named.
type Named = fn(&str) -> String;

/// Every way of naming a client.
fn ways() -> [(How, Named); 4] {
    [
        (How { headers: ProxyHeaders::From(Network::loopback()), ..How::default() }, proxied),
        (How { headers: ProxyHeaders::Required, ..How::default() }, proxied),
        (How { headers: ProxyHeaders::RequiredFrom(Network::loopback()), ..How::default() }, proxied),
        (How { forwarded_for: Network::loopback(), ..How::default() }, forwarded),
    ]
}

/// A connection that was answered and waits for more; `None` when nobody answered.
async fn comes(world: &World, said: &str) -> Option<TcpStream> {
    let mut tcp = world.tcp().await;
    tcp.write_all(said.as_bytes()).await.unwrap();
    let heard = timeout(PATIENCE, tcp.read_exact(&mut [0; 4])).await.unwrap();
    heard.is_ok().then_some(tcp)
}

#[tokio::test]
async fn a_trusted_balancers_word_counts_and_a_strangers_does_not() {
    let how = How { headers: ProxyHeaders::From(Network::loopback()), ..How::default() };
    let world = World::with(how);
    for header in ["PROXY TCP4 203.0.113.9 10.0.0.1 999 443\r\n", "PROXY TCP6 2001:db8::9 ::1 9 4\r\n"] {
        let mut tcp = world.tcp().await;
        tcp.write_all(header.as_bytes()).await.unwrap();
        let mut tls = insecure(tcp).await;
        tls.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        tls.read_to_string(&mut answer).await.unwrap();
        let source = header.split(' ').nth(2).unwrap();
        assert!(answer.contains(&format!("\r\n\r\n{source} ")), "{answer}");
    }
    let twice = [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN\r\n"].concat();
    assert_eq!(world.ask(&twice).await, "");
}

#[tokio::test]
async fn where_a_header_is_required_it_is_of_those_who_were_named() {
    let elsewhere = vec!["10.0.0.5".parse().unwrap()];
    for (headers, believed) in [
        (ProxyHeaders::Required, true),
        (ProxyHeaders::RequiredFrom(Network::loopback()), true),
        (ProxyHeaders::RequiredFrom(elsewhere), false),
        (ProxyHeaders::RequiredFrom(vec![]), false),
    ] {
        let world = World::with(How { headers: headers.clone(), ..How::default() });

        let answered = comes(&world, &proxied("203.0.113.9")).await.is_some();

        assert_eq!(answered, believed, "{headers:?}");
        assert_eq!(world.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await, "", "{headers:?}");
    }
}

#[tokio::test]
async fn whom_a_front_names_has_as_many_places_as_without_it() {
    let whole = Limits { connections_per_address: 1, ..Limits::default() };
    let half = Limits { half_open_per_address: 1, ..Limits::default() };
    for limits in [whole, half] {
        for (how, named) in ways() {
            let world = World::with(How { limits: limits.clone(), ..how });
            let (ann, bob) = (named("203.0.113.9"), named("203.0.113.8"));

            let held = comes(&world, &ann).await;
            assert!(held.is_some(), "{ann}");
            assert!(comes(&world, &ann).await.is_none(), "{ann}");
            assert!(comes(&world, &bob).await.is_some(), "{bob}");
            drop(held);
            let again = async { while comes(&world, &ann).await.is_none() {} };
            timeout(PATIENCE, again).await.unwrap();
        }
    }
}

#[tokio::test]
async fn whom_a_front_names_comes_as_often_as_without_it() {
    let rates = vec![Rate { period: Duration::from_secs(3600), average: 1, burst: 1 }];
    for (how, named) in ways() {
        let limits = Limits { rates: rates.clone(), ..Limits::default() };
        let world = World::with(How { limits, ..how });
        let (ann, bob) = (named("203.0.113.9"), named("203.0.113.8"));

        let came = (comes(&world, &ann).await, comes(&world, &ann).await, comes(&world, &bob).await);

        assert!(matches!(came, (Some(_), None, Some(_))), "{ann}: {came:?}");
    }
}

/// Through a front that keeps its connections: somebody's request first, and `client`'s upgrade behind it. `None` when
/// nobody answered inside.
async fn comes_later(world: &World, client: &str) -> Option<BoxStream> {
    let mut tls = insecure(world.tcp().await).await;
    tls.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    for last in [&b"h2=false"[..], b"\r\n\r\n"] {
        let mut heard = Vec::new();
        while !heard.ends_with(last) {
            heard.push(timeout(PATIENCE, tls.read_u8()).await.unwrap().unwrap());
        }
        if last != b"\r\n\r\n" {
            tls.write_all(forwarded(client).as_bytes()).await.unwrap();
        }
    }
    let socket = WebSocketStream::from_raw_socket(tls, Role::Client, None).await;
    let mut inside = websocket::Carrier::client(socket);
    inside.write_all(include_bytes!("../../testdata/hello-auth.bin")).await.unwrap();
    inside.flush().await.unwrap();
    let heard = timeout(PATIENCE, inside.read_exact(&mut [0; 3])).await.unwrap();
    heard.is_ok().then(|| Box::new(Wrapped::new(inside)) as BoxStream)
}

#[tokio::test]
async fn whom_a_front_names_late_is_counted_too_and_for_as_long_as_they_stay() {
    let limits = Limits { connections_per_address: 1, half_open_per_address: 1, ..Limits::default() };
    let world = World::with(How { forwarded_for: Network::loopback(), limits, ..How::default() });
    let (ann, bob) = ("203.0.113.9", "203.0.113.8");

    let held = comes_later(&world, ann).await;
    assert!(held.is_some());
    assert!(comes_later(&world, ann).await.is_none());
    assert!(comes(&world, &forwarded(ann)).await.is_none(), "however they come");
    assert!(comes_later(&world, bob).await.is_some());
    drop(held);
    let again = async { while comes_later(&world, ann).await.is_none() {} };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_front_itself_and_one_behind_another_are_not_counted() {
    let limits = Limits { connections_per_address: 1, half_open_per_address: 1, ..Limits::default() };
    let headers = ProxyHeaders::From(Network::loopback());
    let world = World::with(How { headers, limits, ..How::default() });

    for said in ["PROXY UNKNOWN\r\nSSH-2.0-x\r\n".to_owned(), proxied("127.0.0.9")] {
        let held = (comes(&world, &said).await, comes(&world, &said).await);

        assert!(matches!(held, (Some(_), Some(_))), "{said}: {held:?}");
    }
}
