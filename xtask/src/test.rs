//! CI, exactly: every check in the order in which it can fail most cheaply, then one summary.

use std::time::Duration;

use anyhow::Result;

use crate::shell::{cargo, summarised, timed};
use crate::{check, generate, packages, tidy, ui};

type Step = (&'static str, fn() -> Result<Vec<String>>);

const STEPS: &[Step] = &[
    ("packages", || {
        none(packages::ensure(packages::BUILD).and_then(|()| packages::ensure(packages::CLIENTS)))
    }),
    ("fmt", || none(check::fmt(&["--check".to_owned()]))),
    ("tidy", || none(tidy::command(&[]))),
    ("clippy", || none(check::lint(&[]))),
    ("doc", || none(check::doc(&[]))),
    ("tests", rooms),
    ("browser app", || none(ui::where_possible())),
    ("generated files", || none(generate::run(&["--check".to_owned()]))),
    ("end to end", end_to_end),
    ("browser", browser),
];

/// Runs every step and stops at the first that fails.
pub(crate) fn run(_arguments: &[String]) -> Result<()> {
    let mut done: Vec<(&str, Duration)> = Vec::new();
    let mut summaries = Vec::new();
    for (name, step) in STEPS {
        eprintln!("\n=== {name}");
        let (result, took) = timed(step);
        done.push((name, took));
        match result {
            Ok(lines) => summaries.extend(lines),
            Err(error) => {
                report(&done, &summaries, Some(name));
                return Err(error.context(format!("step failed: {name}")));
            }
        }
    }
    report(&done, &summaries, None);
    Ok(())
}

fn none(result: Result<()>) -> Result<Vec<String>> {
    result.map(|()| Vec::new())
}

/// Unit, property, in-process and corpus tests of every crate but the end-to-end ones.
/// Plain `cargo test`: the node's tests bring a harness of their own, which starts itself again as the privileged half.
/// Built apart from the run, which is ended when it falls silent.
fn rooms() -> Result<Vec<String>> {
    let all = ["test", "--locked", "--workspace", "--exclude", "e2e"];
    crate::shell::run(cargo().args(all).arg("--no-run"))?;
    summarised(cargo().args(all).arg("--no-fail-fast"))
}

/// The built program under real clients.
fn end_to_end() -> Result<Vec<String>> {
    let all = ["test", "--locked", "--package", "e2e"];
    crate::shell::run(cargo().args(["build", "--locked", "--workspace", "--bins"]))?;
    crate::shell::run(cargo().args(all).arg("--no-run"))?;
    summarised(cargo().args(all).arg("--no-fail-fast"))
}

/// The browser app of the built program, in Chromium.
fn browser() -> Result<Vec<String>> {
    if ui::possible() {
        packages::ensure(packages::BROWSER)?;
    }
    ui::browse(&[])
}

/// `e2e [name]`: all of them, or those whose name contains the word; `e2e browser [spec …]`: the browser app;
/// with `--update` what the spec `snapshots` keeps is written anew.
pub(crate) fn e2e(arguments: &[String]) -> Result<()> {
    packages::ensure(packages::CLIENTS)?;
    if let Some(("browser", specs)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        packages::ensure(packages::BROWSER)?;
        ui::built()?;
        crate::shell::run(cargo().args(["build", "--locked", "--package", "moongate"]))?;
        return ui::browse(specs).map(drop);
    }
    crate::shell::run(cargo().args(["build", "--locked", "--workspace", "--bins"]))?;
    crate::shell::run(cargo().args(["test", "--locked", "--package", "e2e", "--"]).args(arguments))
}

fn report(done: &[(&str, Duration)], summaries: &[String], broken: Option<&str>) {
    println!("\n=== summary");
    for (name, took) in done {
        println!("{:>7.1} s  {name}", took.as_secs_f64());
    }
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for line in summaries {
        passed += count(line, "passed");
        failed += count(line, "failed");
        ignored += count(line, "ignored");
    }
    let verdict = if failed == 0 && broken.is_none() { "ok" } else { "FAILED" };
    if let Some(step) = broken {
        println!("stopped at: {step}");
    }
    println!(
        "test result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; all steps together"
    );
}

/// The number before `what` in `test result: ok. 12 passed; 0 failed; …`.
fn count(line: &str, what: &str) -> u64 {
    let words: Vec<&str> = line.split([' ', ';']).filter(|w| !w.is_empty()).collect();
    words
        .windows(2)
        .find_map(|pair| match pair {
            [number, word] if *word == what => number.parse().ok(),
            _ => None,
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts_are_read_off_the_runners_own_line() {
        let line =
            "test result: ok. 12 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.1s";

        assert_eq!((count(line, "passed"), count(line, "failed"), count(line, "ignored")), (12, 1, 0));
    }
}
