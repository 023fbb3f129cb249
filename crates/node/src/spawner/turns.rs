//! Who waits for a socket to be opened: in the order they came, but nobody behind another account that has all it may.
//!
//! Pure: time is an argument. Nobody binds a path that is still being removed, as is where somebody listens anew right
//! after they stopped.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::time::Instant;

use super::account::Account;
use super::reacher::Wish;

/// Most processes at work for one account.
pub(super) const OF_ONE: usize = 16;
/// Most of one account that wait.
pub(super) const WAIT: usize = 256;

/// What a person is told for whom there is no room.
pub(super) const BUSY: &str = "as many sockets as may be are being opened for this account on this host: try again in a \
                               moment; where it stays so, a file system they lie on (NFS?) may not answer";

/// Something to be done as an account.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) handle: u32,
    pub(super) account: Account,
    pub(super) wish: Wish,
    /// When it is given up.
    pub(super) due: Instant,
    /// Somebody waits for it. What is opened otherwise goes again.
    pub(super) is_wanted: bool,
}

/// Jobs that have not begun.
#[derive(Debug, Default)]
pub(super) struct Turns(VecDeque<Job>);

impl Turns {
    /// Waits behind all others.
    pub(super) fn push(&mut self, job: Job) {
        self.0.push_back(job);
    }

    /// Whether one more of this account may wait.
    pub(super) fn room(&self, account: &Account) -> bool {
        self.0.iter().filter(|job| job.account.uid == account.uid).count() < WAIT
    }

    /// Nobody waits for this one any more: what has not begun never does.
    pub(super) fn give_up(&mut self, handle: u32) {
        self.0.retain(|job| job.handle != handle);
    }

    /// Keeps these.
    pub(super) fn retain(&mut self, keep: impl Fn(&Job) -> bool) {
        self.0.retain(keep);
    }

    /// The first that can begin: of an account that `may`, and not at a path that is `removed` now or has to be.
    pub(super) fn next(
        &mut self,
        may: impl Fn(&Account) -> bool,
        removed: impl Fn(&Path) -> bool,
    ) -> Option<Job> {
        let gone = self.0.iter().filter(|job| matches!(job.wish, Wish::Remove { .. }));
        let gone: BTreeSet<&Path> = gone.map(|job| job.wish.path()).collect();
        let mut full = BTreeSet::new();
        let at = self.0.iter().position(|job| {
            let waits =
                matches!(&job.wish, Wish::Bind(path) if gone.contains(path.as_path()) || removed(path));
            if waits || full.contains(&job.account.uid.as_raw()) {
                return false;
            }
            let begins = may(&job.account);
            if !begins {
                full.insert(job.account.uid.as_raw());
            }
            begins
        })?;
        self.0.remove(at)
    }

    /// When there is something to give up.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.iter().map(|job| job.due).min()
    }

    /// One that has waited too long.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Job> {
        let at = self.0.iter().position(|job| job.due <= now)?;
        self.0.remove(at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::unistd::{Gid, Uid};

    use super::*;

    fn account(uid: u32) -> Account {
        Account {
            login: format!("u{uid}"),
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(uid),
            groups: vec![],
            home: c"/".into(),
            shell: c"/bin/sh".into(),
        }
    }

    fn bind(path: &str) -> Wish {
        Wish::Bind(path.into())
    }

    fn remove(path: &str) -> Wish {
        Wish::Remove { path: path.into(), own_directory: false }
    }

    /// Who begins, one after the other, of these (account, wish), by their place.
    fn begin(jobs: &[(u32, Wish)], full: &[u32], removed: &[&str]) -> Vec<u32> {
        let mut turns = Turns::default();
        for (handle, (uid, wish)) in (0..).zip(jobs) {
            let (account, wish) = (account(*uid), wish.clone());
            turns.push(Job { handle, account, wish, due: Instant::now(), is_wanted: true });
        }
        let next = || {
            let may = |account: &Account| !full.contains(&account.uid.as_raw());
            turns.next(may, |path| removed.iter().any(|removed| path == Path::new(removed)))
        };
        std::iter::from_fn(next).map(|job| job.handle).collect()
    }

    #[test]
    fn turns_come_in_order_but_for_who_has_to_wait() {
        let connect = || Wish::Connect("/s".into());
        for (jobs, full, removed, begun) in [
            (vec![], vec![], vec![], vec![]),
            (vec![(1, bind("/a")), (2, connect()), (1, Wish::Agent)], vec![], vec![], vec![0, 1, 2]),
            // One account's waiting is not another's.
            (
                vec![(1, connect()), (2, connect()), (1, remove("/a")), (2, bind("/a"))],
                vec![1],
                vec![],
                vec![1],
            ),
            (vec![(1, connect()), (2, connect()), (1, connect())], vec![1, 2], vec![], vec![]),
            // A path that is being removed is bound after that, also where the removal still waits.
            (vec![(1, bind("/a")), (1, bind("/b")), (1, connect())], vec![], vec!["/a"], vec![1, 2]),
            (vec![(1, remove("/a")), (2, bind("/a"))], vec![1], vec![], vec![]),
            (vec![(2, bind("/a")), (1, remove("/a"))], vec![1], vec![], vec![]),
            (vec![(2, bind("/a")), (1, remove("/a"))], vec![], vec![], vec![1, 0]),
        ] {
            assert_eq!(begin(&jobs, &full, &removed), begun, "{jobs:?} {full:?} {removed:?}");
        }
    }

    #[test]
    fn an_account_may_wait_so_often_and_so_long() {
        let start = Instant::now();
        let mut turns = Turns::default();
        for handle in 0..u32::try_from(WAIT).unwrap() {
            assert!(turns.room(&account(1)));
            let due = start + Duration::from_secs(u64::from(handle));
            turns.push(Job { handle, account: account(1), wish: Wish::Agent, due, is_wanted: true });
        }
        assert!(!turns.room(&account(1)) && turns.room(&account(2)));

        turns.give_up(0);

        assert!(turns.room(&account(1)));
        assert_eq!(turns.next_due(), Some(start + Duration::from_secs(1)));
        assert_eq!(turns.overdue(start).map(|job| job.handle), None);
        let late = start + Duration::from_secs(2);
        assert_eq!(
            [turns.overdue(late), turns.overdue(late), turns.overdue(late)]
                .map(|job| job.map(|job| job.handle)),
            [Some(1), Some(2), None]
        );
    }
}
