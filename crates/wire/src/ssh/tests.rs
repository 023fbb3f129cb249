//! Golden bytes of the RFCs, round trips of arbitrary values, and arbitrary bytes.

use proptest::prelude::*;

use super::agent::{Answer as AgentAnswer, Ask, Identity};
use super::connection::{Bare, ChannelKind, Data, Open, OpenFailed, Opened, TcpPath, WindowAdjust};
use super::key::{Certificate, Curve, PublicKey, Signature};
use super::request::{ChannelRequest, GlobalKind, GlobalRequest, Pty, RequestKind, Size};
use super::transport::{Answer, Disconnect, ExtInfo, KexInit, Offer};
use super::userauth::{Banner, Failure, KeyOk, Method, Request, signed_data};
use super::version::{Seen, scan};
use super::*;

/// Encodes, decodes, compares; then cuts the bytes everywhere, which must never be the same value.
macro_rules! survives {
    ($type:ty, $value:expr) => {{
        let value = $value;
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        prop_assert_eq!(<$type>::decode(&mut Reader::new(&bytes)), Ok(value.clone()));
        for cut in 0..bytes.len().min(64) {
            let short = <$type>::decode(&mut Reader::new(&bytes[..cut]));
            prop_assert!(short.ok().as_ref() != Some(&value), "cut at {}", cut);
        }
    }};
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..80)
}

fn words() -> impl Strategy<Value = String> {
    "[a-z]{1,9}(,[a-z0-9@.-]{1,9}){0,4}"
}

fn channel_kind() -> impl Strategy<Value = ChannelKind> {
    let path = (".{0,20}", any::<u32>(), ".{0,20}", any::<u32>())
        .prop_map(|(host, port, origin, origin_port)| TcpPath { host, port, origin, origin_port });
    prop_oneof![
        Just(ChannelKind::Session),
        Just(ChannelKind::Agent),
        path.clone().prop_map(ChannelKind::DirectTcp),
        path.prop_map(ChannelKind::ForwardedTcp),
        ".{0,20}".prop_map(|path| ChannelKind::DirectUnix { path }),
        ".{0,20}".prop_map(|path| ChannelKind::ForwardedUnix { path }),
        (".{0,20}", any::<u32>()).prop_map(|(origin, origin_port)| ChannelKind::X11 { origin, origin_port }),
        "[a-z]{9,12}".prop_map(ChannelKind::Unknown),
    ]
}

fn request_kind() -> impl Strategy<Value = RequestKind> {
    let size =
        any::<[u32; 4]>().prop_map(|[columns, rows, width, height]| Size { columns, rows, width, height });
    let modes = proptest::collection::vec((1_u8..160, any::<u32>()), 0..40);
    prop_oneof![
        Just(RequestKind::Shell),
        Just(RequestKind::Agent),
        Just(RequestKind::Eow),
        Just(RequestKind::Keepalive),
        (".{0,9}", size.clone(), modes).prop_map(|(term, size, modes)| RequestKind::Pty(Pty {
            term,
            size,
            modes
        })),
        (".{0,9}", bytes()).prop_map(|(name, value)| RequestKind::Env { name, value }),
        bytes().prop_map(|command| RequestKind::Exec { command }),
        ".{0,9}".prop_map(|name| RequestKind::Subsystem { name }),
        ".{0,9}".prop_map(|name| RequestKind::Signal { name }),
        size.prop_map(RequestKind::WindowChange),
        any::<u32>().prop_map(|milliseconds| RequestKind::Break { milliseconds }),
        any::<u32>().prop_map(RequestKind::ExitStatus),
        (".{0,9}", any::<bool>(), ".{0,9}")
            .prop_map(|(name, core_dumped, message)| RequestKind::ExitSignal { name, core_dumped, message }),
        (any::<bool>(), ".{0,9}", ".{0,9}", any::<u32>()).prop_map(|(single, protocol, cookie, screen)| {
            RequestKind::X11 { single, protocol, cookie, screen }
        }),
        "[a-z]{15,18}".prop_map(RequestKind::Unknown),
    ]
}

fn global_kind() -> impl Strategy<Value = GlobalKind> {
    prop_oneof![
        (".{0,9}", any::<u32>()).prop_map(|(host, port)| GlobalKind::Listen { host, port }),
        (".{0,9}", any::<u32>()).prop_map(|(host, port)| GlobalKind::Unlisten { host, port }),
        ".{0,9}".prop_map(|path| GlobalKind::ListenUnix { path }),
        ".{0,9}".prop_map(|path| GlobalKind::UnlistenUnix { path }),
        Just(GlobalKind::Keepalive),
        Just(GlobalKind::HostKeys),
        Just(GlobalKind::NoMoreSessions),
        "[a-z]{9,12}".prop_map(GlobalKind::Unknown),
    ]
}

/// Room for whatever key is made of it.
struct Parts {
    key: [u8; 32],
    point: Vec<u8>,
    number: Vec<u8>,
    text: Vec<u8>,
}

impl Parts {
    fn of(key: [u8; 32], curve: Curve, number: Vec<u8>, text: Vec<u8>) -> Self {
        let length = match curve {
            Curve::P256 => 65,
            Curve::P384 => 97,
            Curve::P521 => 133,
        };
        let mut point = vec![7; length];
        point[0] = 4;
        let number = number.into_iter().skip_while(|byte| *byte == 0).take(8).collect();
        Self { key, point, number, text }
    }

    fn key(&self, kind: u8, curve: Curve) -> PublicKey<'_> {
        match kind % 5 {
            0 => PublicKey::Ed25519(&self.key),
            1 => PublicKey::Ecdsa { curve, point: &self.point },
            2 => PublicKey::Rsa { exponent: &self.number, modulus: &self.number },
            3 => PublicKey::SkEd25519 { key: &self.key, application: &self.text },
            _ => PublicKey::SkEcdsa { point: &self.point, application: &self.text },
        }
    }
}

proptest! {
    #[test]
    fn transport_messages_survive(cookie: [u8; 16], lists in proptest::array::uniform10(words()), guess_follows: bool,
        a in bytes(), b in bytes(), c in bytes(), reason: u32) {
        let list = |n: usize| NameList::new(lists[n].as_bytes()).unwrap();
        survives!(KexInit<'_>, KexInit {
            cookie, kex: list(0), host_key: list(1), cipher_in: list(2), cipher_out: list(3), mac_in: list(4),
            mac_out: list(5), compression_in: list(6), compression_out: list(7), language_in: list(8),
            language_out: list(9), guess_follows,
        });
        survives!(Offer<'_>, Offer { public: &a });
        survives!(Answer<'_>, Answer { host_key: &a, public: &b, signature: &c });
        survives!(ExtInfo<'_>, ExtInfo(vec![(&a, &b), (&b, &c)]));
        let leave = Disconnect { reason, text: &a };
        let mut bytes = Vec::new();
        leave.encode(&mut bytes);
        prop_assert_eq!(Disconnect::decode(&mut Reader::new(&bytes)), Ok(leave));
    }

    #[test]
    fn userauth_messages_survive(user in ".{0,30}", algorithm in ".{0,30}", key in bytes(), signature in bytes(),
        signed: bool, methods in words(), partial: bool) {
        let method = Method::PublicKey { algorithm: &algorithm, key: &key, signature: signed.then_some(&signature[..]) };
        survives!(Request<'_>, Request { user: &user, service: b"ssh-connection", method });
        survives!(Request<'_>, Request { user: &user, service: b"x", method: Method::None });
        let unknown = Request { user: &user, service: b"x", method: Method::Unknown(b"password", &key) };
        let mut bytes = Vec::new();
        unknown.encode(&mut bytes);
        prop_assert_eq!(Request::decode(&mut Reader::new(&bytes)), Ok(unknown));
        survives!(Failure<'_>, Failure { methods: NameList::new(methods.as_bytes()).unwrap(), partial });
        survives!(KeyOk<'_>, KeyOk { algorithm: algorithm.as_bytes(), key: &key });
        survives!(Banner<'_>, Banner { text: &key });
    }

    #[test]
    fn connection_messages_survive(kind in channel_kind(), request in request_kind(), global in global_kind(),
        numbers: [u32; 4], wants_reply: bool, payload in bytes(), text in ".{0,20}") {
        let [channel, sender, window, max_packet] = numbers;
        let open = Open { kind, sender, window, max_packet };
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        prop_assert_eq!(Open::decode(&mut Reader::new(&bytes)), Ok(open));
        survives!(Opened, Opened { channel, sender, window, max_packet });
        let failed = OpenFailed { channel, reason: sender, text };
        let mut bytes = Vec::new();
        failed.encode(&mut bytes);
        prop_assert_eq!(OpenFailed::decode(&mut Reader::new(&bytes)), Ok(failed));
        survives!(WindowAdjust, WindowAdjust { channel, bytes: window });
        survives!(Data<'_>, Data { channel, extended: None, bytes: &payload });
        survives!(Data<'_>, Data { channel, extended: Some(sender), bytes: &payload });
        for number in [number::CHANNEL_EOF, number::CHANNEL_CLOSE, number::CHANNEL_SUCCESS, number::CHANNEL_FAILURE] {
            survives!(Bare, Bare { number, channel });
        }
        survives!(ChannelRequest, ChannelRequest { channel, wants_reply, kind: request });
        survives!(GlobalRequest, GlobalRequest { wants_reply, kind: global });
    }

    #[test]
    fn keys_and_certificates_survive(key: [u8; 32], kind: u8, curve in 0..3, number in bytes(), text in bytes(),
        serial: u64, role: u32, times: [u64; 2]) {
        // Only P-256 exists in hardware keys.
        let curve = match (kind % 5, curve) { (1, 1) => Curve::P384, (1, 2) => Curve::P521, _ => Curve::P256 };
        let parts = Parts::of(key, curve, number, text.clone());
        let key = parts.key(kind, curve);
        survives!(PublicKey<'_>, key.clone());
        let [valid_after, valid_before] = times;
        survives!(Certificate<'_>, Certificate {
            nonce: &text, key: key.clone(), serial, role, id: &text, principals: &text, valid_after, valid_before,
            critical: &text, extensions: &text, authority: &text, signature: &text,
        });
        survives!(Signature<'_>, Signature { algorithm: "ssh-ed25519", bytes: &text, hardware: None });
        survives!(Signature<'_>, Signature { algorithm: "sk-ssh-ed25519@openssh.com", bytes: &text, hardware: Some((1, role)) });
    }

    #[test]
    fn agent_answers_survive(key in bytes(), comment in bytes()) {
        survives!(AgentAnswer<'_>, AgentAnswer::Identities(vec![Identity { key: &key, comment: &comment }; 3]));
        survives!(AgentAnswer<'_>, AgentAnswer::Signature(&key));
        survives!(AgentAnswer<'_>, AgentAnswer::Success);
        survives!(AgentAnswer<'_>, AgentAnswer::Failure);
    }

    #[test]
    fn numbers_survive(digits in bytes()) {
        let mut bytes = Vec::new();
        put_mpint(&mut bytes, &digits);
        let stripped: Vec<u8> = digits.iter().copied().skip_while(|byte| *byte == 0).collect();
        prop_assert_eq!(Reader::new(&bytes).mpint(), Ok(&stripped[..]));
    }

    #[test]
    fn arbitrary_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..600), first in 0_u8..200) {
        let mut data = data;
        for pass in 0..2 {
            fuzz::transport(&data);
            fuzz::userauth(&data);
            fuzz::connection(&data);
            fuzz::keys(&data);
            if let (0, Some(byte)) = (pass, data.first_mut()) {
                *byte = first;
            }
        }
    }
}

#[test]
fn numbers_are_written_as_rfc_4251_writes_them() {
    let packed = |digits: &[u8]| {
        let mut out = Vec::new();
        put_mpint(&mut out, digits);
        out
    };
    assert_eq!(packed(&[]), [0, 0, 0, 0]);
    let long = [0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7];
    assert_eq!(packed(&long), [&[0, 0, 0, 8][..], &long].concat());
    assert_eq!(packed(&[0x80]), [0, 0, 0, 2, 0, 0x80]);
    // Minus numbers and needless zeros are not ours to accept.
    for bad in [&[0, 0, 0, 2, 0xed, 0xcc][..], &[0, 0, 0, 1, 0], &[0, 0, 0, 2, 0, 1]] {
        assert_eq!(Reader::new(bad).mpint(), Err(Malformed::Mpint));
    }
}

#[test]
fn name_lists_are_written_as_rfc_4251_writes_them() {
    let mut out = Vec::new();
    put_names(&mut out, []);
    put_names(&mut out, ["zlib"]);
    put_names(&mut out, ["zlib", "none"]);
    assert_eq!(out, b"\0\0\0\0\0\0\0\x04zlib\0\0\0\x09zlib,none");
    for bad in ["a,,b", ",", "a b", "a,"] {
        assert_eq!(NameList::new(bad.as_bytes()), Err(Malformed::Names), "{bad}");
    }
}

#[test]
fn identification_lines_are_found_and_bounded() {
    let seen = scan(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\0\0").unwrap();
    let Seen::Version(version, 32) = seen else { panic!("{seen:?}") };
    assert_eq!(version.as_str(), "SSH-2.0-OpenSSH_9.2p1 Debian-2");
    assert_eq!(scan(b"SSH-2.0-x"), Ok(Seen::NeedMore));
    assert_eq!(scan(b"hello\r\nSSH-2.0-x\r\n"), Ok(Seen::OtherLine(7)));
    assert_eq!(scan(b"SSH-1.5-old\r\n"), Err(Malformed::Version));
    assert_eq!(scan(b"\0"), Err(Malformed::Version));
    assert_eq!(scan(&[b'x'; 300]), Err(Malformed::Version));
}

#[test]
fn what_a_user_signs_is_bound_to_session_login_and_key() {
    let base = signed_data(b"session", "ann", b"ssh-connection", "ssh-ed25519", b"key");
    assert!(
        base.starts_with(
            b"\0\0\0\x07session\x32\0\0\0\x03ann\0\0\0\x0essh-connection\0\0\0\x09publickey\x01"
        )
    );
    for other in [
        signed_data(b"sessioN", "ann", b"ssh-connection", "ssh-ed25519", b"key"),
        signed_data(b"session", "bob", b"ssh-connection", "ssh-ed25519", b"key"),
        signed_data(b"session", "ann", b"ssh-connection", "ssh-ed25519", b"keY"),
    ] {
        assert_ne!(base, other);
    }
}

#[test]
fn an_agent_is_asked_in_the_words_of_its_protocol() {
    let asked = |ask: Ask<'_>| {
        let mut out = Vec::new();
        ask.encode(&mut out);
        out
    };
    assert_eq!(asked(Ask::List), [11]);
    assert_eq!(asked(Ask::Sign { key: b"k", data: b"d", flags: 4 }), b"\x0d\0\0\0\x01k\0\0\0\x01d\0\0\0\x04");
    assert_eq!(asked(Ask::Add { key: b"fields", lifetime: Some(60) }), b"\x19fields\x01\0\0\0\x3c");
    assert_eq!(asked(Ask::Remove { key: b"k" }), b"\x12\0\0\0\x01k");
}

#[test]
fn certificate_kinds_are_named_after_their_keys() {
    for (plain, certificate) in [
        ("ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"),
        ("sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519-cert-v01@openssh.com"),
        ("sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com"),
    ] {
        assert_eq!(key::certificate_kind(plain), certificate);
        assert_eq!(key::certified(certificate).as_deref(), Some(plain));
    }
    assert_eq!(key::certified("ssh-ed25519"), None);
}
