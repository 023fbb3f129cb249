//! What a terminal showed: a model of the screen on which a recording's frames are drawn.
//!
//! ```text
//! frames ─ Screen ─► rows as they came to be seen, marks, activity (Glance), and pictures to go on from (Picture)
//! ```
//! Memory is two buffers of at most [`MAX_COLS`] times [`MAX_ROWS`] cells, and work is bounded for each segment, whatever
//! its bytes ask for (`work`). Nothing here is evidence: all of it can be made again from the segments. Widths follow
//! Unicode (East Asian wide characters take two cells).

mod command;
mod glance;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeSet;

use avt::parser::Function;
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
/// The most text that goes off the top with one frame, in bytes; what goes beyond it is not told.
const MAX_GONE: usize = 1024 * 1024;
/// Ends a control sequence without doing what it says.
const CANCEL: char = '\u{18}';

/// A screen that frames are drawn on.
pub struct Screen {
    terminal: avt::Terminal,
    /// Reads what the terminal reads, before it does: so what a sequence asks for is known before it is done.
    ahead: avt::Parser,
    /// What may still be drawn of the segment; 0 when that was not enough.
    left: u64,
    /// The size frames ask for, also when they are not drawn any more.
    size: (u16, u16),
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
        Self {
            terminal,
            ahead: avt::Parser::new(),
            left: work::MAX,
            size: (cols, rows),
            text: Utf8::default(),
            known: BTreeSet::new(),
            under: None,
        }
    }

    /// A screen as it was in a picture.
    #[must_use]
    pub fn restored(picture: &Picture) -> Self {
        let mut screen = Self::new(picture.cols, picture.rows);
        screen.terminal.feed(picture.state.as_str());
        for ch in picture.state.chars() {
            screen.ahead.feed(ch);
        }
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

    /// Begins a segment, of which so much may be drawn. Where the one before could not be drawn to its end nobody knows
    /// what the screen showed then: it is empty.
    fn begin(&mut self, work: u64) {
        if self.is_spent() {
            *self = Self::new(self.size.0, self.size.1);
        }
        self.left = work;
    }

    /// The segment asked for more than may be drawn of one: what follows in it is not.
    fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Takes what something costs; false when there is not enough.
    fn spend(&mut self, cost: u64) -> bool {
        self.left = self.left.saturating_sub(cost);
        !self.is_spent()
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
                self.write(&text, &mut gone);
            }
            Frame::Bytes { stream: Stream::Stdout | Stream::Stderr, data } => {
                let text = as_on_terminal(&self.text.text(data));
                self.write(&text, &mut gone);
            }
            Frame::Start(start) if start.cols > 0 && start.rows > 0 => {
                self.resize(start.cols, start.rows, &mut gone);
            }
            Frame::Resize { cols, rows } => self.resize(*cols, *rows, &mut gone),
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

    fn write(&mut self, text: &str, gone: &mut Gone) {
        if self.is_spent() {
            return;
        }
        for ch in text.chars() {
            let Some(function) = self.ahead.feed(ch) else {
                self.terminal.feed(ch);
                continue;
            };
            if !self.spend(work::cost(&function, &self.terminal)) {
                return;
            }
            match function {
                Function::Rep(n) if n > work::repeats(n, &self.terminal) => {
                    let fewer = Function::Rep(work::repeats(n, &self.terminal));
                    self.terminal.feed(CANCEL);
                    self.terminal.execute_with(fewer, &mut *gone);
                }
                _ => self.terminal.feed_with(ch, &mut *gone),
            }
        }
    }

    fn resize(&mut self, cols: u16, rows: u16, gone: &mut Gone) {
        let (cols, rows) = bounded(cols, rows);
        self.size = (cols, rows);
        if self.spend(work::resizing(&self.terminal, cols, rows)) {
            self.terminal.resize_with(cols.into(), rows.into(), gone);
        }
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
            let cells = line.cells();
            // Blanks at the end of a text go anyway; most rows of a wide screen are mostly blanks.
            let end = match line.is_wrapped() {
                true => cells.len(),
                false => cells.iter().rposition(|cell| cell.char() != ' ').map_or(0, |last| last + 1),
            };
            self.0.extend(cells.iter().take(end).filter(|cell| cell.width() > 0).map(avt::Cell::char));
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
    size: usize,
    open: Joined,
}

impl Gone {
    fn keep(&mut self, row: Option<String>) {
        let Some(row) = row else { return };
        if self.size < MAX_GONE {
            self.size += row.len();
            self.rows.push(row);
        }
    }

    fn finish(mut self) -> Vec<String> {
        let rest = self.open.end();
        self.keep(rest);
        self.rows
    }
}

impl avt::Observer for Gone {
    type Output = ();

    fn evicted(&mut self, _: &mut avt::Observation<'_>, line: &avt::Line) {
        let row = self.open.add(line);
        self.keep(row);
    }

    fn end(&mut self, _: &mut avt::Observation<'_>) {}
}
