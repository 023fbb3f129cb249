//! One stream of bytes down and up, with what it costs on both machines.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::bed::{Bed, Effort, Way};
use crate::report::Row;
use crate::stats::median;

const MIB: f64 = 1_048_576.0;

/// Both directions.
pub(crate) fn both_ways(bed: &Bed, effort: &Effort) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, way_of) in [("down", down as Transfer), ("up", up as Transfer)] {
        let mut taken: Vec<[Vec<f64>; 3]> = bed.ways().iter().map(|_| [const { Vec::new() }; 3]).collect();
        for _ in 0..effort.rounds {
            for (way, [speed, target, between]) in bed.ways().iter().zip(&mut taken) {
                let before = bed.cpu(way);
                let start = Instant::now();
                way_of(bed, way, effort.bytes)?;
                let seconds = start.elapsed().as_secs_f64();
                let after = bed.cpu(way);
                let mib = mib(effort.bytes);
                speed.push(mib / seconds);
                target.push((after.0 - before.0) * 1024.0 / mib);
                between.push((after.1 - before.1) * 1024.0 / mib);
            }
        }
        let column = |n: usize| taken.iter().map(|t| t.get(n).map(|s| median(s))).collect();
        rows.push(Row::new(format!("one stream {name}, MiB/s"), "≥ 0.85x", column(0)));
        rows.push(Row::new(format!("CPU on the target {name}, s/GiB"), "≤ 1.5x", column(1)));
        rows.push(Row::new(format!("CPU in between {name}, s/GiB"), "≤ 1.2 s", column(2)));
    }
    Ok(rows)
}

type Transfer = fn(&Bed, &Way, u64) -> Result<()>;

fn down(bed: &Bed, way: &Way, bytes: u64) -> Result<()> {
    let mut command = bed.ssh();
    command.args([way.host, &format!("head -c {bytes} /dev/zero")]);
    finish(command.stdin(Stdio::null()).stdout(Stdio::null()))
}

fn up(bed: &Bed, way: &Way, bytes: u64) -> Result<()> {
    let mut source = Command::new("head")
        .args(["-c", &bytes.to_string(), "/dev/zero"])
        .stdout(Stdio::piped())
        .spawn()
        .context("head")?;
    let pipe = source.stdout.take().context("no pipe")?;
    let ended = finish(bed.ssh().args([way.host, "cat > /dev/null"]).stdin(pipe).stdout(Stdio::null()));
    source.kill().ok();
    source.wait()?;
    ended
}

fn finish(command: &mut Command) -> Result<()> {
    let out = command.stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    ensure!(out.status.success(), "{}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size in MiB for a table")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}
