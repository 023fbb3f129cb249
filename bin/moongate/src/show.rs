//! How commands print: data on standard output as text, JSON or YAML; everything else on standard error.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

/// `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Rows under headings, columns as wide as their widest cell.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; control characters in cells are shown escaped, never sent to the terminal.
    pub(crate) fn row<I: IntoIterator<Item = String>>(&mut self, cells: I) {
        self.rows.push(cells.into_iter().map(|c| clean(&c)).collect());
    }

    /// The table as text: headings, a rule under each, the rows.
    pub(crate) fn text(&self) -> String {
        let mut widths: Vec<usize> = self.headings.iter().map(|h| width(h)).collect();
        for row in &self.rows {
            for (at, cell) in widths.iter_mut().zip(row) {
                *at = (*at).max(width(cell));
            }
        }
        let mut out = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = String>| {
            let joined: Vec<String> = cells
                .zip(&widths)
                .map(|(cell, w)| format!("{cell}{}", " ".repeat(w.saturating_sub(width(&cell)))))
                .collect();
            out.push_str(joined.join(" ").trim_end());
            out.push('\n');
        };
        line(&mut self.headings.iter().map(|h| (*h).to_owned()));
        line(&mut widths.iter().map(|w| "-".repeat(*w)));
        for row in &self.rows {
            line(&mut row.iter().cloned());
        }
        out
    }
}

/// Columns a text takes in a terminal: wide (CJK) characters count two.
fn width(text: &str) -> usize {
    text.chars()
        .map(|c| match u32::from(c) {
            0x1100..=0x115f
            | 0x2e80..=0xa4cf
            | 0xac00..=0xd7a3
            | 0xf900..=0xfaff
            | 0xfe30..=0xfe6f
            | 0xff00..=0xff60
            | 0xffe0..=0xffe6
            | 0x1f300..=0x1faff
            | 0x20000..=0x3fffd => 2,
            _ => 1,
        })
        .sum()
}

/// A number of things, `what` being one of them: `1 hour`, `3 hours`.
pub(crate) fn many(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// Makes text safe to show: control characters (escape sequences among them) are written as `\u{1b}`.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// The same for text of several lines, in which tabs are blanks.
pub(crate) fn clean_lines(text: &str) -> String {
    text.lines().map(|line| clean(&line.replace('\t', "    "))).collect::<Vec<_>>().join("\n")
}

/// JSON or YAML that a terminal may have. Both escape the control characters below U+0020 only, and some terminals obey
/// those from U+007F to U+009F too. Such a one can only stand within a quoted text, so this means the same.
pub(crate) fn escaped(data: &str) -> String {
    let mut out = String::with_capacity(data.len());
    for c in data.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Prints `data` in `format`; `text` makes the form for people.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn print<T: Serialize>(
    format: Format,
    data: &T,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let out = match format {
        Format::Text => text(),
        Format::Json => escaped(&format!("{}\n", serde_json::to_string_pretty(data)?)),
        Format::Yaml => escaped(&config::yaml::to_text(&serde_json::to_value(data)?)),
    };
    write_out(&out)
}

/// Prints what was done, and only then says why it stopped, if it did: what is done is done. For people each step was
/// told when it was done.
///
/// # Errors
/// The outcome's, or standard output is closed.
pub(crate) fn print_done<T: Serialize>(
    format: Format,
    done: &[T],
    outcome: anyhow::Result<()>,
) -> anyhow::Result<()> {
    print(format, &done, String::new)?;
    outcome
}

/// Reads a length of time for the command line, which keeps it as it was written.
///
/// # Errors
/// It is none.
pub(crate) fn length(text: &str) -> Result<String, model::time::BadTime> {
    text.parse::<model::time::Span>().map(|_| text.to_owned())
}

/// Prints a completion script.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn completion(
    shell: clap_complete::Shell,
    mut command: clap::Command,
    program: &str,
) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, program, &mut script);
    write_out(&String::from_utf8_lossy(&script))
}

/// What was done to a resource that has nothing else to show.
#[derive(Serialize)]
pub(crate) struct Done<'a> {
    /// `created`, `updated` or `deleted`.
    pub(crate) done: &'static str,
    pub(crate) kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) name: &'a str,
}

/// The version, as every name of this program prints it.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn version(format: Format, program: &str) -> anyhow::Result<()> {
    let data = serde_json::json!({ "client": program, "version": model::VERSION });
    print(format, &data, || format!("{program} {}\n", model::VERSION))
}

/// Writes to standard output.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn write_out(text: &str) -> anyhow::Result<()> {
    write_some(text.as_bytes())?;
    flush()
}

/// Writes a part of what goes to standard output; it may be held until [`flush`].
///
/// # Errors
/// Standard output is closed.
pub(crate) fn write_some(bytes: &[u8]) -> anyhow::Result<()> {
    io::stdout().write_all(bytes).map_err(unwritten)
}

/// Writes what is held.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn flush() -> anyhow::Result<()> {
    io::stdout().flush().map_err(unwritten)
}

/// Whoever read our output stopped reading: `mctl … | head` is no failure. Connections break with the same
/// [`io::ErrorKind::BrokenPipe`], and that is one.
#[derive(Debug)]
struct Unread;

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output")
    }
}

impl std::error::Error for Unread {}

/// What a failed write to standard output or standard error comes to.
pub(crate) fn unwritten(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Unread.into(),
        _ => anyhow::Error::new(error).context("cannot write the output"),
    }
}

/// Tells standard error what went wrong.
pub(crate) fn complain(program: &str, error: &anyhow::Error) {
    eprintln!("{program}: {}", causes(error));
}

/// The whole chain, each cause once. Some of it is the words of a gate or a node: a terminal gets no controls of it.
fn causes(error: &anyhow::Error) -> String {
    let mut told: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !told.last().is_some_and(|last| last.ends_with(&text)) {
            told.push(text);
        }
    }
    clean_lines(&told.join(": "))
}

/// Shows what the command line lacks, or the help that was asked for.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    drop(error.print());
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// Runs a command to its end on a small runtime and turns its outcome into an exit status.
pub(crate) fn run(program: &str, work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(program, &anyhow::Error::new(error).context("cannot start"));
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(work);
    // A thread that waits for a key is not waited for.
    runtime.shutdown_background();
    match done {
        Ok(status) => status,
        Err(error) if is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(program, &error);
            ExitCode::FAILURE
        }
    }
}

fn is_unread(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Unread>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_output_that_nobody_reads_is_a_quiet_end() {
        let cut = || io::Error::from(ssh::Error::Closed);
        let full = io::Error::from(io::ErrorKind::StorageFull);

        for (error, quiet) in [
            (unwritten(io::ErrorKind::BrokenPipe.into()), true),
            (unwritten(io::ErrorKind::BrokenPipe.into()).context("cannot play"), true),
            (unwritten(full), false),
            (anyhow::Error::new(ssh::sftp::Error::Broken(cut())).context("cannot copy file"), false),
            (anyhow::Error::new(cut()), false),
        ] {
            assert_eq!(is_unread(&error), quiet, "{error:?}");
        }
    }

    #[test]
    fn what_strangers_say_moves_no_terminal() {
        let refusal = anyhow::anyhow!("no\u{1b}]0;title\u{7}\u{9b}31m\nreally").context("cannot sign in");
        assert_eq!(causes(&refusal), "cannot sign in: no\\u{1b}]0;title\\u{7}\\u{9b}31m\nreally");

        let data = serde_json::json!({ "a\u{9b}b": "\u{1b}[2J\u{7f}\u{85}\u{9b}31m \u{a0}\u{e9}" });
        let json = escaped(&data.to_string());
        let yaml = escaped(&config::yaml::to_text(&data));
        assert_eq!(json, r#"{"a\u009bb":"\u001b[2J\u007f\u0085\u009b31m  é"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), data);
        assert_eq!(config::yaml::read(&yaml).unwrap()[0].value, data);
        assert!(!yaml.trim_end().contains(char::is_control), "{yaml:?}");
    }

    #[test]
    fn columns_line_up_also_for_wide_characters() {
        let mut table = Table::new(&["Host", "Labels"]);
        table.row(["gpu-1".to_owned(), "env=prod".to_owned()]);
        table.row(["显卡".to_owned(), "x\u{1b}[31m".to_owned()]);

        assert_eq!(table.text(), "Host  Labels\n----- -----------\ngpu-1 env=prod\n显卡  x\\u{1b}[31m\n");
    }
}
