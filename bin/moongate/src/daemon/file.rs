//! Finding and reading the configuration file. What it says is `config`'s business.
//!
//! First of: `-c FILE` (or `MOONGATE_CONFIG_FILE`), `MOONGATE_CONFIG` (the file itself, base64), `/etc/moongate.yaml`,
//! nothing. Nothing means a gate with everything, so it is what is left only where there is nothing: what is there and
//! cannot be read, or is empty where it should not be, is an error.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine;

/// Where the file is when nobody says.
pub(crate) const DEFAULT: &str = "/etc/moongate.yaml";
/// The variable that holds the file itself.
const VARIABLE: &str = "MOONGATE_CONFIG";

/// A file's name for messages, and its text.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// The name; empty when there is no file.
    pub(crate) name: String,
    /// The text.
    pub(crate) text: String,
    /// Where it was read, if it is one.
    pub(crate) path: Option<PathBuf>,
}

/// Reads the file that applies.
pub(crate) fn read(chosen: Option<&Path>) -> anyhow::Result<File> {
    read_of(chosen, std::env::var_os(VARIABLE).as_deref(), Path::new(DEFAULT))
}

fn read_of(chosen: Option<&Path>, variable: Option<&OsStr>, usual: &Path) -> anyhow::Result<File> {
    if let Some(path) = chosen {
        return open(path);
    }
    if let Some(encoded) = variable {
        let text = decoded(encoded)?;
        return Ok(File { name: VARIABLE.into(), text, path: None });
    }
    // A link to nothing is there.
    match std::fs::symlink_metadata(usual) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(File::default()),
        Ok(_) | Err(_) => open(usual),
    }
}

/// What the variable holds; the lines that `base64` breaks it into count as one.
fn decoded(encoded: &OsStr) -> anyhow::Result<String> {
    let letters: Vec<u8> = encoded.as_bytes().iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    ensure!(!letters.is_empty(), "{VARIABLE} is empty: unset it, or let it hold a configuration in base64");
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(letters)
        .with_context(|| format!("{VARIABLE} is not base64"))?;
    config::text_of(bytes).context(VARIABLE)
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
    Ok(File { name, text, path: Some(path.to_owned()) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_file_only_where_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let usual = dir.path().join("moongate.yaml");
        let read = |variable: Option<&str>| read_of(None, variable.map(OsStr::new), &usual);
        assert_eq!(read(None).unwrap().name, "");
        std::os::unix::fs::symlink("gone.yaml", &usual).unwrap();

        for (variable, said) in [(None, "cannot open"), (Some(""), "is empty"), (Some(" \n"), "is empty")] {
            let refused = read(variable).unwrap_err().to_string();
            assert!(refused.contains(said), "{variable:?}: {refused}");
        }

        std::fs::write(dir.path().join("gone.yaml"), "version: v3\n").unwrap();
        let file = read(None).unwrap();
        assert_eq!((file.text.as_str(), file.path), ("version: v3\n", Some(usual.clone())));
    }

    #[test]
    fn a_variable_may_hold_the_lines_that_base64_writes() {
        let text = format!("moongate: {{nodename: a}}\n#{}\n", "x".repeat(120));
        let one_line = base64::engine::general_purpose::STANDARD.encode(&text);
        let (head, tail) = one_line.split_at(76);

        for held in [one_line.clone(), format!("{head}\n{tail}\n"), format!(" {head}\r\n{tail}")] {
            let file = read_of(None, Some(OsStr::new(&held)), Path::new("/none")).unwrap();
            assert_eq!((file.name.as_str(), file.text), (VARIABLE, text.clone()), "{held}");
        }
        for (held, said) in [("a*b=", "is not base64"), ("//8=", "MOONGATE_CONFIG")] {
            let refused = read_of(None, Some(OsStr::new(held)), Path::new("/none")).unwrap_err().to_string();
            assert!(refused.contains(said), "{held}: {refused}");
        }
    }
}
