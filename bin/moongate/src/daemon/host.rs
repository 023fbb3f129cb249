//! What makes this host itself: its data directory, its id for life, its name.

use std::path::Path;

use anyhow::{Context, bail};
use model::{NodeId, NodeName};
use runtime::Random;

/// Makes a directory (and its parents) only we can enter; an existing one is left as it is.
pub(crate) fn private_dir(path: &Path) -> anyhow::Result<()> {
    client::files::private_dir(path).with_context(|| format!("cannot make the directory {}", path.display()))
}

/// Writes a file only we can read, whole or not at all.
pub(crate) fn private_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    client::files::replace(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// This host's id: made at the first start and kept in `host_id`.
pub(crate) fn id(data_dir: &Path, random: &Random) -> anyhow::Result<NodeId> {
    let path = data_dir.join("host_id");
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().with_context(|| format!("{} does not hold an id", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = NodeId::from_random(random.bytes());
            private_file(&path, format!("{id}\n").as_bytes())?;
            Ok(id)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// What people call this host: its host name up to the first dot, without what a name may not have.
pub(crate) fn name() -> NodeName {
    let uname = rustix::system::uname();
    let full = uname.nodename().to_string_lossy();
    let short = full.split('.').next().unwrap_or_default();
    let clean: String =
        short.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    let clean = clean.trim_start_matches(['-', '_']);
    clean.parse().unwrap_or_else(|_| fallback())
}

fn fallback() -> NodeName {
    #[expect(clippy::expect_used, reason = "a constant that a test parses")]
    "localhost".parse().expect("`localhost` is a name")
}

/// A secret out of the configuration: itself, or what its file holds.
pub(crate) fn secret(source: &config::SecretSource) -> anyhow::Result<model::Secret> {
    match source {
        config::SecretSource::Literal(secret) => Ok(secret.clone()),
        config::SecretSource::File(path) => {
            let shown = path.display();
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read the token in {shown}"))?;
            if text.trim().is_empty() {
                bail!("{shown} is empty: it should hold a token");
            }
            Ok(model::Secret::new(text.trim()))
        }
    }
}

/// The pins to check, as `sha256:…`; files hold one in each line.
pub(crate) fn pins(sources: &[config::CaPin]) -> anyhow::Result<Vec<String>> {
    let mut pins = Vec::new();
    for source in sources {
        match source {
            config::CaPin::Sha256(_) => pins.push(source.to_string()),
            config::CaPin::File(path) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the pin in {shown}"))?;
                for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
                    match config::CaPin::parse(line) {
                        Ok(pin @ config::CaPin::Sha256(_)) => pins.push(pin.to_string()),
                        _ => bail!("{shown} has a line that is no pin: {line}"),
                    }
                }
            }
        }
    }
    Ok(pins)
}

/// Raises the number of files that may be open to what the system allows: each connection is one.
pub(crate) fn raise_limits() {
    let files = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(files);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(files, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_host_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let first = id(dir.path(), &Random::seeded(1)).unwrap();

        assert_eq!(id(dir.path(), &Random::seeded(2)).unwrap(), first);
        let mode = std::fs::metadata(dir.path().join("host_id")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(dir.path().join("host_id"), "me").unwrap();
        assert!(id(dir.path(), &Random::seeded(3)).is_err());
    }

    #[test]
    fn this_host_has_a_name() {
        assert!(!name().as_str().is_empty());
        assert_eq!(fallback().as_str(), "localhost");
    }

    #[test]
    fn tokens_and_pins_may_be_in_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let pin = format!("sha256:{}", "ab".repeat(32));
        std::fs::write(&path, format!("{pin}\n")).unwrap();

        assert_eq!(secret(&config::SecretSource::File(path.clone())).unwrap().expose(), pin);
        assert_eq!(pins(&[config::CaPin::File(path.clone())]).unwrap(), [pin]);
        std::fs::write(&path, "\n").unwrap();
        assert!(secret(&config::SecretSource::File(path)).is_err());
    }
}
