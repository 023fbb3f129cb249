//! How long `ssh true` takes, and how many whole sessions a second there are.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use e2e::run::run;

use crate::bed::{Bed, Effort, Way};
use crate::report::Row;
use crate::stats::{median, percentile};

/// Sessions at a time.
const AT_A_TIME: usize = 8;

/// `ssh true`, one after the other, each way in turn.
pub(crate) fn latency(bed: &Bed, effort: &Effort) -> Result<Vec<Row>> {
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); bed.ways().len()];
    for _ in 0..effort.commands {
        for (way, taken) in bed.ways().iter().zip(&mut samples) {
            let start = Instant::now();
            run(bed.ssh().args([way.host, "true"]))?.ok()?;
            taken.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    let at = |part: f64| samples.iter().map(|s| Some(percentile(s, part))).collect();
    Ok(vec![
        Row::new("`ssh true`, p50, ms", "≤ 1.25x", at(0.5)),
        Row::new("`ssh true`, p95, ms", "-", at(0.95)),
    ])
}

/// Sessions a second, eight at a time, with what they cost.
pub(crate) fn rate(bed: &Bed, effort: &Effort) -> Result<Vec<Row>> {
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); bed.ways().len()];
    let mut node: Vec<Vec<f64>> = rates.clone();
    let mut between: Vec<Vec<f64>> = rates.clone();
    for _ in 0..effort.rounds {
        for (n, way) in bed.ways().iter().enumerate() {
            let before = bed.cpu(way);
            let (done, seconds) = burst(bed, effort, way)?;
            let after = bed.cpu(way);
            ensure!(done > 0.0, "no session ended well on the way {}", way.name);
            let push = |list: &mut Vec<Vec<f64>>, value: f64| {
                if let Some(samples) = list.get_mut(n) {
                    samples.push(value);
                }
            };
            push(&mut rates, done / seconds);
            push(&mut node, (after.0 - before.0) * 1000.0 / done);
            push(&mut between, (after.1 - before.1) * 1000.0 / done);
        }
    }
    let row = |lists: &[Vec<f64>]| lists.iter().map(|s| Some(median(s))).collect::<Vec<_>>();
    Ok(vec![
        Row::new("whole sessions a second, 8 at a time", "≥ 1.0x", row(&rates)),
        Row::new("CPU on the target for a session, ms", "-", row(&node)),
        Row::new("CPU in between for a session, ms", "-", row(&between)),
    ])
}

/// Runs sessions for a window; how many ended well, and how long it took.
fn burst(bed: &Bed, effort: &Effort, way: &Way) -> Result<(f64, f64)> {
    let done = AtomicUsize::new(0);
    let start = Instant::now();
    let commands: Vec<_> = (0..AT_A_TIME).map(|_| bed.ssh()).collect();
    std::thread::scope(|scope| {
        for mut command in commands {
            let done = &done;
            scope.spawn(move || {
                command.args([way.host, "true"]);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                while start.elapsed() < effort.window {
                    if command.status().is_ok_and(|s| s.success()) {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let done = u32::try_from(done.load(Ordering::Relaxed))?;
    Ok((f64::from(done), start.elapsed().as_secs_f64()))
}
