//! Renewing: new certificates over the same keys, at two thirds of their life, tried again until it works.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use model::api::certs::Renew;
use runtime::{Clock, Health, Random, Scope};
use tokio::sync::watch;

use super::{HostError, HostIdentity, HostKeys};
use crate::Client;
use crate::tls::Keyring;

/// The shortest and the longest wait before a try.
const SOONEST: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_secs(3600);
/// How long after a failed try the next one comes, at first and at most.
const RETRY: (u64, u64) = (5, 300);
/// The name of the job in health reports.
const JOB: &str = "renew host certificates";

/// What renews.
#[derive(Clone, Debug)]
pub struct Renewing {
    /// Whom to ask.
    pub client: Client,
    /// The keys.
    pub keys: Arc<HostKeys>,
    /// Where the identity is kept.
    pub dir: PathBuf,
    /// Whose material follows the certificates.
    pub keyring: Keyring,
    /// Further names to be certified.
    pub principals: Vec<String>,
    /// Tells the time.
    pub clock: Clock,
    /// Spreads hosts out.
    pub random: Random,
    /// Where to say how it went.
    pub health: Health,
}

/// How long to wait before certificates that were good for the whole of `life` are renewed: until two thirds of it
/// are over, less up to a tenth by `chance`, never more than an hour at a time (the clock may jump).
#[must_use]
pub fn renew_after(now: Timestamp, expires: Timestamp, life: Duration, chance: u8) -> Duration {
    let left = expires.since(now);
    let spare = life / 3 + life / 10 * u32::from(chance) / 255;
    left.saturating_sub(spare).clamp(SOONEST, LATEST)
}

impl Renewing {
    /// Renews once.
    ///
    /// # Errors
    /// The authority cannot be reached or said no, or the files cannot be written.
    pub async fn once(&self, old: &HostIdentity) -> Result<HostIdentity, HostError> {
        let certs = self
            .client
            .call(&Renew {
                ssh_key: self.keys.ssh_public(),
                tls_key_pem: self.keys.tls_public_pem(),
                principals: self.principals.clone(),
            })
            .await?;
        pki::Trust::from_bundle(&certs.trust)?;
        let mut new = HostIdentity::of(certs, old.id().clone(), old.name().clone(), old.roles().clone());
        if new.state.labels.is_empty() {
            new.state.labels = old.state.labels.clone();
        }
        let material = new.material(&self.keys)?;
        new.save(&self.dir)?;
        self.keyring.swap(material);
        self.client.hang_up().await;
        Ok(new)
    }
}

/// Keeps the identity fresh until the scope ends; every new one is published to those who watch.
#[must_use]
pub fn keep_fresh(how: Renewing, first: HostIdentity, scope: &Scope) -> watch::Receiver<HostIdentity> {
    let (publish, watching) = watch::channel(first);
    scope.spawn("renew", async move {
        let mut failures: u32 = 0;
        loop {
            let old = publish.borrow().clone();
            let life = old.life(how.clock.now());
            let wait = match failures {
                0 => renew_after(how.clock.now(), old.expires(), life, u8::from_le_bytes(how.random.bytes())),
                n => Duration::from_secs(RETRY.0.saturating_mul(1 << n.min(10)).min(RETRY.1)),
            };
            tokio::time::sleep(wait).await;
            if failures == 0 && old.expires().since(how.clock.now()) > life / 3 + life / 10 {
                continue;
            }
            let outcome = how.once(&old).await;
            let now = how.clock.now();
            how.health.ran(JOB, now, outcome.as_ref().map(drop).map_err(ToString::to_string));
            match outcome {
                Ok(new) => {
                    tracing::info!(expires = %new.expires(), "host certificates renewed");
                    failures = 0;
                    let _ = publish.send(new);
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(%error, expires = %old.expires(), "host certificates not renewed");
                }
            }
        }
    });
    watching
}
