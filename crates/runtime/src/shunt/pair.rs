//! Two ends and what is on its way between them. Watched by edges: an end is tried until it says that it would block.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::net::Shutdown;

use super::passage::{Passage, is_refused, straight};

/// What one direction moves before other pairs get their turn.
const TURN: u64 = 128 * 1024;
/// What a direction carries before it goes through the kernel.
const WORTH: u64 = 1024 * 1024;

/// One end of a pair. Its descriptors do not block.
#[derive(Debug)]
pub enum End {
    /// Both ways.
    Socket(OwnedFd),
    /// A pipe for each way.
    Pipes {
        /// Read from.
        from: OwnedFd,
        /// Written to.
        to: OwnedFd,
    },
}

impl End {
    fn input(&self) -> BorrowedFd<'_> {
        match self {
            End::Socket(both) => both.as_fd(),
            End::Pipes { from, .. } => from.as_fd(),
        }
    }

    fn output(&self) -> BorrowedFd<'_> {
        match self {
            End::Socket(both) => both.as_fd(),
            End::Pipes { to, .. } => to.as_fd(),
        }
    }

    fn is_socket(&self) -> bool {
        matches!(self, End::Socket(_))
    }
}

/// How many bytes went each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// From the first end to the second.
    pub forth: u64,
    /// From the second end to the first.
    pub back: u64,
}

impl Passed {
    pub(super) fn sum(self) -> u64 {
        self.forth.saturating_add(self.back)
    }
}

/// What a pair does after its turn.
pub(super) enum Pumped {
    /// It waits for an event.
    Waits,
    /// The second end has ended: it waits for the first, for a while.
    Lingers,
    /// It has more to move.
    Again,
    Done(io::Result<Passed>),
}

/// How a direction's bytes get across.
enum Way {
    Copied,
    Spliced(Passage),
    /// Into a pipe that is the far end itself.
    Straight,
    /// Copied for good: the kernel gives no pipe, or does not do it.
    OnlyCopied,
}

/// One direction.
struct Half {
    way: Way,
    readable: bool,
    writable: bool,
    /// The near end has hung up or broken: read until it says so.
    hung: bool,
    held: Vec<u8>,
    sent: usize,
    ended: bool,
    shut: bool,
    /// Why nothing more can be written.
    failed: Option<io::Error>,
    total: u64,
}

/// Why a direction stops for now.
enum Stop {
    Blocked,
    Turn,
    Over,
}

impl Half {
    fn new() -> Self {
        Self {
            way: Way::Copied,
            readable: true,
            writable: true,
            hung: false,
            held: Vec::new(),
            sent: 0,
            ended: false,
            shut: false,
            failed: None,
            total: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.shut || self.failed.is_some()
    }

    /// Moves what there is. An error is the near end's.
    fn pump(&mut self, from: &End, to: &End, buffer: &mut [u8]) -> io::Result<Stop> {
        let most = self.total.saturating_add(TURN);
        while !self.is_over() {
            match self.empty(to) {
                Ok(true) => {}
                Ok(false) => return Ok(Stop::Blocked),
                Err(error) => {
                    self.failed = Some(error.into());
                    self.held = Vec::new();
                    break;
                }
            }
            if self.ended {
                self.shut = true;
                if to.is_socket() {
                    let _ = rustix::net::shutdown(to.output(), Shutdown::Write);
                }
                break;
            }
            if self.total >= most {
                return Ok(Stop::Turn);
            }
            if !self.readable {
                return Ok(Stop::Blocked);
            }
            self.choose(from, to);
            match self.fill(from, to, buffer) {
                Ok(()) => {}
                Err(Errno::AGAIN) => {}
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Stop::Over)
    }

    /// Lets the kernel go on where that is worth it. Nothing is held here.
    fn choose(&mut self, from: &End, to: &End) {
        if matches!(self.way, Way::Copied) && self.total >= WORTH {
            self.way = match (from.is_socket(), to.is_socket()) {
                (true, true) => Passage::new().map_or(Way::OnlyCopied, Way::Spliced),
                (true, false) => Way::Straight,
                (false, _) => Way::OnlyCopied,
            };
        }
    }

    /// Takes what has come, and hands on at once what was copied.
    fn fill(&mut self, from: &End, to: &End, buffer: &mut [u8]) -> Result<(), Errno> {
        let taken = match &mut self.way {
            Way::Spliced(passage) => passage.take(from.input()),
            Way::Straight => straight(from.input(), to.output()),
            Way::Copied | Way::OnlyCopied => rustix::io::read(from.input(), &mut *buffer),
        };
        let count = match taken {
            Err(error) if is_refused(error) && !matches!(self.way, Way::Copied | Way::OnlyCopied) => {
                self.way = Way::OnlyCopied;
                return Ok(());
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                if matches!(self.way, Way::Straight) {
                    // It does not say which of the two would block.
                    (self.readable, self.writable) = are_ready(from.input(), to.output())?;
                }
                return Ok(());
            }
            // Straight into a pipe that nobody reads any more.
            Err(error @ Errno::PIPE) if matches!(self.way, Way::Straight) => {
                self.failed = Some(error.into());
                return Ok(());
            }
            taken => taken?,
        };
        self.ended = count == 0;
        match self.way {
            Way::Copied | Way::OnlyCopied => {
                // Less than there was room for: no more has come, unless that was the last of it.
                self.readable = count == buffer.len() || self.hung;
                self.send(to, buffer.get(..count).unwrap_or_default());
            }
            Way::Straight => self.total += u64::try_from(count).unwrap_or(0),
            Way::Spliced(_) => {}
        }
        Ok(())
    }

    /// Writes what was just read; holds what is not taken.
    fn send(&mut self, to: &End, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.writable {
            match rustix::io::write(to.output(), rest) {
                Ok(count) => {
                    self.total += u64::try_from(count).unwrap_or(0);
                    rest = rest.get(count..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.writable = false,
                Err(error) => {
                    self.failed = Some(error.into());
                    return;
                }
            }
        }
        self.held.extend_from_slice(rest);
    }

    /// Hands on what is held; true when nothing is left.
    fn empty(&mut self, to: &End) -> Result<bool, Errno> {
        loop {
            let rest = self.held.get(self.sent..).unwrap_or_default();
            let in_pipe = if let Way::Spliced(passage) = &self.way { passage.held() } else { 0 };
            if rest.is_empty() && in_pipe == 0 {
                // Also when the last of it was sent: an idle pair holds nothing.
                (self.held, self.sent) = (Vec::new(), 0);
                // Straight bytes have nowhere to wait: their pipe must have room before they are taken.
                return Ok(self.writable || !matches!(self.way, Way::Straight));
            }
            if !self.writable {
                return Ok(false);
            }
            let given = match &mut self.way {
                Way::Spliced(passage) if in_pipe > 0 => passage.give(to.output()),
                _ => rustix::io::write(to.output(), rest),
            };
            match given {
                Ok(count) => {
                    self.total += u64::try_from(count).unwrap_or(0);
                    if in_pipe == 0 {
                        self.sent += count;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.writable = false,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether one can be read from and the other written to, just now.
fn are_ready(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(bool, bool), Errno> {
    let mut asked = [PollFd::new(&from, PollFlags::IN), PollFd::new(&to, PollFlags::OUT)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    let [from, to] = asked;
    Ok((!from.revents().is_empty(), !to.revents().is_empty()))
}

/// Two ends: a client's, and what it reached.
pub(super) struct Pair {
    a: End,
    b: End,
    forth: Half,
    back: Half,
    linger: Duration,
    until: Option<Instant>,
}

const A_IN: u64 = 0;
const A_OUT: u64 = 1;
const B_IN: u64 = 2;
const B_OUT: u64 = 3;

impl Pair {
    pub(super) fn new(a: End, b: End, linger: Duration) -> Self {
        Self { a, b, forth: Half::new(), back: Half::new(), linger, until: None }
    }

    pub(super) fn passed(&self) -> Passed {
        Passed { forth: self.forth.total, back: self.back.total }
    }

    /// Has both ends watched, under four tokens from `base` on.
    pub(super) fn watch(&mut self, epoll: &OwnedFd, base: u64) -> io::Result<()> {
        for half in [&mut self.forth, &mut self.back] {
            (half.readable, half.writable) = (true, true);
        }
        for (end, input, output) in [(&self.a, A_IN, A_OUT), (&self.b, B_IN, B_OUT)] {
            use epoll::{EventData, EventFlags as Flags, add};
            let (ins, outs) = (Flags::IN | Flags::RDHUP | Flags::ET, Flags::OUT | Flags::ET);
            match end {
                End::Socket(both) => add(epoll, both, EventData::new_u64(base | input), ins | outs)?,
                End::Pipes { from, to } => {
                    add(epoll, from, EventData::new_u64(base | input), ins)?;
                    add(epoll, to, EventData::new_u64(base | output), outs)?;
                }
            }
        }
        Ok(())
    }

    /// The reverse of [`Pair::watch`].
    pub(super) fn forget(&mut self, epoll: &OwnedFd) {
        for end in [&self.a, &self.b] {
            let _ = epoll::delete(epoll, end.input());
            if !end.is_socket() {
                let _ = epoll::delete(epoll, end.output());
            }
        }
    }

    /// Notes what the kernel says of the end `which`.
    pub(super) fn note(&mut self, which: u64, flags: epoll::EventFlags) {
        use epoll::EventFlags as Flags;
        let (near, far) = match which {
            A_IN | A_OUT => (&mut self.forth, &mut self.back),
            _ => (&mut self.back, &mut self.forth),
        };
        let broken = flags.intersects(Flags::HUP | Flags::ERR);
        if which != A_OUT && which != B_OUT {
            near.hung |= broken || flags.contains(Flags::RDHUP);
            near.readable |= near.hung || flags.contains(Flags::IN);
        }
        far.writable |= broken || flags.contains(Flags::OUT);
    }

    /// Moves what there is, both ways, for one turn.
    pub(super) fn pump(&mut self, buffer: &mut [u8]) -> Pumped {
        let forth = match self.forth.pump(&self.a, &self.b, buffer) {
            Ok(stop) => stop,
            Err(error) => return Pumped::Done(Err(error)),
        };
        let back = match self.back.pump(&self.b, &self.a, buffer) {
            Ok(stop) => stop,
            Err(error) => {
                // The client's end is whole: what it has not read yet is followed by a proper end.
                if self.a.is_socket() {
                    let _ = rustix::net::shutdown(self.a.output(), Shutdown::Write);
                }
                return Pumped::Done(Err(error));
            }
        };
        if matches!(back, Stop::Over) {
            let linger = self.linger;
            let until = *self.until.get_or_insert_with(|| Instant::now() + linger);
            if matches!(forth, Stop::Over) || Instant::now() >= until {
                return Pumped::Done(self.outcome());
            }
        }
        match (forth, back) {
            (Stop::Turn, _) | (_, Stop::Turn) => Pumped::Again,
            (_, Stop::Over) => Pumped::Lingers,
            _ => Pumped::Waits,
        }
    }

    fn outcome(&mut self) -> io::Result<Passed> {
        match self.forth.failed.take().or(self.back.failed.take()) {
            Some(error) => Err(error),
            None => Ok(self.passed()),
        }
    }
}
