//! Answers that are still being made: a connection is not closed under them.

use std::time::Duration;

use tokio::sync::watch;

/// Counts the answers of one connection that are still being made: it is not closed under them.
#[derive(Clone)]
pub(crate) struct Streams(watch::Sender<usize>);

impl Default for Streams {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Streams {
    /// One more; it counts until what is given is dropped.
    pub(crate) fn enter(&self) -> Streaming {
        self.0.send_modify(|n| *n += 1);
        Streaming(self.clone())
    }

    /// None has been under way for `length`.
    pub(crate) async fn quiet_for(&self, length: Duration) {
        let mut count = self.0.subscribe();
        loop {
            if count.wait_for(|n| *n == 0).await.is_err() {
                return;
            }
            if tokio::time::timeout(length, count.wait_for(|n| *n > 0)).await.is_err() {
                return;
            }
        }
    }
}

/// An answer that is being made.
pub(crate) struct Streaming(Streams);

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.0.send_modify(|n| *n = n.saturating_sub(1));
    }
}
