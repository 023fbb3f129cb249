//! Entry points for fuzzers and corpus replay: any bytes, no panic, and what is accepted is consistent.

use crate::{Flags, load, yaml};

/// A configuration file of any bytes.
pub fn configuration(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match load("fuzz", &text, &Flags::default()) {
        Ok(loaded) => drop(format!("{loaded:?}")),
        Err(findings) => {
            assert!(findings.errors().next().is_some(), "refused without a reason");
            drop(findings.to_string());
        }
    }
}

/// Resources of any bytes: what reads, writes and reads back as the same.
pub fn resources(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(documents) = yaml::read(&text) else { return };
    for document in documents {
        let again = yaml::read(&yaml::to_text(&document.value));
        let again =
            again.ok().and_then(|d| d.into_iter().next()).map_or(serde_json::Value::Null, |d| d.value);
        assert_eq!(again, document.value);
    }
}
