//! A whole service in this process, and the real `ssh` to try it with: keys and certificates in a directory, a
//! stand-in authority that keeps events, rules a test can change.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::api::access::{EndSession, TrackSession};
use model::api::audit::AuditEvent;
use model::api::cluster::{CaKey, CaKind, TrustBundle};
use model::api::recordings::{SegmentReceipt, UploadState};
use model::resource::{ClusterConfig, Lock, Role};
use model::{Identity, Labels, NodeId, SessionId, Subject, Timestamp};
use node::serve::{Deps, Peer, Settings};
use node::spawner::{Launched, Orders, Spawner, launch};
use node::{Node, serve};
use pki::ssh::{Certificate, Permits, UserRequest};
use pki::{Authority as Ca, KeyPair, KeyType, Trust};
use policy::Rules;
use runtime::{Clock, Health, Random, Scope};
use session::authority::Answer;
use session::{Authority, ServerFacts, Sessions, View};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Keeps events; takes no recordings.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Vec<AuditEvent>>);

impl Authority for Ledger {
    fn emit(&self, events: Vec<AuditEvent>) -> Answer<'_, ()> {
        for event in &events {
            audit::event::check(event).expect("a good event");
        }
        self.0.lock().unwrap().extend(events);
        Box::pin(async { Ok(()) })
    }

    fn put_segment<'a>(&'a self, _: &'a SessionId, _: u64, _: Bytes) -> Answer<'a, SegmentReceipt> {
        Box::pin(async { Err(session::Trouble::Later("not in this test".into())) })
    }

    fn upload_state<'a>(&'a self, _: &'a SessionId) -> Answer<'a, UploadState> {
        Box::pin(async { Ok(UploadState { next: 0, complete: false }) })
    }

    fn track(&self, _: TrackSession) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// Runs on its own threads until dropped.
pub(crate) struct Gate {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) address: SocketAddr,
    pub(crate) login: String,
    view: watch::Sender<Arc<View>>,
    roles: Vec<Role>,
    scope: Scope,
    ca: Ca,
    runtime: Option<tokio::runtime::Runtime>,
}

fn now() -> Timestamp {
    Clock::system().now()
}

pub(crate) fn view(roles: &[Role], locks: &[Lock], revision: u64) -> Arc<View> {
    let rules = Rules::new(revision, roles, locks, ClusterConfig::default());
    Arc::new(View { rules, ..View::default() })
}

impl Gate {
    pub(crate) fn new(login: &str) -> Self {
        Self::with(login, vec![policy::presets::access()], Settings::default())
    }

    pub(crate) fn with(login: &str, roles: Vec<Role>, settings: Settings) -> Self {
        Self::on(
            launch(&std::env::current_exe().unwrap(), &Orders::default()).unwrap(),
            login,
            roles,
            settings,
        )
    }

    /// With a spawner that was launched before.
    pub(crate) fn on(launched: Launched, login: &str, roles: Vec<Role>, settings: Settings) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (ledger, scope) = (Arc::new(Ledger::default()), Scope::root("gate"));
        let ca = Ca::generate(KeyType::Ed25519, &[1; 32]).unwrap();
        let (tell_view, told_view) = watch::channel(view(&roles, &[], 1));
        let address = runtime.block_on(start(Start {
            launched,
            settings,
            ledger: ledger.clone(),
            view: told_view,
            ca: &ca,
            spool: dir.path().join("spool"),
            known_hosts: dir.path().join("known_hosts"),
            scope: scope.clone(),
        }));
        let login = login.to_owned();
        let gate =
            Self { dir, ledger, address, login, view: tell_view, roles, scope, ca, runtime: Some(runtime) };
        gate.certify(&[&gate.login.clone()], Duration::from_secs(3600));
        gate
    }

    /// Gives the person a certificate for these logins.
    pub(crate) fn certify(&self, logins: &[&str], ttl: Duration) {
        let key = KeyPair::generate(KeyType::Ed25519, &[5; 32]).unwrap();
        let identity = Identity {
            subject: Subject::User {
                name: "ann".parse().unwrap(),
                roles: self.roles.iter().map(|role| role.metadata.name.parse().unwrap()).collect(),
                traits: [("logins".to_owned(), logins.iter().map(|l| (*l).to_owned()).collect())].into(),
                logins: logins.iter().map(|login| login.parse().unwrap()).collect::<BTreeSet<_>>(),
            },
            cluster: "gate".parse().unwrap(),
            expires_at: now() + ttl,
            login_ip: None,
            pin_ip: false,
            mfa_at: None,
            impersonator: None,
            disallow_reissue: false,
        };
        let permits =
            Permits { pty: true, port_forwarding: true, agent_forwarding: true, x11_forwarding: true };
        let public = pki::Signer::ssh_public(&key);
        let request =
            UserRequest { key: &public, identity: &identity, permits, serial: 1, nonce: [9; 32], now: now() };
        let certificate = pki::ssh::issue_user(&self.ca, &request).unwrap();
        std::fs::write(self.path("id"), key.to_openssh("ann", 7).as_str()).unwrap();
        std::fs::write(self.path("id-cert.pub"), format!("{certificate}\n")).unwrap();
        std::fs::write(self.path("id.pub"), format!("{public}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(self.path("id"), mode).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Options every client of ours needs.
    pub(crate) fn options(&self) -> Vec<String> {
        [
            "-F/dev/null".to_owned(),
            format!("-oIdentityFile={}", self.path("id").display()),
            format!("-oCertificateFile={}", self.path("id-cert.pub").display()),
            format!("-oUserKnownHostsFile={}", self.path("known_hosts").display()),
            "-oHostKeyAlias=gate".to_owned(),
            "-oIdentitiesOnly=yes".to_owned(),
            "-oIdentityAgent=none".to_owned(),
            "-oBatchMode=yes".to_owned(),
            "-oStrictHostKeyChecking=yes".to_owned(),
            format!("-oPort={}", self.address.port()),
        ]
        .into()
    }

    pub(crate) fn destination(&self) -> String {
        format!("{}@127.0.0.1", self.login)
    }

    /// `ssh` with these options and words after the destination.
    pub(crate) fn ssh(&self, options: &[&str], words: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.args(self.options()).args(options).arg(self.destination()).args(words);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command there.
    pub(crate) fn run(&self, words: &str) -> Output {
        self.ssh(&[], &[words]).output().expect("ssh is installed")
    }

    /// Changes the rules.
    pub(crate) fn rule(&self, roles: &[Role], locks: &[Lock]) {
        self.view.send_replace(view(roles, locks, 2));
    }

    /// Changes the cluster's settings.
    pub(crate) fn configure(&self, config: ClusterConfig) {
        let rules = Rules::new(3, &self.roles, &[], config);
        self.view.send_replace(Arc::new(View { rules, ..View::default() }));
    }

    /// An admin's wish that this session end.
    pub(crate) fn end(&self, session: SessionId) {
        let rules = Rules::new(4, &self.roles, &[], ClusterConfig::default());
        let end = vec![EndSession { id: session, reason: "enough".into() }];
        self.view.send_replace(Arc::new(View { rules, end, ..View::default() }));
    }

    /// Every event of this name so far.
    pub(crate) fn events(&self, name: &str) -> Vec<serde_json::Value> {
        let events = self.ledger.0.lock().unwrap();
        let named = events.iter().filter(|event| event.0["event"] == name);
        named.map(|event| serde_json::Value::Object(event.0.clone())).collect()
    }

    /// Waits for an event of this name that `fits`.
    pub(crate) fn event(&self, name: &str, fits: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        wait(|| self.events(name).into_iter().find(|event| fits(event)))
            .unwrap_or_else(|| panic!("no such {name} among {:#?}", self.events(name)))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            let ended = runtime.block_on(self.scope.drain(PATIENCE));
            if !std::thread::panicking() {
                assert!(ended, "everything ends with its scope");
            }
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// Longer than anything waited for takes, on a machine that does ten other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Looks until there is something to see.
pub(crate) fn wait<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    None
}

struct Start<'a> {
    launched: Launched,
    settings: Settings,
    ledger: Arc<Ledger>,
    view: watch::Receiver<Arc<View>>,
    ca: &'a Ca,
    spool: PathBuf,
    known_hosts: PathBuf,
    scope: Scope,
}

async fn start(start: Start<'_>) -> SocketAddr {
    let scope = start.scope;
    let spawner = Spawner::attach(start.launched, &scope).await.unwrap();
    spawner.trust(vec![super::proof::public(start.ca)]).await.unwrap();
    let host = ServerFacts {
        id: NodeId::from_random([3; 16]),
        name: "web-1".parse().unwrap(),
        addr: None,
        cluster: "gate".parse().unwrap(),
    };
    let key = Arc::new(ssh::PrivateKey::from_seed(&[4; 32], "host").unwrap());
    std::fs::write(start.known_hosts, format!("gate {}\n", key.public().to_openssh())).unwrap();
    let protocol = Arc::new(ssh::server::Config::new(vec![ssh::HostKey::plain(key)]));
    let x509_pem = pki::x509::authority_certificate(start.ca, CaKind::User, &host.cluster, [7; 16], now());
    let trust = Trust::from_bundle(&TrustBundle {
        keys: vec![CaKey {
            kind: CaKind::User,
            ssh: pki::Signer::ssh_public(start.ca).to_string(),
            x509_pem: x509_pem.unwrap(),
            active: true,
        }],
        audit_key: String::new(),
    })
    .unwrap();
    let verify: serve::Verify = Arc::new(move |blob, ip| {
        let certificate = Certificate::from_blob(blob).map_err(|e| e.to_string())?;
        let verified = pki::ssh::verify_user(&certificate, &trust, ip, now()).map_err(|e| e.to_string())?;
        Ok(verified.identity)
    });
    let sessions = Sessions::start(
        session::Config { spool: start.spool, server: host.clone() },
        session::Deps::new(
            start.ledger,
            Arc::new(audit::key::pair_from_seed(&[6; 32]).unwrap()),
            start.view.clone(),
            Clock::system(),
            Random::system(),
            Health::default(),
        ),
        &scope,
    )
    .await
    .unwrap();
    let labels = watch::channel(Labels::from([("env".to_owned(), "test".to_owned())])).1;
    let deps = Deps {
        host,
        labels,
        verify,
        protocol: watch::channel(protocol).1,
        view: start.view,
        sessions,
        spawner,
        clock: Clock::system(),
    };
    let node = Node::new(start.settings, deps);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let inner = scope.clone();
    scope.spawn("accept", async move {
        while let Ok((stream, from)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let peer = Peer { client: Some(from), local: stream.local_addr().ok() };
            let (node, scope) = (node.clone(), inner.clone());
            inner.spawn_graceful("ssh", async move { node.serve(stream, peer, &scope).await });
        }
    });
    address
}
