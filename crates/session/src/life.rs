//! An open session, from its start on record to its end.

use std::sync::Arc;

use audit::event::Event;
use model::SessionId;
use runtime::Scope;

use crate::about::{About, EndReason, Outcome};
use crate::shared::Shared;
use crate::slot::Slot;
use crate::tap::Tap;

/// An open session. Dropping it ends it, as lost.
#[derive(Debug)]
pub struct Session {
    tap: Tap,
    scope: Scope,
    shared: Arc<Shared>,
}

impl Session {
    pub(crate) fn new(tap: Tap, scope: Scope, shared: Arc<Shared>) -> Self {
        Self { tap, scope, shared }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.tap.0.ledger.id
    }

    /// What it is.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.tap.0.ledger.about
    }

    /// Takes its frames.
    #[must_use]
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Owns its tasks: they end with the session.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Resolves when it must stop, with the reason: show [`EndReason::public`]. Cancel safe.
    pub async fn ended(&self) -> EndReason {
        self.tap.ended().await
    }

    /// Emits an event of this session: who, where and which session are filled in by `make`.
    pub async fn emit<E: Event>(&self, make: impl FnOnce(&Facts) -> E) {
        let ledger = &self.tap.0.ledger;
        let facts = Facts {
            who: ledger.about.who(),
            server: ledger.server.server(),
            connection: ledger.about.connection(),
            session: ledger.session(),
        };
        self.shared.events.note(self.shared.stamp(&make(&facts))).await;
    }

    /// Ends it with what became of its process. Returns at once; the recording is closed and the last events are
    /// sent by the services. [`Closing::settled`] waits for that.
    pub fn finish(self, outcome: Outcome) -> Closing {
        let slot = self.tap.0.clone();
        slot.close(outcome);
        Closing { slot }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let slot = &self.tap.0;
        // After `finish` the first outcome stands.
        let lost = match slot.reason() {
            Some(reason) => Outcome::ended(reason),
            None => Outcome { reason: "the connection was lost".to_owned(), ..Outcome::default() },
        };
        slot.close(lost);
        slot.stop();
        self.scope.cancel();
        if slot.terms.recording.off() {
            let (shared, slot) = (self.shared.clone(), slot.clone());
            shared.clone().scope.spawn_graceful("close", async move {
                let told = shared.closed(&slot).await;
                shared.forget_when(told, &slot.ledger.id).await;
            });
        }
    }
}

/// A session on its way out.
#[derive(Debug)]
pub struct Closing {
    slot: Arc<Slot>,
}

impl Closing {
    /// Waits until the recording is closed and the last events are handed over.
    pub async fn settled(&self) {
        self.slot.settled.cancelled().await;
    }
}

/// The fields every event of a session has.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who.
    pub who: audit::event::Who,
    /// Where.
    pub server: audit::event::Server,
    /// Over which connection.
    pub connection: audit::event::Connection,
    /// In which session.
    pub session: audit::event::SessionRef,
}
