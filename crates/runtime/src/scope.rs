//! Structured concurrency: a scope owns its tasks, and no task outlives its scope.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::causes::Causes;
use crate::lane::{Lane, Laned, Work};
use crate::seldom::Seldom;

/// What made a service stop before it was asked to.
#[derive(Debug)]
pub struct Fault(Box<dyn std::error::Error + Send + Sync>);

impl Fault {
    /// Wraps the reason.
    pub fn new(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Causes(&*self.0).fmt(f)
    }
}

impl std::error::Error for Fault {}

/// Something that runs until its scope is cancelled.
pub trait Service {
    /// Its name in logs and status.
    const NAME: &'static str;
    /// Runs. Returns `Ok` when `scope` was cancelled and everything is flushed.
    fn run(self, scope: Scope) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// Owns tasks. Cloning gives another handle to the same scope; children end with their parent.
///
/// A scope made by [`Scope::child`] ends its tasks when its last handle is dropped *outside* its own tasks, or when
/// it or its parent is cancelled. Tasks are aborted at their next await only through [`Scope::drain`]'s grace or by
/// watching [`Scope::cancelled`]; `spawn` does the watching for you.
#[derive(Clone)]
pub struct Scope(Arc<Inner>);

struct Inner {
    name: String,
    token: CancellationToken,
    tasks: TaskTracker,
    lane: Option<Lane>,
    _guard: DropGuard,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({}, {} tasks)", self.0.name, self.0.tasks.len())
    }
}

impl Scope {
    /// A scope without a parent: one for each process, one for each test.
    #[must_use]
    pub fn root(name: &str) -> Self {
        Self::with(name, CancellationToken::new(), TaskTracker::new(), None)
    }

    fn with(name: &str, token: CancellationToken, tasks: TaskTracker, lane: Option<Lane>) -> Self {
        let guard = token.clone().drop_guard();
        Self(Arc::new(Inner { name: name.to_owned(), token, tasks, lane, _guard: guard }))
    }

    /// A fresh root whose tasks, and whose children's, move to `lane` while they keep a core busy.
    #[must_use]
    pub fn beside(self, lane: &Lane) -> Self {
        Self::with(&self.0.name, CancellationToken::new(), TaskTracker::new(), Some(lane.clone()))
    }

    /// A fresh root that shares this one's second lane: for what outlives this one's cancellation, by a grace.
    #[must_use]
    pub fn apart(&self, name: &str) -> Self {
        Self::with(name, CancellationToken::new(), TaskTracker::new(), self.0.lane.clone())
    }

    /// A scope that ends with this one, or earlier. Its tasks count as this one's too.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self::with(name, self.0.token.child_token(), self.0.tasks.clone(), self.0.lane.clone())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Runs `work` as a task of this scope. It is dropped at its next await once the scope is cancelled; work that
    /// must tidy up takes a handle and watches [`Scope::cancelled`] itself through [`Scope::spawn_graceful`].
    pub fn spawn<F>(&self, name: &'static str, work: F) -> tokio::task::JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let token = self.0.token.clone();
        self.launch(name, until_cancelled(token, work))
    }

    /// As [`Scope::spawn`], in the second lane from the start where there is one: for what opens the descriptors that
    /// busy work will use, so that one lane's threads need not wake the other's.
    pub fn spawn_aside<F>(&self, name: &'static str, work: F) -> tokio::task::JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let Some(Lane(lane)) = &self.0.lane else { return self.spawn(name, work) };
        let token = self.0.token.clone();
        lane.spawn(self.tracked(name, until_cancelled(token, work)))
    }

    /// Runs `work` to its own end: it must watch [`Scope::cancelled`] and finish soon after.
    pub fn spawn_graceful<F>(&self, name: &'static str, work: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.launch(name, work)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where tasks are born")]
    fn launch<F>(&self, name: &'static str, work: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let work = self.tracked(name, work);
        match &self.0.lane {
            Some(lane) => tokio::spawn(Laned::new(work, lane.clone())),
            None => tokio::spawn(work),
        }
    }

    fn tracked<F: Future + Send + 'static>(&self, name: &'static str, work: F) -> Work<F::Output> {
        let span = tracing::debug_span!("task", name);
        if span.is_disabled() {
            return Box::pin(self.0.tasks.track_future(work));
        }
        Box::pin(self.0.tasks.track_future(work.instrument(span)))
    }

    /// Asks every task to end. Returns at once.
    pub fn cancel(&self) {
        self.0.token.cancel();
    }

    /// True once asked to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// Waits until asked to end.
    pub async fn cancelled(&self) {
        self.0.token.cancelled().await;
    }

    /// A token that is cancelled with this scope, for code that knows nothing of scopes.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.0.token.clone()
    }

    /// How many tasks of this root (and all its children) are alive.
    #[must_use]
    pub fn alive(&self) -> usize {
        self.0.tasks.len()
    }

    /// Cancels and waits up to `grace` for every task of the root to end. Says whether all did.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.cancel();
        self.0.tasks.close();
        tokio::time::timeout(grace, self.0.tasks.wait()).await.is_ok()
    }
}

/// Runs `work` until it is done or `token` cancelled; done first where both are.
async fn until_cancelled<F: Future>(token: CancellationToken, work: F) -> Option<F::Output> {
    if token.is_cancelled() {
        return None;
    }
    let cancelled = pin!(token.cancelled());
    let mut cancelled = Seldom::new(cancelled);
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Pin::new(&mut cancelled).poll(cx).map(|()| None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn cancelling_the_root_ends_every_child() {
        let root = Scope::root("test");
        let child = root.child("session");
        child.spawn("forever", std::future::pending::<()>());
        assert_eq!(root.alive(), 1);

        assert!(root.drain(Duration::from_secs(5)).await);
        assert_eq!(root.alive(), 0);
    }

    #[tokio::test]
    async fn dropping_a_child_ends_its_tasks_and_leaves_its_siblings() {
        let root = Scope::root("test");
        let child = root.child("a");
        let task = child.spawn("forever", std::future::pending::<()>());
        let sibling = root.spawn("sibling", std::future::pending::<()>());

        drop(child);

        assert!(task.await.is_ok_and(|out| out.is_none()));
        assert!(!sibling.is_finished());
    }

    #[tokio::test]
    async fn graceful_work_may_finish_after_cancellation() {
        let root = Scope::root("test");
        let done = Arc::new(AtomicBool::new(false));
        let (flag, scope) = (done.clone(), root.child("flush"));
        root.spawn_graceful("flush", async move {
            scope.cancelled().await;
            flag.store(true, Ordering::SeqCst);
        });

        assert!(root.drain(Duration::from_secs(5)).await);
        assert!(done.load(Ordering::SeqCst));
    }
}
