//! What one file names of its own crate: the modules it declares, and every path it writes.
//!
//! A path is read as written (`crate::a::B`, `super::a`, `a::f` for a child or an import); finding the file behind
//! it needs the whole crate and is `tree`'s work. A hand-on (`pub use`) whose name the file never uses itself is no
//! import: it is a line of a table of contents.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{Word, product};

/// A path as written, segment by segment.
pub(super) type Path = Vec<String>;

/// One file's own words.
#[derive(Debug, Default)]
pub(super) struct Imports {
    /// Modules declared with `mod name;`.
    pub(super) children: BTreeSet<String>,
    /// Names that this file brings in, and from where; others can take them through it.
    pub(super) named: BTreeMap<String, Path>,
    /// Modules all of whose names it brings in.
    pub(super) globs: Vec<Path>,
    /// Everything the file itself stands on.
    pub(super) uses: BTreeSet<Path>,
}

/// Reads one file.
pub(super) fn read(text: &str) -> Imports {
    let words = product(text);
    let mut imports = Imports::default();
    let mut handed_on = Vec::new();
    let mut code = Vec::new();
    let mut rest = words.as_slice();
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (Word::Name("mod"), [Word::Name(child), Word::Mark(';'), after @ ..]) => {
                imports.children.insert((*child).to_owned());
                after
            }
            (Word::Name("use"), _) => {
                let end = tail.iter().position(|w| *w == Word::Mark(';')).unwrap_or(tail.len());
                let (tree, after) = tail.split_at(end);
                let public = is_public(&code);
                for leaf in leaves(tree) {
                    note(&mut imports, &mut handed_on, leaf, public);
                }
                after
            }
            _ => {
                code.push(*first);
                tail
            }
        };
    }
    let spoken: BTreeSet<&str> = code.iter().filter_map(name).collect();
    let used = handed_on.into_iter().filter(|(name, _)| spoken.contains(name.as_str())).map(|(_, path)| path);
    imports.uses.extend(used);
    imports.uses.extend(paths(&code));
    imports
}

fn name<'a>(word: &Word<'a>) -> Option<&'a str> {
    match word {
        Word::Name(name) => Some(name),
        Word::Path | Word::Mark(_) => None,
    }
}

/// Whether the words before a `use` end in `pub` or `pub(…)`.
fn is_public(before: &[Word<'_>]) -> bool {
    match before {
        [.., Word::Name("pub")] => true,
        [.., Word::Mark(')')] => {
            let open = before.iter().rposition(|w| *w == Word::Mark('('));
            open.and_then(|at| at.checked_sub(1)).and_then(|at| before.get(at)) == Some(&Word::Name("pub"))
        }
        _ => false,
    }
}

/// One name out of a `use`: what it is called here, and its path; `*` for a glob.
struct Leaf {
    here: String,
    path: Path,
}

fn note(imports: &mut Imports, handed_on: &mut Vec<(String, Path)>, leaf: Leaf, public: bool) {
    let Leaf { here, path } = leaf;
    if here == "*" {
        if !public {
            imports.uses.insert(path.clone());
        }
        imports.globs.push(path);
        return;
    }
    if public {
        handed_on.push((here.clone(), path.clone()));
    } else {
        imports.uses.insert(path.clone());
    }
    imports.named.insert(here, path);
}

fn leaves(tree: &[Word<'_>]) -> Vec<Leaf> {
    let mut found = Vec::new();
    branch(tree, &[], &mut found);
    found
}

/// `a::{b, c as d, e::*}`, below a path that was read before it.
fn branch(tree: &[Word<'_>], above: &[String], found: &mut Vec<Leaf>) {
    // The comma after the last one has nothing behind it.
    for part in split(tree).into_iter().filter(|part| !part.is_empty()) {
        let mut path = above.to_vec();
        let mut here = None;
        let mut rest = part;
        while let Some((word, tail)) = rest.split_first() {
            match word {
                Word::Name("as") => {
                    here = tail.first().and_then(name).map(str::to_owned);
                    break;
                }
                Word::Name(name) => path.push((*name).to_owned()),
                Word::Mark('{') => {
                    branch(tail.strip_suffix(&[Word::Mark('}')]).unwrap_or(tail), &path, found);
                    here = None;
                    path.clear();
                    break;
                }
                Word::Mark('*') => here = Some("*".to_owned()),
                Word::Path | Word::Mark(_) => {}
            }
            rest = tail;
        }
        if path.len() > 1 && path.last().is_some_and(|l| l == "self") {
            path.pop();
        }
        if let Some(here) = here.or_else(|| path.last().cloned()) {
            found.push(Leaf { here, path });
        }
    }
}

/// Cuts at the commas that stand in no inner brace.
fn split<'w, 'a>(tree: &'w [Word<'a>]) -> Vec<&'w [Word<'a>]> {
    let mut depth = 0_usize;
    tree.split(move |word| {
        match word {
            Word::Mark('{') => depth += 1,
            Word::Mark('}') => depth = depth.saturating_sub(1),
            Word::Mark(_) | Word::Name(_) | Word::Path => {}
        }
        depth == 0 && *word == Word::Mark(',')
    })
    .collect()
}

/// Every `a::b::…` in code.
fn paths(code: &[Word<'_>]) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    let mut path: Path = Vec::new();
    let mut open = false;
    for word in code {
        match word {
            Word::Name(name) if open || path.is_empty() => {
                path.push((*name).to_owned());
                open = false;
                continue;
            }
            Word::Path if !path.is_empty() => {
                open = true;
                continue;
            }
            Word::Name(_) | Word::Path | Word::Mark(_) => {}
        }
        let ended = std::mem::take(&mut path);
        if ended.len() > 1 {
            found.insert(ended);
        }
        open = false;
        path.extend(name(word).map(str::to_owned));
    }
    if path.len() > 1 {
        found.insert(path);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(text: &str) -> Vec<String> {
        read(text).uses.iter().map(|p| p.join("::")).collect()
    }

    #[test]
    fn nested_lists_become_one_path_each() {
        let text = "use crate::{a::{self, B as C}, d::*};\nuse super::e;";

        assert_eq!(uses(text), ["crate::a", "crate::a::B", "crate::d", "super::e"]);
    }

    #[test]
    fn a_list_on_several_lines_names_what_it_lists_and_not_its_parent() {
        assert_eq!(
            uses("use crate::{\n    a::{B, C,},\n    d,\n};"),
            ["crate::a::B", "crate::a::C", "crate::d"]
        );
    }

    #[test]
    fn a_path_in_code_counts() {
        assert_eq!(uses("fn f(x: crate::a::X) -> super::Y { z(x) }"), ["crate::a::X", "super::Y"]);
    }

    #[test]
    fn a_name_that_is_only_handed_on_is_not_used() {
        assert_eq!(uses("mod a;\npub use a::A;\npub(crate) use a::B;\nfn f(b: B) {}"), ["a::B"]);
    }
}
