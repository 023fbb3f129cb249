//! What survives: restarts over SQLite, a killed authority, and what the disk does and does not hold.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auth::settings::{StaticToken, TokenValue};
use auth::{Authority, Error};
use model::SystemRole;
use model::api::access::WhoAmI;
use model::api::users::GetUser;
use runtime::{Clock, Health, Random};
use store::sqlite::SqliteStore;

use crate::world::{NODE_TOKEN, PASSWORD, World, eventually, ground, settings};

async fn over_sqlite(dir: &Arc<tempfile::TempDir>, clock: &Clock) -> World {
    let store = SqliteStore::open(&dir.path().join("auth.db"), clock.clone()).unwrap();
    let settings = settings(dir.path());
    World::over(Arc::new(store), dir.clone(), clock.clone(), settings).await
}

#[tokio::test]
async fn a_killed_authority_comes_back_as_it_was() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let clock = Clock::manual(Clock::system().now());
    let world = over_sqlite(&dir, &clock).await;
    let ann = world.person("ann", "editor").await;
    let (client, certs) = world.signed_in(&ann).await;
    let node = world.node("web-1", "dev").await;
    let pins = world.authority.ca_pins();
    // What a kill leaves: nothing was drained. The disk's copy is what the next process finds.
    let copy = Arc::new(tempfile::tempdir().unwrap());
    copy_dir(dir.path(), copy.path());
    drop(client);

    let again = over_sqlite(&copy, &clock).await;

    assert_eq!(again.authority.ca_pins(), pins);
    assert_eq!(again.authority.trust(), certs.trust);
    let (client, _) = again.signed_in(&ann).await;
    assert_eq!(client.call(&WhoAmI {}).await.unwrap().user.as_str(), "ann");
    let material = again.trusting().showing(node.keys.certified(&node.certs.tls_cert_pem));
    assert!(again.client(material).call(&again.report(&node, "web-1", "dev")).await.is_ok());
    let events = again.events().await;
    assert!(events.iter().any(|e| e["event"] == "user.login" && e["user"] == "ann"));
    again.stop().await;
    world.stop().await;
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn no_secret_is_on_the_disk_in_the_clear() {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let clock = Clock::manual(Clock::system().now());
    let world = over_sqlite(&dir, &clock).await;
    let admin = world.admin().await;
    let ann = world.person("ann", "access").await;
    let link = admin.call(&World::create_user("bob", "access")).await.unwrap();
    let token = admin
        .call(&model::api::tokens::CreateToken {
            roles: [SystemRole::Node].into(),
            ttl: None,
            value: None,
            labels: model::Labels::new(),
        })
        .await
        .unwrap();
    world.node("web-1", "dev").await;
    world.stop().await;

    let totp = data_encoding::BASE32_NOPAD.encode(&ann.totp);
    let raw_totp = String::from_utf8_lossy(&ann.totp).into_owned();
    for secret in
        [PASSWORD, NODE_TOKEN, link.secret.expose(), token.secret.expose(), &totp, &raw_totp, "BEGIN PRIVATE"]
    {
        let found = holders(dir.path(), secret.as_bytes());
        assert!(found.is_empty(), "{secret} lies in {found:?}");
    }
}

fn holders(dir: &Path, needle: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, needle));
        } else if std::fs::read(&path).unwrap().windows(needle.len()).any(|w| w == needle) {
            found.push(path);
        }
    }
    found
}

async fn reopened(world: &World, edit: impl FnOnce(&mut auth::Settings)) -> Result<(), Error> {
    let mut settings = world.settings.clone();
    edit(&mut settings);
    let base = ground(&world.store, world.dir.path(), &world.clock, &Random::seeded(5), &Health::default());
    Authority::open(settings, base).await.map(|_| ())
}

#[tokio::test]
async fn a_cluster_cannot_be_renamed_nor_opened_without_its_key() {
    let world = World::new().await;
    world.stop().await;

    let renamed = reopened(&world, |s| s.cluster_name = "other.example".parse().unwrap()).await;
    let text = renamed.unwrap_err().to_string();
    assert!(text.contains("gate.example") && text.contains("other.example"), "{text}");

    let short =
        StaticToken { roles: [SystemRole::Auth].into(), value: TokenValue::Plain(model::Secret::new("x")) };
    assert!(reopened(&world, |s| s.static_tokens = vec![short]).await.is_err());
    let missing = TokenValue::File(world.dir.path().join("no-such-file"));
    let missing = StaticToken { roles: [SystemRole::Node].into(), value: missing };
    let error = reopened(&world, |s| s.static_tokens = vec![missing]).await.unwrap_err().to_string();
    assert!(error.contains("no-such-file"), "{error}");

    std::fs::remove_file(world.dir.path().join("auth.key")).unwrap();
    assert!(matches!(reopened(&world, |_| ()).await, Err(Error::KeyFile(..))));
    assert!(!world.dir.path().join("auth.key").exists(), "a new key would hide the loss");
}

#[tokio::test]
async fn a_token_file_is_read_and_trimmed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "a-token-in-a-file-of-its-own\n").unwrap();
    let world = World::with(|s| {
        s.static_tokens =
            vec![StaticToken { roles: [SystemRole::Node].into(), value: TokenValue::File(path) }];
    })
    .await;
    let keys = crate::world::Keys::new(&world.random);

    let ask = world.join_request("web-1", "a-token-in-a-file-of-its-own", SystemRole::Node, &keys);

    assert!(world.anyone().call(&ask).await.is_ok());
}

#[tokio::test]
async fn the_authority_drains_within_seconds_with_streams_open() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let mut feed = node.client.stream(&model::api::cluster::WatchPolicy {}).await.unwrap();
    feed.next().await.unwrap().unwrap();

    let began = tokio::time::Instant::now();
    world.stop().await;

    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(world.scope.alive(), 0);
    assert!(world.admin_outcome().await.is_err());
}

impl World {
    async fn admin_outcome(&self) -> Result<(), Error> {
        let host = auth::LocalHost {
            id: self.settings.host_id.clone(),
            name: self.settings.host_name.clone(),
            roles: [SystemRole::Auth].into(),
            principals: vec![],
            ssh_key: pki::Signer::ssh_public(&crate::world::Keys::new(&self.random).ssh).to_string(),
            tls_key_pem: crate::world::Keys::new(&self.random).tls.spki_pem(),
        };
        self.authority.certify_local(host).await.map(|_| ())
    }
}

#[tokio::test]
async fn the_authoritys_own_certificate_is_renewed_by_the_clock_however_it_jumps() {
    let world = World::new().await;
    let ran = || world.health.jobs().remove("own certificate").map(|job| (job.last_run, job.last_error));
    assert_eq!(ran(), None);

    world.clock.advance(world.settings.times.host_cert);

    eventually("a new certificate", || async { ran() == Some((Some(world.clock.now()), None)) }).await;
    world.stop().await;
}

#[tokio::test]
async fn a_user_keeps_their_place_over_a_restart() {
    let world = World::new().await;
    world.person("ann", "access").await;
    let world = world.restart().await;

    let ann = world.admin().await.call(&GetUser { name: "ann".parse().unwrap() }).await.unwrap();

    assert!(ann.enrolled && ann.revision.is_some());
}
