//! Runs a client to its end, with a deadline and its output kept.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait::until;

/// Longer than any client should need, on a machine that does ten other things. Nothing is late before it; what a test
/// says of time is said with a clock of its own.
pub const LIMIT: Duration = Duration::from_secs(240);

/// What a client left behind.
#[derive(Debug)]
pub struct Ran {
    /// As typed.
    pub words: String,
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// Its output.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: String,
}

impl Ran {
    /// Its output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The same, insisting on success.
    ///
    /// # Errors
    /// It failed; the error carries everything it said.
    pub fn ok(self) -> Result<Self> {
        if self.code == 0 {
            return Ok(self);
        }
        let (words, code, out, err) = (&self.words, self.code, self.text(), &self.stderr);
        bail!("`{words}` ended with {code}\n--- stdout\n{out}\n--- stderr\n{err}")
    }
}

/// Runs to the end within [`LIMIT`].
///
/// # Errors
/// It does not start or does not end.
pub fn run(command: &mut Command) -> Result<Ran> {
    run_with(command, b"", LIMIT)
}

/// Runs to the end within `limit`, with `input` on its stdin.
///
/// # Errors
/// It does not start or does not end.
pub fn run_with(command: &mut Command, input: &[u8], limit: Duration) -> Result<Ran> {
    let words = words(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{words}`"))?;
    let writer = feed(&mut child, input.to_vec());
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let ended = until("it to end", limit, || child.try_wait().ok().flatten());
    if ended.is_err() {
        child.kill().ok();
        child.wait().ok();
    }
    let stdout = stdout.join().unwrap_or_default();
    let stderr = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
    drop(writer);
    let status = ended.with_context(|| {
        format!("`{words}`\n--- stdout\n{}\n--- stderr\n{stderr}", String::from_utf8_lossy(&stdout))
    })?;
    Ok(Ran { words, code: status.code().unwrap_or(-1), stdout, stderr })
}

fn feed(child: &mut Child, input: Vec<u8>) -> Option<JoinHandle<()>> {
    let mut stdin = child.stdin.take()?;
    Some(std::thread::spawn(move || {
        // A client may end without reading; its exit code tells whether that was wrong.
        stdin.write_all(&input).ok();
    }))
}

fn drain<R: Read + Send + 'static>(pipe: Option<R>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).ok();
        }
        bytes
    })
}

/// The command as one would type it.
#[must_use]
pub fn words(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|w| w.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
