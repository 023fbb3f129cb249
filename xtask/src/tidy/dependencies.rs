//! What we let into the tree: licences, one crypto stack, and a sentence for each direct dependency.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};

use super::findings::Findings;
use super::metadata::Metadata;
use crate::shell::{cargo, output};

/// TLS and crypto libraries that would stand beside rustls and aws-lc-rs.
const SECOND_STACKS: &[&str] = &[
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "boring",
    "boring-sys",
    "mbedtls",
    "gnutls",
    "rsa",
    "ed25519-dalek",
    "rustls-openssl",
];

/// Packages without an SPDX expression, looked at by hand.
const READ_BY_HAND: &[(&str, &str)] = &[];

/// No package may leave us under a GPL of any kind; one acceptable alternative is enough.
pub(super) fn licences(metadata: &Metadata, findings: &mut Findings) {
    for package in &metadata.packages {
        match &package.licence {
            Some(expression) if acceptable(expression) => {}
            Some(expression) => findings.error("licences", format!("{}: {expression}", package.name)),
            None if READ_BY_HAND.iter().any(|(name, _)| *name == package.name) => {}
            None => findings.error("licences", format!("{}: no licence named", package.name)),
        }
    }
}

fn acceptable(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], " ").replace('/', " OR ");
    flat.split(" OR ").any(|choice| !choice.contains("GPL"))
}

/// Whatever ships has rustls and aws-lc-rs and nothing beside them.
pub(super) fn one_crypto_stack(findings: &mut Findings) -> Result<()> {
    // `cargo metadata` lists optional packages that no feature switches on; the tree does not.
    let tree = output(cargo().args(["tree", "-p", "moongate", "-e", "normal", "--prefix", "none"]))?;
    let tree = String::from_utf8_lossy(&tree);
    let shipped: BTreeSet<&str> = tree.lines().filter_map(|l| l.split(' ').next()).collect();
    for name in SECOND_STACKS.iter().filter(|n| shipped.contains(**n)) {
        findings
            .error("crypto", format!("{name} ⇒ one TLS stack, one crypto provider: rustls with aws-lc-rs"));
    }
    Ok(())
}

/// deny.toml holds `# name: sentence` for each direct dependency, and for nothing else.
pub(super) fn sentences(root: &Path, metadata: &Metadata, findings: &mut Findings) -> Result<()> {
    let text = std::fs::read_to_string(root.join("deny.toml")).context("deny.toml")?;
    let written = written(&text);
    let own: BTreeSet<&str> = metadata.members().map(|p| p.name.as_str()).collect();
    let direct: BTreeSet<&str> = metadata
        .members()
        .flat_map(|p| p.declared.iter().map(|(name, _)| name.as_str()))
        .filter(|name| !own.contains(name))
        .collect();
    for name in direct.iter().filter(|n| !written.contains_key(**n)) {
        findings.error("deny.toml", format!("no sentence for {name}: why do we carry it?"));
    }
    for (name, sentence) in &written {
        if !direct.contains(name) {
            findings.error("deny.toml", format!("{name} is described but not used"));
        }
        if sentence.split_whitespace().count() < 3 {
            findings.error("deny.toml", format!("{name}: that is no sentence"));
        }
    }
    Ok(())
}

/// Lines between the two markers, as name and sentence.
fn written(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .skip_while(|l| *l != "# --- direct dependencies ---")
        .take_while(|l| *l != "# --- end ---")
        .filter_map(|l| l.strip_prefix("# ")?.split_once(": "))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_without_gpl_is_enough() {
        for good in ["MIT", "MIT/Apache-2.0", "MIT OR GPL-2.0-only", "(Apache-2.0 OR MIT) AND Unicode-3.0"] {
            assert!(acceptable(good), "{good}");
        }
        for bad in ["AGPL-3.0-only", "GPL-3.0", "LGPL-2.1", "GPL-2.0 AND MIT"] {
            assert!(!acceptable(bad), "{bad}");
        }
    }
}
