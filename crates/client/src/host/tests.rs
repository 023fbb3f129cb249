//! What is kept, what a pin believes, when certificates are renewed.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use model::api::cluster::{CaKey, CaKind, TrustBundle};
use model::{Labels, NodeId, SystemRole, Timestamp};
use pki::{Authority, KeyType, Signer};
use runtime::Random;

use super::*;
use crate::dial::HostPort;

fn authority(seed: u8) -> CaKey {
    let ca = Authority::generate(KeyType::EcdsaP256, &[seed; 32]).unwrap();
    let cluster = "demo".parse().unwrap();
    let now = Timestamp::from_secs(1_700_000_000);
    let x509_pem = pki::x509::authority_certificate(&ca, CaKind::Host, &cluster, [seed; 16], now).unwrap();
    CaKey { kind: CaKind::Host, ssh: ca.ssh_public().to_string(), x509_pem, active: true }
}

#[test]
fn keys_are_made_once_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = HostKeys::open(dir.path(), &Random::seeded(1)).unwrap();
    let again = HostKeys::open(dir.path(), &Random::seeded(2)).unwrap();

    assert_eq!(first.ssh_public(), again.ssh_public());
    assert_eq!(first.tls_public_pem(), again.tls_public_pem());
    assert_eq!(first.seal_public().len(), 32);
    for file in ["ssh.key", "tls.key"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    std::fs::write(dir.path().join("ssh.key"), "nonsense").unwrap();
    assert!(matches!(HostKeys::open(dir.path(), &Random::seeded(3)), Err(HostError::Damaged { .. })));
}

#[test]
fn an_identity_is_there_only_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let certs = model::api::certs::HostCerts {
        ssh_cert: "ssh-ed25519-cert-v01@openssh.com AAAA".into(),
        tls_cert_pem: "pem".into(),
        trust: TrustBundle::default(),
        cluster: "demo".parse().unwrap(),
        expires: Timestamp::from_secs(100),
        labels: Labels::from([("env".into(), "demo".into())]),
    };
    let id = NodeId::from_random([7; 16]);
    let identity = HostIdentity::of(certs, id.clone(), "n1".parse().unwrap(), [SystemRole::Node].into());

    identity.save(dir.path()).unwrap();
    let back = HostIdentity::load(dir.path()).unwrap().unwrap();
    assert_eq!((back.id(), back.ssh_cert.as_str()), (&id, identity.ssh_cert.as_str()));
    assert_eq!(back.labels().get("env").map(String::as_str), Some("demo"));
    std::fs::remove_file(dir.path().join("tls.cert")).unwrap();
    assert!(HostIdentity::load(dir.path()).unwrap().is_none());
}

#[test]
fn a_pin_believes_its_own_authority_and_no_other_in_the_same_answer() {
    let (wanted, other) = (authority(1), authority(2));
    let pin = pki::x509::pin(&pki::x509::certificate_from_pem(&wanted.x509_pem).unwrap()).unwrap();
    let to = HostPort::parse("gate:3080", 3080).unwrap();
    let offered = TrustBundle { keys: vec![other.clone(), wanted.clone()], audit_key: String::new() };

    let kept = join::pinned(offered, std::slice::from_ref(&pin), &to).unwrap();
    assert_eq!(kept.keys, [wanted]);
    let refused = join::pinned(TrustBundle { keys: vec![other], audit_key: String::new() }, &[pin], &to);
    assert!(refused.unwrap_err().to_string().contains("CA pin"));
}

#[test]
fn certificates_are_renewed_in_the_last_third_of_their_life() {
    let now = Timestamp::from_secs(1_000_000);
    let hours = |n: u64| Duration::from_secs(3600 * n);
    let wait = |left: Duration, chance| renew_after(now, now + left, hours(24), chance);

    assert_eq!(wait(hours(24), 0), hours(1));
    assert_eq!(wait(hours(8) + Duration::from_secs(600), 0), Duration::from_secs(600));
    assert_eq!(wait(hours(8), 255), Duration::from_secs(5));
    assert_eq!(wait(Duration::ZERO, 0), Duration::from_secs(5));
}

#[test]
fn a_host_that_starts_late_in_a_certificates_life_renews_it_as_if_it_had_run_all_the_time() {
    let issued = Timestamp::from_secs(1_700_000_000);
    let days = |n: u64| Duration::from_secs(86_400 * n);
    let ca = Authority::generate(KeyType::EcdsaP256, &[1; 32]).unwrap();
    let key = KeyPair::generate(KeyType::EcdsaP256, &[2; 32]).unwrap();
    let (id, name) = (NodeId::from_random([7; 16]), "n1".parse::<NodeName>().unwrap());
    let roles = BTreeSet::from([SystemRole::Node]);
    let holder = model::Identity {
        subject: model::Subject::Host { id: id.clone(), name: name.clone(), roles: roles.clone() },
        cluster: "demo".parse().unwrap(),
        expires_at: issued + days(7),
        login_ip: None,
        pin_ip: false,
        mfa_at: None,
        impersonator: None,
        disallow_reissue: false,
    };
    let key_pem = key.spki_pem();
    let leaf =
        pki::x509::Leaf { key_pem: &key_pem, identity: &holder, names: &[], serial: [3; 16], now: issued };
    let certs = HostCerts {
        ssh_cert: String::new(),
        tls_cert_pem: pki::x509::issue(&ca, &leaf).unwrap(),
        trust: TrustBundle::default(),
        cluster: holder.cluster.clone(),
        expires: holder.expires_at,
        labels: Labels::new(),
    };
    let identity = HostIdentity::of(certs, id, name, roles);

    for (day, wait) in [(0, 3600), (4, 3600), (5, 5), (6, 5)] {
        let now = issued + days(day);
        assert_eq!(identity.life(now), days(7), "day {day}");
        let waits = renew_after(now, identity.expires(), identity.life(now), 0);
        assert_eq!(waits, Duration::from_secs(wait), "day {day}");
    }
    let odd = HostIdentity { tls_cert_pem: "nonsense".into(), ..identity };
    assert_eq!(odd.life(issued + days(6)), days(1));
}
