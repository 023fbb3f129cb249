//! Whether a host may have a tunnel, beside what its certificate says: the certificate outlives the place it was given
//! for.
//!
//! Who is kept out, and why, is told from outside ([`Judge`]). What follows from it is here and in whoever waits for
//! it: no tunnel, no connection for a single stream, and an end to what there is.

use std::sync::Arc;

use model::Identity;
use tokio::sync::watch;

/// Says why a host is kept out; `None` of one that may come in.
pub type Judge = Arc<dyn Fn(&Identity) -> Option<String> + Send + Sync>;

/// Keeps nobody out.
pub(crate) fn nobody() -> Judge {
    Arc::new(|_| None)
}

/// One host's standing, as it changes.
#[derive(Clone)]
pub(crate) struct Standing {
    host: Arc<Identity>,
    judge: watch::Receiver<Judge>,
}

impl Standing {
    pub(crate) fn new(host: Identity, judge: watch::Receiver<Judge>) -> Self {
        Self { host: Arc::new(host), judge }
    }

    /// Why the host is kept out, as far as is known now.
    pub(crate) fn lost(&self) -> Option<String> {
        let judge = self.judge.borrow().clone();
        judge(&self.host)
    }

    /// Ready once the host is kept out, with the reason. Cancel-safe.
    pub(crate) async fn until_lost(mut self) -> String {
        loop {
            let judge = self.judge.borrow_and_update().clone();
            if let Some(why) = judge(&self.host) {
                return why;
            }
            if self.judge.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
