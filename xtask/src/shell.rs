//! Running other programs: prints what it runs, fails with the command's own words.
//!
//! Never goes through a shell, so nothing is quoted twice.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The cargo that started this tool, or the one on the path.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The command as one would type it.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs to the end; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    eprintln!("$ {words}");
    let status = command.status().with_context(|| format!("cannot start `{words}`"))?;
    if !status.success() {
        bail!("`{words}` ended with {status}");
    }
    Ok(())
}

/// Runs to the end and returns what it printed on stdout; stderr passes through.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let words = words(command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{words}`"))?;
    if !output.status.success() {
        bail!("`{words}` ended with {}", output.status);
    }
    Ok(output.stdout)
}

/// Runs a test command, passing its output through and keeping the runner's result lines.
pub(crate) fn summarised(command: &mut Command) -> Result<Vec<String>> {
    told(command, "")
}

/// Runs test commands side by side to the end of all, each of their lines behind the number of its command. The first
/// that failed is the error.
pub(crate) fn side_by_side(commands: Vec<Command>) -> Result<Vec<String>> {
    let ends: Vec<Result<Vec<String>>> = std::thread::scope(|scope| {
        let running: Vec<_> = commands
            .into_iter()
            .zip(1..)
            .map(|(mut command, n)| scope.spawn(move || told(&mut command, &format!("{n}| "))))
            .collect();
        running.into_iter().map(|one| one.join().unwrap_or_else(|_| bail!("its watcher broke off"))).collect()
    });
    Ok(ends.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

fn told(command: &mut Command, prefix: &str) -> Result<Vec<String>> {
    let words = words(command);
    eprintln!("$ {words}");
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{words}`"))?;
    let stdout = child.stdout.take().context("no stdout")?;
    let mut kept = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{prefix}{line}");
        if line.starts_with("test result:") || (line.starts_with("test ") && line.ends_with("FAILED")) {
            kept.push(line);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        for line in kept.iter().filter(|l| l.contains("FAILED")) {
            println!("{prefix}{line}");
        }
        bail!("`{words}` ended with {status}");
    }
    Ok(kept)
}

/// Where a program is, looking where an administrator's shell would.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let extra = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let own = cargo_home.map(|home| home.join("bin"));
    std::env::split_paths(&path).chain(extra).chain(own).map(|dir| dir.join(program)).find(|p| p.is_file())
}

/// Runs `work` and tells how long it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
