//! A tree against the schema: unknown keys, keys of other versions, wrong types, keys without an effect.

use std::time::Duration;

use model::time::Span;

use crate::join::{CaPin, StaticToken};
use crate::nearest::nearest;
use crate::raw::RawConfig;
use crate::schema::{self, Effect, Key, Kind, Only};
use crate::tree::{At, Entry, Node, Value};
use crate::{Address, Finding, Unfit, Version, Weight, scalar};

/// The longest length of time, 100 years: longer ones are slips, and dates after them are no dates.
const LONGEST: Span = Span(Duration::from_secs(100 * 365 * 86_400));

/// With so many findings unknown keys are only named.
const MANY: usize = 200;

/// Checks the whole file. The findings say what is wrong with it; the raw configuration is what it holds, flawed
/// values included, because later checks must not stumble over earlier flaws.
pub(crate) fn check(file: &str, root: Node, findings: &mut Vec<Finding>) -> RawConfig {
    let mut walk = Walk { file, version: version_of(&root), findings };
    if let Value::Map(entries) = &root.value {
        walk.section("", "", entries, false);
        walk.one_name_for_the_instance(&root);
    } else {
        walk.wrong(root.at, "", "not a mapping", "sections such as `auth_service:`");
    }
    let version = walk.version;
    RawConfig::new(file, version, root)
}

/// Checks one value against its key: for the test that every default is good.
#[cfg(test)]
pub(crate) fn check_value(file: &str, key: &Key, shown: &str, node: &Node, findings: &mut Vec<Finding>) {
    Walk { file, version: Version::V3, findings }.value(key, shown, node, true);
}

fn version_of(root: &Node) -> Version {
    match root.get("version").map(|e| &e.node.value) {
        Some(Value::Scalar { text, .. }) if text.eq_ignore_ascii_case("v3") => Version::V3,
        Some(Value::Scalar { text, .. }) if text.eq_ignore_ascii_case("v2") => Version::V2,
        _ => Version::V1,
    }
}

struct Walk<'a> {
    file: &'a str,
    version: Version,
    findings: &'a mut Vec<Finding>,
}

impl Walk<'_> {
    fn wrong(&mut self, at: At, key: &str, message: impl Into<String>, expected: impl Into<String>) {
        self.findings.push(Finding::error(self.file, Some(at), key, message).expected(expected));
    }

    fn one_name_for_the_instance(&mut self, root: &Node) {
        if let (Some(old), Some(new)) = (root.get("teleport"), root.get("moongate")) {
            let (first, second) = if old.at < new.at { (old, new) } else { (new, old) };
            let message = format!("given together with `{}` (line {})", first.key, first.at.line);
            self.wrong(second.at, &second.key, message, "one of the two: they mean the same");
        }
    }

    /// Checks the entries of the section at `path`, which people see as `shown`. In a muted section nothing is said
    /// about effects, because the section as a whole has none.
    fn section(&mut self, path: &str, shown: &str, entries: &[Entry], muted: bool) {
        for entry in entries {
            let name = match (path, entry.key.as_str()) {
                ("", "teleport") => "moongate",
                (_, name) => name,
            };
            match schema::find(&join(path, name)) {
                Some(key) => self.entry(key, &join(shown, &entry.key), entry, muted),
                None => self.unknown(path, shown, entry),
            }
        }
    }

    /// A key that is none in the section at `path`, which people see as `section`.
    fn unknown(&mut self, path: &str, section: &str, entry: &Entry) {
        // `{auth_token:secret}` is a key without a value: what may be one is not shown.
        if let Some((name, _)) = entry.key.split_once(':')
            && schema::find(&join(path, name)).is_some()
        {
            return self.wrong(
                entry.at,
                &join(section, name),
                "no space behind the `:`",
                format!("`{name}: …`"),
            );
        }
        let shown = &join(section, &entry.key);
        if entry.key == "<<" {
            let expected = "the keys themselves, or an alias as a whole value";
            return self.wrong(entry.at, shown, "merging of mappings is not read", expected);
        }
        // Looking for what was meant takes time, and nobody reads so many.
        if self.findings.len() >= MANY {
            return self.findings.push(Finding::error(self.file, Some(entry.at), shown, "unknown key"));
        }
        let siblings = || schema::under(path).map(Key::name);
        let near = nearest(&entry.key, siblings()).or_else(|| {
            let elsewhere = schema::keys().find(|k| k.name() == entry.key && k.effect == Effect::Now);
            elsewhere.map(|k| k.path.replace("[]", ""))
        });
        let finding = Finding::error(self.file, Some(entry.at), shown, "unknown key");
        let finding = if near.is_some() { finding } else { finding.expected(some_of(siblings())) };
        self.findings.push(finding.nearest(near));
    }

    fn entry(&mut self, key: &Key, shown: &str, entry: &Entry, muted: bool) {
        self.version_allows(key, shown, entry);
        let silent = muted || key.effect != Effect::Now;
        if !muted && silent && !entry.node.is_null() && !is_disabled(&entry.node) {
            let weight = if key.effect == Effect::Never { Weight::Warning } else { Weight::NotYet };
            let message = match key.effect {
                Effect::Never => format!("has no effect: {}", key.doc),
                _ => "not in effect yet".to_owned(),
            };
            self.findings.push(Finding::error(self.file, Some(entry.at), shown, message).weighing(weight));
        }
        self.value(key, shown, &entry.node, silent);
    }

    fn version_allows(&mut self, key: &Key, shown: &str, entry: &Entry) {
        let (allowed, instead) = match key.only {
            Only::Any => return,
            Only::UntilV2 => (self.version < Version::V3, "`auth_server` or `proxy_server` in version v3"),
            Only::FromV3 => (self.version == Version::V3, "`version: v3`, or `auth_servers` before it"),
        };
        if !allowed {
            let version = format!("{:?}", self.version).to_lowercase();
            self.wrong(entry.at, shown, format!("not a key of version {version}"), instead);
        }
    }

    fn value(&mut self, key: &Key, shown: &str, node: &Node, muted: bool) {
        if node.is_null() {
            return;
        }
        match (key.kind, &node.value) {
            (Kind::Any, _) => {}
            (Kind::Section, Value::Map(entries)) => self.section(key.path, shown, entries, muted),
            (Kind::Sections, Value::List(items)) => {
                for (i, item) in items.iter().enumerate() {
                    let shown = format!("{shown}[{i}]");
                    match &item.value {
                        Value::Map(entries) => {
                            self.section(&format!("{}[]", key.path), &shown, entries, muted);
                        }
                        _ => self.wrong(item.at, &shown, wrong_type(item), "a mapping"),
                    }
                }
            }
            (Kind::Labels, Value::Map(entries)) => {
                for entry in entries {
                    if entry.key.trim().is_empty() {
                        self.wrong(entry.at, shown, "a label without a name", "one with a name");
                    }
                    if !matches!(entry.node.value, Value::Scalar { .. }) {
                        self.wrong(
                            entry.node.at,
                            &join(shown, &entry.key),
                            wrong_type(&entry.node),
                            "a text",
                        );
                    }
                }
            }
            (kind, Value::Scalar { text, plain }) if !only_lists(kind) => {
                self.scalar(kind, shown, node.at, text, *plain);
            }
            (kind, Value::List(items)) if takes_lists(kind) => {
                for (i, item) in items.iter().enumerate() {
                    let shown = format!("{shown}[{i}]");
                    match &item.value {
                        Value::Scalar { text, plain } => self.scalar(kind, &shown, item.at, text, *plain),
                        _ => self.wrong(item.at, &shown, wrong_type(item), "a text"),
                    }
                }
            }
            // What stands here may be a secret, or have one in it: a list of tokens, a section in one line.
            (Kind::Tokens | Kind::Section | Kind::Sections, Value::Scalar { text, .. }) => {
                let expected = match text.split_once(':') {
                    Some((_, rest)) if key.kind == Kind::Section && !rest.starts_with(' ') => {
                        "keys of its own (a mapping), each with a space behind its `:`".to_owned()
                    }
                    _ => key.kind.expectation(),
                };
                self.wrong(node.at, shown, "a text", expected);
            }
            (kind, _) => self.wrong(node.at, shown, wrong_type(node), kind.expectation()),
        }
    }

    fn scalar(&mut self, kind: Kind, shown: &str, at: At, text: &str, plain: bool) {
        if let Some(message) = flaw_of(kind, text, plain) {
            let near = match kind {
                Kind::OneOf(words) | Kind::ManyOf(words) | Kind::Names(words) => {
                    nearest(text, words.iter().copied())
                }
                _ => None,
            };
            let expected = kind.expectation();
            let finding =
                Finding::error(self.file, Some(at), shown, message).expected(expected).nearest(near);
            self.findings.push(finding);
        }
    }
}

/// What is wrong with a text of that kind.
fn flaw_of(kind: Kind, text: &str, plain: bool) -> Option<String> {
    let quoted = || format!("`{}`", text.chars().take(80).flat_map(char::escape_default).collect::<String>());
    let unfit = |good: bool| (!good).then(quoted);
    let named = |result: Result<(), Unfit>| result.err().map(|e| format!("`{}`", e.text));
    match kind {
        Kind::Bool => unfit(scalar::truth(text).is_some()),
        Kind::Int(low, high) => unfit(plain && scalar::whole(text).is_some_and(|n| low <= n && n <= high)),
        Kind::OneOf(words) | Kind::ManyOf(words) | Kind::Names(words) => {
            unfit(words.iter().any(|w| w.eq_ignore_ascii_case(text)))
        }
        Kind::Tokens => named(StaticToken::parse(text).map(drop)),
        Kind::Pins => named(CaPin::parse(text).map(drop)),
        Kind::NodeName => text.parse::<model::NodeName>().err().map(|e| e.to_string()),
        Kind::ClusterName => text.parse::<model::ClusterName>().err().map(|e| e.to_string()),
        Kind::Listen(port) => named(Address::parse(text, port).map(drop)),
        Kind::Address(port) | Kind::Addresses(port) => named(Address::reachable(text, port).map(drop)),
        Kind::Networks => unfit(is_network(text)),
        Kind::SpanOrNever if scalar::never(text) => None,
        Kind::Span | Kind::SpanOrNever => match text.parse::<Span>() {
            Ok(span) if span > LONGEST => Some(format!("{}, more than 100 years", quoted())),
            Ok(span) => unfit(kind == Kind::SpanOrNever || !span.0.is_zero()),
            Err(_) => Some(quoted()),
        },
        Kind::Path | Kind::Token => text.trim().is_empty().then(|| "empty".to_owned()),
        _ => None,
    }
}

/// An address, or an address and a prefix no longer than it.
fn is_network(text: &str) -> bool {
    let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
    let Ok(base) = base.parse::<std::net::IpAddr>() else { return false };
    let most = if base.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

fn only_lists(kind: Kind) -> bool {
    matches!(kind, Kind::Section | Kind::Sections | Kind::Labels | Kind::ManyOf(_) | Kind::Tokens)
}

fn takes_lists(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Texts
            | Kind::Names(_)
            | Kind::ManyOf(_)
            | Kind::Tokens
            | Kind::Pins
            | Kind::Addresses(_)
            | Kind::Networks
    )
}

fn wrong_type(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, .. } => {
            format!("`{}`", text.chars().take(80).flat_map(char::escape_default).collect::<String>())
        }
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}

/// A section with `enabled: no` asks for nothing.
fn is_disabled(node: &Node) -> bool {
    node.get("enabled").is_some_and(|e| match &e.node.value {
        Value::Scalar { text, .. } => scalar::truth(text) == Some(false),
        _ => false,
    })
}

fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", "") => "``".to_owned(),
        ("", name) => name.to_owned(),
        (path, name) => format!("{path}.{name}"),
    }
}

fn some_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown: Vec<String> = names.iter().take(6).map(|n| format!("`{n}`")).collect();
    let more = if names.len() > 6 { ", …" } else { "" };
    format!("one of {}{more}", shown.join(", "))
}
