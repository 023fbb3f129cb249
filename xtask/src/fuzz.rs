//! Looks for inputs that a decoder does not survive, with cargo-fuzz on the nightly compiler.

use std::process::Command;

use anyhow::{Result, bail};

use crate::shell::{cargo, root, run};
use crate::tidy::entries;

/// How long each target runs when nobody says otherwise.
const SECONDS: &str = "60";

/// `fuzz [target] [seconds]`; lists the targets when none is named.
pub(crate) fn run_fuzz(arguments: &[String]) -> Result<()> {
    let entries = entries(&root())?;
    let Some(wanted) = arguments.first() else {
        for entry in &entries {
            println!("{}", entry.target());
        }
        return Ok(());
    };
    let wanted = wanted.replace("::fuzz::", "_").replace("::", "_");
    let chosen: Vec<_> = entries.iter().filter(|e| wanted == "all" || e.target() == wanted).collect();
    if chosen.is_empty() {
        bail!("no such target: {wanted}");
    }
    let seconds = arguments.get(1).map_or(SECONDS, String::as_str);
    if crate::shell::which("cargo-fuzz").is_none() {
        run(cargo().args(["install", "--locked", "cargo-fuzz"]))?;
    }
    for entry in chosen {
        let target = entry.target();
        // What it finds is kept apart from what is committed: thousands of files, most of them worth nothing later.
        let found = format!("fuzz/artifacts/found/{target}");
        std::fs::create_dir_all(root().join(&found))?;
        run(Command::new("cargo")
            .current_dir(root())
            .args(["+nightly", "fuzz", "run", &target, &found, &format!("fuzz/corpora/{target}"), "--"])
            .arg(format!("-max_total_time={seconds}")))?;
    }
    Ok(())
}
