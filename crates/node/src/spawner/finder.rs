//! Processes that look accounts up: forked, asked for one account after the other, and ended after some seconds.
//!
//! The name service of a host is code we do not know, and may wait for servers across a network. Here it can hang, crash
//! or leak without the spawner doing so: who hangs is asked nothing more, and another is forked for the next account. The
//! child keeps root's rights, because expiry stands where only root reads (`/etc/shadow`); it keeps none of the spawner's
//! descriptors, so that no session's end waits for it, and ends with the spawner.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::unistd::Pid;
use rustix::fs::MemfdFlags;

use super::account::{self, Account, Names, Powers};
use super::child::{close_all_but, end_with, helper};
use super::claim::Good;
use super::{found, transport};

/// The code of a child that is asked no more.
const DONE: u8 = 0;
/// And of one that could not go on.
const FAILED: u8 = 1;
/// What a person is told for whom there is no room.
pub(super) const BUSY: &str = "this host is busy looking up as many accounts as it can: try again in a moment; its \
                               administrator should see whether its name service (LDAP, SSSD) answers";
/// Longest question: room for a day and many times the longest login.
const MAX_QUESTION: usize = 4096;

/// What is kept of a question while its account is looked up.
pub(super) struct About {
    pub(super) login: String,
    /// What its certificate says.
    pub(super) good: Good,
}

/// A process that looks accounts up, to the spawner. It ends when this is dropped, unless a look-up keeps it.
#[derive(Debug)]
pub(super) struct Finder {
    /// Questions, and how long each answer is.
    socket: OwnedFd,
    /// Where the child leaves its answer.
    slip: File,
}

/// Forks one. Must be called while the process has one thread.
pub(super) fn start(powers: &Powers, names: &Names) -> io::Result<(Pid, Finder)> {
    let slip: File = rustix::fs::memfd_create(c"account", MemfdFlags::CLOEXEC)?.into();
    let (child, socket) = helper(|socket, spawner| run(socket, &slip, (powers, names), spawner))?;
    Ok((child, Finder { socket, slip }))
}

/// The child's work: its exit code. It never drops what the spawner holds, whose descriptors it has closed.
fn run(socket: &OwnedFd, slip: &File, (powers, names): (&Powers, &Names), spawner: Pid) -> u8 {
    if !end_with(spawner) || close_all_but(&[socket.as_raw_fd(), slip.as_raw_fd()]).is_err() {
        return FAILED;
    }
    let mut question = [0; MAX_QUESTION];
    loop {
        let len = match transport::receive(socket, &mut question) {
            Ok(Some((len, _))) => len,
            Ok(None) => return DONE,
            Err(_) => return FAILED,
        };
        let Some((today, login)) = question.get(..len).and_then(asked) else { return FAILED };
        let found = account::lookup(login, powers, names, today);
        if answer(socket, slip, &found::encode(&found)).is_err() {
            return FAILED;
        }
    }
}

/// A day and a login.
fn asked(question: &[u8]) -> Option<(u64, &str)> {
    let (today, login) = question.split_first_chunk()?;
    Some((u64::from_be_bytes(*today), std::str::from_utf8(login).ok()?))
}

fn answer(socket: &OwnedFd, mut slip: &File, found: &[u8]) -> io::Result<()> {
    slip.rewind()?;
    slip.write_all(found)?;
    let len = u32::try_from(found.len()).unwrap_or(u32::MAX);
    transport::send(socket, &len.to_be_bytes(), &[])
}

impl Finder {
    /// Asks for an account; `today` in days since 1970. Does not wait.
    pub(super) fn ask(&self, login: &str, today: u64) -> io::Result<()> {
        let question = [&today.to_be_bytes(), login.as_bytes()].concat();
        transport::send(&self.socket, &question, &[])
    }

    /// What it has found for `login`, or why not in words for the person; nothing while it looks. Does not wait.
    ///
    /// # Errors
    /// It can answer no more, or said what is no answer: it is of no further use.
    pub(super) fn hear(&self, login: &str) -> io::Result<Option<Result<Account, String>>> {
        let mut len = [0; 4];
        match transport::receive(&self.socket, &mut len) {
            Ok(Some((4, _))) => {}
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
        if len > found::MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; len];
        self.slip.read_exact_at(&mut bytes, 0)?;
        let found = found::decode(&bytes, login).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Some(found))
    }
}

impl AsFd for Finder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
