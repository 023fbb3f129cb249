//! What SSH certificates are believed, and which are not.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::collections::BTreeSet;

use common::*;
use model::api::cluster::{CaKind, TrustBundle};
use model::{Identity, Subject};
use pki::ssh::{
    Certificate, HostRequest, Permits, PublicKey, UserRequest, issue_host, issue_user, verify_host,
    verify_user,
};
use pki::{Authority, Error, KeyType, Signer, Trust};

fn host_cert(world: &World, extra: &[&str]) -> Certificate {
    let extra: Vec<String> = extra.iter().map(ToString::to_string).collect();
    let key = key(20).ssh_public();
    let request = HostRequest {
        key: &key,
        identity: &node(),
        principals: &extra,
        serial: 6,
        nonce: [8; 32],
        now: now(),
    };
    issue_host(&world.host_ca, &request).unwrap()
}

#[test]
fn a_user_certificate_says_who_holds_it() {
    for key_type in [KeyType::Ed25519, KeyType::EcdsaP256] {
        let world = world_with(key_type);
        let key = key(10).ssh_public();

        let cert = user_cert(&world.user_ca, &ann(), &key);
        let user = verify_user(&cert, &world.trust, None, now()).unwrap();

        assert_eq!(user.identity, ann());
        assert_eq!(user.key, key);
        assert_eq!(user.permits, ALL);
        assert_eq!(user.principals, ["ann", "root"]);
        assert!(user.has_login(&"root".parse().unwrap()));
        assert!(!user.has_login(&"daemon".parse().unwrap()));
    }
}

#[test]
fn text_and_blob_hold_the_same_certificate() {
    let world = world();
    let cert = user_cert(&world.user_ca, &ann(), &key(10).ssh_public());

    assert_eq!(format!("{cert} ann@laptop").parse::<Certificate>().unwrap(), cert);
    assert_eq!(Certificate::from_blob(cert.blob()).unwrap(), cert);
    assert!(Certificate::is_certificate(cert.blob()));
    assert!(!Certificate::is_certificate(cert.key().blob()));
}

#[test]
fn time_bounds_are_kept() {
    let world = world();
    let cert = user_cert(&world.user_ca, &ann(), &key(10).ssh_public());
    let at = |t| verify_user(&cert, &world.trust, None, t);

    assert!(at(now() - std::time::Duration::from_secs(300)).is_ok());
    assert!(matches!(at(now() - std::time::Duration::from_secs(301)), Err(Error::NotYetValid(_))));
    assert!(at(later(43_199)).is_ok());
    assert_eq!(at(later(43_200)), Err(Error::Expired(later(43_200))));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let world = world();
    let cert = user_cert(&world.user_ca, &ann(), &key(10).ssh_public());
    for at in 0..cert.blob().len() {
        let mut blob = cert.blob().to_vec();
        blob[at] ^= 1;
        let believed = Certificate::from_blob(&blob).and_then(|c| verify_user(&c, &world.trust, None, now()));
        assert!(believed.is_err(), "byte {at}");
    }
}

#[test]
fn every_cut_is_noticed() {
    let world = world();
    let cert = user_cert(&world.user_ca, &ann(), &key(10).ssh_public());
    for len in 0..cert.blob().len() {
        assert!(Certificate::from_blob(&cert.blob()[..len]).is_err(), "{len} bytes");
    }
    let mut longer = cert.blob().to_vec();
    longer.push(0);
    assert!(Certificate::from_blob(&longer).is_err());
}

#[test]
fn another_authority_is_not_believed() {
    let world = world();
    let stranger = Authority::generate(KeyType::Ed25519, &[99; 32]).unwrap();
    let key = key(10).ssh_public();

    let forged = user_cert(&stranger, &ann(), &key);
    let by_host_ca = user_cert(&world.host_ca, &ann(), &key);

    assert_eq!(verify_user(&forged, &world.trust, None, now()), Err(Error::Untrusted));
    assert_eq!(verify_user(&by_host_ca, &world.trust, None, now()), Err(Error::Untrusted));
}

#[test]
fn a_signature_must_be_the_named_authoritys_own() {
    // The certificate names the trusted key, and is signed by another.
    #[derive(Debug)]
    struct Liar(Authority, Authority);
    impl Signer for Liar {
        fn key_type(&self) -> KeyType {
            self.0.key_type()
        }
        fn public_key(&self) -> &[u8] {
            self.0.public_key()
        }
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
            self.1.sign(message)
        }
    }
    let world = world();
    let named = Authority::generate(KeyType::Ed25519, &[1; 32]).unwrap();
    let signing = Authority::generate(KeyType::Ed25519, &[99; 32]).unwrap();

    let forged = user_cert(&Liar(named, signing), &ann(), &key(10).ssh_public());

    assert_eq!(verify_user(&forged, &world.trust, None, now()), Err(Error::BadSignature));
}

#[test]
fn both_keys_of_an_authority_count_while_one_replaces_the_other() {
    let old = Authority::generate(KeyType::Ed25519, &[1; 32]).unwrap();
    let new = Authority::generate(KeyType::EcdsaP256, &[4; 32]).unwrap();
    let keys = vec![entry(&old, CaKind::User), entry(&new, CaKind::User)];
    let trust = Trust::from_bundle(&TrustBundle { keys, audit_key: String::new() }).unwrap();

    for ca in [&old, &new] {
        let cert = user_cert(ca, &ann(), &key(10).ssh_public());
        assert!(verify_user(&cert, &trust, None, now()).is_ok());
    }
}

#[test]
fn kinds_are_not_mixed_up() {
    let world = world();
    let user = user_cert(&world.user_ca, &ann(), &key(10).ssh_public());
    let host = host_cert(&world, &[]);

    assert_eq!(verify_user(&host, &world.trust, None, now()), Err(Error::WrongKind("user")));
    assert_eq!(verify_host(&user, &world.trust, None, now()), Err(Error::WrongKind("host")));
    let key = key(10).ssh_public();
    let request =
        UserRequest { key: &key, identity: &node(), permits: ALL, serial: 1, nonce: [0; 32], now: now() };
    assert_eq!(issue_user(&world.user_ca, &request).unwrap_err(), Error::WrongKind("user"));
}

#[test]
fn a_host_certificate_is_good_for_its_names_only() {
    let world = world();
    let cert = host_cert(&world, &["gpu.example.com"]);
    let id = node().host().unwrap().to_string();

    for good in ["web-1", "web-1.gate", "WEB-1", &id, &format!("{id}.gate"), "gpu.example.com"] {
        let host = verify_host(&cert, &world.trust, Some(good), now()).unwrap();
        assert_eq!(host.identity, node(), "{good}");
    }
    for bad in ["web-2", "gate", "web-1.other", ""] {
        assert!(
            matches!(verify_host(&cert, &world.trust, Some(bad), now()), Err(Error::WrongPrincipal(_))),
            "{bad}"
        );
    }
}

#[test]
fn a_host_with_capital_letters_is_certified_for_what_stock_clients_ask_for() {
    let names = pki::ssh::host_principals(
        &model::NodeId::from_random([1; 16]),
        &"GPU-1".parse().unwrap(),
        &"Gate".parse().unwrap(),
    );

    for name in ["GPU-1", "GPU-1.Gate", "gpu-1", "gpu-1.gate"] {
        assert!(names.iter().any(|n| n == name), "{name}: {names:?}");
    }
}

#[test]
fn a_pinned_certificate_is_good_from_its_address_only() {
    let world = world();
    let pinned = Identity { pin_ip: true, ..ann() };
    let cert = user_cert(&world.user_ca, &pinned, &key(10).ssh_public());
    let from = |ip: Option<&str>| verify_user(&cert, &world.trust, ip.map(|i| i.parse().unwrap()), now());

    assert!(from(Some("192.0.2.7")).is_ok());
    assert!(from(Some("::ffff:192.0.2.7")).is_ok());
    assert_eq!(from(Some("192.0.2.8")), Err(Error::WrongAddress));
    assert_eq!(from(Some("2001:db8::1")), Err(Error::WrongAddress));
    assert_eq!(from(None), Err(Error::WrongAddress));
}

#[test]
fn a_login_seen_through_a_listener_for_both_kinds_is_pinned_to_the_address_itself() {
    let world = world();
    let seen = "::ffff:192.0.2.7".parse().ok();
    let cert =
        user_cert(&world.user_ca, &Identity { pin_ip: true, login_ip: seen, ..ann() }, &key(10).ssh_public());

    for ip in ["192.0.2.7", "::ffff:192.0.2.7"] {
        assert!(verify_user(&cert, &world.trust, ip.parse().ok(), now()).is_ok(), "{ip}");
    }
    assert!(verify_user(&cert, &world.trust, "192.0.2.8".parse().ok(), now()).is_err());
}

#[test]
fn pinned_to_no_address_cannot_be_issued() {
    let world = world();
    let identity = Identity { pin_ip: true, login_ip: None, ..ann() };
    let key = key(10).ssh_public();
    let request =
        UserRequest { key: &key, identity: &identity, permits: ALL, serial: 1, nonce: [0; 32], now: now() };

    assert!(matches!(issue_user(&world.user_ca, &request), Err(Error::Contradiction(_))));
}

#[test]
fn nobody_gets_a_certificate_good_for_every_account() {
    let world = world();
    let Subject::User { name, roles, traits, .. } = ann().subject else { unreachable!() };
    let subject = Subject::User { name, roles, traits, logins: BTreeSet::new() };
    let identity = Identity { subject, ..ann() };

    let cert = user_cert(&world.user_ca, &identity, &key(10).ssh_public());

    assert_eq!(cert.principals(), ["-moongate-nologin"]);
    let user = verify_user(&cert, &world.trust, None, now()).unwrap();
    assert!(user.principals.is_empty());
}

#[test]
fn names_that_would_be_read_as_two_or_as_patterns_are_refused_at_issuance() {
    let world = world();
    let long = "a".repeat(256);
    let table: [(&str, &[&str]); 4] = [
        ("it has a wildcard", &["*.example", "gpu-?", "!web-1"]),
        ("it is empty", &[""]),
        ("it has a comma, space or control character", &["a,b", "a b", "a\nb", "a\0b", "\u{2003}"]),
        ("it is longer than 255 bytes", &[&long]),
    ];
    for (why, bad) in table.iter().flat_map(|(why, names)| names.iter().map(move |name| (why, name))) {
        let key = key(10).ssh_public();
        let extra = [(*bad).to_owned()];
        let request = HostRequest {
            key: &key,
            identity: &node(),
            principals: &extra,
            serial: 6,
            nonce: [8; 32],
            now: now(),
        };
        let refused = issue_host(&world.host_ca, &request).unwrap_err();
        assert!(matches!(refused, Error::BadPrincipal(..)), "{bad:?}: {refused}");
        assert!(refused.to_string().contains(why), "{bad:?}: {refused}");
    }
}

#[test]
fn more_logins_than_a_certificate_holds_are_counted_and_not_called_bytes() {
    let world = world();
    let Subject::User { name, roles, traits, .. } = ann().subject else { unreachable!() };
    let with = |count: usize| {
        let logins = (0..count).map(|n| format!("u{n}").parse().unwrap()).collect();
        let subject =
            Subject::User { name: name.clone(), roles: roles.clone(), traits: traits.clone(), logins };
        let (key, identity) = (key(10).ssh_public(), Identity { subject, ..ann() });
        let request = UserRequest {
            key: &key,
            identity: &identity,
            permits: ALL,
            serial: 1,
            nonce: [0; 32],
            now: now(),
        };
        issue_user(&world.user_ca, &request)
    };

    assert_eq!(with(256).unwrap().principals().len(), 256);
    assert_eq!(with(257).unwrap_err().to_string(), "there are more than 256 principals");
}

#[test]
fn an_expired_identity_gets_no_certificate() {
    let world = world();
    let identity = Identity { expires_at: now(), ..ann() };
    let key = key(10).ssh_public();
    let request =
        UserRequest { key: &key, identity: &identity, permits: ALL, serial: 1, nonce: [0; 32], now: now() };

    assert_eq!(issue_user(&world.user_ca, &request).unwrap_err(), Error::Expired(now()));
}

#[test]
fn permits_are_what_was_given() {
    let world = world();
    let key = key(10).ssh_public();
    for bits in 0..16u8 {
        let bit = |n: u8| bits & (1 << n) != 0;
        let permits = Permits {
            pty: bit(0),
            port_forwarding: bit(1),
            agent_forwarding: bit(2),
            x11_forwarding: bit(3),
        };
        let request =
            UserRequest { key: &key, identity: &ann(), permits, serial: 1, nonce: [0; 32], now: now() };
        let cert = issue_user(&world.user_ca, &request).unwrap();
        assert_eq!(verify_user(&cert, &world.trust, None, now()).unwrap().permits, permits);
    }
}

#[test]
fn a_certificate_is_no_key() {
    let world = world();
    let cert = user_cert(&world.user_ca, &ann(), &key(10).ssh_public());

    assert_eq!(PublicKey::from_blob(cert.blob()), Err(Error::NestedCertificate));
    assert_eq!(cert.to_string().parse::<PublicKey>(), Err(Error::NestedCertificate));
    let mut bundle =
        TrustBundle { keys: vec![entry(&world.user_ca, CaKind::User)], audit_key: String::new() };
    bundle.keys[0].ssh = cert.to_string();
    assert_eq!(Trust::from_bundle(&bundle), Err(Error::NestedCertificate));
}

#[test]
fn only_the_certified_key_speaks_for_the_holder() {
    let world = world();
    let (mine, other) = (key(10), key(11));
    let cert = user_cert(&world.user_ca, &ann(), &mine.ssh_public());
    let user = verify_user(&cert, &world.trust, None, now()).unwrap();

    assert!(user.key.verify(&mine.ssh_sign(b"hello").unwrap(), b"hello").is_ok());
    assert_eq!(user.key.verify(&other.ssh_sign(b"hello").unwrap(), b"hello"), Err(Error::BadSignature));
    assert_eq!(user.key.verify(&mine.ssh_sign(b"hello").unwrap(), b"hullo"), Err(Error::BadSignature));
}

#[test]
fn certificates_are_the_same_bytes_as_ever() {
    let world = world();

    let user = user_cert(&world.user_ca, &ann(), &key(10).ssh_public()).to_string();
    let host = host_cert(&world, &["gpu.example.com"]).to_string();

    assert_eq!(user, include_str!("testdata/user-cert.pub").trim(), "{user}");
    assert_eq!(host, include_str!("testdata/host-cert.pub").trim(), "{host}");
}
