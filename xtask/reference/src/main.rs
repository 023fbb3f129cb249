//! Prints every generated reference page as one JSON object, path to text; `cargo xtask gen` writes them.
//!
//! Reads the rooms' own data and nothing else: a page that is wrong is mended in the room.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::Write;

mod openapi;

fn main() -> anyhow::Result<()> {
    let mut pages = BTreeMap::new();
    pages.insert("docs/reference/openapi.json", openapi::page()?);
    let text = serde_json::to_vec(&pages)?;
    std::io::stdout().write_all(&text)?;
    Ok(())
}
