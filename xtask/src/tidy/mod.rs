//! The walls no compiler keeps: floors, licences, headers, lengths, import circles, decoders and their pages.
//!
//! Every rule reads files or `cargo metadata` and returns findings; nothing is mended here. Runs as
//! `cargo xtask tidy` and inside `cargo test -p xtask`.

use std::path::Path;

use anyhow::{Result, bail};

use crate::shell;

mod circles;
mod decoders;
mod dependencies;
mod files;
mod findings;
mod floors;
mod metadata;
mod walls;

pub(crate) use decoders::{Entry, entries};
use findings::Findings;

/// Prints the findings; any error fails.
pub(crate) fn command(_arguments: &[String]) -> Result<()> {
    let findings = inspect(&shell::root())?;
    for warning in &findings.warnings {
        eprintln!("tidy: warning: {warning}");
    }
    for error in &findings.errors {
        eprintln!("tidy: {error}");
    }
    match findings.errors.len() {
        0 => Ok(()),
        n => bail!("tidy: {n} findings"),
    }
}

fn inspect(root: &Path) -> Result<Findings> {
    let mut findings = Findings::default();
    let metadata = metadata::Metadata::load()?;
    let files = files::every(root)?;
    floors::check(&metadata, &mut findings);
    dependencies::licences(&metadata, &mut findings);
    dependencies::one_crypto_stack(&mut findings)?;
    dependencies::sentences(root, &metadata, &mut findings)?;
    walls::clippy_tables(root, &mut findings)?;
    walls::forbid_unsafe(&metadata, &mut findings)?;
    walls::architecture(root, &metadata, &mut findings)?;
    files::headers(&files, &mut findings);
    files::lengths(&files, &mut findings);
    files::words(&files, &mut findings);
    files::links(root, &files, &mut findings);
    circles::check(&metadata, &files, &mut findings);
    decoders::check(root, &mut findings)?;
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let findings = inspect(&shell::root()).unwrap();

        assert!(findings.errors.is_empty(), "\n{}", findings.errors.join("\n"));
    }
}
