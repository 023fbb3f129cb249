//! What other processes do for the spawner: whether there is room for one job more, which process does it, when each is due.
//!
//! Pure: a process is a number and whatever its holder keeps of it, and time is an argument. One that was given up counts
//! until it is gone, because one that hangs in the kernel (a dead file server) does not even die: a host in trouble gets no
//! more of them than [`MOST`].

use std::collections::BTreeMap;
use std::time::Instant;

use nix::unistd::Pid;

/// Most processes of one kind at a time. Twice the look-ups the other half asks for, so that those given up are in
/// nobody's way.
pub(super) const MOST: usize = 2 * ASKED;
/// Most look-ups the other half asks for at a time; more of its askers wait.
pub(super) const ASKED: usize = 64;

/// A process that does one job after the other.
#[derive(Debug)]
pub(super) struct Worker<W> {
    pub(super) child: Pid,
    /// From when on it is asked nothing more.
    pub(super) until: Instant,
    /// The way to ask it. Without one it ends, when it has nothing to do.
    pub(super) way: W,
}

/// Jobs by handle, each with its process and what it is about.
#[derive(Debug)]
pub(super) struct Jobs<W, T> {
    open: BTreeMap<u32, Open<W, T>>,
    /// Those that have answered and may be asked again.
    idle: Vec<Worker<W>>,
    /// Killed and not yet collected.
    given_up: BTreeMap<Pid, Worker<W>>,
}

#[derive(Debug)]
struct Open<W, T> {
    worker: Worker<W>,
    due: Instant,
    about: T,
}

impl<W, T> Default for Jobs<W, T> {
    fn default() -> Self {
        Self { open: BTreeMap::new(), idle: Vec::new(), given_up: BTreeMap::new() }
    }
}

impl<W, T> Jobs<W, T> {
    /// Whether one more may begin.
    pub(super) fn room(&self) -> bool {
        self.open.len() + self.given_up.len() < MOST
    }

    /// How many of these are at work, or hang on.
    pub(super) fn at_work(&self, counts: impl Fn(&W) -> bool) -> usize {
        let open = self.open.values().map(|open| &open.worker);
        open.chain(self.given_up.values()).filter(|worker| counts(&worker.way)).count()
    }

    /// One that fits and can be asked: the last to have answered, so that the others come to their end.
    pub(super) fn idle(&mut self, fits: impl Fn(&W) -> bool) -> Option<Worker<W>> {
        let at = self.idle.iter().rposition(|worker| fits(&worker.way))?;
        Some(self.idle.remove(at))
    }

    /// There is to be another process: one that has had nothing to do for longest goes where there are too many.
    pub(super) fn make_way(&mut self) {
        if self.open.len() + self.given_up.len() + self.idle.len() >= MOST && !self.idle.is_empty() {
            self.idle.remove(0);
        }
    }

    /// This one does the job with this handle, and has until `due`.
    pub(super) fn begin(&mut self, handle: u32, worker: Worker<W>, due: Instant, about: T) {
        self.open.insert(handle, Open { worker, due, about });
    }

    /// What the job with this handle is about.
    pub(super) fn about(&mut self, handle: u32) -> Option<&mut T> {
        self.open.get_mut(&handle).map(|open| &mut open.about)
    }

    /// When there is something to give up or to let go.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let open = self.open.values().map(|open| open.due);
        open.chain(self.idle.iter().map(|worker| worker.until)).min()
    }

    /// Lets those go that are asked no more.
    pub(super) fn retire(&mut self, now: Instant) {
        self.idle.retain(|worker| now < worker.until);
    }

    /// One that has taken too long: nothing of it counts any more, and its child is to be killed.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<(u32, Pid, T)> {
        let handle = self.open.iter().find(|(_, open)| open.due <= now).map(|(handle, _)| *handle)?;
        let (child, about) = self.give_up(handle)?;
        Some((handle, child, about))
    }

    /// Nothing of this one counts any more: the child to be killed, and what it was about.
    pub(super) fn give_up(&mut self, handle: u32) -> Option<(Pid, T)> {
        let Open { worker, about, .. } = self.open.remove(&handle)?;
        let child = worker.child;
        self.given_up.insert(child, worker);
        Some((child, about))
    }

    /// This one is answered: what it was about. Its process may be asked again while its time lasts.
    pub(super) fn answered(&mut self, handle: u32, now: Instant) -> Option<T> {
        let Open { worker, about, .. } = self.open.remove(&handle)?;
        self.idle.push(worker);
        self.retire(now);
        Some(about)
    }

    /// A child has ended: the job that is over without an answer, unless it was given up or had none.
    pub(super) fn ended(&mut self, child: Pid) -> Option<(u32, T)> {
        if self.given_up.remove(&child).is_some() {
            return None;
        }
        self.idle.retain(|worker| worker.child != child);
        let handle = self.open.iter().find(|(_, open)| open.worker.child == child)?.0;
        let handle = *handle;
        self.open.remove(&handle).map(|open| (handle, open.about))
    }

    /// Every job under way: its handle, its process and what it is about.
    pub(super) fn open(&self) -> impl Iterator<Item = (u32, &Worker<W>, &T)> {
        self.open.iter().map(|(handle, open)| (*handle, &open.worker, &open.about))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What happens, at this second, and what is to follow.
    enum Step {
        Begin { handle: u32, child: i32, due: u64, until: u64 },
        Answered { handle: u32, at: u64, counts: bool },
        Ended { child: i32, fails: Option<u32> },
        GiveUp { handle: u32, kills: Option<i32> },
        Tick { at: u64, overdue: Option<(u32, i32)> },
        Asked(Option<i32>),
        Due(Option<u64>),
    }

    fn play(story: Vec<Step>) {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut jobs = Jobs::default();

        for (number, step) in story.into_iter().enumerate() {
            match step {
                Step::Begin { handle, child, due, until } => {
                    let worker = Worker { child: Pid::from_raw(child), until: at(until), way: () };
                    jobs.begin(handle, worker, at(due), handle);
                }
                Step::Answered { handle, at: second, counts } => {
                    let expected = counts.then_some(handle);
                    assert_eq!(jobs.answered(handle, at(second)), expected, "step {number}");
                }
                Step::Ended { child, fails } => {
                    let expected = fails.map(|handle| (handle, handle));
                    assert_eq!(jobs.ended(Pid::from_raw(child)), expected, "step {number}");
                }
                Step::GiveUp { handle, kills } => {
                    let expected = kills.map(|child| (Pid::from_raw(child), handle));
                    assert_eq!(jobs.give_up(handle), expected, "step {number}");
                }
                Step::Tick { at: second, overdue } => {
                    jobs.retire(at(second));
                    let expected = overdue.map(|(handle, child)| (handle, Pid::from_raw(child), handle));
                    assert_eq!(jobs.overdue(at(second)), expected, "step {number}");
                }
                Step::Asked(child) => {
                    let asked = jobs.idle(|()| true).map(|worker| worker.child);
                    assert_eq!(asked, child.map(Pid::from_raw), "step {number}");
                }
                Step::Due(second) => assert_eq!(jobs.next_due(), second.map(at), "step {number}"),
            }
        }
    }

    #[test]
    fn an_answer_counts_once_in_time_and_for_who_still_waits() {
        use Step::{Answered, Begin, Due, Ended, GiveUp, Tick};
        play(vec![
            Due(None),
            Begin { handle: 1, child: 100, due: 60, until: 10 },
            Begin { handle: 2, child: 101, due: 61, until: 10 },
            Begin { handle: 3, child: 102, due: 62, until: 10 },
            Begin { handle: 4, child: 103, due: 63, until: 10 },
            Due(Some(60)),
            // The last to begin may be the first to be answered.
            Answered { handle: 4, at: 11, counts: true },
            Answered { handle: 4, at: 11, counts: false },
            // A program's child, not one that does a job.
            Ended { child: 7, fails: None },
            GiveUp { handle: 2, kills: Some(101) },
            GiveUp { handle: 2, kills: None },
            GiveUp { handle: 9, kills: None },
            // It may have been done before it was killed; nobody is told.
            Answered { handle: 2, at: 12, counts: false },
            Ended { child: 101, fails: None },
            Tick { at: 59, overdue: None },
            Tick { at: 60, overdue: Some((1, 100)) },
            Tick { at: 60, overdue: None },
            Ended { child: 100, fails: None },
            Due(Some(62)),
            // It crashed.
            Ended { child: 102, fails: Some(3) },
            Due(None),
        ]);
    }

    #[test]
    fn who_has_answered_is_asked_again_while_its_time_lasts() {
        use Step::{Answered, Asked, Begin, Due, Ended, Tick};
        play(vec![
            Asked(None),
            Begin { handle: 1, child: 100, due: 60, until: 10 },
            // Who is at it is not asked for more.
            Asked(None),
            Begin { handle: 2, child: 101, due: 61, until: 11 },
            Begin { handle: 3, child: 102, due: 61, until: 12 },
            Answered { handle: 2, at: 1, counts: true },
            Answered { handle: 1, at: 1, counts: true },
            Asked(Some(100)),
            Begin { handle: 4, child: 100, due: 62, until: 10 },
            Due(Some(11)),
            // Too late to be asked again.
            Answered { handle: 4, at: 10, counts: true },
            Ended { child: 100, fails: None },
            // One that ended while it had nothing to do is not asked.
            Answered { handle: 3, at: 10, counts: true },
            Ended { child: 102, fails: None },
            Due(Some(11)),
            Tick { at: 11, overdue: None },
            Due(None),
            Asked(None),
        ]);
    }

    #[test]
    fn a_child_takes_its_place_until_it_is_gone() {
        let mut jobs = Jobs::default();
        let due = Instant::now();
        for number in 0..MOST {
            assert!(jobs.room());
            let number = u32::try_from(number).unwrap();
            let child = Pid::from_raw(number.cast_signed());
            jobs.begin(number, Worker { child, until: due, way: () }, due, ());
        }

        assert!(!jobs.room());
        jobs.give_up(5);
        jobs.overdue(due);
        assert!(!jobs.room(), "killed, but there");
        jobs.ended(Pid::from_raw(5));
        assert!(jobs.room());
    }

    #[test]
    fn those_who_wait_make_way_and_those_that_do_not_fit_are_not_asked() {
        let start = Instant::now();
        let mut jobs = Jobs::default();
        let most = u32::try_from(MOST).unwrap();
        let begin = |jobs: &mut Jobs<u32, ()>, number: u32| {
            let child = Pid::from_raw(number.cast_signed());
            jobs.begin(
                number,
                Worker { child, until: start + Duration::from_secs(10), way: number },
                start,
                (),
            );
        };
        for number in 1..=most {
            begin(&mut jobs, number);
        }
        for number in 1..=most {
            jobs.answered(number, start);
        }
        assert_eq!(jobs.at_work(|_| true), 0);

        jobs.make_way();
        begin(&mut jobs, most + 1);
        jobs.give_up(most + 1);

        assert!(jobs.idle(|way| *way == 1).is_none(), "the first to wait has made way");
        assert_eq!(jobs.idle(|way| *way == 2).map(|worker| worker.way), Some(2));
        assert_eq!(jobs.idle(|way| *way < 10).map(|worker| worker.way), Some(9));
        assert_eq!(jobs.at_work(|way| *way == most + 1), 1, "killed, but there");
        assert_eq!(jobs.at_work(|way| *way == 3), 0);
    }
}
