//! The rules in force, as one value that is replaced whole: what the gate asks and what every service follows.

use std::sync::Arc;

use model::SessionId;
use model::api::access::EndSession;
use model::api::cluster::{PolicySnapshot, RemovedHost};
use model::resource::{Lock, Role};
use store::Range;
use tokio::sync::watch;

use crate::db::Db;
use crate::error::Error;
use crate::keys::Keys;
use crate::settings::Settings;

/// The family of hosts that were removed while their certificates are good.
pub(crate) const REMOVED: &str = "removed";

/// Families whose change changes the rules.
pub(crate) const FAMILIES: [&str; 5] = ["roles", "locks", "ends", "watched", REMOVED];

/// The rules at one revision: as told to others, and prepared for asking.
pub(crate) struct Rules {
    snapshot: PolicySnapshot,
    prepared: policy::Rules,
}

impl Rules {
    pub(crate) async fn load(db: &Db, keys: &Keys, settings: &Settings) -> Result<Self, Error> {
        // Taken before reading: whatever changes while we read is seen again by the watch that starts here.
        let revision = db.store().range(&Range::under("roles").limit(1)).await?.revision;
        let roles = db.all::<Role>("roles").await?.into_iter().map(|(_, d)| d.value).collect();
        let locks = db.all::<Lock>("locks").await?.into_iter().map(|(_, d)| d.value).collect();
        let end_sessions = db.all::<EndSession>("ends").await?.into_iter().map(|(_, d)| d.value).collect();
        let watched = db.all::<SessionId>("watched").await?.into_iter().map(|(_, d)| d.value).collect();
        let removed = db.all::<RemovedHost>(REMOVED).await?.into_iter().map(|(_, d)| d.value).collect();
        let snapshot = PolicySnapshot {
            revision,
            roles,
            locks,
            trust: keys.bundle().clone(),
            config: settings.cluster.clone(),
            end_sessions,
            watched,
            removed,
        };
        let prepared = policy::Rules::from_snapshot(&snapshot);
        Ok(Self { snapshot, prepared })
    }

    pub(crate) fn snapshot(&self) -> &PolicySnapshot {
        &self.snapshot
    }

    pub(crate) fn rules(&self) -> &policy::Rules {
        &self.prepared
    }

    /// True when both say the same, whenever they were taken.
    fn says_the_same(&self, other: &Self) -> bool {
        let revision = self.snapshot.revision;
        self.snapshot == PolicySnapshot { revision, ..other.snapshot.clone() }
    }
}

/// The rules now, and after each change.
pub(crate) struct RuleFeed(watch::Sender<Arc<Rules>>);

impl RuleFeed {
    pub(crate) fn new(rules: Rules) -> Self {
        Self(watch::Sender::new(Arc::new(rules)))
    }

    pub(crate) fn now(&self) -> Arc<Rules> {
        self.0.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Rules>> {
        self.0.subscribe()
    }

    /// Reads them anew: after every write of ours before it is answered, and when another server's is seen.
    pub(crate) async fn refresh(&self, db: &Db, keys: &Keys, settings: &Settings) -> Result<(), Error> {
        let fresh = Rules::load(db, keys, settings).await?;
        self.0.send_if_modified(|old| {
            let newer = fresh.snapshot.revision >= old.snapshot.revision && !fresh.says_the_same(old);
            if newer {
                *old = Arc::new(fresh);
            }
            newer
        });
        Ok(())
    }
}
