//! The connection layer alone: what a peer may not do, and what stays bounded when it does.

use std::task::{Context, Poll};

use proptest::prelude::*;
use wire::ssh::connection::{Bare, ChannelKind, Data, Open, Opened, WindowAdjust};
use wire::ssh::request::{ChannelRequest, GlobalKind, GlobalRequest, RequestKind};
use wire::ssh::{Reader, number, put_string, put_u32};

use super::*;

fn bytes(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

/// A server with one open session, number 0 here and 7 at the client.
fn server() -> Hub {
    let mut hub = Hub::new(Role::Server, Limits::default());
    let open = Open { kind: ChannelKind::Session, sender: 7, window: 100_000, max_packet: 32_768 };
    hub.packet(&bytes(|out| open.encode(out))).unwrap();
    assert!(hub.poll_wanted(&context()).is_ready());
    hub.accept(0).unwrap();
    hub
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn sent(hub: &mut Hub) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut out = Vec::new();
        if hub.produce(&mut out) == Produced::Nothing {
            return all;
        }
        all.push(out);
    }
}

fn data(length: usize) -> Vec<u8> {
    let payload = vec![1; length];
    bytes(|out| Data { channel: 0, extended: None, bytes: &payload }.encode(out))
}

fn request(kind: RequestKind) -> Vec<u8> {
    bytes(|out| ChannelRequest { channel: 0, wants_reply: true, kind }.encode(out))
}

#[test]
fn data_beyond_the_window_ends_the_connection() {
    let mut hub = server();
    let window = hub.limits.window as usize;
    for _ in 0..window / 32_768 {
        hub.packet(&data(32_768)).unwrap();
    }
    assert_eq!(hub.held(), window + hub.control_bytes);

    assert!(matches!(hub.packet(&data(1)), Err(Error::Protocol(_))));
}

#[test]
fn what_a_peer_may_not_say_ends_the_connection() {
    let adjust = |channel, much| bytes(|out| WindowAdjust { channel, bytes: much }.encode(out));
    let bare = |number, channel| bytes(|out| Bare { number, channel }.encode(out));
    let cases = [
        data(32_769),
        adjust(9, 1),
        adjust(0, u32::MAX),
        bare(number::CHANNEL_EOF, 3),
        bare(number::CHANNEL_SUCCESS, 0),
        vec![number::REQUEST_SUCCESS],
        bytes(|out| Opened { channel: 0, sender: 1, window: 1, max_packet: 1 }.encode(out)),
        vec![number::USERAUTH_SUCCESS],
        vec![],
    ];
    for case in cases {
        assert!(server().packet(&case).is_err(), "{case:?}");
    }
}

#[test]
fn data_after_the_end_ends_the_connection() {
    let mut hub = server();
    hub.packet(&bytes(|out| Bare { number: number::CHANNEL_EOF, channel: 0 }.encode(out))).unwrap();
    assert!(hub.packet(&data(1)).is_err());
}

#[test]
fn answers_leave_in_the_order_of_their_questions() {
    let mut hub = server();
    sent(&mut hub);
    for kind in [RequestKind::Shell, RequestKind::Agent, RequestKind::Shell] {
        hub.packet(&request(kind)).unwrap();
    }
    hub.answer_request(0, 2, true);
    hub.answer_request(0, 1, false);
    assert!(sent(&mut hub).is_empty());

    hub.answer_request(0, 0, true);

    let order: Vec<u8> = sent(&mut hub).iter().map(|message| message[0]).collect();
    assert_eq!(order, [number::CHANNEL_SUCCESS, number::CHANNEL_FAILURE, number::CHANNEL_SUCCESS]);
}

#[test]
fn global_answers_leave_in_order_too() {
    let mut hub = server();
    sent(&mut hub);
    let ask = |kind| bytes(|out| GlobalRequest { wants_reply: true, kind }.encode(out));
    hub.packet(&ask(GlobalKind::Listen { host: String::new(), port: 0 })).unwrap();
    hub.packet(&ask(GlobalKind::Keepalive)).unwrap();
    assert!(sent(&mut hub).is_empty());

    hub.answer_global(0, GlobalAnswer::Port(22));

    assert_eq!(sent(&mut hub), [vec![number::REQUEST_SUCCESS, 0, 0, 0, 22], vec![number::REQUEST_SUCCESS]]);
}

#[test]
fn a_request_nobody_knows_is_refused_and_the_connection_lives() {
    let mut hub = server();
    sent(&mut hub);
    hub.packet(&request(RequestKind::Unknown("xyzzy@example".to_owned()))).unwrap();
    assert_eq!(sent(&mut hub)[0][0], number::CHANNEL_FAILURE);
}

#[test]
fn a_flood_of_requests_is_bounded() {
    let mut hub = server();
    let mut outcome = Ok(());
    for _ in 0..100_000 {
        outcome = hub.packet(&request(RequestKind::Shell));
        if outcome.is_err() {
            break;
        }
    }
    assert!(outcome.is_err());
    assert!(hub.slot(0).unwrap().asked.len() <= MAX_ASKED);
}

/// What the client sends with `SendEnv *` and no word in between.
#[test]
fn a_large_environment_does_not_cost_the_shell() {
    let mut hub = server();
    for number in 0..400 {
        let kind = RequestKind::Env { name: format!("VARIABLE_{number}"), value: vec![b'x'; 100] };
        let message = bytes(|out| ChannelRequest { channel: 0, wants_reply: false, kind }.encode(out));
        hub.packet(&message).unwrap();
    }
    sent(&mut hub);

    hub.packet(&request(RequestKind::Shell)).unwrap();

    assert!(sent(&mut hub).is_empty(), "it waits for the application");
    let slot = hub.slot(0).unwrap();
    assert_eq!(slot.asked.len(), 401);
    assert!(matches!(slot.asked.back().unwrap().kind, RequestKind::Shell));
}

#[test]
fn requests_nobody_takes_are_bounded_in_bytes() {
    let mut hub = server();
    let limits = hub.limits.max_channels;
    for _ in 1..limits {
        let open = Open { kind: ChannelKind::Session, sender: 9, window: 1, max_packet: 1 };
        hub.packet(&bytes(|out| open.encode(out))).unwrap();
        let Poll::Ready(Some(Wanted::Open { id, .. })) = hub.poll_wanted(&context()) else { panic!() };
        hub.accept(id).unwrap();
    }
    assert_eq!(hub.waiting, 0);
    let long = vec![b'x'; 255 * 1024];
    for channel in 0..u32::try_from(limits).unwrap() {
        for _ in 0..64 {
            let kind = RequestKind::Exec { command: long.clone() };
            hub.packet(&bytes(|out| ChannelRequest { channel, wants_reply: false, kind }.encode(out)))
                .unwrap();
        }
    }
    let host = GlobalKind::Listen { host: "x".repeat(255 * 1024), port: 1 };
    hub.packet(&bytes(|out| GlobalRequest { wants_reply: false, kind: host }.encode(out))).unwrap();
    let held = |hub: &mut Hub| -> usize {
        let ids = 0..u32::try_from(limits).unwrap();
        ids.map(|id| hub.slot(id).map_or(0, |slot| slot.asked.iter().map(|asked| asked.cost).sum())).sum()
    };

    assert!(held(&mut hub) <= MAX_WAITING + 256 * 1024 + REQUEST);
    assert!(hub.wanted.is_empty());
    assert!(hub.slot(0).unwrap().asked_bytes <= MAX_ASKED_BYTES + 256 * 1024);
    assert_eq!(held(&mut hub), hub.waiting);

    while hub.poll_recv(0, &context()).is_ready() {}
    assert_eq!(held(&mut hub), hub.waiting);
    for id in 0..u32::try_from(limits).unwrap() {
        hub.drop_channel(id);
    }
    assert_eq!(hub.waiting, 0);
}

#[test]
fn nothing_is_granted_after_our_close() {
    for dropped in [false, true] {
        let mut hub = server();
        sent(&mut hub);
        if dropped {
            hub.drop_channel(0);
        } else {
            hub.behind(0, Out::Close);
        }
        assert_eq!(sent(&mut hub)[0][0], number::CHANNEL_CLOSE);

        for _ in 0..hub.limits.window / MAX_DATA {
            hub.packet(&data(MAX_DATA as usize)).unwrap();
        }

        assert!(sent(&mut hub).is_empty(), "dropped: {dropped}");
    }
}

#[test]
fn a_host_that_is_no_text_costs_its_own_channel_alone() {
    let mut hub = server();
    sent(&mut hub);
    let mut open = vec![number::CHANNEL_OPEN];
    put_string(&mut open, b"direct-tcpip");
    for field in [3_u32, 100, 100] {
        put_u32(&mut open, field);
    }
    put_string(&mut open, b"caf\xe9");
    put_u32(&mut open, 80);
    put_string(&mut open, b"127.0.0.1");
    put_u32(&mut open, 4000);

    hub.packet(&open).unwrap();

    let answer = sent(&mut hub).remove(0);
    let failed = OpenFailed::decode(&mut Reader::new(&answer)).unwrap();
    assert_eq!((failed.channel, failed.reason), (3, OpenFailed::CONNECT_FAILED));
    assert!(failed.text.contains("UTF-8"), "{}", failed.text);
    hub.packet(&data(1)).unwrap();
}

#[test]
fn a_peer_that_reads_no_answers_is_not_read_from() {
    let mut hub = server();
    let ask = bytes(|out| GlobalRequest { wants_reply: true, kind: GlobalKind::Keepalive }.encode(out));
    while !hub.congested(1) {
        hub.packet(&ask).unwrap();
    }
    assert!(hub.control_bytes <= MAX_CONTROL + 64);
    sent(&mut hub);
    assert!(!hub.congested(1));
}

#[test]
fn channels_take_turns() {
    let mut hub = server();
    let open = Open { kind: ChannelKind::Session, sender: 8, window: 1 << 20, max_packet: 32_768 };
    hub.packet(&bytes(|out| open.encode(out))).unwrap();
    hub.accept(1).unwrap();
    sent(&mut hub);
    assert_eq!(hub.accept_data(0, None, &vec![0; 90_000]), 90_000);
    assert_eq!(hub.accept_data(1, None, b"key"), 3);

    let channels: Vec<u32> = sent(&mut hub)
        .iter()
        .map(|message| Data::decode(&mut Reader::new(message)).unwrap().channel)
        .collect();

    assert_eq!(channels, [7, 8, 7, 7]);
}

#[test]
fn windows_grow_while_the_reader_keeps_up_and_only_to_the_bound() {
    let mut hub = server();
    let cx = context();
    for _ in 0..2000 {
        while hub.slot(0).unwrap().credit >= 32_768 {
            hub.packet(&data(32_768)).unwrap();
            assert!(hub.poll_recv(0, &cx).is_ready());
            if hub.slot(0).unwrap().credit == hub.slot(0).unwrap().window {
                break;
            }
        }
        sent(&mut hub);
    }
    let slot = hub.slot(0).unwrap();
    assert!(slot.window <= 2 * 1024 * 1024, "{}", slot.window);
    assert!(slot.credit <= slot.window);
}

proptest! {
    #[test]
    fn arbitrary_messages_are_survived(
        messages in proptest::collection::vec((80_u8..=100, proptest::collection::vec(any::<u8>(), 0..40)), 0..60),
        kinds in proptest::collection::vec(0_u8..6, 0..60),
    ) {
        let mut feed = Vec::new();
        for (number, rest) in &messages {
            feed.extend_from_slice(&u16::try_from(rest.len() + 1).unwrap().to_be_bytes());
            feed.push(*number);
            feed.extend_from_slice(rest);
        }
        crate::fuzz::connection(&feed);
        let mut hub = server();
        for kind in kinds {
            let message = match kind {
                0 => data(1000),
                1 => request(RequestKind::Shell),
                2 => bytes(|out| WindowAdjust { channel: 0, bytes: 5 }.encode(out)),
                3 => bytes(|out| Bare { number: number::CHANNEL_EOF, channel: 0 }.encode(out)),
                4 => bytes(|out| Bare { number: number::CHANNEL_CLOSE, channel: 0 }.encode(out)),
                _ => bytes(|out| Open { kind: ChannelKind::Session, sender: 1, window: 9, max_packet: 9 }.encode(out)),
            };
            if hub.packet(&message).is_err() {
                break;
            }
        }
    }
}
