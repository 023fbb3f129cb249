//! The files of one crate and which of them stands on which.
//!
//! A path leads to the file that defines its name: hand-ons are followed, so a name taken through its parent is an
//! arrow to the child that has it. What leaves the crate, or a name nobody declares, draws nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Imports, Path, read};

/// Hand-ons behind each other that are followed, so that a circle of them ends.
const FOLLOWED: usize = 16;

/// Files by module path (`a::b`; the crate's root is empty).
pub(super) struct Tree {
    files: BTreeMap<Path, Imports>,
}

/// File to files, by module path.
pub(super) type Graph = BTreeMap<String, BTreeSet<String>>;

impl Tree {
    /// Walks the modules from the root; `source` gives a file's text by its path below `src/`.
    pub(super) fn load<'a>(root: &str, source: impl Fn(&str) -> Option<&'a str>) -> Self {
        let mut files = BTreeMap::new();
        let mut waiting = vec![(Path::new(), source(root))];
        while let Some((module, text)) = waiting.pop() {
            let Some(text) = text else { continue };
            let imports = read(text);
            for child in &imports.children {
                let mut path = module.clone();
                path.push(child.clone());
                let stem = path.join("/");
                let text = source(&format!("{stem}.rs")).or_else(|| source(&format!("{stem}/mod.rs")));
                waiting.push((path, text));
            }
            files.insert(module, imports);
        }
        Self { files }
    }

    /// Every arrow between two different files.
    pub(super) fn graph(&self) -> Graph {
        let arrows = |(module, imports): (&Path, &Imports)| {
            let ends = imports.uses.iter().filter_map(|path| self.file_of(module, path, FOLLOWED));
            let ends = ends.filter(|end| end != module).map(|end| shown(&end)).collect();
            (shown(module), ends)
        };
        self.files.iter().map(arrows).collect()
    }

    /// The file that defines what a path written in `module` names.
    fn file_of(&self, module: &[String], path: &[String], left: usize) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(Path::new(), rest, left),
            "self" => self.descend(module.to_vec(), rest, left),
            "super" => self.file_of(module.split_last()?.1, &with_self(rest), left),
            name => {
                let imports = self.files.get(module)?;
                if imports.children.contains(name) {
                    return self.descend(module.to_vec(), path, left);
                }
                // An imported name has its arrow already, unless it is a module that the path goes on into.
                let mut whole = imports.named.get(name).filter(|to| *to != path)?.clone();
                whole.extend(rest.iter().cloned());
                self.file_of(module, &whole, left.checked_sub(1)?)
            }
        }
    }

    fn descend(&self, mut at: Path, path: &[String], left: usize) -> Option<Path> {
        let mut rest = path;
        while let Some((name, tail)) = rest.split_first() {
            if name == "super" {
                at.pop()?;
                rest = tail;
                continue;
            }
            let imports = self.files.get(&at)?;
            if !imports.children.contains(name) {
                return self.handed_on(&at, imports, rest, left);
            }
            at.push(name.clone());
            rest = tail;
        }
        self.files.contains_key(&at).then_some(at)
    }

    /// A name that is no module of this file: its own, or one it hands on.
    fn handed_on(&self, at: &Path, imports: &Imports, rest: &[String], left: usize) -> Option<Path> {
        let name = rest.first()?;
        let left = left.checked_sub(1)?;
        if let Some(to) = imports.named.get(name) {
            return self.file_of(at, to, left);
        }
        let defined = imports.globs.iter().find_map(|glob| {
            let end = self.file_of(at, glob, left).filter(|end| end != at)?;
            let within = self.files.get(&end)?;
            (within.named.contains_key(name) || within.children.contains(name)).then_some(end)
        });
        Some(defined.unwrap_or_else(|| at.clone()))
    }
}

fn with_self(rest: &[String]) -> Path {
    std::iter::once("self".to_owned()).chain(rest.iter().cloned()).collect()
}

fn shown(module: &[String]) -> String {
    if module.is_empty() { "(root)".to_owned() } else { module.join("::") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let source = |name: &str| files.iter().find(|(n, _)| *n == name).map(|(_, text)| *text);
        let graph = Tree::load("lib.rs", source).graph();
        graph.iter().flat_map(|(from, to)| to.iter().map(move |to| format!("{from} > {to}"))).collect()
    }

    #[test]
    fn a_name_taken_through_its_parent_is_an_arrow_to_who_defines_it() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A;"),
            ("a.rs", "pub struct A;"),
            ("b.rs", "use crate::A; use super::b;"),
        ];

        assert_eq!(arrows(&files), ["b > a"]);
    }

    #[test]
    fn an_imported_module_leads_to_what_lies_inside_it() {
        let files = [
            ("lib.rs", "mod a; mod c;"),
            ("a/mod.rs", "mod b; pub(crate) use b::B; pub(crate) fn f() {}"),
            ("a/b.rs", "use super::f; pub struct B;"),
            ("c.rs", "use crate::a; fn g() -> a::B { a::f() }"),
        ];

        assert_eq!(arrows(&files), ["a::b > a", "c > a", "c > a::b"]);
    }

    #[test]
    fn a_module_that_only_tests_declare_is_no_file_of_the_product() {
        let files =
            [("lib.rs", "mod a; #[cfg(test)] mod tests;"), ("a.rs", ""), ("tests.rs", "use crate::a::A;")];

        assert!(arrows(&files).is_empty());
    }
}
