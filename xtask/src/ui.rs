//! The browser app: packages from the lock file, types, unit tests, a build with its budget.
//!
//! Needs node and npm; without them the gate is built without the app and says so on its front page.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, root, run, side_by_side, summarised, target_dir, which};

fn folder() -> PathBuf {
    root().join("ui")
}

fn npm(arguments: &[&str]) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder()).args(arguments);
    command
}

/// Whether the app can be built here.
pub(crate) fn possible() -> bool {
    which("node").is_some() && which("npm").is_some()
}

/// `ui`: everything; `ui shots [folder]`: pictures of every page, in both languages and themes, by the built program.
pub(crate) fn command(arguments: &[String]) -> Result<()> {
    if !possible() {
        bail!("the browser app needs node 20 and npm");
    }
    packages()?;
    match arguments {
        [] => all(),
        [shots] if shots == "shots" => pictures(&target_dir().join("shots")),
        [shots, folder] if shots == "shots" => pictures(&std::path::absolute(folder)?),
        _ => bail!("usage: cargo xtask ui [shots [folder]]"),
    }
}

fn pictures(folder: &Path) -> Result<()> {
    built()?;
    run(cargo().args(["build", "--locked", "--package", "moongate"]))?;
    run(runner().arg("run").env("MOONGATE_SHOTS", folder))
}

/// The runner of the specs, with the program that they drive.
pub(crate) fn runner() -> Command {
    let mut command = Command::new(folder().join("node_modules/.bin/vitest"));
    command.current_dir(folder().join("e2e")).env("MOONGATE_BIN", target_dir().join("debug/moongate"));
    command
}

/// Everything, where the tools and their packages can be had.
pub(crate) fn where_possible() -> Result<()> {
    if !possible() {
        eprintln!("no node and npm here: the browser app is neither checked nor built");
        return Ok(());
    }
    if let Err(error) = packages() {
        eprintln!("{error:#}: the browser app is neither checked nor built");
        return Ok(());
    }
    all()
}

/// Builds the app as it is now.
pub(crate) fn built() -> Result<()> {
    packages()?;
    run(&mut npm(&["run", "--silent", "build"]))
}

/// Builds the app unless some build of it is there.
pub(crate) fn built_once() -> Result<()> {
    if folder().join("dist/app/index.html").exists() {
        return Ok(());
    }
    if !possible() {
        bail!("it needs node 20 and npm to be built");
    }
    built()
}

fn all() -> Result<()> {
    for word in ["check", "test", "build"] {
        run(&mut npm(&["run", "--silent", word]))?;
    }
    Ok(())
}

/// The app in a real browser against the built program; `filters` are parts of the names of specs, or options of the
/// runner such as `--update`. Without any, two halves run side by side, each in a world of its own: a good part of the
/// specs is waiting. The lines in which the runner counts, or none where there is no node to run it.
pub(crate) fn browse(filters: &[String]) -> Result<Vec<String>> {
    if !possible() {
        eprintln!("no node and npm here: the browser app is not driven");
        return Ok(Vec::new());
    }
    packages()?;
    run(&mut npm(&["exec", "--offline", "--", "tsc", "-p", "e2e"]))?;
    if !filters.is_empty() {
        return summarised(runner().arg("run").args(filters));
    }
    let halves = ["--shard=1/2", "--shard=2/2"].map(|half| {
        let mut runner = runner();
        runner.args(["run", half]);
        runner
    });
    side_by_side(halves.into())
}

/// Installs what the lock file names, unless that has been done for this lock file.
pub(crate) fn packages() -> Result<()> {
    let lock = std::fs::read(folder().join("package-lock.json")).context("ui/package-lock.json")?;
    let kept = folder().join("node_modules/.moongate-lock");
    if std::fs::read(&kept).is_ok_and(|k| k == lock) {
        return Ok(());
    }
    run(&mut npm(&["ci", "--no-audit", "--no-fund"]))?;
    std::fs::write(&kept, lock).context("ui/node_modules")
}

/// Writes the app's client from the API's description, or says that it is stale. Needs node alone.
pub(crate) fn client(check: bool) -> Result<()> {
    if which("node").is_none() {
        eprintln!("no node here: the browser app's client is not looked at");
        return Ok(());
    }
    let mut command = Command::new("node");
    command.current_dir(folder()).arg("scripts/gen.mjs");
    if check {
        command.arg("--check");
    }
    run(&mut command)
}
