//! Format, lint and documentation: the checks that are one cargo command each.

use anyhow::Result;

use crate::shell::{cargo, run};

/// Formats every crate, also the fuzz crate outside the workspace; with `--check` only looks.
pub(crate) fn fmt(arguments: &[String]) -> Result<()> {
    let check = arguments.iter().any(|a| a == "--check");
    let tail: &[&str] = if check { &["--", "--check"] } else { &[] };
    run(cargo().args(["fmt", "--all"]).args(tail))?;
    let fuzz = crate::shell::root().join("fuzz/Cargo.toml");
    if fuzz.exists() {
        run(cargo().args(["fmt", "--manifest-path"]).arg(fuzz).args(tail))?;
    }
    Ok(())
}

/// Clippy over everything, warnings are errors.
pub(crate) fn lint(_arguments: &[String]) -> Result<()> {
    run(cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Documentation with private items, warnings are errors.
pub(crate) fn doc(_arguments: &[String]) -> Result<()> {
    run(cargo()
        .args(["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}
