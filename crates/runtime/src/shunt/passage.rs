//! Bytes that go from one descriptor to the next inside the kernel (`splice(2)`): measured, a third to a quarter of the
//! processor time that copying them takes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What a pipe should hold: a socket's buffers come in pieces of up to 32 KiB, one slot each.
const ROOM: usize = 256 * 1024;

/// The most bytes moved by one call.
const MOST: usize = 128 * 1024;

/// The kernel, or whoever stands in front of it, does not do this: copying does.
pub(super) fn is_refused(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// What is on its way from one socket to another: a pipe of the kernel, of at most 256 KiB, and two descriptors.
#[derive(Debug)]
pub(super) struct Passage {
    entry: OwnedFd,
    exit: OwnedFd,
    held: usize,
}

impl Passage {
    /// An empty one; fails when no descriptor is left.
    pub(super) fn new() -> io::Result<Self> {
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Someone without privileges who has many pipes gets small ones: slower, not wrong.
        let _ = fcntl_setpipe_size(&entry, ROOM);
        Ok(Self { entry, exit, held: 0 })
    }

    /// Bytes taken and not yet handed on.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes what has arrived, up to 128 KiB; nothing at the socket's end. Only while nothing is held: a full pipe
    /// could not be told from a silent socket.
    pub(super) fn take(&mut self, from: BorrowedFd<'_>) -> Result<usize, Errno> {
        let taken = splice(from, None, &self.entry, None, MOST, SpliceFlags::NONBLOCK)?;
        self.held += taken;
        Ok(taken)
    }

    /// Hands on some of what is held; says how much.
    pub(super) fn give(&mut self, to: BorrowedFd<'_>) -> Result<usize, Errno> {
        let given = splice(&self.exit, None, to, None, self.held, SpliceFlags::NONBLOCK)?;
        self.held = self.held.saturating_sub(given);
        Ok(given)
    }
}

/// Moves what has arrived at `from`, up to 128 KiB, into the pipe `to`. Which of the two would block is not said.
pub(super) fn straight(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<usize, Errno> {
    splice(from, None, to, None, MOST, SpliceFlags::NONBLOCK)
}
