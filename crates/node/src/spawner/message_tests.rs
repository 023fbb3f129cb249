//! Messages survive the socket, and nothing else does.

use proptest::prelude::*;

use super::*;

fn claims() -> impl Strategy<Value = Claim> {
    let bytes = |most: usize| proptest::collection::vec(any::<u8>(), 0..most);
    let from = proptest::option::of(any::<[u8; 16]>().prop_map(std::net::IpAddr::from));
    ("[a-z]{0,30}", bytes(64), "[a-z]{0,30}", bytes(900), bytes(300), from).prop_map(
        |(login, session, algorithm, key, signature, from)| Claim {
            proof: ssh::server::Proof { session, login, algorithm, key, signature },
            from,
        },
    )
}

fn questions() -> impl Strategy<Value = Question> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
    let signal = (0..Signal::ALL.len()).prop_map(|i| Signal::ALL[i].0);
    let program =
        prop_oneof![Just(Program::Shell), bytes().prop_map(Program::Command), Just(Program::FileTransfer)];
    let env = proptest::collection::vec(("[A-Z_]{1,20}", ".{0,40}"), 0..8);
    prop_oneof![
        any::<u16>().prop_map(|version| Question::Hello { version }),
        claims().prop_map(Question::Lookup),
        proptest::collection::vec(bytes(), 0..4).prop_map(|authorities| Question::Trust { authorities }),
        (any::<u32>(), any::<[u16; 4]>()).prop_map(|(account, [cols, rows, width, height])| {
            Question::OpenPty { account, size: Size { cols, rows, width, height } }
        }),
        (any::<u32>(), proptest::option::of(1..u32::MAX), program, env)
            .prop_map(|(account, pty, program, env)| Question::Spawn { account, pty, program, env }),
        (any::<u32>(), signal).prop_map(|(session, signal)| Question::Signal { session, signal }),
        any::<u32>().prop_map(|account| Question::AgentSocket { account }),
        (any::<u32>(), bytes()).prop_map(|(account, path)| Question::Bind { account, path }),
        (any::<u32>(), bytes()).prop_map(|(account, path)| Question::Connect { account, path }),
        any::<u32>().prop_map(|handle| Question::Close { handle }),
    ]
}

proptest! {
    #[test]
    fn a_question_survives_the_socket(question in questions()) {
        prop_assert_eq!(Question::decode(&question.encode()), Ok(question));
    }

    #[test]
    fn a_cut_or_lengthened_question_is_refused(question in questions(), cut in any::<prop::sample::Index>()) {
        let bytes = question.encode();
        prop_assert!(Question::decode(&bytes[..cut.index(bytes.len())]).is_err());
        let longer = [bytes.as_slice(), &[0]].concat();
        prop_assert!(Question::decode(&longer).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        crate::fuzz::spawner_message(&bytes);
    }
}

#[test]
fn answers_survive_the_socket() {
    for answer in [
        Answer::Hello { version: 1, only: Some("ann".into()) },
        Answer::Hello { version: 1, only: None },
        Answer::Found {
            account: 7,
            uid: 1,
            gid: 2,
            home: b"/home/\xff".to_vec(),
            shell: b"/bin/sh".to_vec(),
        },
        Answer::Pty { pty: 1, path: b"/dev/pts/3".to_vec() },
        Answer::Spawned { session: 4, pid: 99 },
        Answer::Socket { socket: 3, path: vec![] },
        Answer::Done,
        Answer::Refused { reason: "busy".into() },
        Answer::Begun { handle: u32::MAX },
        Answer::Denied { handle: 7, reason: "no such account".into() },
        Answer::Exited { session: 4, exit: Exit::Code(255) },
        Answer::Exited { session: 4, exit: Exit::Signal { number: 15, core: true } },
    ] {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
}

#[test]
fn a_long_refusal_is_shortened_at_a_character() {
    let answer = Answer::Refused { reason: "é".repeat(4000) };

    let Ok(Answer::Refused { reason }) = Answer::decode(&answer.encode()) else { panic!("not a refusal") };
    assert_eq!(reason.len(), MAX_TEXT);
}

#[test]
fn what_is_said_of_a_look_up_looks_as_its_page_says() {
    let found = Answer::Found {
        account: 7,
        uid: 1000,
        gid: 60,
        home: b"/home/ann".to_vec(),
        shell: b"/bin/sh".to_vec(),
    };
    let found_bytes = b"\x02\0\0\0\x07\0\0\x03\xe8\0\0\0\x3c\0\0\0\x09/home/ann\0\0\0\x07/bin/sh";
    for (answer, bytes) in [
        (Answer::Begun { handle: 7 }, b"\x09\0\0\0\x07".as_slice()),
        (found, found_bytes),
        (Answer::Denied { handle: 7, reason: "no".into() }, b"\x0a\0\0\0\x07\0\0\0\x02no"),
    ] {
        assert_eq!(answer.encode(), bytes);
        assert_eq!(Answer::decode(bytes), Ok(answer));
    }
}
