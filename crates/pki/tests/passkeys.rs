//! Passkeys: what fits is taken, and nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure is a failed test")]

#[path = "common/authenticator.rs"]
mod authenticator;

use authenticator::Authenticator;
use pki::Error;
use pki::webauthn::{Expected, PasskeyKey};
use proptest::prelude::*;

const CHALLENGE: &[u8] = b"0123456789abcdef0123456789abcdef";

fn origins() -> Vec<String> {
    vec!["https://gate.example".to_owned(), "https://gate.example:3080".to_owned()]
}

fn expected(origins: &[String]) -> Expected<'_> {
    Expected { party: "gate.example", origins, challenge: CHALLENGE, verified: true }
}

fn passkey() -> Authenticator {
    Authenticator::new("gate.example", "https://gate.example:3080")
}

#[test]
fn a_passkey_is_made_and_used() {
    let (mut device, origins) = (passkey(), origins());
    let (client, object) = device.make(CHALLENGE);
    let made = expected(&origins).made(&client, &object).unwrap();
    assert_eq!((made.id, made.counter), (device.id.clone(), 0));
    let key = PasskeyKey::from_bytes(&made.key.to_bytes()).unwrap();

    device.counter = 7;
    let (client, data, signature) = device.sign(CHALLENGE);
    let expected = expected(&origins);

    assert_eq!(expected.used((&key, 0), &client, &data, &signature), Ok(7));
    assert_eq!(expected.used((&key, 6), &client, &data, &signature), Ok(7));
    assert!(expected.used((&key, 7), &client, &data, &signature).is_err(), "a copy");
    let (other, _) = passkey().make(CHALLENGE);
    assert!(expected.used((&key, 0), &other, &data, &signature).is_err(), "for making");
}

#[test]
fn what_does_not_fit_is_refused() {
    let origins = origins();
    type Spoil = fn(&mut Authenticator);
    let spoils: [(&str, Spoil); 5] = [
        ("another party", |d| d.party = "evil.example".to_owned()),
        ("another origin", |d| d.origin = "https://gate.example.evil".to_owned()),
        ("not https", |d| d.origin = "http://gate.example".to_owned()),
        ("nobody there", |d| d.flags = 0x04),
        ("not verified", |d| d.flags = 0x01),
    ];
    for (what, spoil) in spoils {
        let mut device = passkey();
        let (client, object) = device.make(CHALLENGE);
        let key = expected(&origins).made(&client, &object).unwrap().key;
        spoil(&mut device);
        let (client, object) = device.make(CHALLENGE);
        assert!(expected(&origins).made(&client, &object).is_err(), "{what}");
        let (client, data, signature) = device.sign(CHALLENGE);
        assert!(expected(&origins).used((&key, 0), &client, &data, &signature).is_err(), "{what}");
    }
    let (client, object) = passkey().make(b"another challenge, as long as it");
    assert!(expected(&origins).made(&client, &object).is_err());
}

#[test]
fn a_self_attestation_is_by_the_key_itself_and_says_so() {
    let (device, origins) = (passkey(), origins());
    let made = |(client, object): (Vec<u8>, Vec<u8>)| expected(&origins).made(&client, &object);
    let (client, mut broken) = device.make_attested(CHALLENGE, 0x26);
    let at = broken.windows(4).position(|w| w == b"\x63sig").unwrap();
    broken[at + 20] ^= 1;

    assert_eq!(made(device.make_attested(CHALLENGE, 0x26)).unwrap().id, device.id);
    assert_eq!(
        made(device.make_attested(CHALLENGE, 0x27)),
        Err(Error::Passkey("its attestation is by another kind of key"))
    );
    assert_eq!(made((client, broken)), Err(Error::BadSignature));
}

#[test]
fn a_passkey_is_kept_in_one_form() {
    for bad in [&[][..], &[1; 64], &[1; 66], &[2; 32], &[2; 34], &[3; 33]] {
        assert_eq!(PasskeyKey::from_bytes(bad), Err(Error::Malformed("passkey")), "{bad:?}");
    }
}

#[test]
fn only_the_key_that_was_made_signs() {
    let origins = origins();
    let device = passkey();
    let (client, object) = device.make(CHALLENGE);
    let key = expected(&origins).made(&client, &object).unwrap().key;
    let (client, data, signature) = passkey().sign(CHALLENGE);

    let refused = expected(&origins).used((&key, 0), &client, &data, &signature);

    assert_eq!(refused, Err(Error::BadSignature));
}

proptest! {
    #[test]
    fn a_turned_bit_is_refused_or_changes_nothing_that_counts(at in 0usize..400, bit in 0u8..8) {
        let origins = origins();
        let device = passkey();
        let (client, data, signature) = device.sign(CHALLENGE);
        let (made, object) = device.make(CHALLENGE);
        let key = expected(&origins).made(&made, &object).unwrap().key;
        let mut parts = [client, data, signature];
        let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
        let mut at = at % lengths.iter().sum::<usize>();
        for part in &mut parts {
            if at < part.len() {
                part[at] ^= 1 << bit;
                break;
            }
            at -= part.len();
        }

        prop_assert!(expected(&origins).used((&key, 0), &parts[0], &parts[1], &parts[2]).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(client in any::<Vec<u8>>(), object in any::<Vec<u8>>()) {
        pki::fuzz::webauthn(&client);
        pki::fuzz::webauthn(&object);
    }
}
