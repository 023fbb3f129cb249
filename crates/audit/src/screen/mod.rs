//! What a terminal showed: a model of the screen on which a recording's frames are drawn.
//!
//! ```text
//! frames ─ Screen ─► rows as they came to be seen, marks, activity (Glance), and pictures to go on from (Picture)
//! ```
//! Memory is two buffers of at most [`MAX_COLS`] times [`MAX_ROWS`] cells. Nothing here is evidence: all of it can be
//! made again from the segments. Widths follow Unicode (East Asian wide characters take two cells).

mod command;
mod glance;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use model::api::timeline::Picture;

use crate::recording::asciicast::{Utf8, as_on_terminal};
use crate::recording::{Frame, Stream};

pub use glance::{BETWEEN, Glance, MAX_ACTIVITY, MAX_PICTURES, MAX_TEXT, Row, glance};

/// The widest screen; wider ones are drawn as wide as this.
pub const MAX_COLS: u16 = 512;
/// The tallest screen.
pub const MAX_ROWS: u16 = 256;
/// Where no size is known.
const USUAL: (u16, u16) = (80, 24);
/// The longest row, in bytes.
const MAX_ROW: usize = 4 * 1024;

/// A screen that frames are drawn on.
pub struct Screen {
    terminal: avt::Terminal,
    text: Utf8,
    /// Rows that were to be seen at the last look.
    known: BTreeSet<String>,
    /// The row under the cursor when one was last told: nobody has entered it yet.
    under: Option<String>,
}

/// A row on view, wrapped ones put together.
#[derive(Debug)]
struct ScreenRow {
    text: String,
    /// The cursor is in it.
    under: bool,
}

/// What a look brings.
enum Seen {
    /// A row that the cursor has left.
    Finished(String),
    /// A row that may still be typed in.
    Unfinished(String),
    /// A row that was [told as unfinished](Self::Unfinished), and is left now as it was.
    Entered(String),
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Screen{:?}", self.terminal.size())
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new(USUAL.0, USUAL.1)
    }
}

impl Screen {
    /// An empty screen. A size of zero means that none is known.
    #[must_use]
    pub fn new(cols: u16, rows: u16) -> Self {
        let (cols, rows) = bounded(cols, rows);
        #[expect(clippy::expect_used, reason = "sizes are at least two: only zero is refused")]
        let terminal = avt::Terminal::new(cols.into(), rows.into()).expect("a size above zero");
        Self { terminal, text: Utf8::default(), known: BTreeSet::new(), under: None }
    }

    /// A screen as it was in a picture.
    #[must_use]
    pub fn restored(picture: &Picture) -> Self {
        let mut screen = Self::new(picture.cols, picture.rows);
        screen.terminal.feed(picture.state.as_str());
        for row in screen.rows(true) {
            if row.under {
                screen.under = Some(row.text.clone());
            }
            screen.known.insert(row.text);
        }
        screen
    }

    /// What to write to a fresh terminal to get this screen.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let (cols, rows) = self.terminal.size();
        let short = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
        Picture { cols: short(cols), rows: short(rows), state: self.terminal.dump(), ..Picture::default() }
    }

    /// No character waits for its rest: a picture would lose its beginning.
    fn is_whole(&self) -> bool {
        self.text.is_whole()
    }

    /// Draws a frame; gives the rows that went off the top. Frames that show nothing change nothing.
    fn draw(&mut self, frame: &Frame<'_>) -> Vec<String> {
        let mut gone = Gone::default();
        match frame {
            Frame::Output(bytes) => {
                let text = self.text.text(bytes);
                self.terminal.feed_with(text.as_str(), &mut gone);
            }
            Frame::Bytes { stream: Stream::Stdout | Stream::Stderr, data } => {
                let text = as_on_terminal(&self.text.text(data));
                self.terminal.feed_with(text.as_str(), &mut gone);
            }
            Frame::Start(start) if start.cols > 0 && start.rows > 0 => {
                let (cols, rows) = bounded(start.cols, start.rows);
                self.terminal.resize_with(cols.into(), rows.into(), &mut gone);
            }
            Frame::Resize { cols, rows } => {
                let (cols, rows) = bounded(*cols, *rows);
                self.terminal.resize_with(cols.into(), rows.into(), &mut gone);
            }
            Frame::Start(_)
            | Frame::Input(_)
            | Frame::Join(_)
            | Frame::Leave(_)
            | Frame::Gap { .. }
            | Frame::ExecStart(_)
            | Frame::Bytes { stream: Stream::Stdin, .. }
            | Frame::Total { .. }
            | Frame::Exit(_)
            | Frame::Signal(_)
            | Frame::Mark(_)
            | Frame::End { .. } => {}
        }
        gone.finish()
    }

    /// Looks at the screen: rows that were not there at the last look, top to bottom. The row under the cursor counts
    /// only when `whole`: somebody may still be typing in it.
    fn look(&mut self, whole: bool) -> Vec<Seen> {
        let rows = self.rows(whole);
        let mut fresh = Vec::new();
        for row in &rows {
            if row.under {
                self.under = Some(row.text.clone());
                if !self.known.contains(&row.text) {
                    fresh.push(Seen::Unfinished(row.text.clone()));
                }
            } else {
                fresh.extend(self.finished(row.text.clone()));
            }
        }
        self.known = rows.into_iter().map(|row| row.text).collect();
        fresh
    }

    /// What there is to say of a row that the cursor has left; nothing when all of it was said.
    fn finished(&mut self, row: String) -> Option<Seen> {
        if self.under.as_deref() == Some(row.as_str()) {
            self.under = None;
            return Some(Seen::Entered(row));
        }
        (!self.known.contains(&row)).then_some(Seen::Finished(row))
    }

    /// A program has taken the whole screen: an editor, a pager, a monitor.
    fn is_taken(&self) -> bool {
        self.terminal.active_screen_kind() == avt::ScreenKind::Alternate
    }

    /// What is to be seen, wrapped rows put together, blank ones left out.
    fn rows(&self, whole: bool) -> Vec<ScreenRow> {
        let cursor = self.terminal.cursor().row;
        let screen = self.terminal.screen();
        let mut out = Vec::new();
        let (mut joined, mut under) = (Joined::default(), false);
        for (n, line) in screen.visible_lines().enumerate() {
            under |= n == cursor;
            let text = joined.add(line);
            if !line.is_wrapped() {
                out.extend(text.filter(|_| whole || !under).map(|text| ScreenRow { text, under }));
                under = false;
            }
        }
        out.extend(joined.end().filter(|_| whole || !under).map(|text| ScreenRow { text, under }));
        out
    }
}

fn bounded(cols: u16, rows: u16) -> (u16, u16) {
    let (cols, rows) = if cols == 0 || rows == 0 { USUAL } else { (cols, rows) };
    (cols.clamp(2, MAX_COLS), rows.clamp(2, MAX_ROWS))
}

/// Rows on their way to one text: a row that was wrapped goes on in the next.
#[derive(Default)]
struct Joined(String);

impl Joined {
    /// Takes a line; gives the text when it ends here and is not blank.
    fn add(&mut self, line: &avt::Line) -> Option<String> {
        if self.0.len() < MAX_ROW {
            self.0.extend(line.chars());
        }
        if line.is_wrapped() { None } else { self.end() }
    }

    fn end(&mut self) -> Option<String> {
        let whole = std::mem::take(&mut self.0);
        let mut text = whole.trim_end();
        if text.len() > MAX_ROW {
            let cut = (0..=MAX_ROW).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0);
            text = text.get(..cut).unwrap_or_default();
        }
        (!text.trim_start().is_empty()).then(|| text.to_owned())
    }
}

/// Collects rows that go off the top.
#[derive(Default)]
struct Gone {
    rows: Vec<String>,
    open: Joined,
}

impl Gone {
    fn finish(mut self) -> Vec<String> {
        self.rows.extend(self.open.end());
        self.rows
    }
}

impl avt::Observer for Gone {
    type Output = ();

    fn evicted(&mut self, _: &mut avt::Observation<'_>, line: &avt::Line) {
        self.rows.extend(self.open.add(line));
    }

    fn end(&mut self, _: &mut avt::Observation<'_>) {}
}
