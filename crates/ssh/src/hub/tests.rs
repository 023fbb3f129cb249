//! The connection layer alone: what a peer may not do, and what stays bounded when it does.

use proptest::prelude::*;
use wire::ssh::connection::{Bare, ChannelKind, Data, Open, Opened, WindowAdjust};
use wire::ssh::request::{ChannelRequest, GlobalKind, GlobalRequest, RequestKind};
use wire::ssh::{Reader, number};

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
    hub.wanted.pop_front().unwrap();
    hub.accept(0).unwrap();
    hub
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
    assert!(hub.slot(0).unwrap().asked.len() <= MAX_REQUESTS);
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
    let noop = std::task::Waker::noop();
    let cx = std::task::Context::from_waker(noop);
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
