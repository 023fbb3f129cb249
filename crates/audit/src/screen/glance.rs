//! Looks through one segment: what came to be seen in it, what happened, how busy it was.
//!
//! The screen is looked at when output pauses for [`QUIET`], at the latest every [`LONG`], and at the segment's end;
//! rows that went off the top in between are seen too. Bounded by [`MAX_TEXT`], [`MAX_MARKS`], [`MAX_ACTIVITY`] and
//! [`MAX_PICTURES`]; a segment that asks for more work than may be spent on one is drawn so far and marked there.

use std::collections::BTreeSet;
use std::time::Duration;

use model::api::timeline::{Mark, MarkKind, Picture};

use super::command::command;
use super::{Screen, Seen, work};
use crate::Error;
use crate::recording::frame::{Frame, TimedFrame};
use crate::recording::segment::{Segment, micros};

/// The most text kept of one segment, in bytes. The screen at the segment's end is kept beyond it.
pub const MAX_TEXT: usize = 256 * 1024;
/// The most seconds whose activity is told of one segment; what comes later counts in the last.
pub const MAX_ACTIVITY: usize = 3_600;
/// So many bytes are drawn from one picture of a segment to its next: what a player draws at most to be anywhere.
pub const BETWEEN: usize = 128 * 1024;
/// The most that pictures of one segment may take together; the first is kept beyond it.
pub const MAX_PICTURES: usize = 1024 * 1024;
/// The most marks of one segment.
const MAX_MARKS: usize = 256;
/// The longest label, in characters.
const MAX_LABEL: usize = 256;
/// Output that pauses this long is looked at.
const QUIET: Duration = Duration::from_millis(200);
/// Output that does not pause is looked at this often.
const LONG: Duration = Duration::from_secs(1);
/// Marks where drawing stopped.
const TOO_MUCH: &str = "too much to draw: not searchable from here to the end of the segment";

/// A row, and when it came to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Since the recording began.
    pub at: Duration,
    /// What it said.
    pub text: String,
}

/// What one segment holds for a person looking through it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// The screen where it begins, and after each [`BETWEEN`] bytes.
    pub pictures: Vec<Picture>,
    /// Rows that came to be seen; none twice.
    pub rows: Vec<Row>,
    /// What happened.
    pub marks: Vec<Mark>,
    /// Bytes shown in each second from the first frame on.
    pub activity: Vec<u64>,
    /// All of it was drawn. Where not, the next segment begins with an empty screen.
    pub whole: bool,
}

/// Draws a segment on the screen as it was where the segment begins, and tells what was to be seen.
///
/// # Errors
/// The segment does not unpack or parse.
pub fn glance(segment: &Segment<'_>, screen: &mut Screen) -> Result<Glance, Error> {
    glance_within(segment, screen, work::MAX)
}

/// The same, with so much work at the most.
pub(super) fn glance_within(segment: &Segment<'_>, screen: &mut Screen, work: u64) -> Result<Glance, Error> {
    screen.begin(work);
    let mut eye = Eye {
        screen,
        out: Glance::default(),
        told: BTreeSet::new(),
        text: 0,
        drawn: None,
        first: segment.header().first,
        frames: 0,
        last: Duration::ZERO,
        undrawn: 0,
        pictured: 0,
    };
    eye.out.pictures.push(eye.screen.picture());
    segment.each(Duration::ZERO, |frame| {
        eye.see(&frame);
        Ok(())
    })?;
    eye.look(true);
    eye.out.whole = !eye.screen.is_spent();
    Ok(eye.out)
}

struct Eye<'s> {
    screen: &'s mut Screen,
    out: Glance,
    told: BTreeSet<String>,
    text: usize,
    /// When the first and the last output since the last look were.
    drawn: Option<(Duration, Duration)>,
    first: Duration,
    /// Frames seen, and when the last of them was.
    frames: u32,
    last: Duration,
    /// Bytes drawn since the last picture, and what pictures after the first take.
    undrawn: usize,
    pictured: usize,
}

impl Eye<'_> {
    fn see(&mut self, frame: &TimedFrame<'_>) {
        let drawing = !self.screen.is_spent();
        if drawing && self.undrawn >= BETWEEN && self.pictured < MAX_PICTURES && self.screen.is_whole() {
            self.picture();
        }
        if let Some((since, last)) = self.drawn
            && (frame.at.saturating_sub(last) >= QUIET || frame.at.saturating_sub(since) >= LONG)
        {
            self.look(false);
        }
        self.mark(frame);
        let gone = self.screen.draw(&frame.frame);
        for row in gone {
            if let Some(seen) = self.screen.finished(row) {
                self.tell(frame.at, seen, false);
            }
        }
        if drawing && self.screen.is_spent() {
            self.note(frame.at, MarkKind::Mark, TOO_MUCH);
        }
        if drawing && matches!(frame.frame, Frame::Output(_) | Frame::Bytes { .. } | Frame::Resize { .. }) {
            let since = self.drawn.map_or(frame.at, |(since, _)| since);
            self.drawn = Some((since, frame.at));
        }
        if matches!(frame.frame, Frame::Output(_) | Frame::Bytes { .. }) {
            self.count(frame.at, frame.frame.weight() as u64);
            self.undrawn += frame.frame.weight();
        }
        self.frames = self.frames.saturating_add(1);
        self.last = frame.at;
    }

    /// Keeps the screen as it is before the next frame. Of several at one moment the last is enough.
    fn picture(&mut self) {
        let at = micros(self.last);
        let picture = Picture { frames: self.frames, at, ..self.screen.picture() };
        self.undrawn = 0;
        self.pictured += picture.state.len();
        if self.out.pictures.last().is_some_and(|before| before.frames > 0 && before.at == at) {
            self.out.pictures.pop();
        }
        self.out.pictures.push(picture);
    }

    fn count(&mut self, at: Duration, bytes: u64) {
        let second = usize::try_from(at.saturating_sub(self.first).as_secs()).unwrap_or(usize::MAX);
        let second = second.min(MAX_ACTIVITY - 1);
        if self.out.activity.len() <= second {
            self.out.activity.resize(second + 1, 0);
        }
        if let Some(sum) = self.out.activity.get_mut(second) {
            *sum = sum.saturating_add(bytes);
        }
    }

    fn look(&mut self, last: bool) {
        let Some((_, at)) = self.drawn.take() else { return };
        for seen in self.screen.look(last) {
            self.tell(at, seen, last);
        }
    }

    fn tell(&mut self, at: Duration, seen: Seen, always: bool) {
        let (Seen::Finished(text) | Seen::Unfinished(text) | Seen::Entered(text)) = &seen;
        let told = matches!(seen, Seen::Entered(_));
        if (self.text >= MAX_TEXT && !always) || (!told && self.told.contains(text)) {
            return;
        }
        if !matches!(seen, Seen::Unfinished(_))
            && !self.screen.is_taken()
            && let Some(entered) = command(text)
        {
            self.note(at, MarkKind::Command, entered);
        }
        if !told {
            self.text += text.len();
            self.told.insert(text.clone());
            self.out.rows.push(Row { at, text: text.clone() });
        }
    }

    fn mark(&mut self, frame: &TimedFrame<'_>) {
        match &frame.frame {
            Frame::Resize { cols, rows } => {
                // Dragging a window's corner is one change.
                let close = |mark: &Mark| {
                    mark.kind == MarkKind::Resize && micros(frame.at).saturating_sub(mark.at) < 1_000_000
                };
                if self.out.marks.last().is_some_and(close) {
                    self.out.marks.pop();
                }
                self.note(frame.at, MarkKind::Resize, &format!("{cols}×{rows}"));
            }
            Frame::Gap { reason, .. } => self.note(frame.at, MarkKind::Gap, reason.as_str()),
            Frame::Join(who) => self.note(frame.at, MarkKind::Join, who),
            Frame::Leave(who) => self.note(frame.at, MarkKind::Leave, who),
            Frame::ExecStart(command) => self.note(frame.at, MarkKind::Exec, command),
            Frame::Mark(label) => self.note(frame.at, MarkKind::Mark, label),
            Frame::Exit(status) => self.note(frame.at, MarkKind::Exit, &status.to_string()),
            Frame::Signal(name) => self.note(frame.at, MarkKind::Exit, name),
            Frame::Start(_)
            | Frame::Output(_)
            | Frame::Input(_)
            | Frame::Bytes { .. }
            | Frame::Total { .. }
            | Frame::End { .. } => {}
        }
    }

    fn note(&mut self, at: Duration, kind: MarkKind, label: &str) {
        if self.out.marks.len() < MAX_MARKS {
            let label = label.chars().filter(|c| !c.is_control()).take(MAX_LABEL).collect();
            self.out.marks.push(Mark { at: micros(at), kind, label });
        }
    }
}
