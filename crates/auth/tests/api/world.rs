//! An authority in the test's process, and people and hosts who talk to it over in-memory TLS.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use auth::settings::{SecondFactor, StaticToken, Times, TokenValue};
use auth::{Authority, Ground, LocalHost, Settings};
use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use model::api::access::{AcceptInvite, GetInvite, SignIn};
use model::api::certs::{HostCerts, Join, UserCerts};
use model::api::nodes::ReportNode;
use model::api::users::{CreateUser, InviteLink};
use model::{NodeId, Secret, SystemRole, Timestamp};
use pki::{KeyPair, KeyType, Signer};
use runtime::{Clock, Health, Random, Scope, Service};
use store::blobs::DirBlobs;
use store::{Blobs, Store};
use testkit::client::tls::{Certified, Material};
use testkit::client::{CallError, Client, Keyring};
use testkit::pipe::Pipe;

use crate::held::Held;

pub const NODE_TOKEN: &str = "static-token-for-nodes";
pub const PROXY_TOKEN: &str = "static-token-for-proxies";
pub const PASSWORD: &str = "correct horse battery";

pub struct World {
    pub clock: Clock,
    pub random: Random,
    pub dir: Arc<tempfile::TempDir>,
    pub store: Arc<dyn Store>,
    pub settings: Settings,
    pub health: Health,
    pub scope: Scope,
    pub authority: Authority,
    addresses: AtomicU32,
}

/// Both key pairs of somebody.
pub struct Keys {
    pub ssh: KeyPair,
    pub tls: KeyPair,
}

impl Keys {
    pub fn new(random: &Random) -> Self {
        Self {
            ssh: KeyPair::generate(KeyType::Ed25519, &random.bytes()).unwrap(),
            tls: KeyPair::generate(KeyType::EcdsaP256, &random.bytes()).unwrap(),
        }
    }

    /// The same, signed with the TLS key.
    pub fn proven(&self, ask: Join) -> Join {
        Join { proof: pki::joining::prove(&ask, &self.tls).unwrap(), ..ask }
    }

    /// The same, asked for with these keys.
    pub fn over(&self, ask: Join) -> Join {
        self.proven(Join {
            ssh_key: self.ssh.ssh_public().to_string(),
            tls_key_pem: self.tls.spki_pem(),
            ..ask
        })
    }

    pub fn certified(&self, cert_pem: &str) -> Certified {
        Certified::from_pem(cert_pem, &self.tls.to_pkcs8_pem().unwrap()).unwrap()
    }
}

pub struct Host {
    pub id: NodeId,
    pub keys: Keys,
    pub certs: HostCerts,
    pub client: Client,
}

pub struct Person {
    pub name: String,
    pub totp: Vec<u8>,
}

pub fn settings(dir: &std::path::Path) -> Settings {
    let token = |role, value: &str| StaticToken {
        roles: BTreeSet::from([role]),
        value: TokenValue::Plain(Secret::new(value)),
    };
    Settings {
        cluster_name: "gate.example".parse().unwrap(),
        host_id: NodeId::from_random([9; 16]),
        host_name: "auth-1".parse().unwrap(),
        data_dir: dir.to_owned(),
        static_tokens: vec![token(SystemRole::Node, NODE_TOKEN), token(SystemRole::Proxy, PROXY_TOKEN)],
        second_factor: SecondFactor::Otp,
        passkey_name: None,
        public_names: vec![],
        proxy_addrs: vec!["gate.example:3080".into()],
        message_of_the_day: String::new(),
        cluster: model::resource::ClusterConfig::default(),
        times: Times { housekeeping: Duration::from_millis(20), ..Times::default() },
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    pub async fn with(edit: impl FnOnce(&mut Settings)) -> Self {
        Self::begun(Duration::ZERO, edit).await
    }

    /// One that begins in the past, for tests that restart it after a leap of time: certificates are also looked at by
    /// TLS, which reads the system's clock.
    pub async fn begun(ago: Duration, edit: impl FnOnce(&mut Settings)) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock = Clock::manual(Clock::system().now() - ago);
        let store: Arc<dyn Store> = Arc::new(store::memory::MemoryStore::new(clock.clone()));
        let mut settings = settings(dir.path());
        edit(&mut settings);
        Self::over(store, dir, clock, settings).await
    }

    /// One whose store keeps transactions waiting on demand.
    pub async fn held() -> (Self, Arc<Held>) {
        Self::held_with(|_| ()).await
    }

    pub async fn held_with(edit: impl FnOnce(&mut Settings)) -> (Self, Arc<Held>) {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock = Clock::manual(Clock::system().now());
        let held = Arc::new(Held::new(clock.clone()));
        let mut settings = settings(dir.path());
        edit(&mut settings);
        (Self::over(held.clone(), dir, clock, settings).await, held)
    }

    pub async fn over(
        store: Arc<dyn Store>,
        dir: Arc<tempfile::TempDir>,
        clock: Clock,
        settings: Settings,
    ) -> Self {
        // Seeded by the time, so that a restarted authority does not make the same ids again.
        let random = Random::seeded(u64::from_ne_bytes(Random::system().bytes()));
        let health = Health::default();
        let scope = Scope::root("world");
        let ground = ground(&store, dir.path(), &clock, &random, &health);
        let (authority, background) = Authority::open(settings.clone(), ground).await.unwrap();
        let inner = scope.clone();
        scope.spawn_graceful("auth", async move { background.run(inner).await.unwrap() });
        let addresses = AtomicU32::new(1);
        Self { clock, random, dir, store, settings, health, scope, authority, addresses }
    }

    /// Stops the authority in order.
    pub async fn stop(&self) {
        assert!(
            self.scope.drain(Duration::from_secs(20)).await,
            "tasks outlive the authority: {:?}",
            self.scope
        );
    }

    /// Stops and opens again over the same store and files.
    pub async fn restart(self) -> Self {
        self.stop().await;
        Self::over(self.store, self.dir, self.clock, self.settings).await
    }

    /// The same, with the search index lost in between.
    pub async fn restart_without_index(self) -> Self {
        self.stop().await;
        for ending in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(self.dir.path().join(format!("screens.db{ending}"))));
        }
        Self::over(self.store, self.dir, self.clock, self.settings).await
    }

    pub fn pipe(&self, material: Material) -> Pipe {
        let n = self.addresses.fetch_add(1, Ordering::SeqCst);
        let from = SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0a00_0000 + n), 4_000));
        let (authority, scope) = (self.authority.clone(), self.scope.clone());
        Pipe::new(Keyring::new(material), from, move |stream, peer| {
            let (authority, inner) = (authority.clone(), scope.clone());
            scope.spawn_graceful("connection", async move {
                authority.accept(stream, Some(peer), inner).await;
            });
        })
    }

    pub fn client(&self, material: Material) -> Client {
        Client::new(Arc::new(self.pipe(material)), &self.scope, self.random.clone())
    }

    pub fn trusting(&self) -> Material {
        Material::trusting(&self.authority.trust()).unwrap()
    }

    /// Somebody without a certificate.
    pub fn anyone(&self) -> Client {
        self.client(self.trusting())
    }

    /// The authority's own host, as `mctl` beside it.
    pub async fn admin(&self) -> Client {
        self.beside(self.settings.host_id.clone(), [SystemRole::Auth]).await
    }

    /// A service in the process of the authority.
    pub async fn beside(&self, id: NodeId, roles: impl Into<BTreeSet<SystemRole>>) -> Client {
        let keys = Keys::new(&self.random);
        let host = LocalHost {
            id,
            name: self.settings.host_name.clone(),
            roles: roles.into(),
            principals: vec![],
            ssh_key: keys.ssh.ssh_public().to_string(),
            tls_key_pem: keys.tls.spki_pem(),
        };
        let certs = self.authority.certify_local(host).await.unwrap();
        self.client(self.trusting().showing(keys.certified(&certs.tls_cert_pem)))
    }

    pub fn join_request(&self, name: &str, token: &str, role: SystemRole, keys: &Keys) -> Join {
        keys.proven(Join {
            token: Secret::new(token),
            id: NodeId::from_random(self.random.bytes()),
            name: name.parse().unwrap(),
            roles: BTreeSet::from([role]),
            principals: vec![],
            ssh_key: keys.ssh.ssh_public().to_string(),
            tls_key_pem: keys.tls.spki_pem(),
            proof: String::new(),
        })
    }

    async fn joined(&self, name: &str, token: &str, role: SystemRole) -> Host {
        let keys = Keys::new(&self.random);
        let ask = self.join_request(name, token, role, &keys);
        let certs = self.anyone().call(&ask).await.unwrap();
        let client = self.client(self.trusting().showing(keys.certified(&certs.tls_cert_pem)));
        Host { id: ask.id, keys, certs, client }
    }

    pub async fn proxy(&self) -> Host {
        self.joined("proxy-1", PROXY_TOKEN, SystemRole::Proxy).await
    }

    /// A node that has joined and reported, with `env=<env>`.
    pub async fn node(&self, name: &str, env: &str) -> Host {
        let host = self.joined(name, NODE_TOKEN, SystemRole::Node).await;
        host.client.call(&self.report(&host, name, env)).await.unwrap();
        host
    }

    pub fn report(&self, host: &Host, name: &str, env: &str) -> ReportNode {
        ReportNode {
            id: host.id.clone(),
            name: name.parse().unwrap(),
            address: String::new(),
            labels: [("env".to_owned(), env.to_owned())].into(),
            version: "0.1.0".into(),
            only_login: None,
            seal_key: data_encoding::BASE64.encode(host.keys.ssh.public_key()),
        }
    }

    pub fn create_user(name: &str, role: &str) -> CreateUser {
        CreateUser {
            name: name.parse().unwrap(),
            roles: BTreeSet::from([role.parse().unwrap()]),
            traits: [("logins".to_owned(), vec!["root".to_owned(), name.to_owned()])].into(),
            ttl: None,
        }
    }

    /// A user who has accepted their invite.
    pub async fn person(&self, name: &str, role: &str) -> Person {
        let link = self.admin().await.call(&Self::create_user(name, role)).await.unwrap();
        self.accept(&link, PASSWORD).await.unwrap()
    }

    pub async fn accept(&self, link: &InviteLink, password: &str) -> Result<Person, CallError> {
        let anyone = self.anyone();
        let invite = anyone.call(&GetInvite { secret: link.secret.clone() }).await?;
        let totp = totp_of(invite.otp_uri.expose());
        let ask = AcceptInvite {
            secret: link.secret.clone(),
            password: Secret::new(password),
            otp: code(&totp, self.clock.now()),
            client_addr: None,
        };
        anyone.call(&ask).await?;
        // The code just used up is not good again.
        self.clock.advance(Duration::from_secs(30));
        Ok(Person { name: link.user.to_string(), totp })
    }

    pub fn sign_in_request(&self, person: &Person, keys: &Keys) -> SignIn {
        SignIn {
            user: person.name.clone(),
            password: Secret::new(PASSWORD),
            otp: code(&person.totp, self.clock.now()),
            passkey: None,
            ssh_key: keys.ssh.ssh_public().to_string(),
            tls_key_pem: keys.tls.spki_pem(),
            ttl: None,
            client_addr: None,
        }
    }

    /// Signs in; the next sign-in needs a new code, so time moves on.
    pub async fn signed_in(&self, person: &Person) -> (Client, UserCerts) {
        let keys = Keys::new(&self.random);
        let certs = self.anyone().call(&self.sign_in_request(person, &keys)).await.unwrap();
        self.clock.advance(Duration::from_secs(30));
        (self.client(self.trusting().showing(keys.certified(&certs.tls_cert_pem))), certs)
    }

    /// A signed-in user with one role.
    pub async fn user(&self, name: &str, role: &str) -> Client {
        let person = self.person(name, role).await;
        self.signed_in(&person).await.0
    }

    /// Names of the events in the log, oldest first.
    pub async fn events(&self) -> Vec<serde_json::Map<String, serde_json::Value>> {
        let ask = model::api::audit::ExportChain { from: 0, limit: Some(10_000) };
        let piece = self.admin().await.call(&ask).await.unwrap();
        piece.links.iter().map(|link| serde_json::from_str(&link.event).unwrap()).collect()
    }

    pub async fn has_event(&self, event: &str, code: &str) -> bool {
        self.events().await.iter().any(|e| e["event"] == event && e["code"] == code)
    }
}

pub fn ground(
    store: &Arc<dyn Store>,
    dir: &std::path::Path,
    clock: &Clock,
    random: &Random,
    health: &Health,
) -> Ground {
    let blobs: Arc<dyn Blobs> = Arc::new(DirBlobs::open(&dir.join("blobs")).unwrap());
    Ground {
        store: store.clone(),
        blobs,
        shelf: Arc::new(store::SqliteShelf::open(&dir.join("screens.db")).unwrap()),
        clock: clock.clone(),
        random: random.clone(),
        health: health.clone(),
    }
}

pub fn totp_of(uri: &str) -> Vec<u8> {
    let secret = uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
    BASE32_NOPAD.decode(secret.as_bytes()).unwrap()
}

/// The code an authenticator shows at `now`.
pub fn code(totp: &[u8], now: Timestamp) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, totp);
    let tag = hmac::sign(&key, &(now.secs() / 30).to_be_bytes());
    let mac = tag.as_ref();
    let offset = usize::from(mac[19] & 0x0f);
    let word = u32::from_be_bytes(mac[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

/// A code that is not the one shown.
pub fn wrong_code(totp: &[u8], now: Timestamp) -> String {
    let near: Vec<String> = [-30, 0, 30].map(|s| code(totp, Timestamp::from_secs(now.secs() + s))).into();
    (0..).map(|n| format!("{n:06}")).find(|c| !near.contains(c)).unwrap()
}

/// The refusal of a call that must be refused.
pub fn refused<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> (model::api::Fault, String) {
    match outcome {
        Err(CallError::Refused { fault, message, .. }) => (fault, message),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

pub fn fault<T: std::fmt::Debug>(outcome: Result<T, CallError>) -> model::api::Fault {
    refused(outcome).0
}

/// Waits until `holds`, for background work that has no other sign.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How many roles a new cluster has.
pub fn presets() -> usize {
    policy::presets::all().len()
}
