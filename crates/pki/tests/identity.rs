//! The identity codec and narrowing, as properties.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{ann, node, now};
use model::{Identity, Subject, Timestamp};
use pki::identity::{decode, encode, narrow};
use pki::ssh::{UserRequest, issue_user, verify_user};
use pki::x509::{Leaf, certificate_from_pem, verify_client};
use pki::{Error, Signer};
use proptest::prelude::*;

fn names<T>() -> impl Strategy<Value = BTreeSet<T>>
where
    T: std::str::FromStr + Ord + std::fmt::Debug,
    T::Err: std::fmt::Debug,
{
    proptest::collection::btree_set(proptest::sample::select(vec!["a", "b", "c", "dev", "root"]), 0..4)
        .prop_map(|set| set.into_iter().map(|s| s.parse().unwrap()).collect())
}

fn traits() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    let value = proptest::sample::select(vec!["x", "y", "z"]).prop_map(str::to_owned);
    let name = proptest::sample::select(vec!["logins", "team"]).prop_map(str::to_owned);
    proptest::collection::btree_map(name, proptest::collection::vec(value, 1..3), 0..3)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0i64..100).prop_map(|s| now() + Duration::from_secs(s.unsigned_abs()))
}

prop_compose! {
    fn identity()(
        roles in names(), logins in names(), traits in traits(), expires_at in time(),
        ip in proptest::option::of(any::<[u8; 4]>()), pin_ip in any::<bool>(),
        mfa_at in proptest::option::of(time()),
        impersonator in proptest::option::of(proptest::sample::select(vec!["bot", "eve"])),
        disallow_reissue in any::<bool>(),
    ) -> Identity {
        Identity {
            subject: Subject::User { name: "ann".parse().unwrap(), roles, traits, logins },
            cluster: "gate".parse().unwrap(),
            expires_at, login_ip: ip.map(Into::into), pin_ip, mfa_at,
            impersonator: impersonator.map(|n| n.parse().unwrap()),
            disallow_reissue,
        }
    }
}

/// Everything `child` says is at least as tight as what `parent` says.
fn within(child: &Identity, parent: &Identity) -> bool {
    let (Subject::User { roles, traits, logins, .. }, Subject::User { roles: r, traits: t, logins: l, .. }) =
        (&child.subject, &parent.subject)
    else {
        return false;
    };
    roles.is_subset(r)
        && logins.is_subset(l)
        && traits.iter().all(|(k, v)| t.get(k).is_some_and(|had| v.iter().all(|x| had.contains(x))))
        && child.expires_at <= parent.expires_at
        && (!parent.pin_ip || child.pin_ip && child.login_ip == parent.login_ip || parent.login_ip.is_none())
        && (child.mfa_at.is_none() || child.mfa_at <= parent.mfa_at)
        && (parent.impersonator.is_none() || child.impersonator == parent.impersonator)
}

proptest! {
    #[test]
    fn an_identity_round_trips(identity in identity()) {
        prop_assert_eq!(decode(&encode(&identity).unwrap()).unwrap(), identity);
    }

    #[test]
    fn narrowing_never_widens(parent in identity(), wanted in identity()) {
        match narrow(&parent, &wanted) {
            Ok(child) => {
                prop_assert!(within(&child, &parent));
                prop_assert!(child.expires_at <= wanted.expires_at);
                prop_assert!(child.pin_ip >= wanted.pin_ip);
                if !child.disallow_reissue {
                    prop_assert_eq!(narrow(&child, &wanted).unwrap(), child, "twice is once");
                }
            }
            Err(error) => prop_assert!(parent.disallow_reissue, "{}", error),
        }
    }

    #[test]
    fn both_kinds_of_certificate_say_what_they_were_told(identity in identity(), serial in any::<u64>(), nonce in any::<[u8; 32]>()) {
        prop_assume!(identity.expires_at > now() && !(identity.pin_ip && identity.login_ip.is_none()));
        let world = common::world();
        let pair = common::key(10);
        let key = pair.ssh_public();

        let request = UserRequest { key: &key, identity: &identity, permits: common::ALL, serial, nonce, now: now() };
        let cert = issue_user(&world.user_ca, &request).unwrap();
        let leaf = Leaf { key_pem: &pair.spki_pem(), identity: &identity, names: &[], serial: [7; 16], now: now() };
        let der = certificate_from_pem(&pki::x509::issue(&world.user_ca, &leaf).unwrap()).unwrap();

        let user = verify_user(&cert, &world.trust, identity.login_ip, now()).unwrap();
        prop_assert_eq!((&user.identity, user.serial, user.expires_at), (&identity, serial, identity.expires_at));
        prop_assert_eq!(verify_client(&der, &world.trust, now()).unwrap(), identity);
    }

    #[test]
    fn no_bytes_upset_a_decoder(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        pki::fuzz::ssh_blob(&data);
        pki::fuzz::text(&data);
        pki::fuzz::encoded_identity(&data);
        pki::fuzz::certificate(&data);
    }
}

#[test]
fn a_field_we_do_not_know_is_refused_not_skipped() {
    let plain = String::from_utf8(encode(&ann()).unwrap()).unwrap();

    for changed in [
        plain.replacen('{', "{\"only_on_tuesdays\":true,", 1),
        plain.replacen("\"kind\":\"user\",", "\"kind\":\"user\",\"scope\":\"x\",", 1),
        plain.replacen("\"pin_ip\":false", "\"pin_ip\": false", 1),
        plain.replacen("\"pin_ip\":false", "\"pin_ip\":true,\"pin_ip\":false", 1),
        format!("{plain} "),
    ] {
        assert_ne!(changed, plain);
        assert_eq!(decode(changed.as_bytes()), Err(Error::Malformed("identity")), "{changed}");
    }
}

#[test]
fn the_encoding_does_not_drift() {
    // Certificates out in the world carry these bytes.
    assert_eq!(
        String::from_utf8(encode(&ann()).unwrap()).unwrap(),
        r#"{"subject":{"kind":"user","name":"ann","roles":["access"],"traits":{"logins":["root","ann"]},"logins":["ann","root"]},"cluster":"gate","expires_at":"2026-11-21T12:00:00.000Z","login_ip":"192.0.2.7","pin_ip":false,"mfa_at":"2026-11-21T00:00:00.000Z","disallow_reissue":false}"#
    );
    assert_eq!(
        String::from_utf8(encode(&node()).unwrap()).unwrap(),
        r#"{"subject":{"kind":"host","id":"03030303-0303-4303-8303-030303030303","name":"web-1","roles":["node"]},"cluster":"gate","expires_at":"2026-11-21T12:00:00.000Z","pin_ip":false,"disallow_reissue":false}"#
    );
}

#[test]
fn another_subject_or_cluster_cannot_be_reached() {
    let elsewhere = Identity { cluster: "other".parse().unwrap(), ..ann() };

    assert_eq!(narrow(&ann(), &node()), Err(Error::OtherSubject));
    assert_eq!(narrow(&node(), &ann()), Err(Error::OtherSubject));
    assert_eq!(narrow(&ann(), &elsewhere), Err(Error::OtherSubject));
    let mut renamed = node();
    let Subject::Host { name, .. } = &mut renamed.subject else { panic!("a host") };
    *name = "web-2".parse().unwrap();
    assert_eq!(narrow(&node(), &renamed), Err(Error::OtherSubject), "a host of that id by another name");
    let last = Identity { disallow_reissue: true, ..ann() };
    assert_eq!(narrow(&last, &ann()), Err(Error::ReissueForbidden));
}

#[test]
fn a_huge_identity_is_refused_before_it_is_read() {
    let huge = vec![b' '; pki::identity::MAX + 1];
    assert!(matches!(decode(&huge), Err(Error::TooLong(..))));
}
