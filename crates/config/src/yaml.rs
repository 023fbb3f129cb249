//! YAML ↔ JSON values: what people write as resources, and what they read back.
//!
//! Reading: several documents, each value with its place for messages; bounded as [`crate::tree`] is. Plain `yes`,
//! `no`, `on` and `off` are truths, as in the YAML 1.1 that role files are written in; quoted text stays text.
//! Writing: block style, keys in the order of the value's map, texts quoted only where they would read back as something else.

use std::fmt;

use serde_json::{Map, Value as Json};

use crate::finding::visible;
use crate::scalar;
use crate::tree::{self, At, Flaw, Node, Value};

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it holds.
    pub value: Json,
    /// Where it starts.
    pub at: At,
    /// What was written, with its places.
    root: Node,
}

impl Document {
    /// Where the value at a JSON pointer (`/spec/allow/logins/0`) is, of a mapping its key; its nearest ancestor's place
    /// when it has none.
    #[must_use]
    pub fn locate(&self, pointer: &str) -> At {
        let (mut node, mut at) = (&self.root, self.at);
        for word in pointer.split('/').skip(1) {
            let Some((next, place)) = child(node, &word.replace("~1", "/").replace("~0", "~")) else { break };
            (node, at) = (next, place);
        }
        at
    }

    /// The place a message about this document speaks of: the first key it names in backquotes, else the document.
    #[must_use]
    pub fn blame(&self, message: &str) -> At {
        let mut words = message.split('`').skip(1).step_by(2);
        words.find_map(|word| key_named(&self.root, word)).unwrap_or(self.at)
    }
}

fn child<'a>(node: &'a Node, word: &str) -> Option<(&'a Node, At)> {
    match &node.value {
        Value::Map(_) => node.get(word).map(|entry| (&entry.node, entry.at)),
        Value::List(items) => {
            word.parse::<usize>().ok().and_then(|i| items.get(i)).map(|item| (item, item.at))
        }
        Value::Scalar { .. } => None,
    }
}

/// The first key of that name, in the order written. As deep as the tree is: [`tree::MAX_DEPTH`].
fn key_named(node: &Node, name: &str) -> Option<At> {
    match &node.value {
        Value::Map(entries) => entries
            .iter()
            .find_map(|entry| if entry.key == name { Some(entry.at) } else { key_named(&entry.node, name) }),
        Value::List(items) => items.iter().find_map(|item| key_named(item, name)),
        Value::Scalar { .. } => None,
    }
}

/// Why a text is not YAML; every reason, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError(pub Vec<Flaw>);

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, flaw) in self.0.iter().enumerate() {
            let separator = if i > 0 { "\n" } else { "" };
            let key = if flaw.key.is_empty() { String::new() } else { format!("{}: ", visible(&flaw.key)) };
            let message = visible(&flaw.message);
            write!(f, "{separator}line {}, column {}: {key}{message}", flaw.at.line, flaw.at.column)?;
        }
        Ok(())
    }
}

impl std::error::Error for YamlError {}

/// Reads every document of `text`; empty documents are left out.
///
/// # Errors
/// Syntax, repeated keys, a bound that was met.
pub fn read(text: &str) -> Result<Vec<Document>, YamlError> {
    let (nodes, flaws) = tree::parse(text);
    if !flaws.is_empty() {
        return Err(YamlError(flaws));
    }
    Ok(nodes
        .into_iter()
        .filter(|node| !node.is_null())
        .map(|root| Document { value: json_of(&root), at: root.at, root })
        .collect())
}

/// Reads every document of `text` as plain values, for callers that have no use for places.
///
/// # Errors
/// As [`read`].
pub fn documents(text: &str) -> Result<Vec<Json>, YamlError> {
    Ok(read(text)?.into_iter().map(|d| d.value).collect())
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Scalar { text, plain: false } => Json::String(text.clone()),
        Value::Scalar { text, plain: true } => plain(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(json_of).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.node))).collect())
        }
    }
}

fn plain(text: String) -> Json {
    if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        Json::Null
    } else if let Some(truth) = scalar::word_of_truth(&text) {
        Json::Bool(truth)
    } else if let Some(number) = scalar::number(&text) {
        Json::Number(number)
    } else {
        Json::String(text)
    }
}

/// Writes one document, ending with a newline.
#[must_use]
pub fn to_text(value: &Json) -> String {
    let mut out = String::new();
    match value {
        Json::Object(map) if !map.is_empty() => mapping(&mut out, map, 0),
        Json::Array(items) if !items.is_empty() => list(&mut out, items, 0),
        flat => {
            out.push_str(&flow(flat));
            out.push('\n');
        }
    }
    out
}

/// Writes several documents with `---` between them.
#[must_use]
pub fn all_to_text<'a>(values: impl IntoIterator<Item = &'a Json>) -> String {
    values.into_iter().map(to_text).collect::<Vec<_>>().join("---\n")
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn mapping(out: &mut String, map: &Map<String, Json>, depth: usize) {
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 || !out.ends_with("- ") {
            indent(out, depth);
        }
        out.push_str(&text_of(key));
        out.push(':');
        after_key(out, value, depth);
    }
}

fn after_key(out: &mut String, value: &Json, depth: usize) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            out.push('\n');
            mapping(out, map, depth + 1);
        }
        Json::Array(items) if !items.is_empty() => {
            out.push('\n');
            list(out, items, depth);
        }
        flat => {
            out.push(' ');
            out.push_str(&flow(flat));
            out.push('\n');
        }
    }
}

fn list(out: &mut String, items: &[Json], depth: usize) {
    for item in items {
        indent(out, depth);
        out.push_str("- ");
        match item {
            Json::Object(map) if !map.is_empty() => mapping(out, map, depth + 1),
            flat => {
                out.push_str(&flow(flat));
                out.push('\n');
            }
        }
    }
}

/// Scalars, empty collections and lists of lists, which JSON writes as YAML reads.
fn flow(value: &Json) -> String {
    match value {
        Json::String(text) => text_of(text),
        other => other.to_string(),
    }
}

fn text_of(text: &str) -> String {
    if reads_back_plain(text) { text.to_owned() } else { Json::from(text).to_string() }
}

/// True when the text, unquoted, reads back as itself in a block.
fn reads_back_plain(text: &str) -> bool {
    let safe_start =
        text.chars().next().is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '_' | '.' | '$'));
    let safe = |c: char| {
        c.is_alphanumeric()
            || matches!(c, '/' | '_' | '.' | '-' | '+' | '@' | '$' | '=' | ' ' | ':' | ',' | '(' | ')' | ';')
    };
    safe_start
        && text.chars().all(safe)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.starts_with("...")
        && plain(text.to_owned()) == Json::String(text.to_owned())
        && !text.chars().next().is_some_and(|c| c.is_ascii_digit() && text.contains(':'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_reads_as_people_write_it() {
        let text = "kind: role\nversion: v7\nmetadata: {name: dev}\nspec:\n  options:\n    forward_agent: yes\n    max_session_ttl: 8h\n  allow:\n    logins: [root, '{{internal.logins}}', \"no\"]\n    node_labels:\n      '*': '*'\n";
        let documents = read(text).unwrap();

        assert_eq!(
            documents[0].value,
            json!({"kind": "role", "version": "v7", "metadata": {"name": "dev"}, "spec": {
                "options": {"forward_agent": true, "max_session_ttl": "8h"},
                "allow": {"logins": ["root", "{{internal.logins}}", "no"], "node_labels": {"*": "*"}}}})
        );
        assert_eq!(documents[0].locate("/spec/allow/logins/1"), At { line: 9, column: 20 });
        assert_eq!(documents[0].locate("/spec/allow/nonsense").line, 8);
        assert_eq!(documents[0].blame("unknown field `forward_agent`, expected").line, 6);
    }

    #[test]
    fn several_documents_come_one_by_one() {
        let documents = read("---\na: 1\n---\n---\nb: [2.5, ~, 0x10]\n").unwrap();
        let values: Vec<_> = documents.into_iter().map(|d| d.value).collect();
        assert_eq!(values, [json!({"a": 1}), json!({"b": [2.5, null, 16]})]);
    }

    #[test]
    fn every_flaw_names_its_line() {
        let error = read("a: 1\na: 2\nb: [\n").unwrap_err().to_string();
        assert!(error.starts_with("line 2, column 1: a: given twice"), "{error}");
        assert!(error.contains("not YAML"), "{error}");
    }

    #[test]
    fn a_place_is_found_by_pointer_whatever_is_in_a_key() {
        let read = read("a/b: {'~': [x, {'': y}]}\nc: 1\n").unwrap();

        for (pointer, line, column) in [
            ("", 1, 1),
            ("/a~1b", 1, 1),
            ("/a~1b/~0", 1, 7),
            ("/a~1b/~0/1", 1, 16),
            ("/a~1b/~0/1/", 1, 17),
            ("/a~1b/~0/7/x", 1, 7),
            ("/c/0", 2, 1),
            ("/nobody", 1, 1),
        ] {
            assert_eq!(read[0].locate(pointer), At { line, column }, "{pointer}");
        }
    }

    #[test]
    fn a_long_key_over_many_values_costs_no_more_than_they_do() {
        let text = format!("? {}\n: [{}]\n", "k".repeat(500_000), "1,".repeat(90_000));

        let read = read(&text).unwrap();

        assert_eq!(
            read[0].value.as_object().unwrap().values().next().unwrap().as_array().unwrap().len(),
            90_000
        );
    }

    #[test]
    fn what_is_written_reads_like_a_resource() {
        let value = json!({"kind": "role", "spec": {"allow": {"logins": ["root", "on"], "rules": [
            {"resources": ["*"], "verbs": ["list", "read"]}], "empty": {}, "none": []}, "ttl": "30h0m0s"}, "n": 1});

        insta::assert_snapshot!(to_text(&value));
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let text = prop_oneof![
            "\\PC{0,12}".prop_map(Json::from),
            Just(Json::from("yes")),
            Just(Json::from("1e5")),
            Just(Json::from("a: b #c")),
            Just(Json::from("- x\n\ty\r\u{85}\u{feff}")),
            Just(Json::from("12:30:45")),
        ];
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            text
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
                prop::collection::vec(("\\PC{0,8}", inner), 0..5)
                    .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_itself(value in any_json()) {
            let text = to_text(&value);
            let back = read(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            let back = back.into_iter().next().map_or(Json::Null, |d| d.value);
            prop_assert_eq!(back, value, "{}", text);
        }
    }
}
