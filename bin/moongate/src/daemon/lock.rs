//! Keeps a directory for one process: two that share an identity would take each other's sessions, and two that share
//! a store would each sign its own end of the audit log.
//!
//! The lock is the kernel's, on the file `lock` in the directory: it goes with the process however that ends, and no
//! child inherits it. The file stays; what it says, who has the directory, counts only while the lock is held.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use config::{Config, Storage};

use super::host;

/// More than a holder writes about itself.
const MOST: u64 = 256;

/// A directory that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held until the end")] File);

/// Takes the data directory and, for an authority that keeps its store elsewhere, the store's; makes them if need be.
pub(crate) fn take(config: &Config) -> anyhow::Result<Vec<Lock>> {
    let data = &config.instance.data_dir;
    let Storage::Embedded(store) = &config.instance.storage;
    host::private_dir(data)?;
    let mut locks = vec![one(data, "moongate.data_dir (or --data-dir)")?];
    if config.auth.is_some() {
        host::private_dir(store)?;
        if true_path(store)? != true_path(data)? {
            locks.push(one(store, "moongate.storage.path")?);
        }
    }
    Ok(locks)
}

fn true_path(dir: &Path) -> anyhow::Result<PathBuf> {
    dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))
}

/// Takes one directory, which `key` of the configuration names.
fn one(dir: &Path, key: &str) -> anyhow::Result<Lock> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    // Nobody makes it a link but who wants another file emptied.
    let opened = options.custom_flags(nix::libc::O_NOFOLLOW).open(&path);
    let mut file = opened.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!(
            "{} is in use by another moongate ({}): stop that one, or give this one a directory of its own with {key}",
            dir.display(),
            holder(&mut file)
        ),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    sign(&mut file).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Lock(file))
}

/// Says who we are. The host's name, because containers that share a directory have numbers of their own.
fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "process {} on {}", std::process::id(), host::name())
}

/// What the holder says of itself: nothing yet, when it has only just come.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(MOST).read_to_string(&mut text);
    let line: String = text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    if read.is_err() || line.is_empty() { "just starting".to_owned() } else { line }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn authority(data: &Path, store: &Path) -> Config {
        let text = format!(
            "moongate: {{data_dir: '{}', storage: {{path: '{}'}}}}\nauth_service: {{enabled: yes}}\n",
            data.display(),
            store.display()
        );
        config::load("test", &text, &config::Flags::default()).unwrap().config
    }

    #[test]
    fn a_data_directory_serves_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let config = authority(dir.path(), dir.path());
        let held = take(&config).unwrap();

        let refused = take(&config).unwrap_err().to_string();
        let us = format!("(process {} on {})", std::process::id(), host::name());
        for part in [&dir.path().display().to_string(), &us, "--data-dir"] {
            assert!(refused.contains(part), "{refused}");
        }
        drop(held);
        assert!(take(&config).is_ok());
    }

    #[test]
    fn a_lock_that_leads_elsewhere_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "kept").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("lock")).unwrap();

        let refused = take(&authority(dir.path(), dir.path())).unwrap_err().to_string();

        assert!(refused.starts_with("cannot open"), "{refused}");
        assert_eq!(std::fs::read(outside.path()).unwrap(), b"kept");
    }

    #[test]
    fn a_store_serves_one_process_under_any_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("store")).unwrap();
        std::os::unix::fs::symlink(at("store"), at("other-name")).unwrap();
        let held = take(&authority(&at("store"), &at("other-name"))).unwrap();

        let refused = take(&authority(&at("b"), &at("store"))).unwrap_err().to_string();

        assert!(refused.contains("moongate.storage.path"), "{refused}");
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn a_lock_whose_holder_has_not_signed_or_wrote_rubbish_is_a_lock() {
        let dir = tempfile::tempdir().unwrap();
        for (said, shown) in
            [(&b""[..], "just starting"), (b"\xff\xfe", "just starting"), (b"a\x1b[31m\nb", "(a[31m)")]
        {
            std::fs::write(dir.path().join("lock"), said).unwrap();
            let other = File::open(dir.path().join("lock")).unwrap();
            other.lock().unwrap();

            let refused = take(&authority(dir.path(), dir.path())).unwrap_err().to_string();

            assert!(refused.contains(shown), "{refused}");
        }
    }
}
