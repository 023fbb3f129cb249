//! The authority: who may sign in, join, connect and look; what happened, and the proof of it.
//!
//! Implements every verb of `model::api` over mutual TLS. Knows no session, no tunnel and no target: others report
//! those. Private authority keys are touched through `pki::Signer` only.
#![forbid(unsafe_code)]

mod access;
mod account;
mod authority;
mod boot;
mod certs;
mod cluster;
mod daily;
mod db;
mod devices;
mod dispatch;
pub mod error;
mod events;
mod gate;
mod grown;
mod heard;
mod host;
mod invites;
mod janitor;
mod jobs;
mod keys;
mod limits;
mod live;
mod locks;
mod looks;
mod nodes;
mod passkeys;
mod password;
mod query;
mod recordings;
mod refusal;
mod relayed;
mod removed;
mod roles;
mod rules;
mod screens;
mod server;
pub mod settings;
mod sink;
mod static_tokens;
mod timeline;
mod tls;
mod tokens;
mod totp;
mod tries;
mod tunnels;
mod users;
mod vault;
mod verbs;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::api::certs::HostCerts;
use model::api::cluster::TrustBundle;
use model::{Labels, NodeId, NodeName, SystemRole};
use runtime::{Fault, Scope, Service};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

pub use boot::Ground;
pub use error::Error;
pub use settings::Settings;

use crate::authority::Core;
use crate::server::Front;
use crate::sink::Writer;
use crate::tls::Shown;

/// A handle on the running authority. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    core: Arc<Core>,
    front: Front,
    shown: Arc<Shown>,
}

/// What runs behind the handle: the audit log's writer and every job. Nothing works without it.
pub struct Background {
    authority: Authority,
    writer: Writer,
}

/// One of this process's own services, which needs no token: whoever can start the authority can give it anything.
pub struct LocalHost {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// What it speaks for. With [`SystemRole::Auth`] it may do everything of the control plane: `mctl` on this host.
    pub roles: std::collections::BTreeSet<SystemRole>,
    /// Further names to be certified.
    pub principals: Vec<String>,
    /// SSH public key in OpenSSH's one-line form.
    pub ssh_key: String,
    /// SubjectPublicKeyInfo of the TLS key, PEM.
    pub tls_key_pem: String,
}

impl Authority {
    /// Opens the cluster, or makes it on the first start. Spawns nothing: run the [`Background`] too.
    ///
    /// # Errors
    /// See [`Error`]; among them another cluster name, a missing `auth.key`, an unreadable token file.
    pub async fn open(settings: Settings, ground: Ground) -> Result<(Self, Background), Error> {
        let (core, writer) = boot::open(settings, ground).await?;
        let shown = Arc::new(Shown::default());
        jobs::show_own(&core, &shown)?;
        let tls = tls::server_config(shown.clone(), core.keys.clone(), core.clock.clone())?;
        let front = Front::new(core.clone(), tls);
        let authority = Self { core, front, shown };
        Ok((authority.clone(), Background { authority, writer }))
    }

    /// Serves one connection to its end: a TCP stream, or one end of an in-memory pipe. `peer` is told to rate
    /// limits and records; a proxy may name another inside its own TLS. Ends within seconds of `scope`'s cancellation.
    pub async fn accept<S>(&self, stream: S, peer: Option<SocketAddr>, scope: Scope)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.front.clone().serve(stream, peer, scope).await;
    }

    /// Takes the tokens of a configuration file that was read again: only these count from now on.
    ///
    /// # Errors
    /// One of them is unusable; then the old ones go on counting.
    pub fn replace_static_tokens(&self, tokens: &[settings::StaticToken]) -> Result<(), Error> {
        self.core.static_tokens.replace(static_tokens::read_static(tokens)?);
        Ok(())
    }

    /// The public halves of the trusted authorities.
    #[must_use]
    pub fn trust(&self) -> TrustBundle {
        self.core.keys.now().bundle().clone()
    }

    /// `sha256:<hex>` pins of the host authority.
    #[must_use]
    pub fn ca_pins(&self) -> Vec<String> {
        self.core.keys.now().trust().ca_pins().to_vec()
    }

    /// Certifies one of this process's own services, as joining would, without a token. It renews like any host.
    ///
    /// # Errors
    /// A key or name is not acceptable, or the store failed.
    pub async fn certify_local(&self, host: LocalHost) -> Result<HostCerts, Error> {
        let refused = |refusal: refusal::Refusal| Error::Setting(refusal.message);
        let kept = host::Host {
            id: host.id,
            name: host.name,
            roles: host.roles,
            labels: Labels::new(),
            tls_key: certs::key_name(&host.tls_key_pem).map_err(refused)?,
            earlier_key: None,
            expires: self.core.now() + self.core.settings.times.host_cert,
        };
        let wish = certs::HostWish {
            host: &kept,
            principals: &host.principals,
            ssh_key: &host.ssh_key,
            tls_key_pem: &host.tls_key_pem,
        };
        let (issued, event) = certs::issue_host(&self.core, &wish).map_err(refused)?;
        self.core.log.write(vec![event]).await.map_err(refused)?;
        let txn = store::Txn::new().put(db::key("hosts", &kept.id)?, db::encode(&kept)?);
        self.core.db.commit(txn).await?;
        self.core.own_hosts.add(kept.id);
        Ok(issued)
    }
}

impl Service for Background {
    const NAME: &'static str = "auth";

    /// Runs until `scope` is cancelled; then writes what is queued and signs the log's end.
    async fn run(self, scope: Scope) -> Result<(), Fault> {
        let jobs = scope.child("jobs");
        jobs::start(&self.authority.core, &self.authority.shown, &jobs);
        self.writer.run(scope).await;
        Ok(())
    }
}

/// The authority's own port.
pub struct Port {
    /// The authority.
    pub authority: Authority,
    /// A bound listener.
    pub listener: TcpListener,
}

impl Service for Port {
    const NAME: &'static str = "auth port";

    /// Accepts until `scope` is cancelled. A connection that cannot be accepted is logged; the next one is taken.
    async fn run(self, scope: Scope) -> Result<(), Fault> {
        loop {
            // Cancel safe: `accept` loses nothing.
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = scope.cancelled() => return Ok(()),
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Small requests and answers: waiting to fill packets costs more than it saves.
                    drop(stream.set_nodelay(true));
                    let (authority, child) = (self.authority.clone(), scope.clone());
                    scope.spawn_graceful("auth connection", async move {
                        authority.accept(stream, Some(peer), child).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of descriptors: give those who hold them a moment.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}
