//! What proxy and node of a process both go by: the rules as they change, whom to believe, and the SSH server's keys
//! as their certificate is renewed.

use std::sync::Arc;

use anyhow::Context;
use client::host::HostIdentity;
use client::watch::{Feed, Follower};
use runtime::{Scope, Service};
use tokio::sync::watch;

use super::ground::Ground;
use super::identity::Joined;

/// The three, each to be watched.
#[derive(Clone)]
pub(crate) struct Rules {
    /// Roles, locks, settings.
    pub(crate) feed: watch::Receiver<Feed>,
    /// The authorities.
    pub(crate) trust: watch::Receiver<Arc<pki::Trust>>,
    /// Host key, host certificate, algorithms.
    pub(crate) protocol: watch::Receiver<Arc<ssh::server::Config>>,
}

impl Rules {
    /// Starts to follow.
    pub(crate) fn start(ground: &Ground, joined: &Joined, scope: &Scope) -> anyhow::Result<Self> {
        let feed = follow(ground, joined, scope);
        let trust = trust(joined, &feed, scope)?;
        let protocol = protocol(ground, joined, &feed, scope)?;
        Ok(Self { feed, trust, protocol })
    }
}

/// Follows the rules.
fn follow(ground: &Ground, joined: &Joined, scope: &Scope) -> watch::Receiver<Feed> {
    let (follower, feed) = Follower::new(
        joined.client.clone(),
        &ground.config.instance.data_dir,
        ground.clock.clone(),
        ground.random.clone(),
        ground.health.clone(),
    );
    let inner = scope.clone();
    scope.spawn_graceful("policy watch", async move {
        let _ = follower.run(inner).await;
    });
    feed
}

/// Whom to believe now: what the rules say, and what joining said until then.
fn trust(
    joined: &Joined,
    feed: &watch::Receiver<Feed>,
    scope: &Scope,
) -> anyhow::Result<watch::Receiver<Arc<pki::Trust>>> {
    let first =
        pki::Trust::from_bundle(&joined.identity.borrow().trust).context("the trust kept from joining")?;
    let (tell, told) = watch::channel(Arc::new(first));
    let mut feed = feed.clone();
    feed.mark_changed();
    scope.spawn("trust", async move {
        while feed.changed().await.is_ok() {
            let snapshot = feed.borrow_and_update().snapshot.clone();
            let Some(snapshot) = snapshot else { continue };
            match pki::Trust::from_bundle(&snapshot.trust) {
                Ok(trust) => drop(tell.send_replace(Arc::new(trust))),
                Err(error) => tracing::error!(%error, "the authorities told by the rules are unusable"),
            }
        }
    });
    Ok(told)
}

/// Keys, certificate, algorithms and probes of the protocol; anew with each renewal and each change of the rules.
fn protocol(
    ground: &Ground,
    joined: &Joined,
    feed: &watch::Receiver<Feed>,
    scope: &Scope,
) -> anyhow::Result<watch::Receiver<Arc<ssh::server::Config>>> {
    let algorithms = algorithms(&ground.config)?;
    let key = Arc::new(ssh::PrivateKey::from_openssh(joined.keys.ssh_openssh())?);
    let make = move |identity: &HostIdentity, feed: &Feed| -> anyhow::Result<Arc<ssh::server::Config>> {
        let certificate = ssh::PublicKey::from_openssh(&identity.ssh_cert)?;
        let host_key = ssh::HostKey::certified(key.clone(), certificate)?;
        let mut config = ssh::server::Config::new(vec![host_key]);
        config.algorithms = algorithms.clone();
        if let Some(cluster) = feed.snapshot.as_ref().map(|s| &s.config) {
            let (every, misses) = (cluster.keep_alive_interval.0, cluster.keep_alive_count_max);
            config.keepalive = Some(ssh::server::Keepalive { every, misses });
        }
        Ok(Arc::new(config))
    };
    let (mut identity, mut feed) = (joined.identity.clone(), feed.clone());
    let (tell, told) = watch::channel(make(&identity.borrow_and_update(), &feed.borrow_and_update())?);
    scope.spawn("ssh protocol", async move {
        loop {
            let changed = tokio::select! {
                changed = identity.changed() => changed,
                changed = feed.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            match make(&identity.borrow_and_update(), &feed.borrow_and_update()) {
                Ok(config) => drop(tell.send_replace(config)),
                Err(error) => tracing::error!(%error, "the renewed host certificate is unusable"),
            }
        }
    });
    Ok(told)
}

/// The algorithms the configuration names; an unknown one is a start-up error that lists the known.
pub(crate) fn algorithms(config: &config::Config) -> anyhow::Result<ssh::Algorithms> {
    let wanted = &config.instance.algorithms;
    ssh::Algorithms::named(&wanted.ciphers, &wanted.kex, &wanted.macs)
        .context("moongate.ciphers, kex_algos or mac_algos name what this build does not have")
}

#[cfg(test)]
mod tests {
    use config::schema::names::{CIPHER_SUITES, CIPHERS, KEX_ALGOS, MAC_ALGOS};
    use ssh::algorithms;

    #[test]
    fn the_file_may_name_every_algorithm_there_is_and_no_other() {
        fn names<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
            table.iter().map(|(name, _)| *name).collect()
        }

        assert_eq!(CIPHERS, names(&algorithms::CIPHERS));
        assert_eq!(KEX_ALGOS, names(&algorithms::KEXES));
        assert_eq!(MAC_ALGOS, names(&algorithms::MACS));
        let suites: Vec<String> = CIPHER_SUITES.iter().map(|name| (*name).to_owned()).collect();
        assert!(proxy::cipher_suites(&suites).is_ok());
    }
}
