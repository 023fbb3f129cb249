//! The one tool for everything done to this repository: checks, tests, generated files, the demo, benchmarks.
//!
//! `cargo xtask` alone lists the words. Plain std, so that it compiles in seconds; what needs the rooms themselves
//! runs in a crate of its own (`tests/corpora`, `xtask/reference`, `tests/e2e`).
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::{Result, bail};

mod bench;
mod check;
mod commands;
mod demo;
mod dist;
mod fuzz;
mod generate;
mod packages;
mod shell;
mod test;
mod tidy;
mod ui;

/// A word of the command line.
struct Word {
    name: &'static str,
    arguments: &'static str,
    does: &'static str,
    run: Run,
}

type Run = fn(&[String]) -> Result<()>;

const fn word(name: &'static str, arguments: &'static str, does: &'static str, run: Run) -> Word {
    Word { name, arguments, does, run }
}

const WORDS: &[Word] = &[
    word("demo", "[--dir PATH]", "a whole gate on loopback, with what to try", demo::run_demo),
    word("test", "", "what CI runs, cheapest first", test::run),
    word("tidy", "", "the walls no compiler keeps: floors, files, licences", tidy::command),
    word("fmt", "[--check]", "formats every crate", check::fmt),
    word("lint", "", "clippy over all targets, warnings are errors", check::lint),
    word("doc", "", "rustdoc with private items, warnings are errors", check::doc),
    word("gen", "[--check]", "writes what is generated, or says what is stale", generate::run),
    word("ui", "[shots [folder]]", "checks, tests and builds the browser app; pictures of it", ui::command),
    word("e2e", "[name|browser [spec]]", "the built program under real clients", test::e2e),
    word("fuzz", "[target|all] [seconds]", "looks for what a decoder does not survive", fuzz::run_fuzz),
    word(
        "bench",
        "[gate|web|player|search]",
        "measures, against plain OpenSSH in the same run",
        bench::run_bench,
    ),
    word("dist", "", "release executable, tarball, Debian package, checksums", dist::run_dist),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else {
        list();
        return Ok(());
    };
    if name == "demo-tour" {
        return demo::tour(rest);
    }
    let Some(word) = WORDS.iter().find(|w| w.name == name) else {
        list();
        bail!("no such word: {name}");
    };
    (word.run)(rest)
}

fn list() {
    println!("cargo xtask <word>\n");
    for word in WORDS {
        println!("  {:<26} {}", format!("{} {}", word.name, word.arguments), word.does);
    }
}
