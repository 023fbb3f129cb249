//! One HTTP/2 connection to the authority: dialed when first needed, shared by every call, dialed anew when it
//! breaks.
//!
//! At most one dial is under way; after a failed one the next waits (up to [`MAX_BACKOFF`], with jitter). Probes every
//! 15 s find a dead peer within 25 s.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::Response;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::{Random, Scope};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connect::{Connect, Route};
use crate::error::CallError;
use crate::request::Body;

/// The longest wait between two dials.
pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const PROBE: Duration = Duration::from_secs(15);
const PROBE_GRACE: Duration = Duration::from_secs(10);
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

pub(crate) struct Link {
    connect: Arc<dyn Connect>,
    scope: Scope,
    random: Random,
    // Held across the dial on purpose: it is what makes callers share one.
    state: tokio::sync::Mutex<State>,
    lost: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    live: Option<SendRequest<Body>>,
    failures: u32,
    not_before: Option<Instant>,
    generation: u64,
}

impl Link {
    pub(crate) fn new(connect: Arc<dyn Connect>, scope: Scope, random: Random) -> Self {
        Self { connect, scope, random, state: tokio::sync::Mutex::default(), lost: watch::Sender::default() }
    }

    /// Counts connections that have ended or were let go of.
    pub(crate) fn lost(&self) -> watch::Receiver<u64> {
        self.lost.subscribe()
    }

    /// Forgets the connection: streams on it go on, the next call dials.
    pub(crate) async fn hang_up(&self) {
        let mut state = self.state.lock().await;
        state.live = None;
        state.failures = 0;
        state.not_before = None;
        drop(state);
        self.lost.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Sends; once more on a new connection when the old one turns out to be gone before anything was sent.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, CallError> {
        let (mut sender, generation) = self.sender(0).await?;
        let mut failed = match sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let Some(unsent) = failed.take_message() else {
            return Err(CallError::Broken(runtime::causes(failed.error())));
        };
        let (mut sender, _) = self.sender(generation).await?;
        sender.send_request(unsent).await.map_err(|e| CallError::Broken(runtime::causes(&e)))
    }

    /// A live connection, other than the one numbered `broken`.
    async fn sender(&self, broken: u64) -> Result<(SendRequest<Body>, u64), CallError> {
        let mut state = self.state.lock().await;
        let usable = |state: &State| state.generation != broken;
        if let Some(live) = state.live.as_ref().filter(|l| usable(&state) && !l.is_closed()) {
            return Ok((live.clone(), state.generation));
        }
        state.live = None;
        if let Some(at) = state.not_before {
            tokio::time::sleep_until(at).await;
        }
        match self.dial().await {
            Ok(live) => {
                state.live = Some(live.clone());
                state.failures = 0;
                state.not_before = None;
                state.generation = state.generation.wrapping_add(1).max(1);
                Ok((live, state.generation))
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                state.not_before = Some(Instant::now() + backoff(state.failures, &self.random));
                Err(error)
            }
        }
    }

    async fn dial(&self) -> Result<SendRequest<Body>, CallError> {
        let stream = self.connect.connect(Route::Auth).await.map_err(CallError::Unreachable)?;
        let (sender, connection) = Builder::new(OnScope(self.scope.clone()))
            .timer(TokioTimer::new())
            .keep_alive_interval(PROBE)
            .keep_alive_timeout(PROBE_GRACE)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| CallError::Broken(runtime::causes(&e)))?;
        let lost = self.lost.clone();
        self.scope.spawn("authority connection", async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %runtime::causes(&error), "connection to the authority ended");
            }
            lost.send_modify(|n| *n = n.wrapping_add(1));
        });
        Ok(sender)
    }
}

/// Doubles from 100 ms to [`MAX_BACKOFF`], then half of it is left to chance.
pub(crate) fn backoff(failures: u32, random: &Random) -> Duration {
    let full = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(MAX_BACKOFF);
    let chance = u32::from(u16::from_le_bytes(random.bytes::<2>()));
    full / 2 + (full / 2).saturating_mul(chance) / u32::from(u16::MAX)
}

/// Runs HTTP/2's own tasks in our scope.
#[derive(Clone)]
struct OnScope(Scope);

impl<F> hyper::rt::Executor<F> for OnScope
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, work: F) {
        self.0.spawn("http/2", work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_are_never_nothing() {
        let random = Random::seeded(1);
        for failures in 0..200 {
            let full = FIRST_BACKOFF.saturating_mul(1 << failures.clamp(1, 11) >> 1).min(MAX_BACKOFF);
            let wait = backoff(failures, &random);
            assert!(wait >= full / 2 && wait <= MAX_BACKOFF, "{failures}: {wait:?}");
        }
    }
}
