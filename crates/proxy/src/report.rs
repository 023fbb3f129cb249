//! Tells the authority which agents have a tunnel here: at once when that changes, and every ten seconds.
//!
//! A report is whole; a lost one is made good by the next. Reports never queue: while one is under way the next state
//! is whatever it is by then.

use std::time::Duration;

use model::api::nodes::{ReportTunnels, TunnelState};
use tunnel::Registry;

use crate::BoxFuture;

const EVERY: Duration = Duration::from_secs(10);

/// Changes within this time are told together.
const GATHER: Duration = Duration::from_millis(100);

/// After a failed report.
const AGAIN: Duration = Duration::from_secs(1);

const DEADLINE: Duration = Duration::from_secs(10);

/// Takes reports to the authority.
pub trait Report: Send + Sync + 'static {
    /// Every tunnel there is now.
    fn tunnels(&self, tunnels: Vec<TunnelState>) -> BoxFuture<'_, Result<(), String>>;
}

impl Report for client::Client {
    fn tunnels(&self, tunnels: Vec<TunnelState>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(
            async move { self.call(&ReportTunnels { tunnels }).await.map(|_| ()).map_err(|e| e.to_string()) },
        )
    }
}

/// Reports until dropped.
pub(crate) async fn keep_reporting(registry: Registry, report: &dyn Report) {
    let mut changed = registry.watch();
    let mut failing = false;
    loop {
        changed.mark_unchanged();
        let outcome = tokio::time::timeout(DEADLINE, report.tunnels(registry.list())).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}")));
        let pause = match &outcome {
            Ok(()) => EVERY,
            Err(_) => AGAIN,
        };
        if let Err(why) = &outcome
            && !failing
        {
            tracing::warn!(%why, "the authority does not hear which agents are connected");
        }
        failing = outcome.is_err();
        let _ = tokio::time::timeout(pause, changed.changed()).await;
        tokio::time::sleep(GATHER).await;
    }
}
