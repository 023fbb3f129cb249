//! The checked file, asked by path. Values come out parsed; what did not parse is absent here and a finding already.

use std::path::PathBuf;

use model::time::Span;

use crate::schema::{self, Kind};
use crate::tree::{At, Node, Value};
use crate::{Address, Finding, Version, scalar};

/// A file whose keys were checked against the schema.
pub(crate) struct RawConfig {
    file: String,
    pub(crate) version: Version,
    root: Node,
}

/// A section: the whole file, or one item of a list of sections.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) raw: &'a RawConfig,
    node: &'a Node,
    /// The path of the section in the schema, empty for the whole file.
    path: &'a str,
}

impl RawConfig {
    pub(crate) fn new(file: &str, version: Version, root: Node) -> Self {
        Self { file: file.to_owned(), version, root }
    }

    pub(crate) fn whole(&self) -> Part<'_> {
        Part { raw: self, node: &self.root, path: "" }
    }

    /// An error at the key of `path`.
    pub(crate) fn error(&self, path: &str, message: &str, expected: &str) -> Finding {
        let at = self.whole().place(path);
        Finding::error(&self.file, at, &self.shown(path), message).expected(expected)
    }

    /// The path as the file writes it.
    pub(crate) fn shown(&self, path: &str) -> String {
        match path.strip_prefix("moongate") {
            Some(rest) if self.root.get("teleport").is_some() => format!("teleport{rest}"),
            _ => path.to_owned(),
        }
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }
}

impl<'a> Part<'a> {
    fn entry(&self, path: &str) -> Option<&'a crate::tree::Entry> {
        let mut node = self.node;
        let mut found = None;
        for (depth, word) in path.split('.').enumerate() {
            let entry = match (depth, word) {
                (0, "moongate") if self.path.is_empty() => {
                    node.get("moongate").or_else(|| node.get("teleport"))
                }
                _ => node.get(word),
            }?;
            node = &entry.node;
            found = Some(entry);
        }
        found
    }

    fn node(&self, path: &str) -> Option<&'a Node> {
        self.entry(path).map(|e| &e.node).filter(|n| !n.is_null())
    }

    fn kind(&self, path: &str) -> Option<Kind> {
        let full = if self.path.is_empty() { path.to_owned() } else { format!("{}.{path}", self.path) };
        let key = schema::find(&full);
        debug_assert!(key.is_some(), "{full} is not in the schema");
        key.map(|k| k.kind)
    }

    /// True when the key is there and holds something.
    pub(crate) fn has(&self, path: &str) -> bool {
        debug_assert!(self.kind(path).is_some());
        self.node(path).is_some()
    }

    /// Where the key is.
    pub(crate) fn place(&self, path: &str) -> Option<At> {
        self.entry(path).map(|e| e.at)
    }

    /// Where the section itself starts.
    pub(crate) fn at(&self) -> At {
        self.node.at
    }

    pub(crate) fn text(&self, path: &str) -> Option<&'a str> {
        let kind = self.kind(path)?;
        let text = self.scalar(path)?;
        match kind {
            Kind::OneOf(words) => words.iter().any(|w| w.eq_ignore_ascii_case(text)).then_some(text),
            _ => Some(text),
        }
    }

    fn scalar(&self, path: &str) -> Option<&'a str> {
        match self.node(path).map(|n| &n.value) {
            Some(Value::Scalar { text, .. }) => Some(text),
            _ => None,
        }
    }

    /// The lower-case word of a choice.
    pub(crate) fn word(&self, path: &str) -> Option<String> {
        self.text(path).map(str::to_ascii_lowercase)
    }

    pub(crate) fn path(&self, path: &str) -> Option<PathBuf> {
        self.text(path).map(PathBuf::from)
    }

    pub(crate) fn truth(&self, path: &str) -> Option<bool> {
        self.text(path).and_then(scalar::truth)
    }

    pub(crate) fn whole(&self, path: &str) -> Option<u32> {
        self.text(path).and_then(scalar::whole).and_then(|n| u32::try_from(n).ok())
    }

    pub(crate) fn span(&self, path: &str) -> Option<Span> {
        self.text(path).and_then(|t| t.parse().ok())
    }

    /// A length of time or `never`; the outer `None` means the key is absent.
    pub(crate) fn span_or_never(&self, path: &str) -> Option<Option<Span>> {
        let text = self.text(path)?;
        if scalar::never(text) {
            return Some(None);
        }
        text.parse::<Span>().ok().map(|s| Some(s).filter(|s| !s.0.is_zero()))
    }

    pub(crate) fn address(&self, path: &str) -> Option<Address> {
        match self.kind(path)? {
            Kind::Listen(port) | Kind::Address(port) => Address::parse(self.scalar(path)?, port).ok(),
            _ => None,
        }
    }

    pub(crate) fn addresses(&self, path: &str) -> Vec<Address> {
        match self.kind(path) {
            Some(Kind::Addresses(port)) => {
                self.texts(path).iter().filter_map(|(t, _)| Address::parse(t, port).ok()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// One text or a list of them, each with its place.
    pub(crate) fn texts(&self, path: &str) -> Vec<(&'a str, At)> {
        debug_assert!(self.kind(path).is_some());
        let Some(node) = self.node(path) else { return Vec::new() };
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        items
            .iter()
            .filter_map(|item| match &item.value {
                Value::Scalar { text, .. } => Some((text.as_str(), item.at)),
                _ => None,
            })
            .collect()
    }

    /// Key and value of a mapping of texts.
    pub(crate) fn labels(&self, path: &str) -> model::Labels {
        debug_assert!(self.kind(path).is_some());
        match self.node(path).map(|n| &n.value) {
            Some(Value::Map(entries)) => entries
                .iter()
                .filter_map(|e| match &e.node.value {
                    Value::Scalar { text, .. } => Some((e.key.clone(), text.clone())),
                    _ => None,
                })
                .collect(),
            _ => model::Labels::new(),
        }
    }

    /// The items of a list of sections; `schema_path` is the list's path with `[]`.
    pub(crate) fn sections(&self, schema_path: &'a str) -> Vec<Part<'a>> {
        let path = schema_path.trim_end_matches("[]");
        match self.node(path).map(|n| &n.value) {
            Some(Value::List(items)) => {
                items.iter().map(|node| Part { raw: self.raw, node, path: schema_path }).collect()
            }
            _ => Vec::new(),
        }
    }
}
