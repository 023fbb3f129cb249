//! Sockets on their way: begun when a process can open them, told when it has, given up when it takes too long.
//!
//! Nothing here waits. Whoever asked may be gone by then: what was opened for them goes again.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::unistd::Pid;

use super::super::account::Account;
use super::super::jobs::Worker;
use super::super::message::Answer;
use super::super::reacher::{self, Outcome, Reacher, Wish};
use super::super::turns::{BUSY, Job, OF_ONE};
use super::{Held, Monitor, Reply, end, refused, told_log};
use crate::Error;

/// How long removing what is still bound may take when the service has ended.
const GOODBYE: Duration = Duration::from_secs(5);

impl Monitor {
    /// Something is to be opened as the account with this handle.
    pub(super) fn reach(
        &mut self,
        account: u32,
        wish: impl FnOnce(&Account) -> Wish,
    ) -> Result<Reply, Error> {
        let account = self.account(account)?.clone();
        if !self.turns.room(&account) {
            return Ok(refused(told_log(&account.login, BUSY.to_owned()).to_string()));
        }
        let wish = wish(&account);
        let handle = self.enter(account, wish, true);
        Ok(Answer::Begun { handle }.into())
    }

    /// The path of what was bound goes, as soon as somebody can remove it.
    pub(super) fn remove(&mut self, account: Account, path: PathBuf, own_directory: bool) {
        self.enter(account, Wish::Remove { path, own_directory }, false);
    }

    fn enter(&mut self, account: Account, wish: Wish, is_wanted: bool) -> u32 {
        let handle = self.hold(Held::Begun);
        let due = Instant::now() + self.names.patience;
        self.turns.push(Job { handle, account, wish, due, is_wanted });
        handle
    }

    /// Gives what waits to those who can do it.
    pub(super) fn begin_reaches(&mut self) -> Result<(), Error> {
        while let Some(job) = self.next_turn() {
            match self.ask_reacher(&job) {
                Ok(worker) => self.reaches.begin(job.handle, worker, job.due, job),
                Err(error) => {
                    self.reached(job, Err(format!("no process to open a socket with: {error}")), None)?;
                }
            }
        }
        Ok(())
    }

    fn next_turn(&mut self) -> Option<Job> {
        let reaches = &self.reaches;
        let may = |account: &Account| reaches.at_work(|way| way.account.uid == account.uid) < OF_ONE;
        // Also what is removed as soon as it is bound.
        let removed = |path: &Path| {
            let mut all = reaches.open().map(|(.., job)| job);
            all.any(|job| !job.is_wanted && job.wish.path() == path)
        };
        reaches.room().then(|| self.turns.next(may, removed)).flatten()
    }

    /// Somebody who is this account: one who has nothing to do, or a new one.
    fn ask_reacher(&mut self, job: &Job) -> io::Result<Worker<Reacher>> {
        while let Some(worker) = self.reaches.idle(|way| way.account == job.account) {
            // One that has just ended is of no use any more.
            if worker.way.ask(&job.wish).is_ok() {
                return Ok(worker);
            }
        }
        self.reaches.make_way();
        let (child, way) = reacher::start(&job.account)?;
        way.ask(&job.wish)?;
        Ok(Worker { child, until: Instant::now() + self.names.serves, way })
    }

    /// Gives up what has taken too long, and says which path it was.
    pub(super) fn give_up_overdue_reaches(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        self.reaches.retire(now);
        while let Some((_, child, job)) = self.reaches.overdue(now) {
            end(child);
            let reason = format!(
                "{} was not reached on this host in {} s: the file system it lies on (NFS?) does not answer; its \
                 administrator should see whether it works",
                job.wish.path().display(),
                self.names.patience.as_secs()
            );
            let reason = told_log(&job.account.login, reason).to_string();
            self.reached(job, Err(reason), None)?;
        }
        while let Some(job) = self.turns.overdue(now) {
            let reason = told_log(&job.account.login, BUSY.to_owned()).to_string();
            self.reached(job, Err(reason), None)?;
        }
        Ok(())
    }

    /// Nobody waits for it any more. What may be bound by now is removed once that is known.
    pub(super) fn give_up_reach(&mut self, handle: u32) {
        self.turns.give_up(handle);
        let Some(job) = self.reaches.about(handle) else { return };
        match job.wish {
            Wish::Connect(_) => {
                if let Some((child, _)) = self.reaches.give_up(handle) {
                    end(child);
                }
            }
            Wish::Agent | Wish::Bind(_) | Wish::Remove { .. } => job.is_wanted = false,
        }
    }

    /// Tells what came of those that are answered.
    pub(super) fn hear_reaches(&mut self, answered: &[u32]) -> Result<(), Error> {
        for handle in answered {
            let heard =
                self.reaches.open().find(|(open, ..)| open == handle).map(|(_, worker, _)| worker.way.hear());
            match heard {
                None | Some(Ok(None)) => {}
                Some(Ok(Some((outcome, socket)))) => {
                    if let Some(job) = self.reaches.answered(*handle, Instant::now()) {
                        self.reached(job, outcome, socket)?;
                    }
                }
                Some(Err(_)) => {
                    if let Some((child, job)) = self.reaches.give_up(*handle) {
                        end(child);
                        let failed = no_answer(&job);
                        self.reached(job, Err(failed), None)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells that a child, if it was one that opened a socket, has ended over it.
    pub(super) fn broke_off_reach(&mut self, child: Pid) -> Result<(), Error> {
        let Some((_, job)) = self.reaches.ended(child) else { return Ok(()) };
        let failed = no_answer(&job);
        self.reached(job, Err(failed), None)
    }

    fn reached(&mut self, job: Job, outcome: Outcome, socket: Option<OwnedFd>) -> Result<(), Error> {
        let Job { handle, account, wish, is_wanted, .. } = job;
        self.held.remove(&handle);
        let (path, socket) = match (outcome, socket) {
            (Ok(path), Some(socket)) => (path, socket),
            (outcome, _) => {
                let reason = outcome.err().unwrap_or_else(|| "no socket was opened".to_owned());
                return if is_wanted { self.say(&Answer::Denied { handle, reason }, &[]) } else { Ok(()) };
            }
        };
        let own_directory = wish == Wish::Agent;
        if own_directory || matches!(wish, Wish::Bind(_)) {
            if !is_wanted {
                self.remove(account, path, own_directory);
                return Ok(());
            }
            self.held.insert(handle, Held::Bound { account, path: path.clone(), own_directory });
        }
        let path = path.into_os_string().into_encoded_bytes();
        self.say(&Answer::Socket { socket: handle, path }, &[socket])
    }

    /// Removes what is still bound, within [`GOODBYE`], for a service that has ended.
    pub(super) fn remove_all(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.turns.retain(|job| matches!(job.wish, Wish::Remove { .. }));
        for (handle, held) in held {
            match held {
                Held::Bound { account, path, own_directory } => self.remove(account, path, own_directory),
                Held::Begun => self.give_up_reach(handle),
                Held::Account { .. } | Held::Pty { .. } | Held::Running(_) => {}
            }
        }
        let until = Instant::now() + GOODBYE;
        // Nobody is told anything any more, so nothing can fail but removing.
        while self.begin_reaches().is_ok() && (!self.turns.is_empty() || self.reaches.open().next().is_some())
        {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(left) = PollTimeout::try_from(left) else { return };
            let (handles, mut fds): (Vec<u32>, Vec<PollFd<'_>>) = self
                .reaches
                .open()
                .map(|(handle, worker, _)| {
                    (handle, PollFd::new(std::os::fd::AsFd::as_fd(&worker.way), PollFlags::POLLIN))
                })
                .unzip();
            match nix::poll::poll(&mut fds, left) {
                Ok(0) => return,
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return,
            }
            let answered: Vec<u32> = handles
                .into_iter()
                .zip(&fds)
                .filter(|(_, fd)| fd.any().unwrap_or(true))
                .map(|(handle, _)| handle)
                .collect();
            drop(fds);
            if self.hear_reaches(&answered).is_err() {
                return;
            }
        }
    }
}

fn no_answer(job: &Job) -> String {
    format!("{} was not reached on this host: who tried ended without an answer", job.wish.path().display())
}
