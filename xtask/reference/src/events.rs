//! The page of audit events, read off `audit::event::KINDS`.

use std::fmt::Write as _;

use audit::event::KINDS;

/// The page as Markdown.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Audit events\n\n\
         <!-- Generated from crates/audit/src/event by `cargo xtask gen`; do not edit. -->\n\n\
         Every event is one flat JSON object with `event`, `code`, `time`, `uid`, `ei` and `cluster_name`. Names, codes \
         and fields are those of Teleport, so that existing rules serve; codes that begin with `MG` are our own. In a \
         code the last letter is `I` for information, `W` for a warning, `E` for an error. How events are chained and \
         signed stands in [docs/formats/audit-log.md](../formats/audit-log.md).\n\n\
         | event | codes | always there | what it tells |\n|---|---|---|---|\n",
    );
    for kind in KINDS {
        let required = kind.required.iter().map(|f| format!("`{f}`")).collect::<Vec<_>>().join(" ");
        let _ = writeln!(
            page,
            "| `{}` | {} | {required} | {} |",
            kind.event,
            kind.codes.join(", "),
            kind.summary
        );
    }
    page
}
