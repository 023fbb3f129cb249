//! Prints every generated reference page as one JSON object, path to text; `cargo xtask gen` writes them.
//!
//! Reads the rooms' own data and nothing else: a page that is wrong is mended in the room.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Write;

mod events;
mod openapi;

fn main() -> anyhow::Result<()> {
    let pages = BTreeMap::from([
        ("docs/reference/audit-events.md", events::page()),
        ("docs/reference/configuration.md", config::reference::page()),
        ("docs/reference/openapi.json", openapi::page()?),
    ]);
    let text = serde_json::to_vec(&pages)?;
    std::io::stdout().write_all(&text)?;
    Ok(())
}
