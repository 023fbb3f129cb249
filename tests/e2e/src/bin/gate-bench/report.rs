//! Rows of the table, and the page around them with the machine it was measured on.

use std::fmt::Write as _;
use std::process::Command;

use crate::bed::{Effort, WAYS};

/// One measure over every way.
pub(crate) struct Row {
    /// What was measured, with its unit.
    pub(crate) measure: String,
    /// A value for each of [`WAYS`]; absent where it makes no sense.
    pub(crate) values: Vec<Option<f64>>,
    /// What we want to reach.
    pub(crate) wanted: &'static str,
    /// What else was seen.
    pub(crate) note: String,
}

impl Row {
    /// A row.
    pub(crate) fn new(measure: impl Into<String>, wanted: &'static str, values: Vec<Option<f64>>) -> Self {
        Self { measure: measure.into(), values, wanted, note: String::new() }
    }

    /// The same with a note.
    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// A measure that could not be taken.
    pub(crate) fn failed(name: &str, error: &anyhow::Error) -> Self {
        let note = format!("{error:#}").lines().next().unwrap_or_default().replace('|', "/");
        Self::new(name, "-", vec![None; WAYS.len()]).with_note(format!("not measured: {note}"))
    }

    /// The row as a line of Markdown.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("| {} |", self.measure);
        for way in 0..WAYS.len() {
            let value = self.values.get(way).copied().flatten();
            let _ = write!(line, " {} |", value.map_or_else(|| "-".to_owned(), number));
        }
        let direct = self.values.first().copied().flatten().filter(|d| *d > 0.0);
        for way in [2, 3] {
            let ours = self.values.get(way).copied().flatten();
            let ratio = direct.zip(ours).map_or_else(|| "-".to_owned(), |(d, o)| format!("{:.2}x", o / d));
            let _ = write!(line, " {ratio} |");
        }
        let _ = write!(line, " {} | {} |", self.wanted, self.note);
        line
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The whole page.
pub(crate) fn page(rows: &[Row], effort: &Effort) -> String {
    let mut page = String::from(
        "# Performance\n\nMeasured with `cargo xtask bench gate`, all in one run, in interleaved rounds, everything on loopback.\n\n",
    );
    for (what, text) in machine() {
        let _ = writeln!(page, "- {what}: {text}");
    }
    let _ = writeln!(
        page,
        "- effort: {} rounds; {} commands for a latency; {} s for a rate; {} MiB for a stream; {} keystrokes; {} idle terminals",
        effort.rounds,
        effort.commands,
        effort.window.as_secs(),
        effort.bytes >> 20,
        effort.keys,
        effort.idle
    );
    page.push_str(
        "\nWays: **direct** to one `sshd`; **jump** through a second `sshd` (`ssh -J`); **gate** with the stock client \
         and `ProxyCommand msh proxy ssh`; **gate -J** with the stock client alone. The gate's authority, proxy and node \
         are three processes; recording and tunnel are on. Values are medians over the rounds unless the row says \
         otherwise. CPU seconds are read from `/proc` and include finished children. The target account \
         has a plain shell and no start-up files, and every connection agrees on curve25519-sha256 and chacha20-poly1305, \
         so that ways and not algorithms are compared; rows that say *algorithms by themselves* leave it to client and \
         server, as their users meet them.\n\n",
    );
    let names = WAYS.map(|w| w.name).join(" | ");
    let _ = writeln!(page, "| measure | {names} | gate / direct | gate -J / direct | wanted | note |");
    page.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for row in rows {
        let _ = writeln!(page, "{}", row.line());
    }
    page
}

fn machine() -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, m)| m);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory =
        read("/proc/meminfo").lines().next().unwrap_or_default().replace("MemTotal:", "").trim().to_owned();
    let load = read("/proc/loadavg").split_whitespace().next().unwrap_or("?").to_owned();
    let ssh =
        Command::new("ssh").arg("-V").output().map(|o| String::from_utf8_lossy(&o.stderr).trim().to_owned());
    vec![
        ("machine", format!("{cores} cores of {model}, {memory} of memory")),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("client and server to compare with", ssh.unwrap_or_default()),
        ("load when the page was written", load),
    ]
}
