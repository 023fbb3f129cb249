//! Every key of the configuration file, as data: where, what type, what default, since which version, whether it has
//! an effect, and a sentence about it.
//!
//! Paths name lists of sections with `[]` (`proxy_service.https_keypairs[].key_file`). A key whose parent has no
//! effect has none either and is only checked. It knows nothing of files: see [`crate::load`].

mod auth;
mod instance;
mod key;
mod more;
pub mod names;
mod proxy;
mod services;

pub use key::{Effect, Key, Kind, Only};

/// The tables, in the order of the reference page.
const TABLES: [&[Key]; 6] = [TOP, instance::KEYS, auth::KEYS, proxy::KEYS, services::KEYS, more::KEYS];

const TOP: &[Key] = &[Key::new(
    "version",
    Kind::OneOf(&["v1", "v2", "v3"]),
    "v1",
    "The version of the file: v2 puts everything on one port, v3 also has `auth_server` and `proxy_server`.",
)];

/// Every key, sections before what is in them.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    TABLES.into_iter().flatten()
}

/// The key at `path`.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    keys().find(|k| k.path == path)
}

/// The keys directly under `parent` (empty for the top).
pub fn under(parent: &str) -> impl Iterator<Item = &'static Key> {
    keys().filter(move |k| k.parent() == parent)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_has_a_place_a_sentence_and_no_double() {
        let mut seen = BTreeSet::new();
        for key in keys() {
            assert!(seen.insert(key.path), "{} twice", key.path);
            assert!(key.doc.ends_with('.'), "{}: {}", key.path, key.doc);
            let parent = key.parent();
            if !parent.is_empty() {
                let of = find(parent.trim_end_matches("[]"))
                    .unwrap_or_else(|| panic!("{} has no parent", key.path));
                let wanted = if parent.ends_with("[]") { Kind::Sections } else { Kind::Section };
                assert_eq!(of.kind, wanted, "{}", key.path);
                assert!(seen.contains(of.path), "{} comes before its section", key.path);
            }
        }
    }

    #[test]
    fn every_default_has_the_type_of_its_key() {
        for key in keys().filter(|k| !k.default.is_empty()) {
            let mut findings = Vec::new();
            let node = crate::tree::parse_one(key.default, "default", &mut findings);
            crate::check::check_value("default", key, key.path, &node, &mut findings);
            assert!(findings.is_empty(), "{}: {findings:?}", key.path);
        }
    }
}
