//! How this process comes by its identity and reaches the authority: certified without a token beside the authority,
//! joined with one from anywhere else; renewed by itself in both cases.
//!
//! An identity that is kept is good until its certificates end. One that no longer fits, because the host is called
//! otherwise or was removed, is replaced where there is a token, and never a reason not to start.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use auth::Authority;
use client::connect::Route;
use client::dial::{Dialer, WebTrust};
use client::host::{self as kept, HostError, HostIdentity, HostKeys, Joining, Renewing, Verify};
use client::proxy_env::HostPort;
use client::{BoxFuture, BoxStream, CallError, Client, Connect, ConnectError, Keyring};
use config::Upstream;
use model::SystemRole;
use model::api::Fault;
use model::api::cluster::WatchPolicy;
use runtime::Scope;
use tokio::sync::watch;

use super::authority::{self, Near};
use super::ground::{Ground, host_port};
use super::host;

/// How long to wait between two tries to join, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long the authority may take to say whether it knows a host that starts.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a process that has joined has.
#[derive(Clone)]
pub(crate) struct Joined {
    /// Its keys.
    pub(crate) keys: Arc<HostKeys>,
    /// Its identity, and each one that replaces it.
    pub(crate) identity: watch::Receiver<HostIdentity>,
    /// Trust and certificate for every connection.
    pub(crate) keyring: Keyring,
    /// The authority.
    pub(crate) client: Client,
    /// The authority, when it is in this process.
    pub(crate) near: Option<Near>,
}

/// Joins, or takes up an identity kept from before. Waits for an authority that cannot be reached yet.
pub(crate) async fn establish(
    ground: &Ground,
    authority: Option<&Authority>,
    roles: BTreeSet<SystemRole>,
    scope: &Scope,
) -> anyhow::Result<Joined> {
    let dir = ground.identity_dir();
    let keys = Arc::new(HostKeys::open(&dir, &ground.random)?);
    let to = addresses(ground)?;
    let identity = match authority {
        Some(authority) => authority::certify(ground, authority, &keys, roles).await?,
        None => kept_or_joined(ground, &to, &keys, roles, scope).await?,
    };
    tracing::info!(id = %identity.id(), name = %identity.name(), cluster = %identity.cluster(), "identity ready");
    let keyring = Keyring::new(identity.material(&keys)?);
    let near = authority.map(|a| Near::new(a.clone(), keyring.clone(), scope));
    let connect: Arc<dyn Connect> = match &near {
        Some(near) => Arc::new(near.clone()),
        None => Arc::new(AnyOf::new(ground, &to, &keyring)),
    };
    let client = Client::new(connect, scope, ground.random.clone());
    let renewing = Renewing {
        client: client.clone(),
        keys: keys.clone(),
        dir,
        keyring: keyring.clone(),
        principals: ground.principals(),
        clock: ground.clock.clone(),
        random: ground.random.clone(),
        health: ground.health.clone(),
    };
    let identity = kept::keep_fresh(renewing, identity, scope);
    Ok(Joined { keys, identity, keyring, client, near })
}

/// Where the authority may be reached from outside its process.
fn addresses(ground: &Ground) -> anyhow::Result<Vec<HostPort>> {
    match &ground.config.upstream {
        Upstream::Here => Ok(Vec::new()),
        Upstream::Auth(addresses) => addresses.iter().map(host_port).collect(),
        Upstream::Proxy(address) => Ok(vec![host_port(address)?]),
    }
}

async fn kept_or_joined(
    ground: &Ground,
    to: &[HostPort],
    keys: &HostKeys,
    roles: BTreeSet<SystemRole>,
    scope: &Scope,
) -> anyhow::Result<HostIdentity> {
    let kept = HostIdentity::load(&ground.identity_dir())?;
    let now = ground.clock.now();
    let why = match kept {
        Some(kept) if kept.expires() <= now => format!("its certificates expired at {}", kept.expires()),
        Some(kept) if !roles.is_subset(kept.roles()) => {
            let missing: Vec<_> = roles.difference(kept.roles()).map(|r| r.as_str()).collect();
            format!("it has not joined as {}", missing.join(", "))
        }
        Some(kept) => return fitting(ground, to, (keys, kept), roles, scope).await,
        None => "it has not joined yet".to_owned(),
    };
    let Some(joining) = joining(ground, to, roles)? else {
        bail!(
            "this host needs a token, because {why}: `mctl tokens add --type=node` makes one, --token takes it"
        );
    };
    join(ground, &joining, keys, scope).await
}

/// What to join with, where there is a token.
fn joining(ground: &Ground, to: &[HostPort], roles: BTreeSet<SystemRole>) -> anyhow::Result<Option<Joining>> {
    let Some(token) = &ground.config.instance.token else { return Ok(None) };
    Ok(Some(Joining {
        to: to.to_vec(),
        env: ground.env.clone(),
        verify: verify(ground)?,
        token: host::secret(token)?,
        id: ground.id.clone(),
        name: ground.name.clone(),
        roles,
        principals: ground.principals(),
    }))
}

/// The identity kept from before, or one that fits better if it can be had at once.
async fn fitting(
    ground: &Ground,
    to: &[HostPort],
    (keys, kept): (&HostKeys, HostIdentity),
    roles: BTreeSet<SystemRole>,
    scope: &Scope,
) -> anyhow::Result<HostIdentity> {
    let (name, was) = (&ground.name, kept.name().clone());
    let why = if was != *name {
        format!("it joined as `{was}` and is called `{name}` now")
    } else if ground.config.instance.token.is_some() && is_void(ground, to, keys, &kept, scope).await {
        "the authority does not know it: it was removed from the cluster, or is locked".to_owned()
    } else {
        return Ok(kept);
    };
    let joined = match joining(ground, to, roles) {
        Ok(None) => {
            tracing::warn!(
                "this host goes on as `{was}`, because {why}: to change that join again (`mctl tokens add --type=node` makes a \
                 token, --token takes it), or set moongate.nodename to `{was}`"
            );
            return Ok(kept);
        }
        Ok(Some(how)) => {
            tracing::info!("joining again, because {why}");
            kept::join(&how, &ground.identity_dir(), keys, scope, &ground.random).await.map_err(Into::into)
        }
        Err(error) => Err(error),
    };
    Ok(joined.unwrap_or_else(|error| {
        tracing::warn!(
            "this host should join again, because {why}, and cannot: {error:#}; it goes on as `{was}` with the certificates it \
             has (`mctl tokens add --type=node` makes another token, --token takes it)"
        );
        kept
    }))
}

/// Whether the authority no longer knows this identity. One that does not answer in time is not waited for.
async fn is_void(
    ground: &Ground,
    to: &[HostPort],
    keys: &HostKeys,
    kept: &HostIdentity,
    scope: &Scope,
) -> bool {
    let Ok(material) = kept.material(keys) else { return false };
    let scope = scope.child("known");
    let connect = Arc::new(AnyOf::new(ground, to, &Keyring::new(material)));
    let client = Client::new(connect, &scope, ground.random.clone());
    // What every host may ask, and is refused to one that was removed.
    let asked = tokio::time::timeout(PATIENCE, client.stream(&WatchPolicy {})).await;
    scope.cancel();
    matches!(asked, Ok(Err(error)) if error.fault() == Some(Fault::NotFound))
}

/// Why a report of this host failed, and what to do about it.
pub(crate) fn explained(error: &CallError) -> String {
    if error.fault() != Some(Fault::NotFound) {
        return runtime::causes(error);
    }
    format!(
        "{error}: the authority does not know this host: it was removed (mctl nodes rm) or is locked (mctl get locks); to \
         come back after a removal it must join again: `mctl tokens add` makes a token, start it with --token"
    )
}

/// What vouches for the authority.
fn verify(ground: &Ground) -> anyhow::Result<Verify> {
    let instance = &ground.config.instance;
    let pins = host::pins(&instance.ca_pins)?;
    if !pins.is_empty() {
        return Ok(Verify::Pins(pins));
    }
    if instance.insecure {
        tracing::warn!("--insecure: joining whoever answers");
        return Ok(Verify::Insecure);
    }
    Ok(Verify::Web(WebTrust::System))
}

/// Tries until it works or can no longer work.
async fn join(
    ground: &Ground,
    joining: &Joining,
    keys: &HostKeys,
    scope: &Scope,
) -> anyhow::Result<HostIdentity> {
    let mut wait = Duration::from_secs(1);
    loop {
        let error = match kept::join(joining, &ground.identity_dir(), keys, scope, &ground.random).await {
            Ok(identity) => return Ok(identity),
            Err(error) => error,
        };
        let passing = match &error {
            HostError::Call(error) => error.may_pass(),
            HostError::Connect(ConnectError::Unreachable { .. }) => true,
            _ => false,
        };
        if !passing {
            return Err(error).context("cannot join");
        }
        tracing::warn!(error = %runtime::causes(&error), "cannot join yet; trying again in {wait:?}");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// The first of several addresses that answers.
struct AnyOf(Vec<Dialer>);

impl AnyOf {
    fn new(ground: &Ground, to: &[HostPort], keyring: &Keyring) -> Self {
        let dialer = |to: &HostPort| Dialer::new(to.clone(), ground.env.clone(), keyring.clone());
        Self(to.iter().map(dialer).collect())
    }
}

impl Connect for AnyOf {
    fn connect(&self, route: Route) -> BoxFuture<'_, Result<BoxStream, ConnectError>> {
        Box::pin(async move {
            let none = ConnectError::Unreachable { to: "the authority".into(), why: "no address".into() };
            let mut last = none;
            for dialer in &self.0 {
                match dialer.connect(route).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        })
    }
}
