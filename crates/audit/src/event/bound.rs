//! Keeps events within their size by cutting the longest texts, and says so in the text that was cut.
//!
//! Deterministic; the envelope is never cut.

use model::api::audit::AuditEvent;
use serde_json::Value;

/// Largest event, as JSON.
pub const MAX: usize = 64 * 1024;

const ENVELOPE: [&str; 7] = ["event", "code", "time", "uid", "ei", "cluster_name", "sid"];

/// The event itself, or one with its longest texts cut until it fits. Each cut text ends with
/// `…[trimmed <n> bytes]`; what cannot be cut is dropped, and `trimmed_fields` names it.
#[must_use]
pub fn bounded(mut event: AuditEvent) -> AuditEvent {
    let mut limit = MAX / 4;
    while size(&event) > MAX && limit >= 64 {
        for (key, value) in &mut event.0 {
            if !ENVELOPE.contains(&key.as_str()) {
                trim(value, limit);
            }
        }
        limit /= 4;
    }
    if size(&event) > MAX {
        drop_largest(&mut event);
    }
    event
}

fn size(event: &AuditEvent) -> usize {
    serde_json::to_vec(event).map_or(usize::MAX, |json| json.len())
}

fn trim(value: &mut Value, limit: usize) {
    match value {
        Value::String(text) => trim_text(text, limit),
        Value::Array(items) => items.iter_mut().for_each(|item| trim(item, limit)),
        Value::Object(map) => map.values_mut().for_each(|value| trim(value, limit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn trim_text(text: &mut String, limit: usize) {
    if text.len() <= limit {
        return;
    }
    let mut end = limit;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let gone = text.len() - end;
    text.truncate(end);
    text.push_str(&format!("…[trimmed {gone} bytes]"));
}

/// Thousands of short values: nothing left to cut but whole fields.
fn drop_largest(event: &mut AuditEvent) {
    let mut dropped = Vec::new();
    while size(event) > MAX - 1024 {
        let largest = event
            .0
            .iter()
            .filter(|(key, _)| !ENVELOPE.contains(&key.as_str()))
            .max_by_key(|(_, value)| value.to_string().len())
            .map(|(key, _)| key.clone());
        let Some(key) = largest else { break };
        event.0.remove(&key);
        dropped.push(key.chars().take(64).collect::<String>());
        dropped.truncate(8);
    }
    event.0.insert("trimmed_fields".to_owned(), dropped.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(value: Value) -> AuditEvent {
        let Value::Object(map) = value else { panic!() };
        AuditEvent(map)
    }

    #[test]
    fn a_short_event_is_left_alone() {
        let short = event(json!({"event": "exec", "command": "ls"}));

        assert_eq!(bounded(short.clone()), short);
    }

    #[test]
    fn a_long_text_is_cut_with_a_mark() {
        let long = event(json!({"event": "exec", "command": "é".repeat(100_000)}));

        let cut = bounded(long);

        assert!(size(&cut) <= MAX);
        let command = cut.0["command"].as_str().unwrap();
        assert!(
            command.starts_with("éé") && command.ends_with("…[trimmed 183616 bytes]"),
            "{}",
            &command[command.len() - 40..]
        );
        assert_eq!(cut.0["event"], "exec");
    }

    #[test]
    fn control_characters_that_grow_when_escaped_still_fit() {
        let long = event(json!({"event": "exec", "command": "\u{1b}".repeat(200_000)}));

        assert!(size(&bounded(long)) <= MAX);
    }

    #[test]
    fn a_field_of_a_million_small_values_is_dropped_by_name() {
        let many: Vec<_> = (0..100_000).collect();
        let cut = bounded(event(json!({"event": "exec", "argv": many, "user": "ann"})));

        assert_eq!(cut.0["trimmed_fields"], json!(["argv"]));
        assert_eq!(cut.0["user"], "ann");
    }
}
