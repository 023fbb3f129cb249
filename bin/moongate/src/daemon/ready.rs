//! Which services of the process are up: set by whoever runs them, read by `/readyz` and the start-up line.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// How a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not yet there, and what it waits for.
    Waiting(String),
    /// Serving.
    Ready,
}

/// The services by name. Cheap to clone; clones share.
#[derive(Clone, Debug)]
pub(crate) struct Readiness(Arc<watch::Sender<BTreeMap<&'static str, State>>>);

impl Readiness {
    /// Services that are all still to come.
    pub(crate) fn of(services: impl IntoIterator<Item = &'static str>) -> Self {
        let waiting = services.into_iter().map(|s| (s, State::Waiting("starting".into()))).collect();
        Self(Arc::new(watch::Sender::new(waiting)))
    }

    /// Says how a service is.
    pub(crate) fn set(&self, service: &'static str, state: State) {
        self.0.send_modify(|all| {
            all.insert(service, state);
        });
    }

    /// Every service.
    pub(crate) fn all(&self) -> BTreeMap<&'static str, State> {
        self.0.borrow().clone()
    }

    /// True when every service is up.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.borrow().values().all(|s| *s == State::Ready)
    }

    /// Waits until every service is up.
    pub(crate) async fn ready(&self) {
        let mut changes = self.0.subscribe();
        let _ = changes.wait_for(|all| all.values().all(|s| *s == State::Ready)).await;
    }
}
