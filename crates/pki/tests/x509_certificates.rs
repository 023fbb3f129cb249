//! What X.509 certificates are believed, and which are not.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::*;
use model::api::cluster::{CaKey, CaKind, TrustBundle};
use model::{Identity, Subject, SystemRole};
use pki::x509::{self, Leaf, verify_client, verify_server};
use pki::{Authority, Error, KeyPair, KeyType, Signer, Trust};
use rustls_pki_types::{CertificateDer, ServerName};

fn leaf(ca: &dyn Signer, identity: &Identity, names: &[&str]) -> Result<CertificateDer<'static>, Error> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let key_pem = key(30).spki_pem();
    let pem = x509::issue(
        ca,
        &Leaf { key_pem: &key_pem, identity, names: &names, serial: [0xff; 16], now: now() },
    )?;
    x509::certificate_from_pem(&pem)
}

fn named(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).unwrap()
}

fn host(name: &str, roles: &[SystemRole]) -> Identity {
    let Subject::Host { id, .. } = node().subject else { unreachable!() };
    let subject = Subject::Host { id, name: name.parse().unwrap(), roles: roles.iter().copied().collect() };
    Identity { subject, ..node() }
}

#[test]
fn a_leaf_says_who_holds_it() {
    for key_type in [KeyType::Ed25519, KeyType::EcdsaP256] {
        let world = world_with(key_type);

        let user = leaf(&world.user_ca, &ann(), &[]).unwrap();
        let host = leaf(&world.host_ca, &node(), &["gpu.example.com", "10.0.0.9"]).unwrap();

        assert_eq!(verify_client(&user, &world.trust, now()).unwrap(), ann());
        assert_eq!(verify_client(&host, &world.trust, now()).unwrap(), node());
        for name in ["web-1", "web-1.gate", "gpu.example.com", "10.0.0.9"] {
            assert_eq!(verify_server(&host, &world.trust, &named(name), now()).unwrap(), node(), "{name}");
        }
        assert!(matches!(
            verify_server(&host, &world.trust, &named("web-2"), now()),
            Err(Error::WrongPrincipal(_))
        ));
        assert!(verify_server(&user, &world.trust, &named("web-1"), now()).is_err());
    }
}

#[test]
fn p256_keys_are_certified_too() {
    let world = world();
    let pair = KeyPair::generate(KeyType::EcdsaP256, &[31; 32]).unwrap();
    let pem = x509::issue(
        &world.user_ca,
        &Leaf { key_pem: &pair.spki_pem(), identity: &ann(), names: &[], serial: [1; 16], now: now() },
    )
    .unwrap();

    let cert = x509::certificate_from_pem(&pem).unwrap();

    assert_eq!(verify_client(&cert, &world.trust, now()).unwrap(), ann());
}

#[test]
fn an_authority_speaks_for_its_own_kind_only() {
    let world = world();
    let user_by_host = leaf(&world.host_ca, &ann(), &[]).unwrap();
    let host_by_user = leaf(&world.user_ca, &node(), &[]).unwrap();
    let stranger = Authority::generate(KeyType::Ed25519, &[99; 32]).unwrap();
    let forged = leaf(&stranger, &ann(), &[]).unwrap();

    for cert in [&user_by_host, &host_by_user, &forged] {
        assert!(verify_client(cert, &world.trust, now()).is_err());
        assert!(verify_server(cert, &world.trust, &named("web-1"), now()).is_err());
    }
}

#[test]
fn time_bounds_are_kept() {
    let world = world();
    let cert = leaf(&world.user_ca, &ann(), &[]).unwrap();
    let at = |t| verify_client(&cert, &world.trust, t);

    assert!(at(now() - std::time::Duration::from_secs(300)).is_ok());
    assert!(matches!(at(now() - std::time::Duration::from_secs(301)), Err(Error::NotYetValid(_))));
    assert!(matches!(at(later(43_200)), Err(Error::Expired(_))));
    assert!(matches!(at(later(50_000)), Err(Error::Expired(_))));
}

#[test]
fn every_flipped_byte_is_noticed() {
    let world = world();
    let cert = leaf(&world.user_ca, &ann(), &[]).unwrap();
    for at in 0..cert.len() {
        let mut der = cert.to_vec();
        der[at] ^= 1;
        assert!(verify_client(&CertificateDer::from(der), &world.trust, now()).is_err(), "byte {at}");
    }
}

#[test]
fn the_fixed_names_come_with_the_role_only() {
    let world = world();
    let proxy = leaf(&world.host_ca, &host("gate-1", &[SystemRole::Proxy]), &[]).unwrap();
    let auth = leaf(&world.host_ca, &host("gate-1", &[SystemRole::Auth]), &[]).unwrap();

    assert!(verify_server(&proxy, &world.trust, &named(x509::PROXY_NAME), now()).is_ok());
    assert!(verify_server(&proxy, &world.trust, &named(x509::AUTH_NAME), now()).is_err());
    assert!(verify_server(&auth, &world.trust, &named(x509::AUTH_NAME), now()).is_ok());
    for sly in ["proxy.moongate.internal", "AUTH.moongate.internal"] {
        assert!(matches!(leaf(&world.host_ca, &node(), &[sly]), Err(Error::BadPrincipal(..))), "{sly}");
        assert!(matches!(
            leaf(&world.host_ca, &host(sly, &[SystemRole::Node]), &[]),
            Err(Error::BadPrincipal(..))
        ));
    }
}

#[test]
fn names_that_mean_many_or_none_are_refused() {
    let world = world();
    for (bad, why) in [
        ("*", "it has a wildcard"),
        ("*.example.com", "it has a wildcard"),
        ("a,b", "it has a comma"),
        ("a b", "it has a comma, space"),
        ("", "it is empty"),
        ("a..b", "it is neither a DNS name nor an address"),
        ("http://x", "it is neither a DNS name nor an address"),
        ("a\u{1b}.moongate.internal", "`a\\u{1b}.moongate.internal` cannot be"),
    ] {
        let refused = leaf(&world.host_ca, &node(), &[bad]).unwrap_err();
        assert!(matches!(refused, Error::BadPrincipal(..)), "{bad:?}: {refused}");
        assert!(refused.to_string().contains(why), "{bad:?}: {refused}");
    }
}

#[test]
fn a_host_may_be_called_what_dns_does_not_allow_and_tls_does_without_that_name() {
    let world = world();
    let long = "Rack-".repeat(13);
    for name in ["gpu_1", "rack..1", "Rack..1", "rack-1.", &long] {
        let odd = leaf(&world.host_ca, &host(name, &[SystemRole::Node]), &["gpu.example.com"]).unwrap();
        assert!(verify_client(&odd, &world.trust, now()).is_ok(), "{name}");
        assert!(verify_server(&odd, &world.trust, &named("gpu.example.com"), now()).is_ok(), "{name}");

        // What it asks for beyond that is refused all the same.
        let asked = format!("{name}..example.com");
        let refused = leaf(&world.host_ca, &host(name, &[SystemRole::Node]), &[&asked]);
        assert!(matches!(refused, Err(Error::BadPrincipal(..))), "{asked}");
    }
    let elsewhere = Identity { cluster: "a..b".parse().unwrap(), ..node() };
    assert!(leaf(&world.host_ca, &elsewhere, &[]).is_ok());
}

#[test]
fn pins_name_the_host_authority() {
    let world = world();
    let pin = world.trust.ca_pins()[0].clone();

    assert!(pin.starts_with("sha256:") && pin.len() == 7 + 64, "{pin}");
    assert!(
        world
            .trust
            .check_pins(&["sha256:00".to_owned(), pin.to_uppercase().replace("SHA256", "sha256")])
            .is_ok()
    );
    assert_eq!(world.trust.check_pins(&["sha256:00".to_owned()]), Err(Error::PinMismatch));
    assert_eq!(world.trust.check_pins(&[]), Err(Error::PinMismatch));
    let users = x509::certificate_from_pem(&entry(&world.user_ca, CaKind::User).x509_pem).unwrap();
    assert_eq!(world.trust.check_pins(&[x509::pin(&users).unwrap()]), Err(Error::PinMismatch));
}

#[test]
fn an_authority_is_no_leaf() {
    let world = world();
    let root = world.trust.user_roots()[0].clone();

    assert!(verify_client(&root, &world.trust, now()).is_err());
}

#[test]
fn keys_survive_their_files() {
    for key_type in [KeyType::Ed25519, KeyType::EcdsaP256] {
        // Many seeds, so that numbers with leading zeros and sign bits come up.
        for seed in 0..=255u8 {
            let pair = KeyPair::generate(key_type, &[seed; 32]).unwrap();

            let pkcs8 = KeyPair::from_pkcs8_pem(&pair.to_pkcs8_pem().unwrap()).unwrap();
            let openssh = KeyPair::from_openssh(&pair.to_openssh("me", 7)).unwrap();

            assert_eq!(pkcs8.public_key(), pair.public_key());
            assert_eq!(openssh.public_key(), pair.public_key());
            let signed = openssh.ssh_sign(b"x").unwrap();
            assert!(pair.ssh_public().verify(&signed, b"x").is_ok());
        }
    }
}

#[test]
fn no_changed_byte_of_a_private_key_makes_another_key() {
    for key_type in [KeyType::Ed25519, KeyType::EcdsaP256] {
        let pair = KeyPair::generate(key_type, &[42; 32]).unwrap();
        let text = pair.to_openssh("me", 7);
        let (first, last) =
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "\n-----END OPENSSH PRIVATE KEY-----\n");
        let packed = text.strip_prefix(first).unwrap().strip_suffix(last).unwrap().replace('\n', "");
        let bytes = STANDARD.decode(packed).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let read = KeyPair::from_openssh(&format!("{first}{}{last}", STANDARD.encode(changed)));
            assert!(read.is_err() || read.unwrap().public_key() == pair.public_key(), "byte {at}");
        }
    }
}

#[test]
fn pem_holds_one_block_of_the_kind_that_is_wanted() {
    let world = world();
    let pem = entry(&world.host_ca, CaKind::Host).x509_pem;
    let cut = pem.replace("-----END CERTIFICATE-----", "");

    assert!(x509::certificate_from_pem(&format!("a note\n{pem}another\n")).is_ok());
    for bad in ["", "CERTIFICATE", &pem.repeat(2), &cut, &pem.replace("-\nM", "-\n*")] {
        assert_eq!(x509::certificate_from_pem(bad), Err(Error::Malformed("CERTIFICATE")), "{bad}");
    }
    assert!(KeyPair::from_pkcs8_pem(&pem).is_err());
    let long = pem + &" ".repeat(pki::MAX_BLOB);
    assert_eq!(x509::certificate_from_pem(&long), Err(Error::TooLong("CERTIFICATE", pki::MAX_BLOB)));
}

#[test]
fn a_trust_bundle_is_good_as_a_whole_or_not_at_all() {
    let world = world();
    let good = || entry(&world.host_ca, CaKind::Host);
    let bundle = |key: CaKey, audit: &[u8]| {
        Trust::from_bundle(&TrustBundle { keys: vec![good(), key], audit_key: STANDARD.encode(audit) })
    };

    assert_eq!(bundle(good(), &[7; 32]).unwrap().audit_key(), Some(&[7; 32]));
    assert_eq!(bundle(good(), &[7; 31]), Err(Error::Malformed("audit key")));
    assert_eq!(
        bundle(CaKey { ssh: "ssh-ed25519".into(), ..good() }, &[]),
        Err(Error::Malformed("SSH public key"))
    );
    assert_eq!(
        bundle(CaKey { x509_pem: String::new(), ..good() }, &[]),
        Err(Error::Malformed("CERTIFICATE"))
    );
    let junk = x509::pem("CERTIFICATE", b"junk");
    assert_eq!(bundle(CaKey { x509_pem: junk, ..good() }, &[]), Err(Error::Malformed("certificate")));
    let odd = TrustBundle { keys: vec![good()], audit_key: "not base64".into() };
    assert_eq!(Trust::from_bundle(&odd), Err(Error::Malformed("audit key")));
}

#[test]
fn a_self_signed_web_certificate_names_its_hosts() {
    let pair = KeyPair::generate(KeyType::EcdsaP256, &[1; 32]).unwrap();
    let names: Vec<String> = ["localhost", "127.0.0.1", "*.apps.example.com"].map(str::to_owned).into();

    let cert = x509::self_signed(&pair, &names, [5; 16], now()).unwrap();

    let leaf = webpki::EndEntityCert::try_from(&cert).unwrap();
    for name in ["localhost", "127.0.0.1", "grafana.apps.example.com"] {
        assert!(leaf.verify_is_valid_for_subject_name(&named(name)).is_ok(), "{name}");
    }
    let year = std::time::Duration::from_secs(365 * 86_400);
    assert_eq!(x509::expires_at(&cert), Ok(model::Timestamp::from_secs(now().secs()) + year));
}
