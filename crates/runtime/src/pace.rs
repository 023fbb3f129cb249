//! Whether bytes come as in a copy, or as somebody types. The clock is read once for each 512 KiB: a keystroke costs none.

use std::time::{Duration, Instant};

/// What is looked at together.
const MUCH: u64 = 512 * 1024;

/// A copy carries as much within this time. A program somebody works with fills a screen or two a second at most, and
/// not for long.
const SOON: Duration = Duration::from_secs(60);

/// One connection's pace, both ways together.
#[derive(Debug)]
pub struct Pace {
    since: Instant,
    carried: u64,
}

impl Pace {
    /// Begins at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { since: now, carried: 0 }
    }

    /// Notes what was carried. Each time 512 KiB are through it says whether they came as in a copy: within a minute.
    pub fn add(&mut self, count: u64, now: impl FnOnce() -> Instant) -> Option<bool> {
        self.carried = self.carried.saturating_add(count);
        if self.carried < MUCH {
            return None;
        }
        let now = now();
        let copies = now.saturating_duration_since(self.since) < SOON;
        *self = Self::new(now);
        Some(copies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_within_a_minute_is_a_copy_and_what_takes_a_day_is_none() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(start);

        for (count, seconds, said) in [
            (MUCH - 1, 1, None),
            (1, 2, Some(true)),
            (MUCH / 2, 50, None),
            (MUCH / 2, 63, Some(false)),
            (10 * MUCH, 64, Some(true)),
            (MUCH, 86_400, Some(false)),
            (MUCH - 1, 86_401, None),
        ] {
            assert_eq!(pace.add(count, || at(seconds)), said, "{seconds}");
        }
    }
}
