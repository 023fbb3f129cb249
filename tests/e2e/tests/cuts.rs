//! kill -9 of authority, proxy and node while a session is recorded: what was seen is on record.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use e2e::gate::{Gate, NODE, Options};
use e2e::person::{Person, root};
use e2e::run::LIMIT;
use e2e::wait::until;
use serde_json::Value;

/// A session that counts, a line each twentieth of a second at most, until it is told to stop.
struct Counting {
    child: Child,
    reader: Option<JoinHandle<()>>,
    seen: Arc<AtomicU32>,
    stop: PathBuf,
}

impl Counting {
    fn begin(gate: &Gate, person: &Person) -> Result<Self> {
        let stop = gate.dir().join("stop-counting");
        let script =
            format!("n=0; until [ -e {} ]; do n=$((n+1)); echo line-$n; sleep .05; done", stop.display());
        let mut shell = person.ssh(&["-tt", &root(), &script]);
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let shown = BufReader::new(child.stdout.take().context("no stdout")?);
        let seen = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            for number in shown.lines().map_while(Result::ok).filter_map(|line| number(&line)) {
                counter.store(number, Ordering::SeqCst);
            }
        });
        Ok(Self { child, reader: Some(reader), seen, stop })
    }

    fn seen(&self) -> u32 {
        self.seen.load(Ordering::SeqCst)
    }

    /// Waits for so many further lines; the last one then.
    fn further(&self, lines: u32) -> Result<u32> {
        let goal = self.seen() + lines;
        until(&format!("line {goal}"), LIMIT, || Some(self.seen()).filter(|seen| *seen >= goal))
    }

    /// Waits for the client to end by itself: whether it was content, and the last line it saw.
    fn end(&mut self) -> Result<(bool, u32)> {
        let status = until("the client to end", LIMIT, || self.child.try_wait().ok()?)?;
        if let Some(reader) = self.reader.take() {
            ensure!(reader.join().is_ok(), "the reader failed");
        }
        Ok((status.success(), self.seen()))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Both fail where it has ended, which is well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn number(line: &str) -> Option<u32> {
    line.trim_end().strip_prefix("line-")?.parse().ok()
}

/// Id and state of the one recording, and how many segments of it the authority has.
fn recording(gate: &Gate) -> Option<(String, String, u64)> {
    let list = gate.mctl_json(&["recordings", "ls", "--format=json"]).ok()?;
    let newest = list.as_array()?.first()?.clone();
    let word = |key: &str| newest.get(key).and_then(Value::as_str).map(str::to_owned);
    Some((word("id")?, word("state")?, newest.get("segments").and_then(Value::as_u64)?))
}

fn uploaded(gate: &Gate, segments: u64) -> Result<()> {
    until("a segment to arrive", LIMIT, || recording(gate).filter(|(_, _, n)| *n >= segments).map(drop))
}

/// The last line on record, after a look that the record has all before it, and verifies as what it should be.
fn on_record(gate: &Gate, person: &Person, verdict: &str) -> Result<u32> {
    let closed = || recording(gate).filter(|(_, state, _)| state != "live");
    let (id, ..) = until("the recording to be closed", LIMIT, closed)?;
    let verify = gate.mctl(&["recordings", "verify", &id])?.ok()?.text();
    ensure!(verify.trim_end().ends_with(verdict), "{verify}");
    let played = person.msh(&["play", "--format=text", &id])?.ok()?.text();
    let lines: Vec<u32> = played.lines().filter_map(number).collect();
    let last = u32::try_from(lines.len())?;
    ensure!(lines.iter().copied().eq(1..=last), "lines are missing, or twice: {lines:?}");
    Ok(last)
}

#[test]
fn a_session_outlives_authorities_and_its_record_has_every_line() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let ann = gate.person("ann", "access,auditor", "root").unwrap();
    let mut work = Counting::begin(&gate, &ann).unwrap();

    for segments in [0, 1, 2] {
        work.further(10).unwrap();
        uploaded(&gate, segments).unwrap();
        gate.auth.kill();
        work.further(20).unwrap();
        gate.restart_auth().unwrap();
        gate.answers().unwrap();
    }
    std::fs::write(&work.stop, "").unwrap();
    let (content, seen) = work.end().unwrap();

    assert!(content);
    assert_eq!(on_record(&gate, &ann, ", complete").unwrap(), seen);
    assert_eq!(gate.mctl(&["audit", "verify"]).unwrap().code, 0);
}

#[test]
fn a_session_whose_proxy_is_killed_ends_with_all_that_was_seen_on_record() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let ann = gate.person("ann", "access,auditor", "root").unwrap();
    let mut work = Counting::begin(&gate, &ann).unwrap();
    uploaded(&gate, 1).unwrap();
    work.further(10).unwrap();

    gate.proxy.as_mut().unwrap().kill();
    let (content, seen) = work.end().unwrap();
    gate.start_proxy().unwrap();
    gate.answers().unwrap();
    gate.online(NODE).unwrap();

    assert!(!content);
    assert!(on_record(&gate, &ann, ", complete").unwrap() >= seen);
}

#[test]
fn a_session_whose_node_is_killed_has_all_but_its_last_moment_on_record() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let ann = gate.person("ann", "access,auditor", "root").unwrap();
    let work = Counting::begin(&gate, &ann).unwrap();
    uploaded(&gate, 1).unwrap();
    let before = work.further(1).unwrap();
    // Three seconds at least, by the clock of who writes: what is older than one second is on its disk.
    work.further(60).unwrap();

    gate.node(NODE).unwrap().kill();
    gate.start_node(NODE, "").unwrap();
    gate.online(NODE).unwrap();
    // The moment at which it brings in what it left behind.
    gate.node(NODE).unwrap().kill();
    gate.start_node(NODE, "").unwrap();
    gate.online(NODE).unwrap();

    assert!(on_record(&gate, &ann, "complete; part of it was recovered after a crash").unwrap() >= before);
}
