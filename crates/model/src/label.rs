//! Labels: the facts about a resource that roles select on.

use std::collections::BTreeMap;

/// Keys and values of one resource, sorted by key.
pub type Labels = BTreeMap<String, String>;

/// Why a text is not a list of labels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a label (expected key=value, separated by commas)")]
pub struct BadLabel(String);

/// Parses `env=demo,group:dev`: pairs separated by commas, key and value by the first `=`, or `:` where there is
/// none (both are in use). Spaces around parts are dropped; an empty text gives no labels.
///
/// # Errors
/// A part without a separator or with an empty key.
pub fn parse(text: &str) -> Result<Labels, BadLabel> {
    let mut labels = Labels::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (key, value) =
            part.split_once('=').or_else(|| part.split_once(':')).ok_or_else(|| BadLabel(part.to_owned()))?;
        if key.trim().is_empty() {
            return Err(BadLabel(part.to_owned()));
        }
        labels.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(labels)
}

/// Writes labels as `key=value,key=value`.
#[must_use]
pub fn to_text(labels: &Labels) -> String {
    labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_separators_are_read() {
        assert_eq!(to_text(&parse("env=demo, group:dev").unwrap()), "env=demo,group=dev");
        assert_eq!(parse("url=http://x:1").unwrap().get("url").unwrap(), "http://x:1");
        assert!(parse("nonsense").is_err());
    }
}
