//! Audit events as whoever has one hands them over: to wait until the authority has it, until it is durable, or for nothing
//! but room. What becomes of them is [`crate::sender`]'s.

use std::time::Duration;

use model::api::audit::AuditEvent;
use tokio::sync::{mpsc, oneshot};

/// Events waiting for the sender. Full means that whoever has an event waits. So many may also wait for their turn with
/// the authority; one that comes then is refused.
pub(crate) const QUEUE: usize = 1024;
/// How long an event that has to be with the authority may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where an event has to be before its caller goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// With the authority.
    Authority,
    /// With the authority, or on this host's disk.
    Durable,
}

/// An event, and who waits for it.
pub(crate) struct Item {
    pub(crate) event: AuditEvent,
    pub(crate) want: Want,
    ack: oneshot::Sender<Result<(), String>>,
    /// Goes with what comes next.
    pub(crate) patient: bool,
}

impl Item {
    /// Nothing comes of it any more: it had to be with the authority, and whoever wanted that gave up.
    pub(crate) fn is_void(&self) -> bool {
        self.want == Want::Authority && self.ack.is_closed()
    }
}

/// Hands events to the sender. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Events(mpsc::Sender<Item>);

impl Events {
    /// The queue, and its end for the one sender.
    pub(crate) fn queue() -> (Self, mpsc::Receiver<Item>) {
        let (to, from) = mpsc::channel(QUEUE);
        (Self(to), from)
    }

    /// Hands an event over and waits until it is where it has to be: with the authority after [`PATIENCE`] or not at all.
    pub(crate) async fn put(&self, event: AuditEvent, want: Want) -> Result<(), String> {
        let (ack, answer) = oneshot::channel();
        let item = Item { event, want, ack, patient: false };
        let put = async move {
            self.0.send(item).await.map_err(|_| "the service is stopping".to_owned())?;
            answer.await.unwrap_or_else(|_| Err("the service is stopping".to_owned()))
        };
        match want {
            Want::Durable => put.await,
            Want::Authority => tokio::time::timeout(PATIENCE, put)
                .await
                .unwrap_or_else(|_| Err("the authority did not acknowledge it in time".to_owned())),
        }
    }

    /// Hands an event over; waits only for room in the queue. What comes out knows when the event is durable.
    pub(crate) async fn note(&self, event: AuditEvent) -> Noted {
        self.hand_over(event, false).await
    }

    /// The same for an event that others are likely to follow at once, for which somebody waits: it is sent with them,
    /// and by itself only where none come. They would have to wait until a call of its own is answered.
    pub(crate) async fn note_ahead(&self, event: AuditEvent) -> Noted {
        self.hand_over(event, true).await
    }

    async fn hand_over(&self, event: AuditEvent, patient: bool) -> Noted {
        let (ack, answer) = oneshot::channel();
        let item = Item { event, want: Want::Durable, ack, patient };
        if self.0.send(item).await.is_err() {
            tracing::error!("an audit event came after the service had stopped");
        }
        Noted(answer)
    }
}

/// An event on its way.
pub(crate) struct Noted(oneshot::Receiver<Result<(), String>>);

impl Noted {
    /// Waits until the event, and each one before it, is with the authority or on this host's disk; false when it was
    /// lost.
    pub(crate) async fn durable(self) -> bool {
        self.0.await.is_ok_and(|outcome| outcome.is_ok())
    }
}

/// Tells who waits for these what became of them.
pub(crate) fn answer(batch: impl IntoIterator<Item = Item>, outcome: &Result<(), String>) {
    for item in batch {
        // Nobody may be waiting for it.
        drop(item.ack.send(outcome.clone()));
    }
}
