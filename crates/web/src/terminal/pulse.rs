//! Whether a node is there: asked when its page asks us, one question at a time; whatever it says is an answer too.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

/// A node that was asked and says nothing for so long hurts: its page is told. Its tunnel is given up later.
const STALLED: Duration = Duration::from_secs(2);

/// One line's pulse.
#[derive(Default)]
pub(super) struct Pulse<'a> {
    asked: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>,
    /// When silence is too long.
    due: Option<Instant>,
    stalled: bool,
}

impl<'a> Pulse<'a> {
    /// Asks, unless a question is open.
    pub(super) fn ask(&mut self, answer: impl Future<Output = ()> + Send + 'a) {
        if self.asked.is_none() {
            self.asked = Some(Box::pin(answer));
            self.heard();
        }
    }

    /// The node said something.
    pub(super) fn heard(&mut self) {
        self.due = Some(Instant::now() + STALLED);
    }

    /// Resolves with `true` when it stalls, and with `false` when it answers again. Cancel safe: the question stays.
    pub(super) async fn changed(&mut self) -> bool {
        loop {
            let (Some(asked), Some(due)) = (&mut self.asked, self.due) else {
                return std::future::pending().await;
            };
            tokio::select! {
                biased;
                () = asked => {
                    self.asked = None;
                    if std::mem::take(&mut self.stalled) {
                        return false;
                    }
                }
                () = tokio::time::sleep_until(due), if !self.stalled => {
                    self.stalled = true;
                    return true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    async fn quiet(pulse: &mut Pulse<'_>, time: Duration) -> bool {
        timeout(time, pulse.changed()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_says_nothing_stalls_once_and_is_well_when_it_answers() {
        let mut pulse = Pulse::default();
        assert!(quiet(&mut pulse, STALLED * 9).await, "nobody asked");

        let (answer, answered) = oneshot::channel::<()>();
        pulse.ask(async { drop(answered.await) });

        assert!(quiet(&mut pulse, STALLED / 2).await);
        assert!(pulse.changed().await);
        pulse.ask(std::future::ready(()));
        assert!(quiet(&mut pulse, STALLED * 9).await, "told once; the first question is still open");
        drop(answer);
        assert!(!pulse.changed().await);
        assert!(quiet(&mut pulse, STALLED * 9).await);
    }

    #[tokio::test(start_paused = true)]
    async fn output_is_an_answer() {
        let mut pulse = Pulse::default();
        pulse.ask(std::future::pending());
        for _ in 0..9 {
            assert!(quiet(&mut pulse, STALLED / 2).await);
            pulse.heard();
        }

        assert!(pulse.changed().await);
    }
}
