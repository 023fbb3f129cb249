//! The rules as the authority has them: followed while it is there, kept while it is not.
//!
//! The last snapshot is on disk too, so that a service that starts while the authority is down still decides. How
//! old the rules are is always visible: [`Feed::stale_since`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Timestamp;
use model::api::cluster::{PolicySnapshot, WatchPolicy};
use runtime::{Clock, Fault, Health, Random, Scope, Service};
use tokio::sync::watch;

use crate::call::Client;
use crate::error::CallError;
use crate::files;
use crate::link::backoff;

const MAX: u64 = 64 * 1024 * 1024;
const JOB: &str = "policy watch";

/// The rules as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// The latest snapshot; `None` until there was one.
    pub snapshot: Option<Arc<PolicySnapshot>>,
    /// Since when nothing has been heard; `None` while the authority is followed.
    pub stale_since: Option<Timestamp>,
}

/// Follows the rules.
pub struct Follower {
    client: Client,
    clock: Clock,
    random: Random,
    health: Health,
    kept_at: PathBuf,
    feed: watch::Sender<Feed>,
}

/// Kept on disk.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    heard: Timestamp,
    snapshot: PolicySnapshot,
}

impl Follower {
    /// A follower that keeps the last snapshot in `<data_dir>/policy.json`. The receiver has what was kept at once.
    #[must_use]
    pub fn new(
        client: Client,
        data_dir: &Path,
        clock: Clock,
        random: Random,
        health: Health,
    ) -> (Self, watch::Receiver<Feed>) {
        let kept_at = data_dir.join("policy.json");
        let start = files::read(&kept_at, MAX)
            .ok()
            .flatten()
            .and_then(|text| serde_json::from_str::<Kept>(&text).ok())
            .map(|kept| Feed { snapshot: Some(Arc::new(kept.snapshot)), stale_since: Some(kept.heard) })
            .unwrap_or_else(|| Feed { snapshot: None, stale_since: Some(clock.now()) });
        let (feed, receiver) = watch::channel(start);
        (Self { client, clock, random, health, kept_at, feed }, receiver)
    }

    async fn follow(&self) -> Result<(), CallError> {
        let mut snapshots = self.client.stream(&WatchPolicy {}).await?;
        while let Some(snapshot) = snapshots.next().await? {
            self.keep(&snapshot).await;
            self.health.ran(JOB, self.clock.now(), Ok(()));
            let snapshot = Some(Arc::new(snapshot));
            self.feed.send_replace(Feed { snapshot, stale_since: None });
        }
        Ok(())
    }

    /// A disk that fails costs the copy, not the rules.
    async fn keep(&self, snapshot: &PolicySnapshot) {
        let kept = Kept { heard: self.clock.now(), snapshot: snapshot.clone() };
        let path = self.kept_at.clone();
        let written = tokio::task::spawn_blocking(move || {
            let text = serde_json::to_vec(&kept)?;
            files::replace(&path, &text)
        });
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, path = %self.kept_at.display(), "the rules cannot be kept on disk");
        }
    }

    fn lost(&self) {
        let now = self.clock.now();
        self.feed.send_if_modified(|feed| {
            let first = feed.stale_since.is_none();
            if first {
                feed.stale_since = Some(now);
            }
            first
        });
    }
}

impl Service for Follower {
    const NAME: &'static str = "policy watch";

    async fn run(self, scope: Scope) -> Result<(), Fault> {
        let token = scope.token();
        let mut failures = 0;
        loop {
            let Some(outcome) = token.run_until_cancelled(self.follow()).await else { return Ok(()) };
            let heard = self.feed.borrow().stale_since.is_none();
            failures = if heard { 1 } else { u32::saturating_add(failures, 1) };
            self.lost();
            let why =
                outcome.err().map_or_else(|| "the authority ended the stream".to_owned(), |e| e.to_string());
            self.health.ran(JOB, self.clock.now(), Err(why));
            let pause = tokio::time::sleep(backoff(failures, &self.random));
            if token.run_until_cancelled(pause).await.is_none() {
                return Ok(());
            }
        }
    }
}
