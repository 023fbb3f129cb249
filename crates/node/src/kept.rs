//! A shell that outlives its connection for a while: whoever holds its key comes back to it and sees what they missed.
//!
//! ```text
//! terminal ─► tap ─► Output (≤ RING, the oldest goes first) ─► the channel of who is here, if anybody is
//! ```
//! Reading the terminal goes on while nobody is here, so the program never stops for it and the recording has it all.
//! While somebody is here the window holds it back: at most [`AHEAD`] bytes wait for them. Bounds: [`RING`] bytes for
//! each shell, one visitor at a time (a new one takes over), `grace` without one. Knows no policy.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::Seldom;
use session::Tap;
use ssh::Channel;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fd::Watched;
use crate::hearing::Hearing;
use crate::pump::{self, Break, Notice, Signals, Sink, Stopped};
use crate::spawner::Running;

/// Output kept for who comes back.
pub(crate) const RING: usize = 256 * 1024;
/// Output that may wait for who is here before the terminal is read no further.
const AHEAD: usize = 64 * 1024;
/// Put into one write.
const CHUNK: usize = 32 * 1024;

/// Somebody at a shell: their channel, and who waits for them to leave it.
pub(crate) struct Visitor {
    pub(crate) channel: Channel,
    /// Up to which byte of output they have seen it; `None` for the first, who gets bare output.
    pub(crate) seen: Option<u64>,
    /// For events: who they are and where they come from.
    pub(crate) from: session::event::Connection,
    pub(crate) _gone: DropGuard,
}

impl Visitor {
    /// A visitor, and a token that is cancelled when they have left.
    pub(crate) fn new(
        channel: Channel,
        seen: Option<u64>,
        from: session::event::Connection,
    ) -> (Self, CancellationToken) {
        let gone = CancellationToken::new();
        (Self { channel, seen, from, _gone: gone.clone().drop_guard() }, gone)
    }
}

/// Where the next visitor waits: the last one to come counts.
#[derive(Default)]
pub(crate) struct Porch {
    waiting: Mutex<Option<Visitor>>,
    news: Notify,
}

impl Porch {
    pub(crate) fn put(&self, visitor: Visitor) {
        *lock(&self.waiting) = Some(visitor);
        self.news.notify_one();
    }

    /// Cancel safe.
    async fn next(&self) -> Visitor {
        loop {
            if let Some(visitor) = lock(&self.waiting).take() {
                return visitor;
            }
            self.news.notified().await;
        }
    }
}

/// Told of who comes and goes.
pub(crate) trait Doorbell: Notice {
    fn came(&self, from: &session::event::Connection) -> impl Future<Output = ()> + Send;
    fn left(&self) -> impl Future<Output = ()> + Send;
}

/// Pumps a program on a terminal for one visitor after another. The last one's channel is given back, for goodbyes.
pub(crate) async fn terminal(
    (tap, running, master): (&Tap, &mut Running, OwnedFd),
    (first, porch): (Visitor, &Porch),
    grace: Duration,
    bell: &impl Doorbell,
) -> (Stopped, Option<Visitor>) {
    let master = match Watched::new(master) {
        Ok(master) => master,
        Err(error) => return (Stopped::Failed(error.to_string()), Some(first)),
    };
    // What was said before the program began is output too.
    let output = Output::starting_at(tap.sent());
    let shell = Shell { tap, master: &master, output, signals: Signals::default() };
    let exited = CancellationToken::new();
    let read = shell.read(&exited);
    tokio::pin!(read);
    let (mut exit, mut silent, mut here) = (None, false, Some(first));
    loop {
        let next = {
            let visit = shell.visit(here.as_ref(), grace, bell);
            tokio::pin!(visit);
            let delivered = pin!(shell.signals.deliver(running));
            let mut delivered = Seldom::new(delivered);
            let next = pin!(porch.next());
            let mut next = Seldom::new(next);
            let told = pin!(bell.ended());
            let mut told = Seldom::new(told);
            loop {
                if let (Some(exit), true, None) = (exit, silent, &here) {
                    return (Stopped::Ended(exit), None);
                }
                // All but `shown`, which can begin again, are kept and go on where they were.
                tokio::select! {
                    biased;
                    done = &mut read, if !silent => match done {
                        Ok(()) => {
                            silent = true;
                            shell.output.finish();
                        }
                        Err(why) => break Err(why.into()),
                    },
                    left = &mut visit => break left.map(|()| None).map_err(Stopped::from),
                    ended = &mut delivered, if exit.is_none() => match ended {
                        Ok(ended) => {
                            exit = Some(ended);
                            exited.cancel();
                        }
                        Err(why) => break Err(why.into()),
                    },
                    () = shell.output.shown(), if exit.is_some() && silent && here.is_some() => {
                        break Err(exit.map_or(Stopped::HungUp, Stopped::Ended));
                    }
                    visitor = &mut next => break Ok(Some(visitor)),
                    reason = &mut told => break Err(Stopped::Told(reason)),
                }
            }
        };
        match next {
            Err(stopped) => return (stopped, here),
            Ok(visitor) => {
                if let Some(old) = here.take() {
                    shell.output.leave();
                    old.channel.close();
                    bell.left().await;
                }
                if let Some(visitor) = &visitor {
                    bell.came(&visitor.from).await;
                }
                here = visitor;
            }
        }
    }
}

struct Shell<'a> {
    tap: &'a Tap,
    master: &'a Watched,
    output: Output,
    signals: Signals,
}

impl Shell<'_> {
    /// From the terminal past the tap into the ring, until it is closed; once `exited`, until it is quiet.
    async fn read(&self, exited: &CancellationToken) -> Result<(), Break> {
        let mut hearing = Hearing::new(self.master, exited);
        loop {
            self.output.room().await;
            let Some(said) = hearing.next().await else { return Ok(()) };
            self.tap.output(&said).await?;
            self.output.push(&said);
        }
    }

    /// Serves who is here until they are gone; waits `grace` for somebody when nobody is. `Err` ends the shell.
    async fn visit(
        &self,
        visitor: Option<&Visitor>,
        grace: Duration,
        notice: &impl Notice,
    ) -> Result<(), Break> {
        let Some(visitor) = visitor else {
            tokio::time::sleep(grace).await;
            return Err(Break::HungUp);
        };
        let sink = Sink::Terminal(self.master);
        let why = tokio::select! {
            never = self.show(visitor) => match never {
                Ok(never) => match never {},
                Err(why) => why,
            },
            why = pump::listen(&visitor.channel, self.tap, sink, &self.signals, notice) => why,
        };
        match why {
            Break::HungUp if !self.signals.hung_up() => Ok(()),
            why => Err(why),
        }
    }

    /// Shows the visitor what comes, from where they have seen it.
    async fn show(&self, visitor: &Visitor) -> Result<Infallible, Break> {
        let from = self.output.come(visitor.seen.unwrap_or(0));
        if visitor.seen.is_some() {
            visitor.channel.write_all(&from.to_be_bytes()).await?;
        }
        loop {
            let mut chunk: &[u8] = &self.output.next().await;
            while !chunk.is_empty() {
                let n = visitor.channel.write(chunk).await?;
                self.output.sent(n);
                chunk = chunk.get(n..).unwrap_or_default();
            }
        }
    }
}

/// The last of what a terminal said, and how much of it has been passed on.
#[derive(Default)]
struct Output {
    kept: Mutex<Kept>,
    /// There is more, or no more will come.
    grew: Notify,
    /// Something was passed on, or nobody is here.
    eased: Notify,
    all: Notify,
}

#[derive(Default)]
struct Kept {
    /// Where the first byte kept stands.
    start: u64,
    bytes: VecDeque<u8>,
    sent: u64,
    here: bool,
    over: bool,
}

impl Kept {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Output {
    fn starting_at(start: u64) -> Self {
        Self { kept: Mutex::new(Kept { start, sent: start, ..Kept::default() }), ..Self::default() }
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = lock(&self.kept);
        let mut over = (kept.bytes.len() + bytes.len()).saturating_sub(RING).min(kept.bytes.len());
        if kept.here {
            // What is still to be sent stays: the terminal is not read on until there is room.
            over = over.min(usize::try_from(kept.sent - kept.start).unwrap_or(usize::MAX));
        }
        kept.bytes.drain(..over);
        kept.start += over as u64;
        kept.bytes.extend(bytes);
        drop(kept);
        self.grew.notify_one();
    }

    /// Waits until the terminal may be read further.
    async fn room(&self) {
        loop {
            {
                let kept = lock(&self.kept);
                if !kept.here || kept.end().saturating_sub(kept.sent) < AHEAD as u64 {
                    return;
                }
            }
            self.eased.notified().await;
        }
    }

    /// Somebody is here who has seen everything before `seen`: where it goes on for them.
    fn come(&self, seen: u64) -> u64 {
        let mut kept = lock(&self.kept);
        kept.sent = seen.clamp(kept.start, kept.end());
        kept.here = true;
        kept.sent
    }

    fn leave(&self) {
        lock(&self.kept).here = false;
        self.eased.notify_one();
    }

    /// What comes next for who is here.
    async fn next(&self) -> Vec<u8> {
        loop {
            {
                let kept = lock(&self.kept);
                let at = usize::try_from(kept.sent - kept.start).unwrap_or(usize::MAX);
                let chunk: Vec<u8> =
                    kept.bytes.range(at.min(kept.bytes.len())..).take(CHUNK).copied().collect();
                if !chunk.is_empty() {
                    return chunk;
                }
                if kept.over {
                    self.all.notify_one();
                }
            }
            self.grew.notified().await;
        }
    }

    fn sent(&self, n: usize) {
        lock(&self.kept).sent += n as u64;
        self.eased.notify_one();
    }

    /// No more will come.
    fn finish(&self) {
        lock(&self.kept).over = true;
        self.grew.notify_one();
    }

    /// Resolves when no more will come and who is here has been sent all of it.
    async fn shown(&self) {
        loop {
            {
                let kept = lock(&self.kept);
                if kept.over && kept.sent >= kept.end() {
                    return;
                }
            }
            self.all.notified().await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_back_gets_what_they_missed_and_no_byte_twice() {
        let output = Output::default();
        output.come(0);
        output.push(b"hello ");
        assert_eq!(output.next().await, b"hello ");
        output.sent(6);
        output.leave();
        output.push(b"world");

        assert_eq!(output.come(3), 3, "what was on its way is sent again");
        assert_eq!(output.next().await, b"lo world");
        output.sent(8);
        output.finish();
        output.shown().await;
    }

    #[tokio::test]
    async fn the_ring_forgets_the_oldest_and_says_where_it_begins() {
        let output = Output::default();
        output.push(&vec![b'a'; RING]);
        output.push(b"bcd");

        assert_eq!(output.come(0), 3);
        assert_eq!(output.come(u64::MAX), RING as u64 + 3);
        output.come(RING as u64);
        assert_eq!(output.next().await, b"bcd");
    }

    #[tokio::test]
    async fn the_terminal_is_held_back_only_while_somebody_is_here() {
        let output = Output::default();
        output.come(0);
        output.push(&vec![b'a'; AHEAD]);
        let held =
            tokio::select! { biased; () = output.room() => false, () = std::future::ready(()) => true };
        assert!(held);

        output.sent(1);
        output.room().await;
        output.push(b"bb");
        output.leave();
        output.room().await;
    }
}
