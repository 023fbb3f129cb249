//! The authority in this process: its settings out of the configuration, its port, the credentials of its own host.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use auth::settings::{SecondFactor, StaticToken, Times, TokenValue};
use auth::{Authority, LocalHost, Port, Settings};
use client::connect::Route;
use client::host::{HostIdentity, HostKeys};
use client::{BoxFuture, BoxStream, Connect, ConnectError, Keyring};
use model::resource::ClusterConfig;
use model::{ClusterName, SystemRole};
use runtime::direct::Wrapped;
use runtime::{Scope, Service};
use store::SqliteShelf;
use store::blobs::DirBlobs;
use store::sqlite::SqliteStore;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::ground::Ground;
use super::host;
use super::ready::State;

/// Bytes an in-memory connection to the authority holds in each direction.
const PIPE: usize = 64 * 1024;
/// How often the local administrator's certificates are made anew; they last a week.
const ADMIN_RENEWAL: Duration = Duration::from_secs(24 * 3600);

/// Opens the authority and runs it in `scope`.
pub(crate) async fn start(
    ground: &Ground,
    config: &config::Auth,
    listener: TcpListener,
    scope: &Scope,
) -> anyhow::Result<Authority> {
    let settings = settings(ground, config)?;
    let cluster = settings.cluster_name.clone();
    let config::Storage::Embedded(dir) = &ground.config.instance.storage;
    host::private_dir(dir)?;
    let path = dir.join("auth.db");
    let store = SqliteStore::open(&path, ground.clock.clone())
        .with_context(|| format!("cannot open the store {}", path.display()))?;
    let blobs = dir.join("blobs");
    let blobs = DirBlobs::open(&blobs)
        .with_context(|| format!("cannot open the recordings in {}", blobs.display()))?;
    let screens = dir.join("screens.db");
    let shelf = SqliteShelf::open(&screens)
        .with_context(|| format!("cannot open the search index {}", screens.display()))?;
    let base = auth::Ground {
        store: Arc::new(store),
        blobs: Arc::new(blobs),
        shelf: Arc::new(shelf),
        clock: ground.clock.clone(),
        random: ground.random.clone(),
        health: ground.health.clone(),
    };
    let (authority, background) =
        Authority::open(settings, base).await.context("cannot open the authority")?;
    keep_cluster_name(ground, &cluster)?;
    run(background, scope);
    administer(ground, &authority, scope).await?;
    run(Port { authority: authority.clone(), listener }, scope);
    ground.readiness.set("auth", State::Ready);
    Ok(authority)
}

/// Runs a service; one that ends by itself takes the process with it, because nothing works without it.
fn run<S: Service + Send + 'static>(service: S, scope: &Scope) {
    let inner = scope.clone();
    scope.spawn_graceful(S::NAME, async move {
        if let Err(fault) = service.run(inner.clone()).await {
            tracing::error!(service = S::NAME, %fault, "the service failed; stopping");
            inner.cancel();
        }
    });
}

fn settings(ground: &Ground, config: &config::Auth) -> anyhow::Result<Settings> {
    let authentication = &config.authentication;
    let mut names: Vec<String> = config.public_addrs.iter().map(|a| a.host().to_owned()).collect();
    names.extend(ground.config.instance.advertise.iter().map(|a| a.host().to_owned()));
    Ok(Settings {
        cluster_name: cluster_name(ground, config)?,
        host_id: ground.id.clone(),
        host_name: ground.name.clone(),
        data_dir: ground.config.instance.data_dir.clone(),
        static_tokens: static_tokens(config),
        second_factor: match authentication.second_factor {
            config::SecondFactor::Off => SecondFactor::Off,
            config::SecondFactor::Optional => SecondFactor::Optional,
            config::SecondFactor::On => SecondFactor::On,
            config::SecondFactor::Otp | config::SecondFactor::Webauthn => SecondFactor::Otp,
        },
        passkey_name: authentication.passkey_name.clone(),
        public_names: names,
        proxy_addrs: ground.proxy_addrs(),
        message_of_the_day: config.message_of_the_day.clone(),
        cluster: ClusterConfig {
            session_recording: config.session_recording,
            client_idle_timeout: config.client_idle_timeout,
            client_idle_timeout_message: config.client_idle_timeout_message.clone(),
            web_idle_timeout: config.web_idle_timeout,
            web_lock_timeout: config.web_lock_timeout,
            disconnect_expired_cert: config.disconnect_expired_cert,
            keep_alive_interval: config.keep_alive_interval,
            keep_alive_count_max: config.keep_alive_count_max,
            ssh_dial_timeout: config.ssh_dial_timeout,
            routing_strategy: config.routing_strategy,
        },
        times: Times { user_cert: authentication.default_session_ttl.0, ..Times::default() },
    })
}

/// The tokens of the file as the authority takes them.
pub(crate) fn static_tokens(config: &config::Auth) -> Vec<StaticToken> {
    let token = |token: &config::StaticToken| StaticToken {
        roles: token.roles.clone(),
        value: match &token.value {
            config::SecretSource::Literal(secret) => TokenValue::Plain(secret.clone()),
            config::SecretSource::File(path) => TokenValue::File(path.clone()),
        },
    };
    config.tokens.iter().map(token).collect()
}

/// The configured name; without one the name of the first start, which is the host's.
fn cluster_name(ground: &Ground, config: &config::Auth) -> anyhow::Result<ClusterName> {
    if let Some(name) = &config.cluster_name {
        return Ok(name.clone());
    }
    let path = ground.config.instance.data_dir.join("cluster_name");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().with_context(|| format!("{} holds no cluster name", path.display())),
        Err(_) => {
            tracing::warn!(name = %ground.name, "no cluster_name is configured: the cluster takes this host's name");
            Ok(ground.name.as_str().parse()?)
        }
    }
}

fn keep_cluster_name(ground: &Ground, name: &ClusterName) -> anyhow::Result<()> {
    let path = ground.config.instance.data_dir.join("cluster_name");
    if path.exists() { Ok(()) } else { host::private_file(&path, format!("{name}\n").as_bytes()) }
}

/// Certifies this host's own administrator: whoever can read the data directory can run `mctl` here.
async fn administer(ground: &Ground, authority: &Authority, scope: &Scope) -> anyhow::Result<()> {
    let dir = ground.admin_dir();
    let keys = HostKeys::open(&dir, &ground.random)?;
    let id = host::id(&dir, &ground.random)?;
    let certify = {
        let (ground, authority) = (ground.clone(), authority.clone());
        async move || -> anyhow::Result<()> {
            let roles: BTreeSet<SystemRole> = [SystemRole::Auth].into();
            let local = LocalHost {
                id: id.clone(),
                name: ground.name.clone(),
                roles: roles.clone(),
                principals: Vec::new(),
                ssh_key: keys.ssh_public(),
                tls_key_pem: keys.tls_public_pem(),
            };
            let certs = authority.certify_local(local).await?;
            HostIdentity::of(certs, id.clone(), ground.name.clone(), roles).save(&dir)?;
            Ok(())
        }
    };
    certify().await.context("cannot certify this host's administrator")?;
    let health = ground.health.clone();
    let clock = ground.clock.clone();
    scope.spawn("administrator", async move {
        loop {
            tokio::time::sleep(ADMIN_RENEWAL).await;
            let outcome = certify().await.map_err(|e| format!("{e:#}"));
            health.ran("renew the administrator's certificates", clock.now(), outcome);
        }
    });
    Ok(())
}

/// An identity for the services that run beside the authority, without a token.
pub(crate) async fn certify(
    ground: &Ground,
    authority: &Authority,
    keys: &HostKeys,
    roles: BTreeSet<SystemRole>,
) -> anyhow::Result<HostIdentity> {
    let local = LocalHost {
        id: ground.id.clone(),
        name: ground.name.clone(),
        roles: roles.clone(),
        principals: ground.principals(),
        ssh_key: keys.ssh_public(),
        tls_key_pem: keys.tls_public_pem(),
    };
    let certs =
        authority.certify_local(local).await.context("cannot certify the services of this process")?;
    let identity = HostIdentity::of(certs, ground.id.clone(), ground.name.clone(), roles);
    identity.save(&ground.identity_dir())?;
    Ok(identity)
}

/// Reaches the authority of this process: a pipe in memory and the same mutual TLS as from anywhere else.
#[derive(Clone)]
pub(crate) struct Near {
    authority: Authority,
    keyring: Keyring,
    scope: Scope,
}

impl Near {
    /// A way to `authority` with the certificates of `keyring`; connections live in `scope`.
    pub(crate) fn new(authority: Authority, keyring: Keyring, scope: &Scope) -> Self {
        Self { authority, keyring, scope: scope.clone() }
    }

    /// Bytes straight to the authority, whoever speaks at the other end: what the proxy passes through.
    pub(crate) fn raw(&self, peer: Option<SocketAddr>) -> BoxStream {
        let (near, far) = tokio::io::duplex(PIPE);
        let (authority, scope) = (self.authority.clone(), self.scope.clone());
        self.scope.spawn_graceful("auth pipe", async move { authority.accept(far, peer, scope).await });
        Box::new(near)
    }

    async fn dial(&self, route: Route) -> Result<BoxStream, ConnectError> {
        let to = "the authority in this process";
        let why = |why: String| ConnectError::Unreachable { to: to.to_owned(), why };
        let config = self.keyring.current().config(route.alpn()).map_err(|e| why(e.to_string()))?;
        let name =
            rustls_pki_types::ServerName::try_from(route.server_name()).map_err(|e| why(e.to_string()))?;
        let handshake = TlsConnector::from(config).connect(name, self.raw(None));
        match tokio::time::timeout(Duration::from_secs(10), handshake).await {
            Ok(Ok(stream)) => Ok(Box::new(Wrapped::new(stream))),
            Ok(Err(error)) => Err(ConnectError::from_handshake(to, &error)),
            Err(_) => Err(why("no handshake within 10s".to_owned())),
        }
    }
}

impl Connect for Near {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<BoxStream, ConnectError>> {
        Box::pin(self.dial(route))
    }
}
