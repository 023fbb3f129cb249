//! Exports a recording as asciicast v2 or v3, for the asciinema player.
//!
//! Lines out, one at a time; memory is one frame. Bytes become UTF-8: a character cut between frames is held back until
//! its rest comes, bytes that are no UTF-8 become U+FFFD. What a command wrote without a terminal gets the carriage
//! returns that a terminal would have added.

use std::time::Duration;

use model::Timestamp;
use serde_json::json;

use super::frame::{Frame, Start, Stream, TimedFrame};

/// Which asciicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Absolute times.
    V2,
    /// Intervals, exit status.
    V3,
}

/// Turns frames into lines.
#[derive(Clone, Debug)]
pub struct Exporter {
    version: Version,
    started: Timestamp,
    header: bool,
    last: u64,
    output: Utf8,
    errors: Utf8,
    input: Utf8,
}

impl Exporter {
    /// For a recording that began at `started`.
    #[must_use]
    pub fn new(version: Version, started: Timestamp) -> Self {
        Self {
            version,
            started,
            header: false,
            last: 0,
            output: Utf8::default(),
            errors: Utf8::default(),
            input: Utf8::default(),
        }
    }

    /// Appends the lines of one frame to `out`.
    pub fn push(&mut self, frame: &TimedFrame<'_>, out: &mut String) {
        if let Frame::Start(start) = &frame.frame {
            self.head(start, out);
            return;
        }
        if !self.header {
            self.head(&Start::default(), out);
        }
        let (code, text) = match &frame.frame {
            Frame::Output(bytes) => ("o", self.output.text(bytes)),
            Frame::Bytes { stream: Stream::Stdout, data } => ("o", as_on_terminal(&self.output.text(data))),
            Frame::Bytes { stream: Stream::Stderr, data } => ("o", as_on_terminal(&self.errors.text(data))),
            Frame::Input(bytes) => ("i", self.input.text(bytes)),
            Frame::Resize { cols, rows } => ("r", format!("{cols}x{rows}")),
            Frame::Mark(label) => ("m", (*label).to_owned()),
            Frame::Join(who) => ("m", format!("{who} joined")),
            Frame::Leave(who) => ("m", format!("{who} left")),
            Frame::Gap { reason, frames, bytes } => {
                ("m", format!("gap ({}): {frames} frames, {bytes} bytes missing", reason.as_str()))
            }
            Frame::Exit(status) if self.version == Version::V3 => ("x", status.to_string()),
            Frame::Start(_)
            | Frame::ExecStart(_)
            | Frame::Bytes { stream: Stream::Stdin, .. }
            | Frame::Total { .. }
            | Frame::Exit(_)
            | Frame::Signal(_)
            | Frame::End { .. } => return,
        };
        if matches!(code, "o" | "i") && text.is_empty() {
            return;
        }
        self.line(frame.at, code, &text, out);
    }

    /// Appends what was held back.
    pub fn finish(&mut self, out: &mut String) {
        if !self.header {
            self.head(&Start::default(), out);
        }
        let held = [("o", &mut self.output), ("o", &mut self.errors), ("i", &mut self.input)]
            .map(|(code, text)| (code, !std::mem::take(text).is_whole()));
        for (code, _) in held.into_iter().filter(|(_, held)| *held) {
            self.line(Duration::from_micros(self.last), code, "\u{fffd}", out);
        }
    }

    fn line(&mut self, at: Duration, code: &str, text: &str, out: &mut String) {
        let at = u64::try_from(at.as_micros()).unwrap_or(u64::MAX).max(self.last);
        let shown = match self.version {
            Version::V2 => at,
            Version::V3 => at - self.last,
        };
        self.last = at;
        out.push_str(&format!(
            "[{}.{:06}, {}, {}]\n",
            shown / 1_000_000,
            shown % 1_000_000,
            json!(code),
            json!(text)
        ));
    }

    fn head(&mut self, start: &Start, out: &mut String) {
        if self.header {
            return;
        }
        self.header = true;
        let cols = if start.cols == 0 { 80 } else { start.cols };
        let rows = if start.rows == 0 { 24 } else { start.rows };
        let title = format!("{}@{} {}", start.login, start.node_name, start.command);
        let mut head = match self.version {
            Version::V2 => json!({"version": 2, "width": cols, "height": rows}),
            Version::V3 => json!({"version": 3, "term": {"cols": cols, "rows": rows}}),
        };
        if let Some(map) = head.as_object_mut() {
            map.insert("timestamp".to_owned(), json!(self.started.secs()));
            map.insert("title".to_owned(), json!(title.trim_end()));
            match self.version {
                Version::V2 if !start.term.is_empty() => {
                    drop(map.insert("env".to_owned(), json!({"TERM": start.term})));
                }
                Version::V3 if !start.term.is_empty() => {
                    drop(
                        map.insert(
                            "term".to_owned(),
                            json!({"cols": cols, "rows": rows, "type": start.term}),
                        ),
                    );
                }
                Version::V2 | Version::V3 => {}
            }
            if !start.command.is_empty() {
                map.insert("command".to_owned(), json!(start.command));
            }
        }
        out.push_str(&head.to_string());
        out.push('\n');
    }
}

/// What a program wrote without a terminal, as one would show it: every line begins at the left.
pub(crate) fn as_on_terminal(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

/// Bytes to text across cuts; holds back at most three bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Utf8 {
    held: Vec<u8>,
}

impl Utf8 {
    /// Nothing is held back.
    pub(crate) fn is_whole(&self) -> bool {
        self.held.is_empty()
    }

    /// The text so far; what begins a character that is not whole yet waits for its rest.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut out = String::with_capacity(all.len());
        for chunk in all.utf8_chunks() {
            out.push_str(chunk.valid());
            if chunk.invalid().is_empty() {
                continue;
            }
            if all.ends_with(chunk.invalid()) && is_cut(chunk.invalid()) && tail(&all, chunk.invalid()) {
                self.held = chunk.invalid().to_vec();
            } else {
                out.push('\u{fffd}');
            }
        }
        out
    }
}

/// True when `part` is the very end of `all`, not an equal run before it.
fn tail(all: &[u8], part: &[u8]) -> bool {
    std::ptr::eq(all.as_ptr_range().end, part.as_ptr_range().end)
}

/// True when the bytes begin a character that needs more of them.
fn is_cut(bytes: &[u8]) -> bool {
    let needed = match bytes.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        Some(_) | None => return false,
    };
    bytes.len() < needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_terminal_is_shown_line_by_line() {
        let frames = [
            Frame::Start(Start { command: "make".into(), ..Start::default() }),
            Frame::Bytes { stream: Stream::Stdout, data: b"one\ntwo\r\n" },
            Frame::Bytes { stream: Stream::Stdout, data: b"\xe6\x97" },
            Frame::Bytes { stream: Stream::Stderr, data: b"three\n" },
            Frame::Bytes { stream: Stream::Stdout, data: b"\xa5" },
            Frame::Input(b"\xe6"),
            Frame::Bytes { stream: Stream::Stdout, data: b"\xe6" },
        ];
        let mut exporter = Exporter::new(Version::V2, Timestamp::from_secs(1_000));
        let mut out = String::new();

        for frame in frames {
            exporter.push(&TimedFrame { at: Duration::ZERO, frame }, &mut out);
        }
        exporter.finish(&mut out);

        let lines = [
            r#"{"command":"make","height":24,"timestamp":1000,"title":"@ make","version":2,"width":80}"#,
            r#"[0.000000, "o", "one\r\ntwo\r\n"]"#,
            r#"[0.000000, "o", "three\r\n"]"#,
            "[0.000000, \"o\", \"\u{65e5}\"]",
            "[0.000000, \"o\", \"\u{fffd}\"]",
            "[0.000000, \"i\", \"\u{fffd}\"]",
        ];
        assert_eq!(out.lines().collect::<Vec<_>>(), lines);
    }
}
