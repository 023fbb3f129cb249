//! One session's way from ring to spool: a step of blocking work, driven by the recorder.
//!
//! Holds at most one open segment, and one sealed segment that the disk would not take. When the disk fails a strict
//! session is ended and a best-effort session loses frames into a gap; either way what was sealed is tried again at
//! each tick until it is on disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use audit::Sign;
use audit::recording::frame::Frames;
use audit::recording::journal::Journal;
use audit::recording::writer::{FULL, OLD};
use audit::recording::{Frame, GapReason, Sealed, Writer};
use model::SessionId;

use crate::about::EndReason;
use crate::disk::in_words;
use crate::slot::Slot;
use crate::spool::Spool;

/// How long frames may wait before they are in the journal; with the disk's own time this stays under a second.
pub(crate) const TICK: Duration = Duration::from_millis(500);
/// How long a synchronous session waits for a receipt before recording counts as failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What lanes work with.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) spool: Spool,
    pub(crate) sign: Arc<dyn Sign>,
}

/// What a step came to.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Segments now on disk: number, and whether it is the last.
    pub(crate) sealed: Vec<(u64, bool)>,
    /// Gaps that were written.
    pub(crate) gaps: Vec<(GapReason, u64, u64)>,
    /// The recording is closed and on disk.
    pub(crate) done: bool,
}

/// One session's recorder.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) slot: Arc<Slot>,
    writer: Writer,
    journal: Option<Journal>,
    stuck: Option<Sealed>,
    lost_frames: u64,
    lost_bytes: u64,
    closing: bool,
    /// The disk or the key did not do its part the last time, and that was said.
    failing: bool,
    waiting_since: Option<Duration>,
    journaled_at: Duration,
    gaps: BTreeMap<GapReason, (u64, u64)>,
    gaps_told_at: Option<Duration>,
}

impl Lane {
    pub(crate) fn new(slot: Arc<Slot>) -> Self {
        let mut writer = Writer::new(slot.ledger.id.clone(), slot.ledger.started);
        writer.push(Duration::ZERO, &Frame::Start(slot.ledger.start_frame()));
        Self {
            slot,
            writer,
            journal: None,
            stuck: None,
            lost_frames: 0,
            lost_bytes: 0,
            closing: false,
            failing: false,
            waiting_since: None,
            journaled_at: Duration::ZERO,
            gaps: BTreeMap::new(),
            gaps_told_at: None,
        }
    }

    /// True when something here waits for time to pass.
    pub(crate) fn needs_ticks(&self) -> bool {
        self.stuck.is_some()
            || !self.writer.is_empty()
            || self.waiting_since.is_some()
            || self.unacked()
            || !self.gaps.is_empty()
    }

    /// A synchronous session has a segment without a receipt.
    fn unacked(&self) -> bool {
        self.slot.terms.recording.sync() && self.slot.unacked.load(Ordering::Acquire) > 0
    }

    /// Moves frames on: ring to writer, writer to journal, and to a segment when one is due.
    pub(crate) fn step(&mut self, tools: &Tools) -> Step {
        let mut step = Step::default();
        if !self.unstick(tools, &mut step) {
            self.lose_ring();
            return step;
        }
        if step.done {
            return step;
        }
        let holding = self.holding();
        let room = if holding { FULL } else { 2 * FULL };
        if self.writer.open_bytes() < room {
            self.take_ring();
        } else if !holding {
            self.lose_ring();
        }
        if self.slot.outcome().is_some() {
            self.close();
        }
        self.tell_gaps(&mut step);
        if self.closing || (!holding && self.is_due()) {
            self.seal(tools, &mut step);
        } else {
            self.journal(tools);
        }
        step
    }

    /// The open segment is full, or its first frame old.
    fn is_due(&self) -> bool {
        let age = self.slot.age();
        let old = |first: Duration| age.saturating_sub(first) >= self.slot.patience();
        self.writer.is_due(age) || self.writer.opened().is_some_and(old)
    }

    /// A synchronous session's next segment waits for the receipt of the one before: for a while.
    fn holding(&mut self) -> bool {
        let age = self.slot.age();
        if !self.unacked() || self.slot.outcome().is_some() {
            self.waiting_since = None;
            return false;
        }
        let since = *self.waiting_since.get_or_insert(age);
        if age.saturating_sub(since) >= PATIENCE {
            if self.slot.terms.recording.strict() {
                self.slot.end(EndReason::Recording("the authority does not acknowledge it".to_owned()));
            }
            return false;
        }
        true
    }

    fn take_ring(&mut self) {
        let bytes = self.slot.drain();
        for frame in Frames::new(&bytes).flatten() {
            if let Frame::Gap { reason, frames, bytes } = frame.frame {
                self.note_gap(reason, frames, bytes);
            }
            self.writer.push(frame.at, &frame.frame);
        }
        if self.lost_frames > 0 && self.stuck.is_none() {
            let (frames, bytes) = (self.lost_frames, self.lost_bytes);
            (self.lost_frames, self.lost_bytes) = (0, 0);
            self.note_gap(GapReason::Disk, frames, bytes);
            self.writer.push(self.slot.age(), &Frame::Gap { reason: GapReason::Disk, frames, bytes });
        }
    }

    fn note_gap(&mut self, reason: GapReason, frames: u64, bytes: u64) {
        let (all_frames, all_bytes) = self.gaps.entry(reason).or_default();
        *all_frames = all_frames.saturating_add(frames);
        *all_bytes = all_bytes.saturating_add(bytes);
    }

    /// Gaps become events at the first one, then every ten seconds, and at the end; frames tell each of them.
    fn tell_gaps(&mut self, step: &mut Step) {
        let age = self.slot.age();
        let due = self.gaps_told_at.is_none_or(|at| age.saturating_sub(at) >= OLD);
        if !self.gaps.is_empty() && (due || self.closing) {
            self.gaps_told_at = Some(age);
            step.gaps = std::mem::take(&mut self.gaps).into_iter().map(|(r, (f, b))| (r, f, b)).collect();
        }
    }

    /// Nothing more can be taken: best-effort frames are counted; strict ones stay in the ring, whose session ends.
    fn lose_ring(&mut self) {
        if self.slot.terms.recording.strict() {
            return;
        }
        let bytes = self.slot.drain();
        for frame in Frames::new(&bytes).flatten() {
            self.lost_frames = self.lost_frames.saturating_add(1);
            self.lost_bytes = self.lost_bytes.saturating_add(frame.frame.weight() as u64);
        }
    }

    fn close(&mut self) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        // Whatever reached the ring before the end was noted.
        self.take_ring();
        let Some(outcome) = self.slot.outcome().cloned() else { return };
        let at = self.slot.age();
        if let Some(status) = outcome.status {
            self.writer.push(at, &Frame::Exit(status));
        }
        if let Some(signal) = &outcome.signal {
            self.writer.push(at, &Frame::Signal(signal));
        }
        self.writer.push(at, &Frame::End { interrupted: false, reason: &outcome.reason });
    }

    fn seal(&mut self, tools: &Tools, step: &mut Step) {
        match self.writer.seal(self.closing, &*tools.sign) {
            Ok(Some(sealed)) => {
                self.journal = None;
                self.stuck = Some(sealed);
                self.unstick(tools, step);
            }
            Ok(None) => step.done = self.closing,
            Err(error) => self.failed(&error.to_string()),
        }
    }

    /// Puts a sealed segment on the disk; true when nothing is stuck any more.
    fn unstick(&mut self, tools: &Tools, step: &mut Step) -> bool {
        let Some(sealed) = self.stuck.take() else { return true };
        match self.in_place(tools, |spool, id| spool.put(id, &sealed)) {
            Ok(()) => {
                self.slot.unacked.fetch_add(1, Ordering::AcqRel);
                step.sealed.push((sealed.n, sealed.last));
                step.done = sealed.last;
                self.failing = false;
                true
            }
            Err(error) => {
                self.stuck = Some(sealed);
                self.failed(&in_words(&error));
                false
            }
        }
    }

    /// Writes; makes the session's place first where a full disk did not let it be made at the start.
    fn in_place(
        &self,
        tools: &Tools,
        write: impl Fn(&Spool, &SessionId) -> io::Result<()>,
    ) -> io::Result<()> {
        match write(&tools.spool, &self.slot.ledger.id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tools.spool.begin(&self.slot.ledger)?;
                write(&tools.spool, &self.slot.ledger.id)
            }
            outcome => outcome,
        }
    }

    fn journal(&mut self, tools: &Tools) {
        // Under pressure a step comes every few milliseconds: the tick's journal is soon enough.
        let age = self.slot.age();
        let soon = self.writer.n() > 0 || self.journal.is_some();
        let nothing_new = self.writer.unjournaled().next().is_none();
        if nothing_new || (soon && age.saturating_sub(self.journaled_at) < TICK / 2) {
            return;
        }
        self.journaled_at = age;
        // Noted only when the disk took it: a failed write leaves the journal as it was, and the next one begins there.
        let (mut journal, mut out) = match &self.journal {
            Some(journal) => (journal.clone(), Vec::new()),
            None => Journal::begin(&self.writer),
        };
        for piece in self.writer.unjournaled() {
            out.extend_from_slice(&journal.entry(piece));
        }
        match self.in_place(tools, |spool, id| spool.journal(id, self.writer.n(), &out)) {
            Ok(()) => {
                self.journal = Some(journal);
                self.writer.journaled();
                self.failing = false;
            }
            Err(error) => self.failed(&in_words(&error)),
        }
    }

    /// Said once until something works again: what failed is tried again at each tick.
    fn failed(&mut self, why: &str) {
        let (id, first) = (&self.slot.ledger.id, !std::mem::replace(&mut self.failing, true));
        match (self.slot.terms.recording.strict(), first) {
            (true, true) => tracing::error!(session = %id, why, "recording cannot go on: the session ends"),
            (false, true) => tracing::warn!(session = %id, why, "recording has a gap"),
            (true | false, false) => {}
        }
        if self.slot.terms.recording.strict() {
            self.slot.end(EndReason::Recording(why.to_owned()));
        }
    }
}
