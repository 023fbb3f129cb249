//! The one tool for everything done to this repository: checks, tests, generated files, the demo, benchmarks.
//!
//! `cargo xtask` alone lists the words. Plain std, so that it compiles in seconds; what needs the rooms themselves
//! runs in a crate of its own (`tests/corpora`, `xtask/reference`, `tests/e2e`).
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::{Result, bail};

mod check;
mod generate;
mod packages;
mod shell;
mod test;
mod tidy;

/// A word of the command line.
struct Word {
    name: &'static str,
    arguments: &'static str,
    does: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const WORDS: &[Word] = &[
    Word { name: "test", arguments: "", does: "what CI runs, cheapest first", run: test::run },
    Word {
        name: "tidy",
        arguments: "",
        does: "the walls no compiler keeps: floors, files, licences",
        run: tidy::command,
    },
    Word { name: "fmt", arguments: "[--check]", does: "formats every crate", run: check::fmt },
    Word {
        name: "lint",
        arguments: "",
        does: "clippy over all targets, warnings are errors",
        run: check::lint,
    },
    Word {
        name: "doc",
        arguments: "",
        does: "rustdoc with private items, warnings are errors",
        run: check::doc,
    },
    Word {
        name: "gen",
        arguments: "[--check]",
        does: "writes what is generated, or says what is stale",
        run: generate::run,
    },
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
    let Some(word) = WORDS.iter().find(|w| w.name == name) else {
        list();
        bail!("no such word: {name}");
    };
    (word.run)(rest)
}

fn list() {
    println!("cargo xtask <word>\n");
    for word in WORDS {
        println!("  {:<24} {}", format!("{} {}", word.name, word.arguments), word.does);
    }
}
