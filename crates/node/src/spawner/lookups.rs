//! Look-ups under way: whether there is room for one more, when each is due, whose end is an answer.
//!
//! Pure: a child is a number and time an argument. A child that was given up counts until it is gone, because one that
//! hangs in the kernel (a dead file server) does not even die: a host in trouble gets no more of them than [`MOST`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use nix::unistd::Pid;

/// Most children at a time. Twice what the other half asks for, so that those given up are in nobody's way.
pub(super) const MOST: usize = 2 * ASKED;
/// Most look-ups the other half asks for at a time; more of its askers wait.
pub(super) const ASKED: usize = 64;

/// What a person is told for whom there is no room.
pub(super) const BUSY: &str = "this host is busy looking up as many accounts as it can: try again in a moment; its \
                               administrator should see whether its name service (LDAP, SSSD) answers";

/// Look-ups by handle, each with what it is about.
#[derive(Debug)]
pub(super) struct Lookups<T> {
    open: BTreeMap<u32, Open<T>>,
    /// Killed and not yet collected.
    given_up: BTreeSet<Pid>,
}

#[derive(Debug)]
struct Open<T> {
    child: Pid,
    due: Instant,
    about: T,
}

impl<T> Default for Lookups<T> {
    fn default() -> Self {
        Self { open: BTreeMap::new(), given_up: BTreeSet::new() }
    }
}

impl<T> Lookups<T> {
    /// Whether one more may begin.
    pub(super) fn room(&self) -> bool {
        self.open.len() + self.given_up.len() < MOST
    }

    /// This child looks up for this handle, and has until `due`.
    pub(super) fn begin(&mut self, handle: u32, child: Pid, due: Instant, about: T) {
        self.open.insert(handle, Open { child, due, about });
    }

    /// When the next one has taken too long.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.open.values().map(|open| open.due).min()
    }

    /// One that has taken too long: nothing of it counts any more, and its child is to be killed.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<(u32, Pid, T)> {
        let handle = self.open.iter().find(|(_, open)| open.due <= now).map(|(handle, _)| *handle)?;
        let Open { child, about, .. } = self.open.remove(&handle)?;
        self.given_up.insert(child);
        Some((handle, child, about))
    }

    /// Nobody waits for this one any more: the child to be killed.
    pub(super) fn give_up(&mut self, handle: u32) -> Option<Pid> {
        let Open { child, .. } = self.open.remove(&handle)?;
        self.given_up.insert(child);
        Some(child)
    }

    /// A child has ended: the look-up that is over with it, unless it was given up or is none of these.
    pub(super) fn ended(&mut self, child: Pid) -> Option<(u32, T)> {
        if self.given_up.remove(&child) {
            return None;
        }
        let handle = self.open.iter().find(|(_, open)| open.child == child).map(|(handle, _)| *handle)?;
        self.open.remove(&handle).map(|open| (handle, open.about))
    }

    /// Every child that still looks something up.
    pub(super) fn children(&self) -> impl Iterator<Item = Pid> {
        self.open.values().map(|open| open.child)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What happens, at this second, and what is to follow.
    enum Step {
        Begin { handle: u32, child: i32, due: u64 },
        Ended { child: i32, answers: Option<u32> },
        GiveUp { handle: u32, kills: Option<i32> },
        Tick { at: u64, overdue: Option<(u32, i32)> },
        Due(Option<u64>),
    }

    #[test]
    fn an_answer_counts_once_in_time_and_for_who_still_waits() {
        use Step::{Begin, Due, Ended, GiveUp, Tick};
        let story = [
            Due(None),
            Begin { handle: 1, child: 100, due: 60 },
            Begin { handle: 2, child: 101, due: 61 },
            Begin { handle: 3, child: 102, due: 62 },
            Begin { handle: 4, child: 103, due: 63 },
            Due(Some(60)),
            // The last to begin may be the first to be answered.
            Ended { child: 103, answers: Some(4) },
            Ended { child: 103, answers: None },
            // A program's child, not a look-up's.
            Ended { child: 7, answers: None },
            GiveUp { handle: 2, kills: Some(101) },
            GiveUp { handle: 2, kills: None },
            GiveUp { handle: 9, kills: None },
            // It may have been done before it was killed; nobody is told.
            Ended { child: 101, answers: None },
            Tick { at: 59, overdue: None },
            Tick { at: 60, overdue: Some((1, 100)) },
            Tick { at: 60, overdue: None },
            Ended { child: 100, answers: None },
            Due(Some(62)),
            Ended { child: 102, answers: Some(3) },
            Due(None),
        ];
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut lookups = Lookups::default();

        for (number, step) in story.into_iter().enumerate() {
            match step {
                Begin { handle, child, due } => lookups.begin(handle, Pid::from_raw(child), at(due), handle),
                Ended { child, answers } => {
                    let expected = answers.map(|handle| (handle, handle));
                    assert_eq!(lookups.ended(Pid::from_raw(child)), expected, "step {number}");
                }
                GiveUp { handle, kills } => {
                    assert_eq!(lookups.give_up(handle), kills.map(Pid::from_raw), "step {number}");
                }
                Tick { at: second, overdue } => {
                    let expected = overdue.map(|(handle, child)| (handle, Pid::from_raw(child), handle));
                    assert_eq!(lookups.overdue(at(second)), expected, "step {number}");
                }
                Due(second) => assert_eq!(lookups.next_due(), second.map(at), "step {number}"),
            }
        }
    }

    #[test]
    fn a_child_takes_its_place_until_it_is_gone() {
        let mut lookups = Lookups::default();
        let due = Instant::now();
        for number in 0..MOST {
            assert!(lookups.room());
            let number = u32::try_from(number).unwrap();
            lookups.begin(number, Pid::from_raw(number.cast_signed()), due, ());
        }

        assert!(!lookups.room());
        lookups.give_up(5);
        lookups.overdue(due);
        assert!(!lookups.room(), "killed, but there");
        lookups.ended(Pid::from_raw(5));
        assert!(lookups.room());
    }
}
