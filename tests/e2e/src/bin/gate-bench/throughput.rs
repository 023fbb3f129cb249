//! One stream of bytes down and up, with what it costs on both machines.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::bed::{Bed, Effort, Way};
use crate::echo::Held;
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
                // The session is kept until its processor time has been read.
                let session = way_of(bed, way, effort.bytes)?;
                let seconds = start.elapsed().as_secs_f64();
                let after = bed.cpu(way);
                drop(session);
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

type Transfer = fn(&Bed, &Way, u64) -> Result<Vec<Held>>;

fn down(bed: &Bed, way: &Way, bytes: u64) -> Result<Vec<Held>> {
    let mut command = bed.ssh();
    command.args([way.host, &format!("head -c {bytes} /dev/zero; exec sleep 60")]);
    let mut ssh = Held(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    read(&mut ssh, bytes)?;
    Ok(vec![ssh])
}

fn up(bed: &Bed, way: &Way, bytes: u64) -> Result<Vec<Held>> {
    let mut source = Command::new("head")
        .args(["-c", &bytes.to_string(), "/dev/zero"])
        .stdout(Stdio::piped())
        .spawn()
        .context("head")?;
    let pipe = source.stdout.take().context("no pipe")?;
    let source = Held(source);
    let mut command = bed.ssh();
    command.args([way.host, "cat > /dev/null; echo; exec sleep 60"]);
    let mut ssh = Held(command.stdin(pipe).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    read(&mut ssh, 1)?;
    Ok(vec![source, ssh])
}

/// Reads that many bytes of its output.
fn read(ssh: &mut Held, bytes: u64) -> Result<()> {
    let output = ssh.0.stdout.take().context("no stdout")?;
    let mut some = output.take(bytes);
    let mut buffer = vec![0; 1 << 18];
    let mut left = bytes;
    while left > 0 {
        let read = u64::try_from(some.read(&mut buffer)?)?;
        ensure!(read > 0, "the stream ended {left} bytes early");
        left -= read;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size in MiB for a table")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}
