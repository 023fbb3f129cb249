//! Walls kept by files: clippy tables that are not merged, the word against unsafe code, the map of the house.

use std::path::Path;

use anyhow::{Context, Result};

use super::findings::Findings;
use super::floors::room;
use super::metadata::Metadata;

/// The one room that may hold unsafe blocks, each with its reason.
const MAY_FORK: &str = "node";

/// A crate's own clippy.toml must repeat every entry of the root's, and every pure room has the same one.
pub(super) fn clippy_tables(root: &Path, findings: &mut Findings) -> Result<()> {
    let entries = |path: &Path| -> Result<Vec<String>> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .map(str::to_owned)
            .collect())
    };
    let wanted = entries(&root.join("clippy.toml"))?;
    let mut pure: Option<(String, Vec<String>)> = None;
    for crate_dir in crates(root)? {
        let name = file_name(&crate_dir);
        let path = crate_dir.join("clippy.toml");
        if !path.exists() {
            if room(&name).is_some_and(|r| r.pure) {
                findings.error("clippy.toml", format!("{name} is pure and has none"));
            }
            continue;
        }
        let found = entries(&path)?;
        for line in wanted.iter().filter(|l| !found.contains(l)) {
            findings.error("clippy.toml", format!("{name} lacks the root's entry: {line}"));
        }
        if room(&name).is_some_and(|r| r.pure) {
            match &pure {
                None => pure = Some((name, found)),
                Some((first, table)) if *table != found => {
                    findings.error(
                        "clippy.toml",
                        format!("{name} differs from {first}: pure rooms share one table"),
                    );
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// `#![forbid(unsafe_code)]` opens every crate but the one that forks.
pub(super) fn forbid_unsafe(metadata: &Metadata, findings: &mut Findings) -> Result<()> {
    for package in metadata.members().filter(|p| p.name != MAY_FORK) {
        for path in &package.roots {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let opened = text
                .lines()
                .find(|l| !l.starts_with("//") && !l.trim().is_empty())
                .is_some_and(|l| l == "#![forbid(unsafe_code)]");
            if !opened {
                findings
                    .error("unsafe", format!("{}: no #![forbid(unsafe_code)] at the top", path.display()));
            }
        }
    }
    Ok(())
}

/// Every crate is on the map.
pub(super) fn architecture(root: &Path, metadata: &Metadata, findings: &mut Findings) -> Result<()> {
    let map = std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    for package in metadata.members().filter(|p| !map.contains(&format!("`{}`", p.name))) {
        findings.error("ARCHITECTURE.md", format!("`{}` is not on the map", package.name));
    }
    Ok(())
}

fn crates(root: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join("crates"))? {
        found.push(entry?.path());
    }
    found.sort();
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
