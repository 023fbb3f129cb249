//! A program that keeps running: its log in a file, ended by id, never by name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::run::words;
use crate::wait::until;

/// Clock ticks a second, as Linux reports CPU time to programs.
const TICKS: f64 = 100.0;

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with both outputs in `<dir>/<name>.log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(name: &str, command: &mut Command, dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).context("log file")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start `{}`", words(command)))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Everything it said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    /// Kills it at once, as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw).context("no such process")?;
        kill_process(pid, signal).context("signal")
    }

    /// Asks it to end and waits.
    ///
    /// # Errors
    /// It does not end within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        until(&format!("{} to end", self.name), limit, || self.child.try_wait().ok().flatten())
    }

    /// Resident memory of it and its descendants, in KiB.
    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        family(self.id()).into_iter().map(rss_kib).sum()
    }

    /// Resident memory of it and those descendants that run the same program, in KiB. The program's own pages, which
    /// they share, count once.
    #[must_use]
    pub fn own_rss_kib(&self) -> u64 {
        let shared = self.same_program().map(|pid| status_kib(pid, "RssFile:")).max().unwrap_or(0);
        self.private_kib() + shared
    }

    /// The part of [`Process::own_rss_kib`] that is not pages of files, in KiB.
    #[must_use]
    pub fn private_kib(&self) -> u64 {
        self.same_program().map(|pid| status_kib(pid, "RssAnon:")).sum()
    }

    fn same_program(&self) -> impl Iterator<Item = u32> {
        let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        let own = program(self.id());
        family(self.id()).into_iter().filter(move |pid| program(*pid) == own)
    }

    /// How many descendants have this name.
    #[must_use]
    pub fn descendants_called(&self, name: &str) -> usize {
        let called = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
        };
        family(self.id()).iter().filter(|pid| called(pid)).count()
    }

    /// CPU seconds of it, its living descendants, and those it has waited for.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        family(self.id()).into_iter().map(cpu_seconds).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- the last words of {}", self.name);
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

/// A process and its descendants.
fn family(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found
}

/// The fields of `/proc/<pid>/stat` after the name, the state first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn cpu_seconds(pid: u32) -> f64 {
    let Some(fields) = stat(pid) else { return 0.0 };
    // utime, stime, cutime, cstime are fields 14 to 17 of the whole line.
    let ticks: u64 = fields.iter().skip(11).take(4).filter_map(|f| f.parse::<u64>().ok()).sum();
    f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / TICKS
}

fn rss_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

fn status_kib(pid: u32, field: &str) -> u64 {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|l| l.starts_with(field))?;
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .unwrap_or(0)
}
