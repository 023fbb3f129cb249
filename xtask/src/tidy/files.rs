//! Rules about single files: how they open, how long they are, which words and links they hold.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::findings::Findings;

/// Above this a file looks for its second idea.
const LONG: usize = 500;
/// Above this it fails, unless listed.
const TOO_LONG: usize = 800;

/// Files longer than [`TOO_LONG`], each with its reason.
const LISTED: &[(&str, &str)] = &[];

/// Folders that hold nothing of ours.
const SKIPPED: &[&str] =
    &[".git", "target", "node_modules", "dist", "artifacts", "coverage", "corpora", "testdata"];

/// Words that tell of the workshop rather than of the house.
const WORKSHOP: &[&str] = &[
    concat!("/work", "/wt"),
    concat!("/work", "/shared"),
    concat!("/work", "/main"),
    concat!("/work", "/tgt"),
    concat!("issue", " #"),
    concat!("issues", " show"),
    concat!("plan", ".md"),
    concat!("FIX", "ME"),
    concat!("XX", "X "),
];

/// A text file of the repository.
pub(super) struct File {
    /// Relative to the root, with forward slashes.
    pub(super) name: String,
    pub(super) text: String,
}

/// Every text file, in order.
pub(super) fn every(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    walk(root, root, &mut files)?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn walk(root: &Path, dir: &Path, files: &mut Vec<File>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            walk(root, &entry.path(), files)?;
        } else if kind.is_file() && is_ours(&name) {
            let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
            files.push(File { name: relative(root, &entry.path()), text });
        }
    }
    Ok(())
}

fn is_ours(name: &str) -> bool {
    let known = ["rs", "md", "toml", "ts", "svelte", "sh", "yml", "yaml", "service"];
    known.iter().any(|k| name.rsplit_once('.').is_some_and(|(_, e)| e == *k)) || name == "run"
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .map_or_else(|_| PathBuf::from(path), Path::to_path_buf)
        .to_string_lossy()
        .into_owned()
}

/// Every Rust file opens with what it is.
pub(super) fn headers(files: &[File], findings: &mut Findings) {
    for file in files.iter().filter(|f| f.name.ends_with(".rs")) {
        if !file.text.starts_with("//!") {
            findings.error(
                "headers",
                format!("{}: open with `//!`: what, bound, what it does not know", file.name),
            );
        }
        if file.text.contains(concat!("#[", "ignore")) {
            findings.error("tests", format!("{}: an ignored test is no test", file.name));
        }
    }
}

/// Long files warn, too long ones fail.
pub(super) fn lengths(files: &[File], findings: &mut Findings) {
    for file in files.iter().filter(|f| f.name.ends_with(".rs")) {
        let lines = file.text.lines().count();
        let listed = LISTED.iter().any(|(name, _)| *name == file.name);
        if lines > TOO_LONG && !listed {
            findings.error("length", format!("{}: {lines} lines, at most {TOO_LONG}", file.name));
        } else if lines > LONG && !listed {
            findings.warn("length", format!("{}: {lines} lines, look for the second idea", file.name));
        }
    }
}

/// The workshop is not mentioned in the house.
pub(super) fn words(files: &[File], findings: &mut Findings) {
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = WORKSHOP.iter().find(|w| line.contains(**w)) {
                findings.error(
                    "words",
                    format!("{}:{}: {word:?} says nothing to a reader", file.name, number + 1),
                );
            }
        }
    }
}

/// Links between pages lead somewhere.
pub(super) fn links(root: &Path, files: &[File], findings: &mut Findings) {
    for file in files.iter().filter(|f| f.name.ends_with(".md")) {
        let page = root.join(&file.name);
        let dir = page.parent().unwrap_or(root);
        for target in targets(&file.text) {
            let path = target.split('#').next().unwrap_or_default();
            let outside = target.contains("://") || target.starts_with("mailto:") || path.is_empty();
            if !outside && !dir.join(path).exists() {
                findings.error("links", format!("{}: {target} leads nowhere", file.name));
            }
        }
    }
}

/// The targets of `[text](target)` outside code blocks.
fn targets(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, tail)) = after.split_once(')') else { break };
            found.push(target);
            rest = tail;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::targets;

    #[test]
    fn links_in_code_blocks_are_not_links() {
        let text = "see [a](b.md) and [c](d.md#e)\n```\n[x](y)\n```\n";

        assert_eq!(targets(text), ["b.md", "d.md#e"]);
    }
}
