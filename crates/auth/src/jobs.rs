//! What goes on by itself: following changes of other servers, sweeping, the janitor, the server's own certificate.
//!
//! Every job says how it went in [`runtime::Health`] and is tried again with the next tick, however often it fails.

use std::sync::Arc;
use std::time::Duration;

use model::{SystemRole, Timestamp};
use pki::{KeyPair, KeyType};
use runtime::Scope;
use store::StoreError;

use crate::authority::Core;
use crate::certs::{HostWish, issue_host};
use crate::error::Error;
use crate::host::Host;
use crate::janitor::{self, Hearing};
use crate::keys::Keys;
use crate::rules::FAMILIES;
use crate::screens;
use crate::tls::Shown;

/// Starts every job in `scope`.
pub(crate) fn start(core: &Arc<Core>, shown: &Arc<Shown>, scope: &Scope) {
    for family in FAMILIES.into_iter().chain(["cas"]) {
        scope.spawn("follow changes", follow(core.clone(), family));
    }
    scope.spawn("housekeeping", housekeeping(core.clone()));
    scope.spawn("screen index", screens::run(core.clone()));
    scope.spawn("own certificate", renew_own(core.clone(), shown.clone()));
}

/// Reads rules (and keys) anew when they change, whoever changed them.
async fn follow(core: Arc<Core>, family: &'static str) {
    loop {
        let outcome = follow_once(&core, family).await;
        core.health.ran("policy feed", core.now(), outcome.map_err(|e| e.to_string()));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn follow_once(core: &Core, family: &'static str) -> Result<(), Error> {
    let from = core.db.store().range(&store::Range::under(family).limit(1)).await?.revision;
    let mut changes = core.db.store().watch(family, from).await?;
    reread(core, family).await?;
    loop {
        match changes.next().await {
            Ok(_) => reread(core, family).await?,
            Err(StoreError::Compacted(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn reread(core: &Core, family: &'static str) -> Result<(), Error> {
    if family == "cas" {
        core.keys.replace(Keys::load(&core.db, &core.vault).await?);
    }
    core.refresh_rules().await
}

async fn housekeeping(core: Arc<Core>) {
    let mut tick = tokio::time::interval(core.settings.times.housekeeping);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut hearing = Hearing::begin(core.now(), core.settings.times.live_session);
    loop {
        tick.tick().await;
        let swept = core.db.store().sweep().await.map(|_| ()).map_err(|e| e.to_string());
        core.health.ran("expiry sweep", core.now(), swept);
        // Locks that ended are gone from the rules only when someone looks.
        let fresh = core.refresh_rules().await.map_err(|e| e.to_string());
        core.health.ran("policy refresh", core.now(), fresh);
        let cleaned = match hearing.may_judge(core.now()) {
            true => janitor::sweep(&core).await,
            false => janitor::tell_rest(&core).await,
        };
        core.health.ran("recording janitor", core.now(), cleaned.map_err(|e| e.message));
    }
}

/// Shows a new certificate of the server's own when it is due. Looks at the clock often: it may jump, and a host that was
/// suspended slept through whatever was waited for.
async fn renew_own(core: Arc<Core>, shown: Arc<Shown>) {
    let mut tick = tokio::time::interval(core.settings.times.housekeeping);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = core.now();
        if shown.issued().is_some_and(|issued| !is_due(issued, now, core.settings.times.host_cert)) {
            continue;
        }
        let outcome = show_own(&core, &shown).map_err(|e| e.to_string());
        core.health.ran("own certificate", now, outcome);
    }
}

/// Whether a certificate has a third of its life left, or is of a time that has not come, since the clock went back.
fn is_due(issued: Timestamp, now: Timestamp, life: Duration) -> bool {
    now < issued || now.since(issued) >= life / 3 * 2
}

/// Issues the server's own certificate over a key that never leaves this process.
pub(crate) fn show_own(core: &Core, shown: &Shown) -> Result<(), Error> {
    let now = core.now();
    let key = KeyPair::generate(KeyType::EcdsaP256, &core.random.bytes::<32>())?;
    let ssh = KeyPair::generate(KeyType::Ed25519, &core.random.bytes::<32>())?;
    let host = Host {
        id: core.settings.host_id.clone(),
        name: core.settings.host_name.clone(),
        roles: [SystemRole::Auth].into(),
        labels: model::Labels::new(),
        tls_key: String::new(),
        earlier_key: None,
        expires: now + core.settings.times.host_cert,
    };
    let wish = HostWish {
        host: &host,
        principals: &core.settings.public_names,
        ssh_key: &pki::Signer::ssh_public(&ssh).to_string(),
        tls_key_pem: &key.spki_pem(),
    };
    let (certs, _) = issue_host(core, &wish).map_err(|refusal| Error::Setting(refusal.message))?;
    let key_pem = key.to_pkcs8_pem()?;
    shown.replace(&certs.tls_cert_pem, &key_pem, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_in_its_last_third_and_when_the_clock_went_back() {
        let (issued, hour) = (Timestamp::from_secs(1_000_000), Duration::from_secs(3600));

        for (now, due) in [
            (issued, false),
            (issued + hour, false),
            (issued + hour * 2, true),
            (issued + hour * 300, true),
            (issued - hour, true),
        ] {
            assert_eq!(is_due(issued, now, hour * 3), due, "{now}");
        }
    }
}
