//! A small cluster's keys and people, for tests. Everything is made from fixed seeds.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its part; a failure is a failed test"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use model::api::cluster::{CaKey, CaKind, TrustBundle};
use model::{Identity, NodeId, Subject, SystemRole, Timestamp};
use pki::ssh::{Certificate, Permits, PublicKey, UserRequest};
use pki::{Authority, KeyPair, KeyType, Signer, Trust, x509};

pub const ALL: Permits =
    Permits { pty: true, port_forwarding: true, agent_forwarding: true, x11_forwarding: true };

/// 2026-11-21T00:00:00Z.
pub fn now() -> Timestamp {
    Timestamp::from_secs(1_795_219_200)
}

pub fn later(secs: u64) -> Timestamp {
    now() + Duration::from_secs(secs)
}

pub struct World {
    pub user_ca: Authority,
    pub host_ca: Authority,
    pub trust: Trust,
}

pub fn world() -> World {
    world_with(KeyType::Ed25519)
}

pub fn world_with(key_type: KeyType) -> World {
    let user_ca = Authority::generate(key_type, &[1; 32]).unwrap();
    let host_ca = Authority::generate(key_type, &[2; 32]).unwrap();
    let trust = Trust::from_bundle(&TrustBundle {
        keys: vec![entry(&user_ca, CaKind::User), entry(&host_ca, CaKind::Host)],
        audit_key: String::new(),
    })
    .unwrap();
    World { user_ca, host_ca, trust }
}

pub fn entry(ca: &Authority, kind: CaKind) -> CaKey {
    let x509_pem = x509::authority_certificate(ca, kind, &"gate".parse().unwrap(), [7; 16], now()).unwrap();
    CaKey { kind, ssh: ca.ssh_public().to_string(), x509_pem, active: true }
}

pub fn key(seed: u8) -> KeyPair {
    KeyPair::generate(KeyType::Ed25519, &[seed; 32]).unwrap()
}

pub fn ann() -> Identity {
    Identity {
        subject: Subject::User {
            name: "ann".parse().unwrap(),
            roles: BTreeSet::from(["access".parse().unwrap()]),
            traits: [("logins".to_owned(), vec!["root".to_owned(), "ann".to_owned()])].into(),
            logins: BTreeSet::from(["ann".parse().unwrap(), "root".parse().unwrap()]),
        },
        cluster: "gate".parse().unwrap(),
        expires_at: later(43_200),
        login_ip: Some("192.0.2.7".parse().unwrap()),
        pin_ip: false,
        mfa_at: Some(now()),
        impersonator: None,
        disallow_reissue: false,
    }
}

pub fn node() -> Identity {
    Identity {
        subject: Subject::Host {
            id: NodeId::from_random([3; 16]),
            name: "web-1".parse().unwrap(),
            roles: BTreeSet::from([SystemRole::Node]),
        },
        login_ip: None,
        mfa_at: None,
        ..ann()
    }
}

pub fn user_cert(ca: &dyn Signer, identity: &Identity, key: &PublicKey) -> Certificate {
    pki::ssh::issue_user(
        ca,
        &UserRequest { key, identity, permits: ALL, serial: 5, nonce: [9; 32], now: now() },
    )
    .unwrap()
}
