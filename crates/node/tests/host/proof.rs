//! What the privileged half asks to see before it starts anything: proofs, good and bad, and what it makes of them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{Identity, Subject, Timestamp};
use node::spawner::claim::Good;
use node::spawner::message::Size;
use node::spawner::{Program, Spawner};
use pki::ssh::{Certificate, Permits, UserRequest};
use pki::{Authority as Ca, KeyPair, KeyType, Signer, Trust};
use runtime::Clock;
use ssh::server::Proof;

use super::start::{Made, is_root, me, with_untrusting_spawner};

pub(crate) const TESTS: &[crate::Test] = &[
    ("nothing_is_opened_for_whom_nobody_has_signed", nobody_signed),
    ("another_login_than_the_certificates_is_refused", another_login),
    ("a_certificate_of_another_authority_is_refused", another_authority),
    ("an_expired_certificate_opens_nothing", expired),
    ("an_open_account_starts_nothing_after_its_certificate", ends_meanwhile),
    ("a_sign_in_opens_one_account_and_no_second", replayed),
    ("a_signature_must_be_of_this_session_and_this_login", forged),
    ("root_by_another_name_needs_a_certificate_for_root", root_by_another_name),
];

/// Reads certificates as the executable does.
pub(crate) fn judge(
    certificate: &[u8],
    authorities: &[Vec<u8>],
    from: Option<IpAddr>,
    now: Timestamp,
) -> Result<Good, String> {
    let trust = Trust::of_user_keys(authorities).map_err(|e| e.to_string())?;
    let certificate = Certificate::from_blob(certificate).map_err(|e| e.to_string())?;
    let user = pki::ssh::verify_user(&certificate, &trust, from, now).map_err(|e| e.to_string())?;
    Ok(Good { logins: user.principals, expires_at: user.expires_at })
}

/// An authority of these tests.
pub(crate) fn ca(seed: u8) -> Ca {
    Ca::generate(KeyType::Ed25519, &[seed; 32]).unwrap()
}

/// Its key as the spawner is told it.
pub(crate) fn public(ca: &Ca) -> Vec<u8> {
    ca.ssh_public().blob().to_vec()
}

const KEY: [u8; 32] = [5; 32];

/// A certificate of `ca` for these logins, good from `since` on.
fn certificate(ca: &Ca, logins: &[&str], since: Timestamp, ttl: Duration) -> Certificate {
    let key = KeyPair::generate(KeyType::Ed25519, &KEY).unwrap();
    let identity = Identity {
        subject: Subject::User {
            name: "ann".parse().unwrap(),
            roles: ["access".parse().unwrap()].into(),
            traits: [("logins".to_owned(), logins.iter().map(|l| (*l).to_owned()).collect())].into(),
            logins: logins.iter().map(|login| login.parse().unwrap()).collect(),
        },
        cluster: "gate".parse().unwrap(),
        expires_at: since + ttl,
        login_ip: None,
        pin_ip: false,
        mfa_at: None,
        impersonator: None,
        disallow_reissue: false,
    };
    let permits = Permits { pty: true, port_forwarding: true, agent_forwarding: true, x11_forwarding: true };
    let public = key.ssh_public();
    let request =
        UserRequest { key: &public, identity: &identity, permits, serial: 1, nonce: [9; 32], now: since };
    pki::ssh::issue_user(ca, &request).unwrap()
}

/// A fresh sign-in as `login` with this certificate.
fn sign(certificate: &Certificate, login: &str) -> Proof {
    static SESSION: AtomicU64 = AtomicU64::new(1);
    let mut session = vec![7; 32];
    session[..8].copy_from_slice(&SESSION.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let key = ssh::PrivateKey::from_seed(&KEY, "").unwrap();
    let (algorithm, blob) = (certificate.algorithm_name(), certificate.blob().to_vec());
    let data = wire::ssh::userauth::signed_data(&session, login, b"ssh-connection", &algorithm, &blob);
    Proof { session, login: login.to_owned(), algorithm, key: blob, signature: key.sign(&data) }
}

fn now() -> Timestamp {
    Clock::system().now()
}

const HOUR: Duration = Duration::from_secs(3600);

/// A good sign-in as this account, by the authority every spawner of these tests is told.
pub(crate) fn good(login: &model::Login) -> Proof {
    sign(&certificate(&ca(1), &[login.as_str()], now(), HOUR), login.as_str())
}

/// Runs with a spawner that was told `ca(1)`.
fn with_spawner<F: Future<Output = ()>>(test: impl FnOnce(Spawner) -> F) {
    super::start::with_spawner(test);
}

async fn refused(spawner: &Spawner, proof: Proof) {
    let refused = spawner.lookup(proof, None).await.unwrap_err().to_string();
    assert!(refused.contains("did not accept the sign-in"), "{refused}");
}

fn nobody_signed() {
    with_untrusting_spawner(|spawner| async move {
        refused(&spawner, good(&me())).await;

        spawner.trust(vec![public(&ca(1))]).await.unwrap();
        spawner.lookup(good(&me()), None).await.unwrap();
    });
}

fn another_login() {
    with_spawner(|spawner| async move {
        let own = certificate(&ca(1), &["somebody", me().as_str()], now(), HOUR);

        refused(&spawner, sign(&own, "root-not-named")).await;
        refused(&spawner, sign(&certificate(&ca(1), &["somebody"], now(), HOUR), me().as_str())).await;

        spawner.lookup(sign(&own, me().as_str()), None).await.unwrap();
    });
}

fn another_authority() {
    with_spawner(|spawner| async move {
        let proof = || sign(&certificate(&ca(2), &[me().as_str()], now(), HOUR), me().as_str());
        refused(&spawner, proof()).await;

        // The other half cannot bring in an authority of its own.
        let told = spawner.trust(vec![public(&ca(1)), public(&ca(2))]).await;
        assert!(told.is_err_and(|why| why.to_string().contains("new user authority")));
        refused(&spawner, proof()).await;
        spawner.lookup(good(&me()), None).await.unwrap();
    });
}

fn expired() {
    with_spawner(|spawner| async move {
        let old = certificate(&ca(1), &[me().as_str()], now() - 2 * HOUR, HOUR);
        let early = certificate(&ca(1), &[me().as_str()], now() + 2 * HOUR, HOUR);

        refused(&spawner, sign(&old, me().as_str())).await;
        refused(&spawner, sign(&early, me().as_str())).await;
    });
}

fn ends_meanwhile() {
    with_spawner(|spawner| async move {
        let short = certificate(&ca(1), &[me().as_str()], now(), Duration::from_secs(10));
        let account = spawner.lookup(sign(&short, me().as_str()), None).await.unwrap();
        let until = tokio::time::Instant::now() + super::gate::PATIENCE;

        let refused = loop {
            assert!(tokio::time::Instant::now() < until, "its certificate has ended");
            match account.open_pty(Size::default()).await {
                Ok(pty) => drop(pty),
                Err(refused) => break refused,
            }
            tokio::task::yield_now().await;
        };

        assert!(refused.to_string().contains("expired"), "{refused}");
        assert!(account.run_on_pipes(Program::Shell, vec![]).await.is_err());
        assert!(account.agent_socket().await.is_err());
        assert!(account.bind(b"/tmp/never").await.is_err());
    });
}

fn replayed() {
    with_spawner(|spawner| async move {
        let proof = good(&me());
        drop(spawner.lookup(proof.clone(), None).await.unwrap());

        refused(&spawner, proof).await;
    });
}

fn forged() {
    with_spawner(|spawner| async move {
        let proof = good(&me());
        let mut session = proof.clone();
        session.session[0] ^= 0x80;
        let mut signature = proof.clone();
        *signature.signature.last_mut().unwrap() ^= 1;
        let mut login = proof.clone();
        login.login = "root2".to_owned();
        let mut plain = proof.clone();
        plain.key = ssh::PublicKey::from_bytes(proof.key.clone()).unwrap().plain().as_bytes().to_vec();
        plain.algorithm = "ssh-ed25519".to_owned();

        for bad in [session, signature, login, plain] {
            refused(&spawner, bad).await;
        }
        spawner.lookup(proof, None).await.unwrap();
    });
}

fn root_by_another_name() {
    if !is_root() {
        return;
    }
    let made = Made::new("r");
    let twin = std::process::Command::new("usermod").args(["-o", "-u", "0", &made.0]).output().unwrap();
    assert!(twin.status.success(), "{}", String::from_utf8_lossy(&twin.stderr));
    let login = made.0.clone();
    with_spawner(|spawner| async move {
        let named = |logins: &[&str]| sign(&certificate(&ca(1), logins, now(), HOUR), &login);

        refused(&spawner, named(&[&login])).await;
        spawner.lookup(named(&[&login, "root"]), None).await.unwrap();
    });
    // Nobody's account may be removed with root's id on it.
    drop(std::process::Command::new("usermod").args(["-o", "-u", "59999", &made.0]).output());
}
