//! Import circles between the files of one crate: counted, and the number may only fall.
//!
//! An arrow is a path from one file to another, in a `use` or in code, outside tests; a hand-on that its file does
//! not use itself is none, so a parent that only lists its children stands in no circle. Counted are the files that
//! can reach themselves. A parent that uses its children and is used by them is a circle like any other.

use std::collections::{BTreeMap, BTreeSet};

use self::tree::{Graph, Tree};
use super::files::File;
use super::findings::Findings;
use super::metadata::Metadata;

mod imports;
mod tree;
mod words;

/// How many files of each crate stand in some circle; a crate that is not listed has none. Lower a number when it
/// falls; do not raise one.
const ALLOWED: &[(&str, usize)] = &[
    ("audit", 3),
    ("client", 2),
    ("e2e", 2),
    ("moongate", 8),
    ("pki", 4),
    ("proxy", 2),
    ("ssh", 2),
    ("web", 8),
    ("wire", 2),
];

pub(super) fn check(metadata: &Metadata, files: &[File], findings: &mut Findings) {
    let sources: BTreeMap<&str, &str> = files.iter().map(|f| (f.name.as_str(), f.text.as_str())).collect();
    for package in metadata.members() {
        let Some(folder) = folder(files, &package.manifest.to_string_lossy()) else { continue };
        let source = |name: &str| sources.get(format!("{folder}{name}").as_str()).copied();
        let root = if source("lib.rs").is_some() { "lib.rs" } else { "main.rs" };
        let graph = Tree::load(root, source).graph();
        let circle = in_a_circle(&graph);
        let allowed = ALLOWED.iter().find(|(name, _)| *name == package.name).map_or(0, |(_, n)| *n);
        let count = circle.len();
        if count > allowed {
            let names = circle.into_iter().collect::<Vec<_>>().join(" ");
            findings
                .error("circles", format!("{}: {count} files ({names}), at most {allowed}", package.name));
        } else if count < allowed {
            findings.error("circles", format!("{}: {count}, lower the number in the table", package.name));
        }
    }
}

/// `crates/wire/src/` for the manifest of `wire`.
fn folder(files: &[File], manifest: &str) -> Option<String> {
    // The workspace's own manifest ends every path too: the longest that fits is meant.
    let fits = |f: &&File| f.name.ends_with("Cargo.toml") && manifest.ends_with(&format!("/{}", f.name));
    let file = files.iter().filter(fits).max_by_key(|f| f.name.len())?;
    Some(format!("{}src/", file.name.strip_suffix("Cargo.toml")?))
}

/// Files that can reach themselves.
fn in_a_circle(graph: &Graph) -> BTreeSet<&str> {
    graph.keys().map(String::as_str).filter(|start| reaches_itself(graph, start)).collect()
}

fn reaches_itself(graph: &Graph, start: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut queue: Vec<&String> = graph.get(start).into_iter().flatten().collect();
    while let Some(module) = queue.pop() {
        if module == start {
            return true;
        }
        if seen.insert(module) {
            queue.extend(graph.get(module).into_iter().flatten());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(files: &[(&str, &str)]) -> Vec<String> {
        let source = |name: &str| files.iter().find(|(n, _)| *n == name).map(|(_, text)| *text);
        let graph = Tree::load("lib.rs", source).graph();
        in_a_circle(&graph).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn files_that_name_each_other_are_a_circle_however_they_say_it() {
        let files = [
            ("lib.rs", "mod x; mod y; mod z;"),
            ("x.rs", "use super::y::Y;"),
            ("y.rs", "fn f() -> crate::z::Z {}"),
            ("z.rs", "use crate::{x::X, y};"),
        ];

        assert_eq!(circle(&files), ["x", "y", "z"]);
    }

    #[test]
    fn a_parent_that_lists_its_children_is_in_no_circle_and_one_that_uses_them_is() {
        let lists = [("lib.rs", "mod x; pub use x::X; pub struct Y;"), ("x.rs", "use crate::Y;")];
        let uses = [("lib.rs", "mod x; pub use x::X; pub struct Y(X);"), ("x.rs", "use crate::Y;")];

        assert!(circle(&lists).is_empty());
        assert_eq!(circle(&uses), ["(root)", "x"]);
    }

    #[test]
    fn a_package_has_its_own_folder_and_not_the_workspace_s() {
        let file = |name: &str| File { name: name.to_owned(), text: String::new() };
        let files = [file("Cargo.toml"), file("crates/a/Cargo.toml")];

        assert_eq!(folder(&files, "/home/x/crates/a/Cargo.toml").as_deref(), Some("crates/a/src/"));
    }

    #[test]
    fn what_only_tests_name_does_not_count() {
        let files = [
            ("lib.rs", "mod x; mod y;"),
            ("x.rs", "use crate::y::Y;"),
            ("y.rs", "struct Y;\n#[cfg(test)]\nmod tests { use crate::x::X; }"),
        ];

        assert!(circle(&files).is_empty());
    }
}
