//! Whether the peer lives and how far away it is: when to ping, and what a pong says.

use std::time::Duration;

use super::terms::Dead;

/// One connection's pulse.
#[derive(Debug)]
pub(super) struct Pulse {
    quiet: Duration,
    dead: Duration,
    heard: Duration,
    pinged: Option<Duration>,
    measured: Option<Duration>,
    rtt: Option<Duration>,
}

impl Pulse {
    /// A peer just met: asked after `quiet` without a word, over after `dead`.
    pub(super) fn new(quiet: Duration, dead: Duration, now: Duration) -> Self {
        Self { quiet, dead, heard: now, pinged: None, measured: None, rtt: None }
    }

    /// Notes that the peer said something.
    pub(super) fn heard(&mut self, now: Duration) {
        self.heard = now;
    }

    /// A ping leaves now: its token.
    pub(super) fn ping(&mut self, now: Duration) -> u64 {
        self.pinged = Some(now);
        micros(now)
    }

    /// Takes a pong. An older ping's counts too: where the round trip is longer than the pause, it is the only one there
    /// is. A token from the future is nobody's.
    pub(super) fn pong(&mut self, token: u64, now: Duration) {
        let Some(sample) = micros(now).checked_sub(token) else { return };
        let sample = Duration::from_micros(sample);
        self.pinged = None;
        self.measured = Some(now);
        // Near the smallest seen: a round trip measured behind a queue is not the path's.
        self.rtt = Some(match self.rtt {
            Some(rtt) if sample > rtt => rtt + (sample - rtt) / 8,
            _ => sample,
        });
    }

    /// Lets time pass; true when a ping is due. `busy` while streams are open.
    ///
    /// # Errors
    /// The peer has been silent for too long.
    pub(super) fn tick(&self, now: Duration, busy: bool) -> Result<bool, Dead> {
        let silent = now.saturating_sub(self.heard);
        if silent >= self.dead { Err(Dead(silent)) } else { Ok(now >= self.next_ping(busy)) }
    }

    fn next_ping(&self, busy: bool) -> Duration {
        let quiet = self.heard + self.quiet;
        let again = self.pinged.map(|at| at + self.quiet);
        let stale = self.measured.filter(|_| busy).map(|at| at + 10 * self.quiet);
        let due = stale.map_or(quiet, |stale| stale.min(quiet));
        again.map_or(due, |again| again.max(due))
    }

    /// When to look again.
    pub(super) fn deadline(&self, busy: bool) -> Duration {
        self.next_ping(busy).min(self.heard + self.dead)
    }

    /// The round trip, near its smallest.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
