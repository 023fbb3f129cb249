//! What a pump holds: frames in, never blocking an honest session, never silently losing one.
//!
//! A push copies the frame into the session's ring and returns. A full ring makes a strict session's push wait and a
//! best-effort session's push count the loss. Every wait ends when the session is ended.

use std::sync::Arc;

use audit::recording::Frame;
use audit::recording::frame::split;

use crate::Error;
use crate::about::EndReason;
use crate::slot::{Pushed, Slot};

/// Takes a session's frames. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tap(pub(crate) Arc<Slot>);

impl Tap {
    /// Records one frame.
    ///
    /// # Errors
    /// The session has been ended: the pump stops and says why.
    pub async fn push(&self, frame: Frame<'_>) -> Result<(), Error> {
        if self.0.terms.recording.off() {
            return self.check();
        }
        self.check()?;
        match self.0.offer(&frame) {
            Pushed::Taken | Pushed::Lost => Ok(()),
            Pushed::Full => self.push_later(frame).await,
        }
    }

    /// As [`Tap::push`], once there is room.
    async fn push_later(&self, frame: Frame<'_>) -> Result<(), Error> {
        loop {
            let room = self.0.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            self.check()?;
            match self.0.offer(&frame) {
                Pushed::Taken | Pushed::Lost => return Ok(()),
                // The recorder drains, or ends the session because it cannot: either wakes this.
                Pushed::Full => room.await,
            }
        }
    }

    /// Records terminal output of any length and counts it as sent to the person.
    ///
    /// # Errors
    /// The session has been ended.
    pub async fn output(&self, bytes: &[u8]) -> Result<(), Error> {
        self.0.moved(bytes.len() as u64, 0);
        for piece in split(bytes) {
            self.push(Frame::Output(piece)).await?;
        }
        Ok(())
    }

    /// Counts what the person typed; records it only where a role asks for keystrokes.
    ///
    /// # Errors
    /// The session has been ended.
    pub async fn input(&self, bytes: &[u8]) -> Result<(), Error> {
        self.0.moved(0, bytes.len() as u64);
        if !self.0.terms.recording.keystrokes {
            return self.check();
        }
        for piece in split(bytes) {
            self.push(Frame::Input(piece)).await?;
        }
        Ok(())
    }

    /// Records the terminal's new size.
    ///
    /// # Errors
    /// The session has been ended.
    pub async fn resize(&self, cols: u16, rows: u16) -> Result<(), Error> {
        self.push(Frame::Resize { cols, rows }).await
    }

    /// Counts bytes that are not recorded (forwards, files) and keeps the session from being idle.
    pub fn moved(&self, sent: u64, received: u64) {
        self.0.moved(sent, received);
    }

    /// How many bytes were sent to the person so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.totals().0
    }

    /// Says whether the session may go on.
    ///
    /// # Errors
    /// It was ended, and why.
    pub fn check(&self) -> Result<(), Error> {
        match self.0.reason() {
            Some(reason) => Err(Error::Ended(reason.clone())),
            None => Ok(()),
        }
    }

    /// Resolves when the session must stop, with the reason to show. Cancel safe.
    pub async fn ended(&self) -> EndReason {
        self.0.stopped().await;
        self.0.reason().cloned().unwrap_or(EndReason::Stopping)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use audit::recording::GapReason;
    use audit::recording::frame::Frames;
    use model::resource::{RecordingMode, Strictness};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::about::{Ledger, Terms};
    use crate::shard::Shard;
    use crate::tests::{about, server, terms};

    /// A tap whose ring nobody drains.
    fn tap(strictness: Strictness) -> Tap {
        let terms: Terms = terms(RecordingMode::Node, strictness);
        let ledger = Ledger {
            id: model::SessionId::from_random([1; 16]),
            about: about(),
            recording: terms.recording,
            started: model::Timestamp::from_secs(1),
            server: server(),
        };
        Tap(Slot::new(ledger, terms, Arc::<Shard>::default(), CancellationToken::new(), None))
    }

    async fn fill(tap: &Tap) {
        while tap.0.waiting() < crate::ring::CAPACITY {
            tap.push(Frame::Output(&[b'x'; 60_000])).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_ring_makes_a_strict_session_wait_until_it_is_drained() {
        let tap = tap(Strictness::Strict);
        fill(&tap).await;
        let mut push = Box::pin(tap.push(Frame::Output(b"y")));
        assert!(tokio::time::timeout(Duration::from_secs(3_600), &mut push).await.is_err());

        let first = tap.0.drain();
        push.await.unwrap();

        assert!(Frames::new(&first).all(|f| f.unwrap().frame == Frame::Output(&[b'x'; 60_000])));
        let second = tap.0.drain();
        assert_eq!(Frames::new(&second).next().unwrap().unwrap().frame, Frame::Output(b"y"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_ring_never_stops_a_best_effort_session_and_what_is_lost_is_counted() {
        let tap = tap(Strictness::BestEffort);
        fill(&tap).await;

        for _ in 0..1_000 {
            tap.output(b"lost").await.unwrap();
        }

        assert!(tap.0.waiting() < crate::ring::CAPACITY + 70_000);
        let bytes = tap.0.drain();
        let last = Frames::new(&bytes).last().unwrap().unwrap().frame;
        assert_eq!(last, Frame::Gap { reason: GapReason::Overrun, frames: 1_000, bytes: 4_000 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_that_waits_ends_with_its_session() {
        let tap = tap(Strictness::Strict);
        fill(&tap).await;
        let push = tap.push(Frame::Output(b"y"));
        let end = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            tap.0.end(EndReason::Expired);
        };

        let (pushed, ()) = tokio::join!(push, end);

        assert_eq!(pushed, Err(Error::Ended(EndReason::Expired)));
    }
}
