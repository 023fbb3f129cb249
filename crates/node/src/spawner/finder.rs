//! The process that looks one account up: forked, answers in memory that both see, and ends.
//!
//! The name service of a host is code we do not know, and may wait for servers across a network. Here it can hang, crash
//! or leak without the spawner doing so. The child keeps root's rights, because expiry stands where only root reads
//! (`/etc/shadow`); it keeps none of the spawner's descriptors, so that no session's end waits for it, and ends with the
//! spawner.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, RawFd};

use nix::unistd::{ForkResult, Pid};
use rustix::fs::MemfdFlags;

use super::account::{self, Account, Names, Powers};
use super::child::leave;
use super::claim::Good;
use super::found;
use super::message::Exit;

/// The code of a child that has answered.
const ANSWERED: u8 = 0;
/// And of one that could not.
const FAILED: u8 = 1;

/// What is to be looked up, and how.
pub(super) struct Wanted<'a> {
    pub(super) login: &'a str,
    pub(super) powers: &'a Powers,
    pub(super) names: &'a Names,
    /// In days since 1970.
    pub(super) today: u64,
}

/// What is kept of a question while its account is looked up.
pub(super) struct About {
    pub(super) login: String,
    /// What its certificate says.
    pub(super) good: Good,
    pub(super) slip: Slip,
}

/// Where a child leaves its answer.
#[derive(Debug)]
pub(super) struct Slip(File);

/// Forks a child that looks it up. Must be called while the process has one thread.
pub(super) fn start(wanted: &Wanted<'_>) -> io::Result<(Pid, Slip)> {
    let slip = Slip(rustix::fs::memfd_create(c"account", MemfdFlags::CLOEXEC)?.into());
    let spawner = nix::unistd::getpid();
    #[expect(unsafe_code, reason = "a look-up that hangs must be one that can be killed")]
    // SAFETY: the spawner has one thread, so no lock can be held by a thread that does not exist in the child; the
    // child does one look-up and ends by itself.
    let forked = unsafe { nix::unistd::fork() }?;
    match forked {
        ForkResult::Parent { child } => Ok((child, slip)),
        ForkResult::Child => leave(i32::from(run(wanted, &slip, spawner))),
    }
}

/// The child's work: its exit code. It never drops what the spawner holds, whose descriptors it has closed.
fn run(wanted: &Wanted<'_>, slip: &Slip, spawner: Pid) -> u8 {
    let bound = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    // It may have ended before that.
    if bound.is_err() || nix::unistd::getppid() != spawner || close_all_but(slip.0.as_raw_fd()).is_err() {
        return FAILED;
    }
    let found = account::lookup(wanted.login, wanted.powers, wanted.names, wanted.today);
    match (&slip.0).write_all(&found::encode(&found)) {
        Ok(()) => ANSWERED,
        Err(_) => FAILED,
    }
}

/// Closes what is open here apart from the three standard descriptors and this one.
fn close_all_but(kept: RawFd) -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| *fd > 2 && *fd != kept) {
        // The directory's own is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

impl Slip {
    /// What a child that ended like this has found for `login`, or why not in words for the person.
    pub(super) fn read(mut self, exit: Exit, login: &str) -> Result<Account, String> {
        let nothing =
            || format!("looking up `{login}` failed on this host: its name service ended without an answer");
        if exit != Exit::Code(ANSWERED) {
            return Err(nothing());
        }
        let mut bytes = Vec::new();
        let most = u64::try_from(found::MAX).unwrap_or(u64::MAX);
        // Where to read is shared with the child, which has just written.
        let got = self.0.rewind().and_then(|()| self.0.take(most).read_to_end(&mut bytes));
        got.map_err(|_| nothing())?;
        found::decode(&bytes, login).map_err(|_| nothing())?
    }
}
