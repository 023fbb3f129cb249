//! The reference page (docs/reference/configuration.md), made from the schema.

use std::fmt::Write as _;

use crate::schema::{self, Effect, Key, Kind, Only};

/// The whole page as Markdown.
#[must_use]
pub fn page() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         <!-- Generated from crates/config/src/schema by `cargo xtask gen`; do not edit. -->\n\n\
         The file is `/etc/moongate.yaml` unless `-c FILE`, `MOONGATE_CONFIG_FILE` (a path) or `MOONGATE_CONFIG` \
         (the file itself, base64) says otherwise. `teleport:` may be written for `moongate:`.\n\n\
         It is read strictly: an unknown key, a wrong type or a contradiction keeps the daemon from starting, and all \
         of them are shown together with line, column and the nearest valid key (`moongate configure --test FILE` \
         shows them without starting). Truths are `yes`, `no`, `on`, `off`, `true` or `false`; lengths of time are \
         written as `30m` or `1h30m`; a list of addresses may be a single one.\n\n\
         Effect: **yes**; *not yet* is accepted and reported at start; *none* is accepted because older files have \
         it, and never does anything. A key under a section without effect has none either.\n",
    );
    section(&mut out, "", "At the top");
    for key in schema::under("").filter(|k| k.kind == Kind::Section) {
        section(&mut out, key.path, &format!("`{}:`", key.path));
    }
    let lone: Vec<&Key> = schema::under("").filter(|k| k.kind == Kind::Any).collect();
    if !lone.is_empty() {
        out.push_str("\n## Others\n\n| key | effect | meaning |\n|---|---|---|\n");
        for key in lone {
            let _ = writeln!(out, "| `{}` | {} | {} |", key.path, effect(key), key.doc);
        }
    }
    out
}

fn section(out: &mut String, path: &str, title: &str) {
    let _ = writeln!(out, "\n## {title}\n");
    if let Some(key) = schema::find(path) {
        let _ = writeln!(
            out,
            "{}{}\n",
            key.doc,
            if key.effect == Effect::NotYet { " *Not in effect yet.*" } else { "" }
        );
    }
    out.push_str("| key | type | default | versions | effect | meaning |\n|---|---|---|---|---|---|\n");
    let inside = |k: &&Key| match path {
        "" => k.parent().is_empty() && !matches!(k.kind, Kind::Section | Kind::Any),
        _ => k.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')),
    };
    for key in schema::keys().filter(inside) {
        let name = key.path.strip_prefix(path).unwrap_or(key.path).trim_start_matches('.');
        let default = if key.default.is_empty() { String::new() } else { format!("`{}`", key.default) };
        let versions = match key.only {
            Only::Any => "",
            Only::UntilV2 => "v1, v2",
            Only::FromV3 => "v3",
        };
        let kind = key.kind.expectation();
        let _ =
            writeln!(out, "| `{name}` | {kind} | {default} | {versions} | {} | {} |", effect(key), key.doc);
    }
}

fn effect(key: &Key) -> &'static str {
    let above = key
        .path
        .match_indices('.')
        .filter_map(|(i, _)| key.path.get(..i))
        .filter_map(|p| schema::find(p.trim_end_matches("[]")));
    match above.map(|k| k.effect).chain([key.effect]).find(|e| *e != Effect::Now) {
        None => "yes",
        Some(Effect::Never) => "none",
        Some(_) => "not yet",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_in_the_repository_is_current() {
        let kept = include_str!("../../../docs/reference/configuration.md");
        assert!(
            kept == super::page(),
            "stale: cargo run -p config --example reference > docs/reference/configuration.md"
        );
    }
}
