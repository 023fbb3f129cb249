//! Resident memory: of what idles, of many idle sessions, and after many short ones.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;
use e2e::gate::NODE;
use e2e::process::Process;
use e2e::wait::until;

use crate::bed::{Bed, Effort, WAYS, Way};
use crate::echo::Held;
use crate::light;
use crate::report::Row;

const SETTLE: Duration = Duration::from_secs(3);
/// Until nothing of the last session is left: a node's process that looked its account up stays for ten seconds.
const REST: Duration = Duration::from_secs(12);
/// Sessions opened at once.
const AT_ONCE: usize = 20;

fn ours(value: f64) -> Vec<Option<f64>> {
    vec![None, None, Some(value), None]
}

/// KiB as MiB.
pub(crate) fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}

/// Resident KiB of node, and of proxy and authority together; not of what sessions run.
pub(crate) fn now(bed: &Bed) -> Result<(u64, u64)> {
    let mut gate = bed.gate()?;
    let proxy = gate.proxy.as_ref().map_or(0, Process::own_rss_kib);
    let auth = gate.auth.own_rss_kib();
    Ok((gate.node(NODE)?.own_rss_kib(), proxy + auth))
}

/// The private part of the same.
fn private(bed: &Bed) -> Result<(u64, u64)> {
    let mut gate = bed.gate()?;
    let proxy = gate.proxy.as_ref().map_or(0, Process::private_kib);
    let auth = gate.auth.private_kib();
    Ok((gate.node(NODE)?.private_kib(), proxy + auth))
}

/// Before anything was asked of them.
pub(crate) fn idle(bed: &Bed, _effort: &Effort) -> Result<Vec<Row>> {
    std::thread::sleep(REST);
    let (node, others) = now(bed)?;
    let (own, theirs) = private(bed)?;
    let note = |kib: u64| format!("{:.1} MiB private, the rest pages of the program's file", mib(kib));
    Ok(vec![
        Row::new("idle node, MiB resident", "≤ 15 MiB", ours(mib(node))).with_note(note(own)),
        Row::new("idle proxy and authority together, MiB resident", "≤ 40 MiB", ours(mib(others)))
            .with_note(note(theirs)),
    ])
}

/// Idle recorded terminals, each with its own connection.
pub(crate) fn many_sessions(bed: &Bed, effort: &Effort) -> Result<Vec<Row>> {
    let Some(way) = WAYS.iter().find(|w| w.name == "gate -J") else { return Ok(Vec::new()) };
    let before = now(bed)?;
    let mut sessions: Vec<Held> = Vec::new();
    while sessions.len() < effort.idle {
        for _ in 0..AT_ONCE.min(effort.idle - sessions.len()) {
            sessions.push(terminal(bed, way)?);
        }
        wait_for(bed, sessions.len())?;
    }
    std::thread::sleep(SETTLE);
    let alive = sessions.iter_mut().map(|s| usize::from(matches!(s.0.try_wait(), Ok(None)))).sum::<usize>();
    let after = now(bed)?;
    let grown = (after.0 + after.1).saturating_sub(before.0 + before.1);
    let each = f64::from(u32::try_from(grown)?) / f64::from(u32::try_from(sessions.len())?);
    let note = format!("{alive} of {} alive", sessions.len());
    Ok(vec![
        Row::new("an idle recorded terminal: node, proxy and authority, KiB", "≤ 256 KiB", ours(each))
            .with_note(note),
    ])
}

fn terminal(bed: &Bed, way: &Way) -> Result<Held> {
    let mut command = bed.ssh();
    command.args(["-tt", way.host, "exec cat"]).stdin(Stdio::piped());
    Ok(Held(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
}

/// Waits until the node runs that many commands.
fn wait_for(bed: &Bed, count: usize) -> Result<()> {
    until(&format!("{count} terminals"), Duration::from_secs(60), || {
        let mut gate = bed.gate().ok()?;
        let node = gate.node(NODE).ok()?;
        (node.descendants_called("cat") >= count).then_some(())
    })
}

/// Many short sessions: memory before and after.
pub(crate) fn flat(bed: &Bed, effort: &Effort) -> Result<Vec<Row>> {
    let Some(way) = WAYS.iter().find(|w| w.name == "gate") else { return Ok(Vec::new()) };
    light::many(bed, way, effort.short / 3)?;
    std::thread::sleep(SETTLE);
    let before = now(bed)?;
    let done = light::many(bed, way, effort.short)?;
    anyhow::ensure!(done == effort.short, "{done} of {} sessions ended well", effort.short);
    std::thread::sleep(SETTLE);
    let after = now(bed)?;
    let percent = |a: u64, b: u64| (mib(b) / mib(a.max(1)) - 1.0) * 100.0;
    let note = format!(
        "{:.1} to {:.1} MiB and {:.1} to {:.1} MiB",
        mib(before.0),
        mib(after.0),
        mib(before.1),
        mib(after.1)
    );
    Ok(vec![
        Row::new(
            format!("node's growth over {} short sessions, %", effort.short),
            "± 10 %",
            ours(percent(before.0, after.0)),
        )
        .with_note(note),
        Row::new("the same for proxy and authority, %", "± 10 %", ours(percent(before.1, after.1))),
    ])
}
