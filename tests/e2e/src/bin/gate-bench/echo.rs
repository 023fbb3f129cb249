//! How long a keystroke takes to come back: alone, beside bulk elsewhere, beside bulk in its own connection.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::run::run;
use e2e::wait::until;

use crate::bed::{Bed, Effort, Way};
use crate::report::Row;
use crate::stats::percentile;

/// A terminal that gives back what it gets.
const ECHO: &str = "stty raw -echo; echo ready; exec cat";
const BULK: &str = "exec cat /dev/zero";
/// Between two keystrokes.
const PAUSE: Duration = Duration::from_millis(3);

/// A child that ends with its owner.
pub(crate) struct Held(pub(crate) Child);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// One SSH connection that others share.
pub(crate) struct Master {
    _ssh: Held,
    socket: PathBuf,
}

impl Master {
    /// Connects and waits until the control socket answers.
    pub(crate) fn open(bed: &Bed, way: &Way) -> Result<Self> {
        let socket = bed.path(&format!("mux-{}", way.host));
        std::fs::remove_file(&socket).ok();
        let mut command = bed.ssh();
        command.args(["-M", "-N", "-S"]).arg(&socket).arg(way.host);
        let ssh = Held(quiet(&mut command).stdout(Stdio::null()).spawn()?);
        let check = || run(bed.ssh().arg("-S").arg(&socket).args(["-O", "check", way.host])).ok()?.ok().ok();
        until("the shared connection", Duration::from_secs(20), check)?;
        Ok(Self { _ssh: ssh, socket })
    }

    /// `ssh` over it.
    pub(crate) fn ssh(&self, bed: &Bed) -> Command {
        let mut command = bed.ssh();
        command.arg("-S").arg(&self.socket);
        command
    }
}

/// The three rows.
pub(crate) fn all(bed: &Bed, effort: &Effort) -> Result<Vec<Row>> {
    let cases: [(&str, &str, Case); 3] = [
        ("alone", "≤ 1.5x", alone),
        ("beside bulk in another connection", "≤ 2x", beside),
        ("beside bulk in the same connection", "≤ 2x", within),
    ];
    let mut rows = Vec::new();
    for (name, wanted, case) in cases {
        let mut samples: Vec<Vec<f64>> = vec![Vec::new(); bed.ways().len()];
        for _ in 0..effort.rounds {
            for (way, taken) in bed.ways().iter().zip(&mut samples) {
                taken.extend(case(bed, way, effort.keys)?);
            }
        }
        let at = |part: f64| samples.iter().map(|s| Some(percentile(s, part))).collect::<Vec<_>>();
        rows.push(Row::new(format!("keystroke {name}, p50, ms"), wanted, at(0.5)));
        rows.push(Row::new(format!("keystroke {name}, p99, ms"), "-", at(0.99)));
    }
    Ok(rows)
}

type Case = fn(&Bed, &Way, usize) -> Result<Vec<f64>>;

fn alone(bed: &Bed, way: &Way, keys: usize) -> Result<Vec<f64>> {
    type_keys(bed.ssh(), way, keys)
}

fn beside(bed: &Bed, way: &Way, keys: usize) -> Result<Vec<f64>> {
    let mut bulk = bed.ssh();
    bulk.args([way.host, BULK]);
    let _bulk = Held(quiet(&mut bulk).stdout(Stdio::null()).spawn()?);
    type_keys(bed.ssh(), way, keys)
}

fn within(bed: &Bed, way: &Way, keys: usize) -> Result<Vec<f64>> {
    let master = Master::open(bed, way)?;
    let mut bulk = master.ssh(bed);
    bulk.args([way.host, BULK]);
    let _bulk = Held(quiet(&mut bulk).stdout(Stdio::null()).spawn()?);
    type_keys(master.ssh(bed), way, keys)
}

fn type_keys(mut command: Command, way: &Way, keys: usize) -> Result<Vec<f64>> {
    command.args(["-tt", way.host, ECHO]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut ssh = Held(command.spawn()?);
    let mut input = ssh.0.stdin.take().context("no stdin")?;
    let mut output = ssh.0.stdout.take().context("no stdout")?;
    until_ready(&mut output)?;
    let mut samples = Vec::with_capacity(keys);
    for _ in 0..keys {
        std::thread::sleep(PAUSE);
        samples.push(key(&mut input, &mut output)?);
    }
    Ok(samples)
}

fn until_ready(output: &mut ChildStdout) -> Result<()> {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"ready\n") && !seen.ends_with(b"ready\r\n") {
        output.read_exact(&mut byte).context("the terminal ended")?;
        seen.extend(byte);
    }
    Ok(())
}

fn key(input: &mut ChildStdin, output: &mut ChildStdout) -> Result<f64> {
    let mut byte = [b'k'];
    let start = Instant::now();
    input.write_all(&byte)?;
    input.flush()?;
    output.read_exact(&mut byte).context("no echo")?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

pub(crate) fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stderr(Stdio::null())
}
