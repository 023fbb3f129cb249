//! Whom the privileged half believes: the cluster's user authorities, pinned when they are first heard of.
//!
//! The pins lie in a file that only root can write ([`Pins::File`]), so that neither a later start nor the other half
//! can bring in an authority of its own. The other half may at any time believe *fewer* keys than are pinned, never
//! others. A key that replaces another enters the file by root's hand; the file is read again when an unknown key is
//! told. Who is not root pins for the life of the process.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::Timestamp;
use ssh::PublicKey;

use super::claim::{Claim, Good, Judge, MAX_AUTHORITIES};

/// Longest file of pins.
const MAX_FILE: u64 = 64 * 1024;
/// Sign-ins remembered so that none opens an account twice. The oldest is forgotten.
const MAX_SPENT: usize = 8192;

/// Where the pins are kept.
#[derive(Debug)]
pub(super) enum Pins {
    /// Here alone.
    Process,
    /// In this file.
    File(PathBuf),
}

/// The judge with whom it believes.
pub(super) struct Authorities {
    judge: Judge,
    pins: Pins,
    pinned: Vec<Vec<u8>>,
    /// What is believed now: pinned, and told by the other half.
    believed: Vec<Vec<u8>>,
    spent: Spent,
}

impl Authorities {
    pub(super) fn new(judge: Judge, pins: Pins) -> Self {
        Self { judge, pins, pinned: Vec::new(), believed: Vec::new(), spent: Spent::default() }
    }

    /// Believes what is both told and pinned; pins what is told first.
    ///
    /// # Errors
    /// Some of it is not believed, and what root can do about it.
    pub(super) fn told(&mut self, told: &[Vec<u8>]) -> Result<(), String> {
        let unknown = |pinned: &[Vec<u8>]| told.iter().any(|key| !pinned.contains(key));
        if unknown(&self.pinned) {
            if let Some(kept) = self.pins.read()? {
                self.pinned = kept;
            } else if self.pinned.is_empty() {
                if let Err(error) = self.pins.write(told) {
                    eprintln!("moongate spawner: pins are kept for this start alone: {error}");
                }
                self.pinned = told.to_vec();
            }
        }
        self.believed = told.iter().filter(|key| self.pinned.contains(key)).cloned().collect();
        if !unknown(&self.pinned) {
            return Ok(());
        }
        Err(match &self.pins {
            Pins::Process => {
                "the cluster has a new user authority: start this service again to believe it".to_owned()
            }
            Pins::File(file) => format!(
                "the cluster has a user authority that is not in {}: add its key to it or \
                 remove the file, as root",
                file.display()
            ),
        })
    }

    /// What the certificate of a sign-in says, if all of it holds.
    ///
    /// # Errors
    /// It may not, and why, for the log.
    pub(super) fn judge(&mut self, claim: &Claim, now: Timestamp) -> Result<Good, String> {
        let proof = &claim.proof;
        if self.believed.is_empty() {
            return Err("no user authority is believed yet".to_owned());
        }
        proof.check().map_err(|error| format!("the sign-in: {error}"))?;
        let good = (self.judge)(&proof.key, &self.believed, claim.from, now)?;
        if !good.logins.contains(&proof.login) {
            return Err("the certificate is not good for this account".to_owned());
        }
        if !self.spent.spend(&proof.session) {
            return Err("this sign-in has opened an account before".to_owned());
        }
        Ok(good)
    }
}

impl Pins {
    /// The keys that were pinned before; `None` when none were.
    fn read(&self) -> Result<Option<Vec<Vec<u8>>>, String> {
        let Pins::File(path) = self else { return Ok(None) };
        let opened = File::options().read(true).custom_flags(nix::libc::O_NOFOLLOW).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let say = |what: &str| format!("{}: {what}", path.display());
        let meta = file.metadata().map_err(|error| say(&error.to_string()))?;
        if !meta.is_file() || meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            return Err(say("not a file that only root can write"));
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| say(&error.to_string()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Result<Vec<_>, _> = lines
            .take(MAX_AUTHORITIES)
            .map(|line| PublicKey::from_openssh(line).map(|key| key.as_bytes().to_vec()))
            .collect();
        keys.map(Some).map_err(|error| say(&error.to_string()))
    }

    /// Keeps the first keys heard of. A place that others can write to keeps nothing.
    fn write(&self, keys: &[Vec<u8>]) -> Result<(), String> {
        let Pins::File(path) = self else { return Ok(()) };
        let say = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let mut text =
            "# The user authorities whose certificates may start programs on this host.\n".to_owned();
        for key in keys {
            let key = PublicKey::from_bytes(key.clone()).map_err(|error| say(&error))?;
            text.push_str(&key.to_openssh());
            text.push('\n');
        }
        if !safe_directory(path) {
            return Err(say(&"others can write there"));
        }
        let new = path.with_extension("new");
        drop(std::fs::remove_file(&new));
        let written = File::options()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&new)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&new, path));
        written.map_err(|error| say(&error))
    }
}

/// Nobody but root can put another file in this one's place.
fn safe_directory(file: &Path) -> bool {
    const STICKY: u32 = 0o1000;
    file.parent()
        .and_then(|parent| std::fs::metadata(parent).ok())
        .is_some_and(|meta| meta.uid() == 0 && (meta.mode() & 0o022 == 0 || meta.mode() & STICKY != 0))
}

/// Sessions whose sign-in has opened an account.
#[derive(Default)]
struct Spent {
    order: VecDeque<Short>,
    known: BTreeSet<Short>,
}

/// The front of a session's id, which is a hash.
type Short = [u8; 16];

impl Spent {
    /// False when it was spent before, or is no id.
    fn spend(&mut self, session: &[u8]) -> bool {
        let Some(short) = session.first_chunk::<16>() else { return false };
        if !self.known.insert(*short) {
            return false;
        }
        self.order.push_back(*short);
        if self.order.len() > MAX_SPENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> Vec<u8> {
        ssh::PrivateKey::from_seed(&[seed; 32], "").unwrap().public().as_bytes().to_vec()
    }

    fn nobody(_: &[u8], _: &[Vec<u8>], _: Option<std::net::IpAddr>, _: Timestamp) -> Result<Good, String> {
        Err("nobody".to_owned())
    }

    #[test]
    fn what_is_told_first_is_pinned_and_later_only_less_is_believed() {
        let mut authorities = Authorities::new(nobody, Pins::Process);

        authorities.told(&[key(1), key(2)]).unwrap();
        authorities.told(&[key(2)]).unwrap();
        assert_eq!(authorities.believed, [key(2)]);

        assert!(authorities.told(&[key(2), key(3)]).is_err());
        assert_eq!(authorities.believed, [key(2)], "the known one goes on being believed");
        authorities.told(&[key(1)]).unwrap();
        assert_eq!(authorities.believed, [key(1)]);
    }

    #[test]
    fn pins_outlive_the_process_and_root_adds_to_them_by_hand() {
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data.authorities");
        let pins = || Pins::File(file.clone());
        Authorities::new(nobody, pins()).told(&[key(1)]).unwrap();

        let mut later = Authorities::new(nobody, pins());
        let refused = later.told(&[key(9)]).unwrap_err();
        assert!(refused.contains("data.authorities"), "{refused}");
        assert!(later.believed.is_empty());

        let mut text = std::fs::read_to_string(&file).unwrap();
        text.push_str(&PublicKey::from_bytes(key(9)).unwrap().to_openssh());
        std::fs::write(&file, text).unwrap();
        later.told(&[key(9)]).unwrap();
        assert_eq!(later.believed, [key(9)]);
    }

    #[test]
    fn a_file_others_can_write_is_not_believed() {
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data.authorities");
        Authorities::new(nobody, Pins::File(file.clone())).told(&[key(1)]).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&file, mode).unwrap();

        let refused = Authorities::new(nobody, Pins::File(file)).told(&[key(1)]).unwrap_err();

        assert!(refused.contains("only root can write"), "{refused}");
    }

    #[test]
    fn a_sign_in_is_spent_once_and_only_the_oldest_is_forgotten() {
        let mut spent = Spent::default();
        let id = |n: usize| [n.to_be_bytes(); 4].concat();

        assert!(spent.spend(&id(0)));
        assert!(!spent.spend(&id(0)));
        for n in 1..=MAX_SPENT {
            assert!(spent.spend(&id(n)));
        }
        assert!(!spent.spend(&id(1)));
        assert!(spent.spend(&id(0)), "the oldest");
        assert_eq!(spent.order.len(), spent.known.len());
        assert!(!spent.spend(b"short"));
    }
}
