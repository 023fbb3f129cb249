//! The command reference: what `-h` says, for every name and every command below it.
//!
//! Asks the built executable, so that the page can not drift from the parser.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell::{cargo, output, run, target_dir};

/// Deeper than any command goes.
const DEPTH: usize = 4;

/// The page as Markdown.
pub(crate) fn page() -> Result<String> {
    run(cargo().args(["build", "--quiet", "--locked", "--workspace", "--bins"]))?;
    let program = executable();
    let mut page = String::from(
        "# Commands\n\n<!-- Generated from `-h` by `cargo xtask gen`; do not edit. -->\n\n\
         One executable with several names: `msh` and `moongate msh` are the same.\n",
    );
    for name in ["moongate", "msh", "mctl"] {
        let path = if name == "moongate" { Vec::new() } else { vec![name.to_owned()] };
        section(&program, &path, &BTreeSet::new(), &mut page)?;
    }
    Ok(page)
}

/// Where cargo puts the executable of the dev profile.
fn executable() -> PathBuf {
    target_dir().join("debug/moongate")
}

/// One command and those below it; options that `shown` above are not repeated.
fn section(program: &Path, path: &[String], shown: &BTreeSet<String>, page: &mut String) -> Result<()> {
    let help = help(program, path)?;
    let title = if path.is_empty() { "moongate".to_owned() } else { path.join(" ") };
    let level = if path.is_empty() || path == ["msh"] || path == ["mctl"] { "##" } else { "###" };
    let text = own(&help, shown);
    let text = text.trim_end().trim_end_matches("Options:").trim_end();
    let _ = write!(page, "\n{level} {title}\n\n```text\n{text}\n```\n");
    if path.len() >= DEPTH {
        return Ok(());
    }
    let mut shown = shown.clone();
    shown.extend(help.lines().filter_map(option).map(str::to_owned));
    for command in commands(&help) {
        let mut below = path.to_vec();
        below.push(command.to_owned());
        section(program, &below, &shown, page)?;
    }
    Ok(())
}

/// The help without options shown above, and without what is said about those.
fn own(help: &str, shown: &BTreeSet<String>) -> String {
    let mut dropping = false;
    let mut kept = Vec::new();
    for line in help.lines() {
        match option(line) {
            Some(option) => dropping = shown.contains(option),
            None => dropping = dropping && line.starts_with("          "),
        }
        if !dropping {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// The option a line of help is about: `--proxy <PROXY>`.
fn option(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.starts_with('-').then(|| line.split("  ").next().unwrap_or(line))
}

fn help(program: &Path, path: &[String]) -> Result<String> {
    let bytes = output(
        Command::new(program)
            .args(path)
            .arg("-h")
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("COLUMNS", "100"),
    )?;
    String::from_utf8(bytes).context("help is not UTF-8")
}

/// The names under `Commands:`.
fn commands(help: &str) -> Vec<&str> {
    help.lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn names_are_read_off_the_help() {
        let help = "Usage: x\n\nCommands:\n  login   Sign in\n          and more\n  help    Print\n\nOptions:\n  -h\n";

        assert_eq!(commands(help), ["login"]);
    }
}
