//! Import circles between the modules of one crate: counted, and the number may only fall.
//!
//! A module is the first path segment under the crate's root. An edge is the text `crate::other::` outside a test
//! module; the crate's root file is left out, since it names every module. Counts the modules that stand in some
//! circle.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use super::files::File;
use super::metadata::Metadata;

/// What each crate is allowed; a crate that is not listed has none.
const ALLOWED: &[(&str, usize)] = &[];

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

pub(super) fn check(metadata: &Metadata, files: &[File], findings: &mut Findings) {
    for package in metadata.members() {
        let Some(folder) = folder(files, &package.manifest.to_string_lossy()) else { continue };
        let graph = graph(&folder, files);
        let circle = in_a_circle(&graph);
        let allowed = ALLOWED.iter().find(|(name, _)| *name == package.name).map_or(0, |(_, n)| *n);
        let names = circle.iter().copied().collect::<Vec<_>>().join(" ");
        if circle.len() > allowed {
            let count = circle.len();
            findings
                .error("circles", format!("{}: {count} modules ({names}), at most {allowed}", package.name));
        } else if circle.len() < allowed {
            findings.error(
                "circles",
                format!("{}: {}, lower the number in the table", package.name, circle.len()),
            );
        }
    }
}

/// `crates/wire/src/` for the manifest of `wire`.
fn folder(files: &[File], manifest: &str) -> Option<String> {
    let file = files
        .iter()
        .find(|f| f.name.ends_with("Cargo.toml") && manifest.ends_with(&format!("/{}", f.name)))?;
    Some(format!("{}src/", file.name.strip_suffix("Cargo.toml")?))
}

fn graph<'a>(folder: &str, files: &'a [File]) -> Graph<'a> {
    let mut graph = Graph::new();
    for file in files {
        let Some(path) = file.name.strip_prefix(folder).and_then(|p| p.strip_suffix(".rs")) else { continue };
        let module = path.split('/').next().unwrap_or(path);
        if matches!(module, "lib" | "main" | "tests" | "bin") || path.ends_with("/tests") {
            continue;
        }
        let product = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        let edges = graph.entry(module).or_default();
        edges.extend(named(product).filter(|other| *other != module));
    }
    let known: BTreeSet<&str> = graph.keys().copied().collect();
    for edges in graph.values_mut() {
        edges.retain(|e| known.contains(e));
    }
    graph
}

/// Modules named as `crate::module::…` or in `use crate::{module, other::…}`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1)).flat_map(|after| {
        let list = after.strip_prefix('{').and_then(|l| l.split(['}', ';']).next()).unwrap_or_default();
        let single = if after.starts_with('{') { "" } else { after };
        list.split(',').chain(std::iter::once(single)).map(first_word).filter(|w| !w.is_empty())
    })
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Modules that can reach themselves.
fn in_a_circle<'a>(graph: &Graph<'a>) -> BTreeSet<&'a str> {
    graph.keys().copied().filter(|start| reaches_itself(graph, start)).collect()
}

fn reaches_itself(graph: &Graph<'_>, start: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut queue: Vec<&str> = graph.get(start).into_iter().flatten().copied().collect();
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

    fn file(name: &str, text: &str) -> File {
        File { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn two_modules_that_name_each_other_are_a_circle() {
        let files = [
            file("crates/a/src/lib.rs", "use crate::x::X;"),
            file("crates/a/src/x.rs", "use crate::y::Y;"),
            file("crates/a/src/y/deep.rs", "fn f() -> crate::x::X"),
            file("crates/a/src/z.rs", "use crate::{x::X, y};"),
        ];

        let graph = graph("crates/a/src/", &files);

        assert_eq!(in_a_circle(&graph), BTreeSet::from(["x", "y"]));
    }

    #[test]
    fn what_only_tests_name_does_not_count() {
        let files = [
            file("crates/a/src/x.rs", "use crate::y::Y;"),
            file("crates/a/src/y.rs", "struct Y;\n#[cfg(test)]\nmod tests { use crate::x::X; }"),
        ];

        assert!(in_a_circle(&graph("crates/a/src/", &files)).is_empty());
    }
}
