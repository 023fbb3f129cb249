//! Every decoder has a fuzz target, seeds, and a page that says what the bytes mean.
//!
//! A decoder shows itself as `pub fn name(data: &[u8])` in its crate's `fuzz` module. The table in
//! docs/formats/README.md must name each; the targets themselves are generated from the same list.

use std::path::Path;

use anyhow::{Context, Result};

use super::findings::Findings;

/// One fuzz entry point.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// The crate.
    pub(crate) room: String,
    /// The function in its `fuzz` module.
    pub(crate) name: String,
}

impl Entry {
    /// The target's and the corpus folder's name.
    pub(crate) fn target(&self) -> String {
        format!("{}_{}", self.room, self.name)
    }

    /// How code names it.
    pub(crate) fn path(&self) -> String {
        format!("{}::fuzz::{}", self.room, self.name)
    }
}

/// Every entry point of every crate, in order.
pub(crate) fn entries(root: &Path) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for crate_dir in std::fs::read_dir(root.join("crates"))? {
        let crate_dir = crate_dir?.path();
        let room = crate_dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for source in ["src/fuzz.rs", "src/fuzz/mod.rs", "src/lib.rs"] {
            let Ok(text) = std::fs::read_to_string(crate_dir.join(source)) else { continue };
            let module = match source {
                "src/lib.rs" => text.split("pub mod fuzz {").nth(1).unwrap_or_default(),
                _ => text.as_str(),
            };
            found.extend(functions(module).map(|name| Entry { room: room.clone(), name: name.to_owned() }));
        }
    }
    found.sort();
    Ok(found)
}

fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("pub fn ")?;
        let (name, arguments) = rest.split_once('(')?;
        arguments.contains("&[u8])").then_some(name)
    })
}

pub(super) fn check(root: &Path, findings: &mut Findings) -> Result<()> {
    let page = root.join("docs/formats/README.md");
    let table = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let entries = entries(root)?;
    for entry in &entries {
        if !table.contains(&format!("`{}`", entry.path())) {
            findings.error("formats", format!("{} is not in docs/formats/README.md", entry.path()));
        }
        let corpus = root.join("fuzz/corpora").join(entry.target());
        if !std::fs::read_dir(&corpus).is_ok_and(|mut d| d.next().is_some()) {
            findings.error("corpora", format!("fuzz/corpora/{} has no seed", entry.target()));
        }
    }
    for named in table.split('`').skip(1).step_by(2).filter(|w| w.contains("::fuzz::")) {
        if !entries.iter().any(|e| e.path() == named) {
            findings.error("formats", format!("docs/formats/README.md names {named}, which is gone"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::functions;

    #[test]
    fn only_functions_over_bytes_are_entry_points() {
        let text = "pub fn sniff(data: &[u8]) {\n}\nfn helper(data: &[u8]) {}\npub fn other(n: u8) {}\n";

        assert_eq!(functions(text).collect::<Vec<_>>(), ["sniff"]);
    }
}
