//! The configuration to run with: the file and the command line together, every path from the root.
//!
//! A path is made whole before anything is named after it: the privileged half works elsewhere, and what lies beside a
//! directory must not come to lie in it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use config::{Config, Flags, Loaded, LogOutput, Storage};

use super::file;

/// The file or the command line is at fault, in words: whoever starts it again as it is, gets the same.
#[derive(Debug)]
pub(crate) struct NotGood(pub(crate) String);

impl std::fmt::Display for NotGood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotGood {}

/// Reads the file that applies, `chosen` if there is one, and lets the flags win over it; says also where the file is, if
/// it is one. Who loads again chooses that: that it is gone is an error then, and not a gate with everything.
pub(crate) fn load(chosen: Option<&Path>, flags: &Flags) -> anyhow::Result<(Loaded, Option<PathBuf>)> {
    let file = file::read(chosen).map_err(|error| {
        // What cannot be read now may be there later; what is no text stays none.
        if error.is::<std::io::Error>() { error } else { NotGood(format!("{error:#}")).into() }
    })?;
    match config::load(&file.name, &file.text, flags) {
        Ok(mut loaded) => {
            from_the_root(&mut loaded.config)?;
            Ok((loaded, file.path))
        }
        Err(findings) => Err(NotGood(format!("the configuration is not good:\n{findings}")).into()),
    }
}

/// Makes every path that is written to a whole one.
fn from_the_root(config: &mut Config) -> anyhow::Result<()> {
    let instance = &mut config.instance;
    let Storage::Embedded(storage) = &mut instance.storage;
    let log = match &mut instance.log.output {
        LogOutput::File(path) => Some(path),
        LogOutput::Stderr | LogOutput::Stdout | LogOutput::Syslog => None,
    };
    let written = [Some(&mut instance.data_dir), Some(storage), instance.pid_file.as_mut(), log];
    for path in written.into_iter().flatten() {
        *path = whole(path).with_context(|| format!("cannot tell where `{}` is", path.display()))?;
    }
    Ok(())
}

/// From the root, and without the slash at its end.
fn whole(path: &Path) -> std::io::Result<PathBuf> {
    Ok(std::path::absolute(path)?.components().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_is_no_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("moongate.yaml");
        std::fs::write(&path, "auth_service: {tokens: ['node:hunter2']}\n").unwrap();
        let (_, found) = load(Some(&path), &Flags::default()).unwrap();

        std::fs::remove_file(&path).unwrap();

        assert_eq!(found.as_deref(), Some(&*path));
        let refused = load(found.as_deref(), &Flags::default()).unwrap_err().to_string();
        assert!(refused.contains("cannot open"), "{refused}");
    }

    #[test]
    fn every_path_is_from_the_root_and_ends_in_a_name() {
        let here = std::env::current_dir().unwrap();
        for (given, expected) in [
            ("/var/lib/moongate", "/var/lib/moongate".into()),
            ("/var/lib/moongate//", "/var/lib/moongate".into()),
            ("/var/lib/moongate/.", "/var/lib/moongate".into()),
            ("./teleport/", here.join("teleport")),
        ] {
            let text = format!(
                "moongate: {{data_dir: '{given}', pid_file: '{given}', log: {{output: '{given}'}}, storage: {{path: '{given}'}}}}"
            );
            let mut config = config::load("test", &text, &Flags::default()).unwrap().config;

            from_the_root(&mut config).unwrap();

            let instance = config.instance;
            // As bytes: paths are equal with and without a slash at their end.
            let same = |path: &Path| assert_eq!(path.as_os_str(), expected.as_os_str(), "{given}");
            same(&instance.data_dir);
            same(instance.pid_file.as_deref().unwrap());
            assert_eq!(instance.storage, Storage::Embedded(expected.clone()));
            assert_eq!(instance.log.output, LogOutput::File(expected.clone()));
        }
    }
}
