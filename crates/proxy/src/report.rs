//! Tells the authority which agents have a tunnel here: at once when that changes, at once when the connection that
//! carried the last report is gone, and every ten seconds.
//!
//! A report is whole; a lost one is made good by the next. Reports never queue: while one is under way the next state
//! is whatever it is by then. The authority takes a proxy whose connection ended for dead unless it soon hears again.

use std::time::Duration;

use model::api::nodes::{ReportTunnels, TunnelState};
use tokio::sync::watch;
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
    /// Changes whenever a connection that may have carried a report is gone.
    fn lost(&self) -> watch::Receiver<u64>;
}

impl Report for client::Client {
    fn tunnels(&self, tunnels: Vec<TunnelState>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(
            async move { self.call(&ReportTunnels { tunnels }).await.map(|_| ()).map_err(|e| e.to_string()) },
        )
    }

    fn lost(&self) -> watch::Receiver<u64> {
        client::Client::lost(self)
    }
}

/// Reports until dropped.
pub(crate) async fn keep_reporting(registry: Registry, report: &dyn Report) {
    let (mut changed, mut lost) = (registry.watch(), report.lost());
    let mut failing = false;
    loop {
        changed.mark_unchanged();
        lost.mark_unchanged();
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
        // Cancel safe: a change that is not seen here is seen by the next look.
        let news = async {
            tokio::select! {
                _ = changed.changed() => {}
                _ = lost.changed() => {}
            }
        };
        let _ = tokio::time::timeout(pause, news).await;
        tokio::time::sleep(GATHER).await;
    }
}

#[cfg(test)]
mod tests {
    use runtime::Random;
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    struct Told {
        reports: mpsc::Sender<Vec<TunnelState>>,
        lost: watch::Sender<u64>,
    }

    impl Report for Told {
        fn tunnels(&self, tunnels: Vec<TunnelState>) -> BoxFuture<'_, Result<(), String>> {
            Box::pin(async move { self.reports.send(tunnels).await.map_err(|e| e.to_string()) })
        }

        fn lost(&self) -> watch::Receiver<u64> {
            self.lost.subscribe()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_followed_by_a_report_at_once() {
        let (reports, mut heard) = mpsc::channel(1);
        let told = Told { reports, lost: watch::Sender::default() };
        let look = async {
            heard.recv().await.unwrap();
            let before = Instant::now();
            told.lost.send_modify(|n| *n += 1);
            heard.recv().await.unwrap();
            let after = before.elapsed();
            heard.recv().await.unwrap();
            (after, before.elapsed() - after)
        };

        let (at_once, usual) = tokio::select! {
            () = keep_reporting(Registry::new(Random::seeded(1)), &told) => (EVERY, EVERY),
            found = look => found,
        };

        assert!(at_once < AGAIN, "{at_once:?}");
        assert!(usual >= EVERY, "{usual:?}");
    }
}
