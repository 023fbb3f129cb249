//! Two lanes: a task that keeps a core busy goes on beside the others, so that what is short does not wait behind it.
//!
//! Where one set of threads runs copies and keystrokes, a keystroke waits twice: in the runtime's queue behind the
//! copies' turns, and at the kernel, to which these threads look like any busy loop. So the main lane times its tasks,
//! and one that is busy for a good part of a while moves to a second runtime with threads of a lower priority, until
//! it is quiet again. A task notices nothing; a descriptor it watches may follow it (`Handle::current` has changed).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// How long a task is watched before its share of a core is looked at.
const WHILE: Duration = Duration::from_millis(20);
/// It moves aside when it was busy for more than one part in so many.
const BUSY: u32 = 5;
/// It comes back when it was busy for less than one part in so many.
const QUIET: u32 = 50;
/// What the second lane's threads add to their niceness (`setpriority(2)`): about 0.4 of a usual thread's share, and
/// only where the processors are short.
const NICENESS: i32 = 4;
/// The name of the second lane's threads, as `ps -L` and the tests see it.
const NAME: &str = "aside";

/// The second lane: a runtime of its own. Must be made and ended outside any runtime, and ended after the main one.
#[derive(Debug)]
pub struct Aside(Runtime);

impl Aside {
    /// Starts its threads, one for each core.
    ///
    /// # Errors
    /// The system gives no threads or no descriptors.
    pub fn start() -> io::Result<Self> {
        // Where the system refuses, the lane is of the usual priority: only less of a lane.
        let yielding = || rustix::process::setpriority_process(None, NICENESS).unwrap_or_default();
        Builder::new_multi_thread().thread_name(NAME).on_thread_start(yielding).enable_all().build().map(Self)
    }

    /// What [`Scope::beside`](crate::Scope::beside) takes.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane(self.0.handle().clone())
    }

    /// Ends it: what still runs is dropped, what blocks is waited for up to `grace`.
    pub fn end(self, grace: Duration) {
        self.0.shutdown_timeout(grace);
    }
}

/// A way to the second lane.
#[derive(Debug, Clone)]
pub struct Lane(pub(crate) Handle);

/// A task's work. Of one type for each output: the runtime's code for a task is made once, not for each place.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Work that is polled in the main lane, or waits for its end in the other.
pub(crate) struct Laned<T> {
    at: At<T>,
    lane: Lane,
}

enum At<T> {
    Here(Work<T>, Meter),
    Aside(Ending<Result<T, Work<T>>>),
    Over,
}

impl<T> Laned<T> {
    pub(crate) fn new(work: Work<T>, lane: Lane) -> Self {
        Self { at: At::Here(work, Meter::default()), lane }
    }
}

impl<T: Send + 'static> Future for Laned<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // The usual turn touches nothing but the work and its meter.
        if let At::Here(work, meter) = &mut self.at {
            let done = meter.poll(work, cx);
            if done.is_ready() {
                self.at = At::Over;
                return done;
            }
            if !meter.busy() {
                return Poll::Pending;
            }
        }
        self.elsewhere(cx)
    }
}

impl<T: Send + 'static> Laned<T> {
    /// Moves busy work aside, and waits for it there.
    #[cold]
    fn elsewhere(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let Self { at, lane } = self;
        loop {
            match std::mem::replace(at, At::Over) {
                At::Here(mut work, mut meter) => {
                    if !meter.busy() {
                        if let Poll::Ready(out) = meter.poll(&mut work, cx) {
                            return Poll::Ready(out);
                        }
                        *at = At::Here(work, meter);
                        return Poll::Pending;
                    }
                    *at = At::Aside(Ending(lane.0.spawn(Visit(Some((work, Meter::default()))))));
                }
                At::Aside(mut ending) => {
                    let Poll::Ready(ended) = Pin::new(&mut ending.0).poll(cx) else {
                        *at = At::Aside(ending);
                        return Poll::Pending;
                    };
                    match ended {
                        Ok(Ok(out)) => return Poll::Ready(out),
                        Ok(Err(work)) => *at = At::Here(work, Meter::default()),
                        Err(ended) => match ended.try_into_panic() {
                            Ok(panic) => std::panic::resume_unwind(panic),
                            // The lane is gone, and the process about to be.
                            Err(_) => return Poll::Pending,
                        },
                    }
                }
                At::Over => return Poll::Pending,
            }
        }
    }
}

/// Work in the second lane: its output, or itself once it is quiet.
struct Visit<T>(Option<(Work<T>, Meter)>);

impl<T> Future for Visit<T> {
    type Output = Result<T, Work<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((work, meter)) = &mut self.0 else { return Poll::Pending };
        let out = ready!(match meter.poll(work, cx) {
            Poll::Pending if meter.quiet() => Poll::Ready(None),
            done => done.map(Some),
        });
        let work = self.0.take();
        match (out, work) {
            (Some(out), _) => Poll::Ready(Ok(out)),
            (None, Some((work, _))) => Poll::Ready(Err(work)),
            (None, None) => Poll::Pending,
        }
    }
}

/// Tells how busy a task was in the last whole while.
#[derive(Debug, Default)]
struct Meter {
    since: Option<Instant>,
    spent: Duration,
    /// One part in so many.
    share: Option<u32>,
}

impl Meter {
    fn poll<T>(&mut self, work: &mut Work<T>, cx: &mut Context<'_>) -> Poll<T> {
        let start = Instant::now();
        let done = work.as_mut().poll(cx);
        self.note(start, Instant::now());
        done
    }

    /// Takes down that the task ran from `start` to `end`.
    fn note(&mut self, start: Instant, end: Instant) {
        let since = *self.since.get_or_insert(start);
        self.spent += end.saturating_duration_since(start);
        let whole = end.saturating_duration_since(since);
        if whole >= WHILE {
            let nanos = |length: Duration| u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
            let parts = nanos(whole) / nanos(self.spent).max(1);
            self.share = Some(u32::try_from(parts).unwrap_or(u32::MAX));
            (self.since, self.spent) = (Some(end), Duration::ZERO);
        }
    }

    fn busy(&self) -> bool {
        self.share.is_some_and(|parts| parts < BUSY)
    }

    fn quiet(&self) -> bool {
        self.share.is_some_and(|parts| parts > QUIET)
    }
}

/// A task that ends with whoever waits for it.
struct Ending<T>(JoinHandle<T>);

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Scope;

    fn is_aside() -> bool {
        std::thread::current().name() == Some(NAME)
    }

    /// Keeps its core busy, a turn at a time, until `enough`.
    async fn busy_until(enough: impl Fn() -> bool) {
        while !enough() {
            let turn = Instant::now();
            while turn.elapsed() < Duration::from_micros(200) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Runs `work` in the main lane of a runtime with two.
    fn with_lanes<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let aside = Aside::start().unwrap();
        let main = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let scope = Scope::root("test").beside(&aside.lane());
        let done = main.block_on(async {
            let task = scope.spawn("work", work);
            tokio::time::timeout(Duration::from_secs(30), task).await.unwrap().unwrap()
        });
        main.shutdown_timeout(Duration::from_secs(5));
        aside.end(Duration::from_secs(5));
        done
    }

    #[test]
    fn the_share_is_that_of_the_last_whole_while() {
        let start = Instant::now();
        let ms = |n: u64| start + Duration::from_millis(n);
        type Case = (&'static [(u64, u64)], bool, bool);
        // (when it ran, in ms) -> busy, quiet
        let cases: [Case; 6] = [
            (&[(0, 10)], false, false),
            (&[(0, 20)], true, false),
            (&[(0, 3), (10, 13), (20, 21)], true, false),
            (&[(0, 1), (10, 11), (19, 20)], false, false),
            (&[(0, 0), (100, 101)], false, true),
            (&[(0, 20), (1000, 1001)], false, true),
        ];
        for (runs, busy, quiet) in cases {
            let mut meter = Meter::default();
            for (from, to) in runs {
                meter.note(ms(*from), ms(*to));
            }
            assert_eq!((meter.busy(), meter.quiet()), (busy, quiet), "{runs:?}: {meter:?}");
        }
    }

    #[test]
    fn a_busy_task_moves_aside_and_a_quiet_one_comes_back() {
        let seen = with_lanes(async {
            let first = is_aside();
            busy_until(is_aside).await;
            while is_aside() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (first, "done")
        });

        assert_eq!(seen, Some((false, "done")));
    }

    #[test]
    fn a_task_opened_aside_is_there_from_the_start() {
        let aside = Aside::start().unwrap();
        let main = Builder::new_current_thread().enable_all().build().unwrap();
        let root = Scope::root("test").beside(&aside.lane());

        let there = main.block_on(root.child("more").spawn_aside("work", async { is_aside() })).unwrap();

        assert_eq!(there, Some(true));
        drop(main);
        aside.end(Duration::from_secs(5));
    }

    #[test]
    fn cancelling_ends_a_task_that_moved() {
        let aside = Aside::start().unwrap();
        let main = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let scope = Scope::root("test").beside(&aside.lane());
        let (moved, alive) = (Arc::new(tokio::sync::Notify::new()), Arc::new(()));
        let (tell, held) = (moved.clone(), alive.clone());

        let ended = main.block_on(async {
            scope.spawn("work", async move {
                busy_until(is_aside).await;
                tell.notify_one();
                busy_until(|| false).await;
                drop(held);
            });
            moved.notified().await;
            scope.drain(Duration::from_secs(30)).await
        });

        assert!(ended);
        assert_eq!(Arc::strong_count(&alive), 1);
        main.shutdown_timeout(Duration::from_secs(5));
        aside.end(Duration::from_secs(5));
    }
}
