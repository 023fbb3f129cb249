//! Pairs of descriptors that pass on what comes in at one end to the other, by threads that do nothing else.
//!
//! A relay that only copies is woken for every keystroke, and what it costs then is mostly code and data that have
//! left the processor's caches: measured, a task of the runtime takes five times as long for one byte as the few
//! system calls it makes. So a pair that is nothing but descriptors any more ([`Direct`](crate::Direct)) is handed to
//! a thread with a loop of its own: `epoll_wait(2)`, `read(2)`, `write(2)`. What carries much goes through the kernel
//! (`splice(2)`), and on a second thread of lower priority, so that keystrokes do not wait behind it.
//!
//! A pair holds what its far end does not take, at most 64 KiB each way, and nothing while idle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use tokio::sync::oneshot;

use crate::pace::Pace;

mod pair;
mod passage;

pub use pair::{End, Passed};
use pair::{Pair, Pumped};

/// What a board reads at once, and the most a pair holds in one direction.
const BUFFER: usize = 64 * 1024;
/// Events looked at in one go.
const EVENTS: usize = 32;
/// A pair that carries so many bytes within [`SOON`] moves to the thread for copies.
const MUCH: u64 = 512 * 1024;
const SOON: Duration = Duration::from_millis(20);
/// It comes back when it carried less than this within [`LONG`].
const LITTLE: u64 = 64 * 1024;
const LONG: Duration = Duration::from_millis(200);
/// How often ends that linger are looked after.
const TICK: Duration = Duration::from_secs(1);
/// What the thread for copies adds to its niceness, as the runtime's second lane does.
const NICENESS: i32 = 4;
/// The token of a board's own wake-up; pairs count from one.
const WAKE: u64 = 0;

/// Two threads that own pairs: one for what people wait for, one for copies. They end with it, and the pairs with them.
#[derive(Debug)]
pub struct Shunt {
    quiet: Arc<Post>,
    busy: Arc<Post>,
    last: AtomicU64,
}

/// How many bytes went each way, or what broke.
type Outcome = io::Result<Passed>;

/// What a board is told.
enum Order {
    Join(Box<Seat>),
    /// Somebody lost interest in this one.
    Cut(u64),
    End,
}

/// A pair, who waits for its end, and how much it moves.
struct Seat {
    key: u64,
    pair: Pair,
    done: Option<oneshot::Sender<Outcome>>,
    cut: Arc<AtomicBool>,
    since: Instant,
    moved: u64,
    /// It is among those that have more.
    queued: bool,
    pace: Pace,
    /// Who wants to know whether it carries copies.
    copies: Option<Arc<AtomicBool>>,
}

impl Seat {
    fn new(key: u64, pair: Pair, done: oneshot::Sender<Outcome>) -> Self {
        let since = Instant::now();
        Self {
            key,
            pair,
            done: Some(done),
            cut: Arc::default(),
            since,
            moved: 0,
            queued: false,
            pace: Pace::new(since),
            copies: None,
        }
    }

    /// Notes what went through.
    fn carried(&mut self, count: u64) {
        self.moved += count;
        if let Some(copies) = &self.copies
            && let Some(now) = self.pace.add(count, Instant::now)
        {
            copies.store(now, Ordering::Relaxed);
        }
    }
}

/// Where a board is told.
struct Post {
    epoll: OwnedFd,
    wake: OwnedFd,
    orders: Mutex<Vec<Order>>,
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Post")
    }
}

impl Post {
    fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        Ok(Self { epoll, wake, orders: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, order: Order) {
        self.lock().push(order);
        // It fails only when the count is full, and then the board is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl Shunt {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no threads or no descriptors.
    pub fn start() -> io::Result<Self> {
        let (quiet, busy) = (Arc::new(Post::new()?), Arc::new(Post::new()?));
        let shunt = Self { quiet: quiet.clone(), busy: busy.clone(), last: AtomicU64::new(WAKE) };
        let board = Board::new(quiet.clone(), Lane::Quiet(busy.clone()));
        std::thread::Builder::new().name("shunt".to_owned()).spawn(move || board.run())?;
        let board = Board::new(busy, Lane::Busy(quiet));
        std::thread::Builder::new().name("shunt-aside".to_owned()).spawn(move || {
            // Where the system refuses, copies are of the usual priority.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            board.run();
        })?;
        Ok(shunt)
    }

    /// Joins a client's end `a` with `b`, what it reached, until both directions have ended or one cannot be read, or
    /// `linger` after `b` has ended. Both ends must not block. Whoever drops the future ends the pair. `copies` is set
    /// while the pair carries much, and cleared when it no longer does.
    #[must_use]
    pub fn join(&self, a: End, b: End, linger: Duration, copies: Option<Arc<AtomicBool>>) -> Joined {
        let key = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (done, outcome) = oneshot::channel();
        let seat = Seat { copies, ..Seat::new(key, Pair::new(a, b, linger), done) };
        let cut = seat.cut.clone();
        self.quiet.tell(Order::Join(Box::new(seat)));
        Joined { outcome, key, cut, posts: [self.quiet.clone(), self.busy.clone()] }
    }
}

impl Drop for Shunt {
    fn drop(&mut self) {
        self.quiet.tell(Order::End);
        self.busy.tell(Order::End);
    }
}

/// A pair's end, waited for.
#[derive(Debug)]
pub struct Joined {
    outcome: oneshot::Receiver<Outcome>,
    key: u64,
    cut: Arc<AtomicBool>,
    posts: [Arc<Post>; 2],
}

impl Future for Joined {
    type Output = io::Result<Passed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(cx).map(|told| told.unwrap_or_else(|_| Err(over())))
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        // A pair on its way from one thread to the other is met by neither order: it finds the mark.
        self.cut.store(true, Ordering::Release);
        if self.outcome.is_terminated() {
            return;
        }
        for post in &self.posts {
            post.tell(Order::Cut(self.key));
        }
    }
}

fn over() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "this process ends")
}

/// Joins two ends in this thread until `b` has ended, or both directions, or one cannot be read.
///
/// # Errors
/// An end cannot be watched or read, or takes no more.
pub fn carry(a: End, b: End) -> io::Result<Passed> {
    let post = Arc::new(Post::new()?);
    let (done, mut outcome) = oneshot::channel();
    post.tell(Order::Join(Box::new(Seat::new(1, Pair::new(a, b, Duration::ZERO), done))));
    Board::new(post, Lane::Only).run();
    outcome.try_recv().unwrap_or_else(|_| Err(over()))
}

/// Which of the threads this is, and where the other is told.
enum Lane {
    Quiet(Arc<Post>),
    Busy(Arc<Post>),
    /// One pair, and over with it.
    Only,
}

/// One thread's pairs.
struct Board {
    post: Arc<Post>,
    lane: Lane,
    seats: BTreeMap<u64, Box<Seat>>,
    /// Those that had their turn and have more.
    again: Vec<u64>,
    /// Those that wait for one end to hang up.
    lingering: BTreeSet<u64>,
    /// When those are looked after next.
    round: Instant,
    buffer: Vec<u8>,
    over: bool,
}

impl Board {
    fn new(post: Arc<Post>, lane: Lane) -> Self {
        Self {
            post,
            lane,
            seats: BTreeMap::new(),
            again: Vec::new(),
            lingering: BTreeSet::new(),
            round: Instant::now(),
            buffer: vec![0; BUFFER],
            over: false,
        }
    }

    fn run(mut self) {
        let mut events = [const { std::mem::MaybeUninit::uninit() }; EVENTS];
        while !self.over {
            let patience = match (self.again.is_empty(), self.lingering.is_empty()) {
                (false, _) => Some(Duration::ZERO),
                (true, false) => Some(TICK),
                (true, true) => None,
            };
            let patience = patience.and_then(|length| Timespec::try_from(length).ok());
            let came = match epoll::wait(&self.post.epoll, &mut events, patience.as_ref()) {
                Ok((came, _)) => came,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return self.give_up(error),
            };
            for event in came {
                let (token, flags) = (event.data.u64(), event.flags);
                if token == WAKE {
                    self.orders();
                } else if let Some(seat) = self.seats.get_mut(&(token >> 2)) {
                    seat.pair.note(token & 3, flags);
                    self.pump(token >> 2);
                }
            }
            for key in std::mem::take(&mut self.again) {
                if let Some(seat) = self.seats.get_mut(&key) {
                    seat.queued = false;
                    self.pump(key);
                }
            }
            if !self.lingering.is_empty() && self.round.elapsed() >= TICK {
                self.round = Instant::now();
                for key in std::mem::take(&mut self.lingering) {
                    self.pump(key);
                }
            }
        }
    }

    /// Nothing can be watched any more.
    fn give_up(mut self, why: rustix::io::Errno) {
        for (_, mut seat) in std::mem::take(&mut self.seats) {
            if let Some(done) = seat.done.take() {
                let _ = done.send(Err(why.into()));
            }
        }
    }

    #[cold]
    fn orders(&mut self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.post.wake, &mut count);
        let orders = std::mem::take(&mut *self.post.lock());
        for order in orders {
            match order {
                Order::Join(seat) => self.take(seat),
                Order::Cut(key) => {
                    self.seats.remove(&key);
                }
                Order::End => self.over = true,
            }
        }
    }

    fn take(&mut self, mut seat: Box<Seat>) {
        if seat.cut.load(Ordering::Acquire) {
            return;
        }
        seat.since = Instant::now();
        (seat.moved, seat.queued) = (0, false);
        let key = seat.key;
        let watched = seat.pair.watch(&self.post.epoll, key << 2);
        self.seats.insert(key, seat);
        match watched {
            Ok(()) => self.pump(key),
            Err(error) => self.end(key, Err(error)),
        }
    }

    fn end(&mut self, key: u64, outcome: Outcome) {
        if let Some(mut seat) = self.seats.remove(&key)
            && let Some(done) = seat.done.take()
        {
            let _ = done.send(outcome);
        }
        self.over |= matches!(self.lane, Lane::Only);
    }

    fn pump(&mut self, key: u64) {
        let Some(seat) = self.seats.get_mut(&key) else { return };
        let before = seat.pair.passed().sum();
        let pumped = seat.pair.pump(&mut self.buffer);
        seat.carried(seat.pair.passed().sum() - before);
        match pumped {
            Pumped::Waits => {}
            Pumped::Lingers => {
                self.lingering.insert(key);
            }
            Pumped::Again => {
                // Once, however often it is woken meanwhile.
                if !std::mem::replace(&mut seat.queued, true) {
                    self.again.push(key);
                }
            }
            Pumped::Done(outcome) => return self.end(key, outcome),
        }
        self.sort(key);
    }

    /// Moves a pair to the thread it belongs to.
    fn sort(&mut self, key: u64) {
        let Some(seat) = self.seats.get_mut(&key) else { return };
        let other = match &self.lane {
            Lane::Only => return,
            // No clock for a keystroke.
            Lane::Quiet(_) if seat.moved < MUCH => return,
            Lane::Quiet(busy) => (seat.since.elapsed() < SOON).then_some(busy),
            Lane::Busy(_) if seat.since.elapsed() < LONG => return,
            Lane::Busy(quiet) => (seat.moved < LITTLE).then_some(quiet),
        };
        let Some(other) = other else {
            (seat.since, seat.moved) = (Instant::now(), 0);
            return;
        };
        let other = other.clone();
        let Some(mut seat) = self.seats.remove(&key) else { return };
        seat.pair.forget(&self.post.epoll);
        other.tell(Order::Join(seat));
    }
}

#[cfg(test)]
mod tests;
