//! A future that is looked at only when something happened to it.
//!
//! What waits for several things at once polls all of them whenever one wakes it. Most of them are rare (an end, a
//! deadline, a signal), and looking at each costs its locks and its code, which by then is in no cache: a keystroke
//! paid more for these looks than for its own bytes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future with a bell of its own: polled the first time, whenever it woke its task, and when the task's waker has
/// changed; otherwise it is pending without a look.
pub struct Seldom<F> {
    inner: F,
    bell: Option<Arc<Bell>>,
}

struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<F> fmt::Debug for Seldom<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seldom")
    }
}

impl<F> Seldom<F> {
    /// Takes the future.
    pub fn new(inner: F) -> Self {
        Self { inner, bell: None }
    }

    /// The future.
    pub fn get_ref(&self) -> &F {
        &self.inner
    }

    /// The future, to be changed: the next poll looks at it.
    pub fn get_mut(&mut self) -> &mut F {
        self.bell = None;
        &mut self.inner
    }
}

impl<F: Future + Unpin> Future for Seldom<F> {
    type Output = F::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match &self.bell {
            Some(bell) if !bell.rung.load(Ordering::Acquire) && bell.task.will_wake(cx.waker()) => {
                Poll::Pending
            }
            _ => self.look(cx),
        }
    }
}

impl<F: Future + Unpin> Seldom<F> {
    #[cold]
    fn look(&mut self, cx: &Context<'_>) -> Poll<F::Output> {
        let fresh = || Arc::new(Bell { rung: AtomicBool::new(false), task: cx.waker().clone() });
        let bell = self.bell.take().filter(|bell| bell.task.will_wake(cx.waker())).unwrap_or_else(fresh);
        // Before the look: whoever rings from here on has changed something that it may not see.
        bell.rung.swap(false, Ordering::AcqRel);
        let waker = Waker::from(bell.clone());
        let done = Pin::new(&mut self.inner).poll(&mut Context::from_waker(&waker));
        if done.is_pending() {
            self.bell = Some(bell);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    /// Counts how often it is looked at, and waits for `told`.
    fn counted<'a>(looks: &'a AtomicUsize, told: &'a Notify) -> impl Future<Output = ()> + 'a {
        let mut told = Box::pin(told.notified());
        poll_fn(move |cx| {
            looks.fetch_add(1, Ordering::Relaxed);
            told.as_mut().poll(cx)
        })
    }

    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_looked_at_only_when_it_rang_or_its_task_is_another() {
        let (looks, told) = (AtomicUsize::new(0), Notify::new());
        let seldom = pin!(counted(&looks, &told));
        let mut seldom = Seldom::new(seldom);
        let (task, other) = (Arc::new(Task(AtomicUsize::new(0))), Arc::new(Task(AtomicUsize::new(0))));
        let (waker, another) = (Waker::from(task.clone()), Waker::from(other.clone()));
        let mut poll = |waker: &Waker| Pin::new(&mut seldom).poll(&mut Context::from_waker(waker));

        for _ in 0..3 {
            assert!(poll(&waker).is_pending());
        }
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        for _ in 0..3 {
            assert!(poll(&another).is_pending());
        }
        assert_eq!(looks.load(Ordering::Relaxed), 2);

        told.notify_one();
        assert_eq!((task.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed)), (0, 1));
        assert!(poll(&another).is_ready());
        assert_eq!(looks.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_set_anew_is_looked_at_again() {
        use tokio::time::{Duration, Instant, sleep};

        let start = Instant::now();
        let mut seldom = Seldom::new(Box::pin(sleep(Duration::from_secs(3600))));
        assert!(poll_fn(|cx| Poll::Ready(Pin::new(&mut seldom).poll(cx))).await.is_pending());

        seldom.get_mut().as_mut().reset(start + Duration::from_secs(5));
        (&mut seldom).await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));

        seldom.get_mut().as_mut().reset(start + Duration::from_secs(9));
        (&mut seldom).await;
        assert_eq!(start.elapsed(), Duration::from_secs(9));
    }

    #[tokio::test]
    async fn one_that_rings_while_it_is_looked_at_is_looked_at_again() {
        let mut left = 3;
        let busy = poll_fn(|cx| {
            left -= 1;
            if left == 0 {
                return Poll::Ready("done");
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });

        assert_eq!(Seldom::new(busy).await, "done");
    }
}
