//! A node's labels: those of its token, of its file and of commands; replaced as a whole on SIGHUP.

use std::sync::{Arc, Mutex, PoisonError};

use ::node::labels::CommandLabel;
use runtime::Scope;
use tokio::sync::watch;

/// The labels now. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Labels(Arc<Inner>);

struct Inner {
    tell: watch::Sender<model::Labels>,
    given: model::Labels,
    scope: Scope,
    current: Mutex<Option<Scope>>,
}

impl Labels {
    /// Keeps the labels of `config` current, with those `given` by the token below them.
    pub(crate) async fn keep(config: &config::Ssh, given: &model::Labels, scope: &Scope) -> Self {
        let labels = Self(Arc::new(Inner {
            tell: watch::Sender::new(given.clone()),
            given: given.clone(),
            scope: scope.clone(),
            current: Mutex::default(),
        }));
        labels.replace(config).await;
        labels
    }

    /// Watches them.
    pub(crate) fn watch(&self) -> watch::Receiver<model::Labels> {
        self.0.tell.subscribe()
    }

    /// Takes the labels of another configuration.
    pub(crate) async fn replace(&self, config: &config::Ssh) {
        let mut fixed = self.0.given.clone();
        fixed.extend(config.labels.clone());
        let commands = config.commands.iter().map(|(name, label)| CommandLabel {
            name: name.clone(),
            command: label.command.clone(),
            period: label.period.0,
        });
        let scope = self.0.scope.child("labels");
        let mut kept = ::node::labels::keep(fixed, commands.collect(), &scope).await;
        let inner = self.0.clone();
        self.0.tell.send_replace(kept.borrow_and_update().clone());
        scope.spawn("labels", async move {
            while kept.changed().await.is_ok() {
                inner.tell.send_replace(kept.borrow_and_update().clone());
            }
        });
        let old = self.0.current.lock().unwrap_or_else(PoisonError::into_inner).replace(scope);
        if let Some(old) = old {
            old.cancel();
        }
    }
}
