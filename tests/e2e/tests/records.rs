//! What was done is on record: played back, verified, and found out when touched.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use e2e::gate::{Gate, NODE};
use e2e::person::{Person, root};
use e2e::run::{LIMIT, Ran, run_with};
use e2e::terminal::Terminal;
use e2e::wait::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn session(ann: &Person, words: &str) -> Result<Ran> {
    let script = format!("echo {words}\nexit\n");
    run_with(&mut ann.ssh(&["-tt", &root()]), script.as_bytes(), LIMIT)?.ok()
}

/// The id of the newest recording, once it is complete.
fn complete(gate: &Gate) -> Result<String> {
    until("a complete recording", LIMIT, || {
        let list = gate.mctl_json(&["recordings", "ls", "--format=json"]).ok()?;
        let newest = list.as_array()?.first()?.clone();
        let done = newest.to_string().contains("\"complete\"");
        done.then(|| newest.get("id").and_then(Value::as_str).map(str::to_owned)).flatten()
    })
}

fn audit_key(gate: &Gate) -> Result<String> {
    let status = gate.mctl(&["status"])?.ok()?.text();
    let key =
        status.lines().find_map(|l| l.strip_prefix("Audit key")).context("no audit key in the status")?;
    Ok(key.trim().to_owned())
}

#[test]
fn a_session_is_played_back_as_it_was() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access,auditor", "root").unwrap();
    session(&ann, "all-was-seen").unwrap();
    let id = complete(&gate).unwrap();

    let text = ann.msh(&["play", "--format=text", &id]).unwrap().ok().unwrap().text();
    let cast = ann.msh(&["play", "--format=asciicast", &id]).unwrap().ok().unwrap().text();
    let late = ann.msh(&["play", "--format=asciicast", "--from=1h", &id]).unwrap().ok().unwrap().text();

    let yaml = ann.msh(&["play", "--format=yaml", &id]).unwrap().ok().unwrap().text();
    assert!(yaml.starts_with("---\nat: 0") && yaml.contains("kind: output"), "{yaml}");
    assert!(text.contains("all-was-seen"), "{text}");
    // What lies before is there, and at once.
    assert!(late.contains("all-was-seen"), "{late}");
    assert!(late.lines().skip(1).all(|line| line.starts_with("[0.000000,")), "{late}");
    let header: Value = serde_json::from_str(cast.lines().next().unwrap()).unwrap();
    assert_eq!(header.get("version").and_then(Value::as_u64), Some(2));
    assert!(cast.lines().skip(1).all(|l| serde_json::from_str::<Value>(l).is_ok()));
}

#[test]
fn who_stops_a_replay_has_the_terminal_back() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access,auditor", "root").unwrap();
    // Two seconds there are twenty here.
    let script = "printf '\\033[?1049h\\033[?25l'; echo ed''itor; sleep 2\nexit\n";
    run_with(&mut ann.ssh(&["-tt", &root()]), script.as_bytes(), LIMIT).unwrap().ok().unwrap();
    let id = complete(&gate).unwrap();
    let terminal = Terminal::open().unwrap();
    let mut msh = ann.command("msh");
    let mut play = terminal.seat(msh.args(["play", "--speed=0.1x", &id])).unwrap().spawn().unwrap();
    terminal.shows("editor").unwrap();

    kill_process(Pid::from_child(&play), Signal::INT).unwrap();

    assert!(play.wait().unwrap().success(), "{}", terminal.said());
    terminal.shows("\u{1b}[?25h\u{1b}[?1049l").unwrap();
    assert!(!terminal.said().contains("logout"), "{}", terminal.said());
}

#[test]
fn a_flipped_byte_is_found_offline() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access,auditor", "root").unwrap();
    session(&ann, "never-altered").unwrap();
    let id = complete(&gate).unwrap();
    let file = gate.dir().join("evidence.mgr");
    let path = file.display().to_string();
    gate.mctl(&["recordings", "download", &id, "-o", &path]).unwrap().ok().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = format!("--key={}", audit_key(&gate).unwrap());
    let offline =
        |path: &str| e2e::run::run(gate.command("mctl").args(["recordings", "verify", path, &key])).unwrap();

    let whole = offline(&path);
    let bytes = std::fs::read(&file).unwrap();
    let begins = begins(&bytes);
    let last = begins.len() - 1;
    let flipped = |at: usize| bytes.iter().enumerate().map(|(i, b)| b ^ u8::from(i == at)).collect();
    let touched: [(&str, Vec<u8>, usize); 5] = [
        ("a length", flipped(begins[last] + 3), last),
        ("a length, by much", flipped(begins[0]), 0),
        ("a segment", flipped((begins[last] + bytes.len()) / 2), last),
        ("its last byte", flipped(bytes.len() - 1), last),
        ("cut inside a segment", bytes[..bytes.len() - 9].to_vec(), last),
    ];

    assert_eq!(whole.code, 0, "{}", whole.stderr);
    assert!(whole.text().contains("verified"), "{}", whole.text());
    for (what, bytes, index) in touched {
        std::fs::write(&file, bytes).unwrap();
        let found = offline(&path);
        assert_ne!(found.code, 0, "{what}: {}", found.text());
        assert!(found.stderr.contains(&format!("broken at index {index}:")), "{what}: {}", found.stderr);
    }
    let played = ann.msh(&["play", "--format=text", &path]).unwrap();
    assert_ne!(played.code, 0, "what is cut is not played: {}", played.text());
}

/// Where each segment of a recording's file begins, with its length.
fn begins(file: &[u8]) -> Vec<usize> {
    let behind = |at: usize| {
        let length = file.get(at..)?.first_chunk::<4>()?;
        Some(at + 4 + u32::from_be_bytes(*length) as usize).filter(|behind| *behind < file.len())
    };
    std::iter::successors(behind(8), |at| behind(*at)).collect()
}

#[test]
fn the_audit_log_tells_who_did_what_and_holds() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    ann.on("root", NODE, "echo counted; exit 4").unwrap();
    complete(&gate).unwrap();

    let log = gate.mctl_json(&["audit", "ls", "--format=json"]).unwrap().to_string();
    let verify = gate.mctl(&["audit", "verify"]).unwrap();

    for code in ["T1000I", "T1002I", "T2000I", "T2004I", "T3002"] {
        assert!(log.contains(code), "{code} is not in {log}");
    }
    assert_eq!(verify.code, 0, "{}", verify.stderr);
}

#[test]
fn a_role_says_whether_its_people_are_recorded() {
    let gate = Gate::start().unwrap();
    let file = gate.dir().join("role.yaml");
    let role = "kind: role\nversion: v7\nmetadata:\n  name: trusted\nspec:\n  options:\n    record_session:\n      \
                mode: off\n  allow:\n    logins: [root]\n    node_labels:\n      \"*\": \"*\"\n";
    std::fs::write(&file, role).unwrap();
    gate.mctl(&["create", "-f", &file.display().to_string()]).unwrap().ok().unwrap();
    let ann = gate.person("ann", "trusted", "root").unwrap();
    let both = gate.person("ben", "trusted,access", "root").unwrap();

    session(&ann, "unseen").unwrap();
    session(&both, "seen").unwrap();

    let mode = |user: &str| {
        until("the session to be told", LIMIT, || {
            let all = gate.mctl_json(&["audit", "ls", "--format=json"]).ok()?;
            let told = |event: &&Value| event.get("event") == Some(&"session.end".into());
            let ended = all.as_array()?.iter().filter(told).find(|event| event["user"] == user)?;
            Some(ended["session_recording"].clone())
        })
    };
    assert_eq!((mode("ann").unwrap(), mode("ben").unwrap()), ("off".into(), "node".into()));
    complete(&gate).unwrap();
    let list = gate.mctl_json(&["recordings", "ls", "--format=json"]).unwrap();
    let whose: Vec<_> = list.as_array().unwrap().iter().map(|one| one["user"].clone()).collect();
    assert_eq!(whose, ["ben"]);
}

#[test]
fn a_command_is_recorded_with_its_totals() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access,auditor", "root").unwrap();
    ann.on("root", NODE, "head -c 3000000 /dev/zero | tr '\\0' x").unwrap().ok().unwrap();
    let id = complete(&gate).unwrap();

    let frames = ann.msh(&["play", "--format=json", &id]).unwrap().ok().unwrap().text();

    assert!(frames.contains("3000000"), "{}", frames.lines().last().unwrap_or_default());
    assert!(frames.len() < 4_000_000, "only the first megabyte is kept: {}", frames.len());
}
