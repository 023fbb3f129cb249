//! The one table of events: name, codes, fields that must be there.

use model::api::audit::AuditEvent;

use super::bound::MAX;
pub use super::kinds::KINDS;
use crate::Error;

/// One kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name.
    pub event: &'static str,
    /// The codes it may carry.
    pub codes: &'static [&'static str],
    /// Fields that are always there, beside the envelope.
    pub required: &'static [&'static str],
    /// What it tells, in a sentence.
    pub summary: &'static str,
    /// Not one of Teleport's: our own addition.
    pub own: bool,
}

/// Codes that begin with `MG` are ours.
pub(super) const fn own(codes: &[&str]) -> bool {
    match codes.first() {
        Some(code) => matches!(code.as_bytes(), [b'M', b'G', ..]),
        None => false,
    }
}

/// The kind with that name and code.
#[must_use]
pub fn kind(event: &str, code: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.event == event && kind.codes.contains(&code))
}

/// Refuses what is no event: unknown name or code, a missing field, a bad time or id, too long.
///
/// # Errors
/// Says what is wrong.
pub fn check(event: &AuditEvent) -> Result<&'static Kind, Error> {
    let text = |key: &str| event.0.get(key).and_then(|v| v.as_str()).unwrap_or_default();
    let name = text("event");
    let bad = |why: &str| Error::Event { event: name.chars().take(64).collect(), why: why.to_owned() };
    let kind = kind(name, text("code")).ok_or_else(|| bad("no such event with that code"))?;
    if text("time").parse::<model::Timestamp>().is_err() {
        return Err(bad("`time` is not a time"));
    }
    if text("uid").parse::<model::RequestId>().is_err() {
        return Err(bad("`uid` is not an id"));
    }
    if let Some(missing) = kind.required.iter().find(|field| !event.0.contains_key(**field)) {
        return Err(bad(&format!("`{missing}` is missing")));
    }
    if serde_json::to_vec(event).map_or(usize::MAX, |json| json.len()) > MAX {
        return Err(bad("longer than 64 KiB"));
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::kinds::samples;

    /// Teleport reuses these digits for two events each; with the class letter every code is still one event's.
    const REUSED_DIGITS: [&str; 1] = ["T1006"];

    #[test]
    fn every_code_belongs_to_one_event() {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        let mut digits: BTreeMap<&str, &str> = BTreeMap::new();
        for kind in KINDS {
            for code in kind.codes {
                assert_eq!(owners.insert(code, kind.event), None, "{code} is used twice");
                let stem = &code[..code.len() - 1];
                let other = digits.insert(stem, kind.event);
                let reused = other.is_some_and(|other| other != kind.event);
                assert!(!reused || REUSED_DIGITS.contains(&stem), "{code}: {other:?} and {}", kind.event);
                assert!(code.ends_with(['I', 'W', 'E', 'S']), "{code}");
                assert_eq!(kind.own, code.starts_with("MG"), "{code}");
            }
        }
    }

    #[test]
    fn every_typed_event_carries_what_the_registry_asks_for() {
        for event in samples() {
            check(&event).unwrap();
        }
    }

    #[test]
    fn what_is_not_in_the_registry_is_refused() {
        let good = samples().remove(0);
        for (key, value) in [
            ("event", "session.stare"),
            ("code", "T9999I"),
            ("time", "yesterday"),
            ("uid", "1"),
            ("user", ""),
        ] {
            let mut bad = good.clone();
            if value.is_empty() {
                bad.0.remove(key);
            } else {
                bad.0.insert(key.to_owned(), value.into());
            }
            assert!(check(&bad).is_err(), "{key}");
        }
    }
}
