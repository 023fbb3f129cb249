//! Running other programs: prints what it runs, fails with the command's own words.
//!
//! Never goes through a shell, so nothing is quoted twice.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long tests may say nothing: the longest of them takes a quarter of it on two busy cores.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

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
    told(command, "", PATIENCE)
}

/// Runs test commands side by side to the end of all, each of their lines behind the number of its command. The first
/// that failed is the error.
pub(crate) fn side_by_side(commands: Vec<Command>) -> Result<Vec<String>> {
    let ends: Vec<Result<Vec<String>>> = std::thread::scope(|scope| {
        let running: Vec<_> = commands
            .into_iter()
            .zip(1..)
            .map(|(mut command, n)| scope.spawn(move || told(&mut command, &format!("{n}| "), PATIENCE)))
            .collect();
        running.into_iter().map(|one| one.join().unwrap_or_else(|_| bail!("its watcher broke off"))).collect()
    });
    Ok(ends.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// Prints each line behind `prefix` and returns those of results; a command that says nothing for `patience` is ended.
fn told(command: &mut Command, prefix: &str, patience: Duration) -> Result<Vec<String>> {
    let words = words(command);
    eprintln!("$ {words}");
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{words}`"))?;
    let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
    let (said, heard) = mpsc::sync_channel(64);
    std::thread::spawn(move || stdout.lines().try_for_each(|line| said.send(line)));
    let mut kept = Vec::new();
    loop {
        let line = match heard.recv_timeout(patience) {
            Ok(line) => line?,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                end_with_all_it_started(&mut child);
                bail!(
                    "`{words}` said nothing for {patience:?} and was ended: a test hangs, one whose end the lines above do \
                     not tell; run it alone to see where"
                );
            }
        };
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

/// Kills a process and all that came from it. Its own first, so that nobody starts another.
fn end_with_all_it_started(child: &mut Child) {
    let parents = parents();
    let mut ended = vec![child.id()];
    let mut at = 0;
    while let Some(&pid) = ended.get(at) {
        ended.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(pid, _)| *pid));
        at += 1;
    }
    let ids = ended.iter().map(u32::to_string);
    let _ = Command::new("kill").arg("-KILL").args(ids).status();
    let _ = child.wait();
}

/// Every process with its parent, as `/proc/<pid>/stat` has them (proc(5)): the fields after the name in brackets.
fn parents() -> Vec<(u32, u32)> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    let one = |name: &str| {
        let pid = name.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
        let (_, after) = stat.rsplit_once(')')?;
        Some((pid, after.split_whitespace().nth(1)?.parse().ok()?))
    };
    all.filter_map(|entry| one(entry.ok()?.file_name().to_str()?)).collect()
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn tests_that_fall_silent_are_ended() {
        let error = told(&mut shell("sleep 600"), "", Duration::from_millis(50)).unwrap_err();

        assert!(error.to_string().contains("said nothing for 50ms"), "{error}");
    }

    #[test]
    fn what_a_process_started_ends_with_it() {
        let mut child = shell("sleep 600 & echo up; wait").stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();

        end_with_all_it_started(&mut child);

        // Its end comes when nobody holds it any more.
        assert_eq!(stdout.read_to_string(&mut line).unwrap(), 0);
        assert_eq!(line, "up\n");
    }
}
