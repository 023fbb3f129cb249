//! Tells the authority which sessions live: at their start, every 30 s, and at their end.
//!
//! Best effort: what is missed is repeated by the next round, and the authority forgets a session 90 s after the last
//! word. At most [`AT_ONCE`] announcements are on their way at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use model::api::access::TrackSession;
use runtime::Scope;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::shared::Shared;
use crate::told::alive;

const EVERY: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 8;
/// Starts and ends waiting to be told. Full: dropped, and the next round or the authority's patience makes it good.
pub(crate) const QUEUE: usize = 1024;

/// Announces until the scope is cancelled.
pub(crate) async fn run(shared: Arc<Shared>, mut news: mpsc::Receiver<TrackSession>, scope: Scope) {
    let mut round = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut batch = Vec::new();
        // Cancel safe: recv_many takes nothing unless it returns.
        tokio::select! {
            () = scope.cancelled() => return,
            n = news.recv_many(&mut batch, QUEUE) => if n == 0 { return },
            _ = round.tick() => batch.extend(shared.live().iter().map(|slot| alive(&slot.ledger))),
        }
        let telling =
            stream::iter(last_words(batch)).for_each_concurrent(AT_ONCE, |word| tell(shared.clone(), word));
        if scope.token().run_until_cancelled(telling).await.is_none() {
            return;
        }
    }
}

/// The last word on each session: several are on their way at a time, and one that is over must not be called alive
/// after that.
fn last_words(batch: Vec<TrackSession>) -> impl Iterator<Item = TrackSession> {
    let words: BTreeMap<_, _> = batch.into_iter().map(|word| (word.id.clone(), word)).collect();
    words.into_values()
}

async fn tell(shared: Arc<Shared>, word: TrackSession) {
    match tokio::time::timeout(DEADLINE, shared.authority.track(word)).await {
        Ok(Ok(())) => {}
        Ok(Err(trouble)) => tracing::debug!(%trouble, "a live session was not announced"),
        Err(_) => tracing::debug!("a live session was not announced in time"),
    }
}
