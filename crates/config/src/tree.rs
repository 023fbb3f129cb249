//! YAML text → a tree in which every key and value knows its line and column.
//!
//! Scalars keep their text as written: what `yes`, `1h30m` or `3080` means is said by whoever asks. Bounded:
//! [`MAX_BYTES`] of text, [`MAX_DEPTH`] levels, [`MAX_NODES`] nodes with aliases counted as often as they are used.
//! A syntax error is a finding, and what was read before it is still returned, so that all findings come together.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::Finding;
pub use crate::finding::At;
pub use crate::text::MAX_BYTES;
use crate::text::NotText;

/// Deepest nesting.
pub const MAX_DEPTH: usize = 64;
/// Most nodes, aliases expanded.
pub const MAX_NODES: usize = 100_000;

fn at(marker: &Marker) -> At {
    At { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it starts.
    pub at: At,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text. `plain` text was not quoted, so it may mean a number, a truth or nothing.
    Scalar {
        /// The text.
        text: String,
        /// Not quoted.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order written; keys are unique.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key starts.
    pub at: At,
    /// The value.
    pub node: Node,
}

impl Node {
    /// Nothing: an empty plain scalar, `~` or `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// The value of `key`, for a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }
}

/// Something the text should not have; `partner` is the place of the first of two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// Where.
    pub at: At,
    /// The key concerned, if any.
    pub key: String,
    /// What.
    pub message: String,
}

/// Every document of a text, and what is wrong with it. A document that broke off ends where it broke.
#[must_use]
pub fn parse(text: &str) -> (Vec<Node>, Vec<Flaw>) {
    let mut builder = Builder::default();
    if text.len() > MAX_BYTES {
        builder.flaw(At { line: 1, column: 1 }, "", NotText::Long.to_string());
        return builder.finish();
    }
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => {
                if !builder.take(event, at(&span.start)) {
                    break;
                }
            }
            Err(error) => {
                let line = error.info().replace('\n', " ");
                builder.flaw(at(error.marker()), "", format!("not YAML: {line}"));
                break;
            }
        }
    }
    builder.finish()
}

/// The one document a configuration file has; an empty text is an empty mapping.
pub(crate) fn parse_one(text: &str, file: &str, findings: &mut Vec<Finding>) -> Node {
    let (documents, flaws) = parse(text);
    findings.extend(flaws.into_iter().map(|f| Finding::error(file, Some(f.at), &f.key, f.message)));
    let mut documents = documents.into_iter();
    let first = documents.next();
    // An empty one is a `---` or `...` too many, and means nothing.
    if let Some(second) = documents.find(|document| !document.is_null()) {
        findings
            .push(Finding::error(file, Some(second.at), "", "a second document").expected("one document"));
    }
    match first {
        Some(node) if !node.is_null() => node,
        _ => Node { at: At { line: 1, column: 1 }, value: Value::Map(Vec::new()) },
    }
}

/// A list or mapping that is being read.
struct Open {
    at: At,
    anchor: usize,
    body: Body,
}

enum Body {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, first: BTreeMap<String, At>, key: Option<Key> },
}

/// A key that waits for its value.
enum Key {
    Text(String, At),
    /// It is a flaw already; its value is passed over.
    Other,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    flaws: Vec<Flaw>,
}

impl Builder {
    fn flaw(&mut self, at: At, key: &str, message: impl Into<String>) {
        self.flaws.push(Flaw { at, key: key.to_owned(), message: message.into() });
    }

    /// Takes one event; false when a bound is met and reading must stop.
    fn take(&mut self, event: Event<'_>, at: At) -> bool {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let node = Node { at, value: Value::Scalar { text: text.into_owned(), plain } };
                self.place(node, anchor, 1)
            }
            Event::Alias(id) => self.alias(id, at),
            Event::SequenceStart(anchor, _) => self.enter(at, anchor, Body::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.enter(at, anchor, Body::Map { entries: Vec::new(), first: BTreeMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            _ => true,
        }
    }

    /// Puts a copy where an alias stands; it weighs what it copies, and may not nest deeper than written values.
    fn alias(&mut self, id: usize, at: At) -> bool {
        let Some(node) = self.anchors.get(&id) else {
            self.flaw(at, "", "an alias of something that is not finished");
            return false;
        };
        let (weight, depth) = measure(node);
        if self.open.len() + depth > MAX_DEPTH {
            self.flaw(at, "", format!("nested deeper than {MAX_DEPTH} levels"));
            return false;
        }
        if self.nodes.saturating_add(weight) > MAX_NODES {
            self.flaw(at, "", format!("more than {MAX_NODES} values"));
            return false;
        }
        let copy = Node { at, ..node.clone() };
        self.place(copy, 0, weight)
    }

    fn enter(&mut self, at: At, anchor: usize, body: Body) -> bool {
        if self.open.len() >= MAX_DEPTH {
            self.flaw(at, "", format!("nested deeper than {MAX_DEPTH} levels"));
            return false;
        }
        self.open.push(Open { at, anchor, body });
        true
    }

    fn leave(&mut self) -> bool {
        let Some(open) = self.open.pop() else { return true };
        let (at, anchor) = (open.at, open.anchor);
        let value = match open.body {
            Body::List(items) => Value::List(items),
            Body::Map { entries, .. } => Value::Map(entries),
        };
        self.place(Node { at, value }, anchor, 1)
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node, anchor: usize, weight: usize) -> bool {
        self.nodes = self.nodes.saturating_add(weight);
        if self.nodes > MAX_NODES {
            self.flaw(node.at, "", format!("more than {MAX_NODES} values"));
            return false;
        }
        if anchor != 0 {
            self.nodes = self.nodes.saturating_add(measure(&node).0);
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.body) {
            None => self.documents.push(node),
            Some(Body::List(items)) => items.push(node),
            Some(Body::Map { entries, first, key }) => match key.take() {
                Some(Key::Text(key, at)) => {
                    if let Some(first) = first.get(&key) {
                        let message = format!("given twice (first in line {})", first.line);
                        self.flaw(at, &key, message);
                    } else {
                        first.insert(key.clone(), at);
                        entries.push(Entry { key, at, node });
                    }
                }
                Some(Key::Other) => {}
                None => match node.value {
                    Value::Scalar { text, .. } => *key = Some(Key::Text(text, node.at)),
                    Value::List(_) | Value::Map(_) => {
                        *key = Some(Key::Other);
                        self.flaw(node.at, "", "a key that is not text");
                    }
                },
            },
        }
        true
    }

    /// Closes what is still open, so that what was read is not lost. Nothing of it is copied any more, and a bound that
    /// was met has been told.
    fn finish(mut self) -> (Vec<Node>, Vec<Flaw>) {
        self.nodes = 0;
        self.open.iter_mut().for_each(|open| open.anchor = 0);
        while !self.open.is_empty() {
            self.leave();
        }
        self.flaws.sort();
        (self.documents, self.flaws)
    }
}

/// How much a copy of `node` weighs (a value is one, and one more for each 64 bytes of its text), and how deep it is.
fn measure(node: &Node) -> (usize, usize) {
    let (own, children): (usize, Vec<&Node>) = match &node.value {
        Value::Scalar { text, .. } => return (1 + text.len() / 64, 0),
        Value::List(items) => (1, items.iter().collect()),
        Value::Map(entries) => (
            1 + entries.iter().map(|e| e.key.len() / 64).sum::<usize>(),
            entries.iter().map(|e| &e.node).collect(),
        ),
    };
    let (weight, depth) =
        children.into_iter().map(measure).fold((own, 0), |(w, d), (cw, cd)| (w + cw, d.max(cd)));
    (weight, depth + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_knows_its_place() {
        let (documents, flaws) = parse("a: 1\nb:\n  c: [x, 'y']\n");

        assert!(flaws.is_empty(), "{flaws:?}");
        let c = documents[0].get("b").unwrap().node.get("c").unwrap();
        assert_eq!(c.at, At { line: 3, column: 3 });
        let Value::List(items) = &c.node.value else { panic!("{c:?}") };
        assert_eq!(items[1].at, At { line: 3, column: 10 });
        assert_eq!(items[1].value, Value::Scalar { text: "y".into(), plain: false });
    }

    #[test]
    fn what_came_before_a_syntax_error_is_kept() {
        let (documents, flaws) = parse("a:\n  b: 1\n  c: 2\n  - x\nd: 3\n");

        assert_eq!(flaws.len(), 1, "{flaws:?}");
        assert_eq!(flaws[0].at.line, 4);
        assert!(documents[0].get("a").unwrap().node.get("c").is_some());
    }

    #[test]
    fn a_repeated_key_names_the_first() {
        let (_, flaws) = parse("a: 1\nb: 2\na: 3\n");
        assert_eq!(flaws[0].message, "given twice (first in line 1)");
        assert_eq!(flaws[0].at, At { line: 3, column: 1 });
    }

    #[test]
    fn a_nest_too_deep_and_a_bomb_of_aliases_are_refused() {
        let deep = "[".repeat(MAX_DEPTH + 1);
        assert!(parse(&deep).1[0].message.contains("deeper"));
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let row = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{row}]\n"));
        }
        assert!(parse(&bomb).1[0].message.contains("values"), "{:?}", parse(&bomb).1);
        assert_eq!(parse(&bomb).1.len(), 1, "once: {:?}", parse(&bomb).1);
    }

    #[test]
    fn a_key_that_is_not_text_is_told_once() {
        let (documents, flaws) = parse("? [a, b]\n: 1\n? {c: d}\n: 2\ne: 3\n");
        assert_eq!(
            flaws.iter().map(|f| (f.at.line, f.message.as_str())).collect::<Vec<_>>(),
            [(1, "a key that is not text"), (3, "a key that is not text")]
        );
        assert!(documents[0].get("e").is_some() && documents[0].get("").is_none());
    }

    #[test]
    fn as_many_keys_as_fit_are_told_apart_at_once() {
        let keys = |n: usize| (0..n).map(|i| format!("k{i}: 1\n")).collect::<String>();
        assert_eq!(parse(&keys(MAX_NODES / 2 - 1)).1, []);
        assert!(parse(&keys(MAX_NODES / 2 + 1)).1[0].message.contains("values"));
    }
}
