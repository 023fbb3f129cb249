//! What the services of this room share, and the steps of a session's life that touch all of them.
//!
//! The map of live sessions is locked for copies only, never across an await.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use audit::PublicKey;
use audit::event::{self, Event, Stamp, kinds};
use audit::recording::GapReason;
use model::api::access::TrackSession;
use model::api::audit::AuditEvent;
use model::{RequestId, SessionId, Timestamp};
use runtime::{Clock, Health, Random, Scope};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::about::{About, EndReason, Ledger, Outcome, ServerFacts, Taken, Terms, View};
use crate::authority::Authority;
use crate::backlog::Uploads;
use crate::disk::in_words;
use crate::events::{Events, Noted};
use crate::shard::{SHARDS, Shard};
use crate::slot::Slot;
use crate::spool::Spool;
use crate::told::{alive, end_events, over};

/// What the shared services share.
pub(crate) struct Shared {
    pub(crate) authority: Arc<dyn Authority>,
    pub(crate) spool: Spool,
    pub(crate) clock: Clock,
    pub(crate) health: Health,
    pub(crate) uploads: Uploads,
    pub(crate) opened: Notify,
    pub(crate) view: watch::Receiver<Arc<View>>,
    pub(crate) random: Random,
    pub(crate) server: ServerFacts,
    pub(crate) live: Mutex<BTreeMap<SessionId, Arc<Slot>>>,
    pub(crate) events: Events,
    pub(crate) news: mpsc::Sender<TrackSession>,
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) scope: Scope,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    /// Every live session.
    pub(crate) fn live(&self) -> Vec<Arc<Slot>> {
        self.map().values().cloned().collect()
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Arc<Slot>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when no session lives.
    pub(crate) fn is_quiet(&self) -> bool {
        self.map().is_empty()
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    pub(crate) fn audit_key(&self) -> Option<PublicKey> {
        self.view.borrow().audit_key
    }

    /// Makes a session's place in the spool. One that is not recorded has one too: after a crash its end can be told.
    pub(crate) async fn begin(&self, ledger: &Ledger) -> Result<(), String> {
        let (spool, ledger) = (self.spool.clone(), ledger.clone());
        let outcome = tokio::task::spawn_blocking(move || spool.begin(&ledger)).await;
        outcome.map_err(|e| e.to_string())?.map_err(|e| in_words(&e))
    }

    /// A place in the spool that no session took, or one that is of no more use.
    pub(crate) fn abandon(&self, id: &SessionId) {
        let (spool, id) = (self.spool.clone(), id.clone());
        drop(tokio::task::spawn_blocking(move || spool.forget(&id)));
    }

    /// Takes a session in among the live ones, and tells it at once when it may not go on.
    pub(crate) fn enter(&self, ledger: Ledger, terms: Terms, seat: Option<Taken>) -> Arc<Slot> {
        let id = ledger.id.clone();
        let recorder = self.shard_of(&id);
        let slot = Slot::new(ledger, terms, recorder, CancellationToken::new(), seat);
        self.map().insert(id, slot.clone());
        if !slot.terms.recording.off() {
            slot.stir(false);
        }
        self.opened.notify_one();
        // Full: the next round announces it.
        drop(self.news.try_send(alive(&slot.ledger)));
        // The service may have begun to stop, and the rules may have changed, since the permit was given.
        if self.scope.is_cancelled() {
            slot.end(EndReason::Stopping);
        }
        if let Err(reason) = slot.terms.still(&self.view(), self.clock.now()) {
            slot.end(reason);
        }
        slot
    }

    fn shard_of(&self, id: &SessionId) -> Arc<Shard> {
        let sum: usize = id.as_str().bytes().map(usize::from).sum();
        self.shards.get(sum % SHARDS).cloned().unwrap_or_default()
    }

    pub(crate) async fn no_seat(&self, about: &About, max: Option<u32>) -> Error {
        let reason = "max_sessions".to_owned();
        let event = kinds::SessionRejected {
            who: about.who(),
            server: self.server.server(),
            connection: about.connection(),
            reason,
            max: max.map(u64::from),
        };
        self.events.note(self.stamp(&event)).await;
        Error::Limit(format!("too many sessions over one connection (at most {})", max.unwrap_or_default()))
    }

    pub(crate) fn stamp<E: Event>(&self, event: &E) -> AuditEvent {
        let uid = RequestId::from_random(self.random.bytes());
        let stamp = Stamp { time: self.clock.now(), uid, cluster: &self.server.cluster, index: 0 };
        event::seal(event, &stamp)
    }

    /// A session's recording is closed: its last events, and nobody holds it any more. Gives the last of them.
    pub(crate) async fn closed(&self, slot: &Arc<Slot>) -> Noted {
        let outcome = slot.outcome().cloned().unwrap_or_default();
        let told = self.end_events(&slot.ledger, &outcome, Some(slot.totals()), self.clock.now()).await;
        drop(self.news.try_send(over(&slot.ledger)));
        self.map().remove(&slot.ledger.id);
        slot.settled.cancel();
        told
    }

    /// Tells a session's last events; gives the very last.
    pub(crate) async fn end_events(
        &self,
        ledger: &Ledger,
        outcome: &Outcome,
        moved: Option<(u64, u64)>,
        at: Timestamp,
    ) -> Noted {
        let (before, end) = end_events(ledger, outcome, moved, at);
        for event in before {
            self.events.note(event).await;
        }
        self.events.note(end).await
    }

    /// A session that is not recorded has its place in the spool until its end cannot be lost any more.
    pub(crate) async fn forget_when(&self, told: Noted, id: &SessionId) {
        if told.durable().await {
            self.abandon(id);
        }
    }

    /// Frames are missing from a recording.
    pub(crate) async fn gap(&self, slot: &Slot, reason: GapReason, frames: u64, bytes: u64) {
        let event = kinds::RecordingGap {
            who: slot.ledger.about.who(),
            server: self.server.server(),
            session: slot.ledger.session(),
            reason: reason.as_str().to_owned(),
            frames,
            bytes,
        };
        self.events.note(self.stamp(&event)).await;
    }
}
