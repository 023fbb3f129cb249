//! Finding and reading the configuration file. What it says is `config`'s business.
//!
//! First of: `-c FILE` (or `MOONGATE_CONFIG_FILE`), `MOONGATE_CONFIG` (the file itself, base64), `/etc/moongate.yaml`,
//! nothing.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use base64::Engine;

/// Where the file is when nobody says.
pub(crate) const DEFAULT: &str = "/etc/moongate.yaml";

/// A file's name for messages, and its text.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// The name; empty when there is no file.
    pub(crate) name: String,
    /// The text.
    pub(crate) text: String,
}

/// Reads the file that applies.
pub(crate) fn read(chosen: Option<&Path>) -> anyhow::Result<File> {
    if let Some(path) = chosen {
        return open(path);
    }
    #[expect(clippy::disallowed_methods, reason = "configuration enters here")]
    if let Ok(encoded) = std::env::var("MOONGATE_CONFIG") {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded.trim())
            .context("MOONGATE_CONFIG is not base64")?;
        let text = config::text_of(bytes).context("MOONGATE_CONFIG")?;
        return Ok(File { name: "MOONGATE_CONFIG".into(), text });
    }
    if Path::new(DEFAULT).exists() { open(Path::new(DEFAULT)) } else { Ok(File::default()) }
}

/// Reads one file; never more than a configuration may have.
pub(crate) fn open(path: &Path) -> anyhow::Result<File> {
    let name = path.display().to_string();
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot open the configuration file {name}"))?;
    let mut bytes = Vec::new();
    let most = config::tree::MAX_BYTES as u64 + 1;
    file.take(most).read_to_end(&mut bytes).with_context(|| format!("cannot read {name}"))?;
    let text = config::text_of(bytes).with_context(|| name.clone())?;
    Ok(File { name, text })
}
