//! Secrets at rest: AES-256-GCM under a key in a file of its own (`<data_dir>/auth.key`, mode 0600).
//!
//! A sealed secret is bound to the place it was sealed for: moved elsewhere it does not open. The file is the one
//! thing a backup of the store does not hold; without it the authorities' keys are gone.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, HEXLOWER};
use model::Secret;
use runtime::Random;

use crate::error::Error;

const NONCE: usize = 12;

/// The hash a secret is kept by.
pub(crate) fn hash(secret: &Secret) -> String {
    HEXLOWER.encode(digest(&SHA256, secret.expose().as_bytes()).as_ref())
}

/// Seals and opens. The key never leaves it but to `pki`, which seals authority keys itself.
pub(crate) struct Vault {
    key: [u8; 32],
    random: Random,
}

impl Vault {
    /// Reads the key of `data_dir`, or makes one when `create` says that this is a new cluster.
    pub(crate) fn open(data_dir: &Path, create: bool, random: Random) -> Result<Self, Error> {
        let path = data_dir.join("auth.key");
        let failed = |error: io::Error| Error::Disk { path: path.clone(), error };
        match std::fs::File::open(&path) {
            Ok(mut file) => {
                let mode = file.metadata().map_err(failed)?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(Error::KeyFile(path, "others may read it: chmod 600 it".into()));
                }
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(failed)?;
                let key = HEXLOWER.decode(text.trim().as_bytes()).ok().and_then(|k| k.try_into().ok());
                let Some(key) = key else {
                    return Err(Error::KeyFile(path, "it does not hold 64 hexadecimal digits".into()));
                };
                Ok(Self { key, random })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
                let key = random.bytes::<32>();
                write_new(&path, &HEXLOWER.encode(&key)).map_err(failed)?;
                Ok(Self { key, random })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::KeyFile(
                path,
                "it is missing, and the cluster's keys in the store cannot be opened without it".into(),
            )),
            Err(error) => Err(failed(error)),
        }
    }

    /// The key itself, for `pki::Authority::{seal, unseal}`.
    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Seals `secret` for `place`.
    pub(crate) fn seal(&self, place: &str, secret: &[u8]) -> Result<String, Error> {
        let nonce = self.random.bytes::<NONCE>();
        let mut body = secret.to_vec();
        self.aead()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                &mut body,
            )
            .map_err(|_| Error::Sealed)?;
        Ok(BASE64.encode(&[&nonce[..], &body].concat()))
    }

    /// Opens what was sealed for `place`.
    pub(crate) fn open_sealed(&self, place: &str, sealed: &str) -> Result<Vec<u8>, Error> {
        let bytes = BASE64.decode(sealed.as_bytes()).map_err(|_| Error::Sealed)?;
        let (nonce, body) = bytes.split_at_checked(NONCE).ok_or(Error::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Sealed)?;
        let mut body = body.to_vec();
        let opened = self
            .aead()?
            .open_in_place(nonce, Aad::from(place.as_bytes()), &mut body)
            .map_err(|_| Error::Sealed)?;
        Ok(opened.to_vec())
    }

    fn aead(&self) -> Result<LessSafeKey, Error> {
        UnboundKey::new(&AES_256_GCM, &self.key).map(LessSafeKey::new).map_err(|_| Error::Sealed)
    }
}

/// Writes a file that must not exist yet, durably, for its owner only.
fn write_new(path: &PathBuf, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_in_its_place_and_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), true, Random::seeded(1)).unwrap();
        let sealed = vault.seal("secrets/ann", b"totp").unwrap();

        let again = Vault::open(dir.path(), false, Random::seeded(2)).unwrap();

        assert_eq!(again.open_sealed("secrets/ann", &sealed).unwrap(), b"totp");
        assert!(again.open_sealed("secrets/bob", &sealed).is_err());
    }

    #[test]
    fn a_key_file_others_may_read_or_that_is_missing_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Vault::open(dir.path(), false, Random::seeded(1)).is_err());
        drop(Vault::open(dir.path(), true, Random::seeded(1)).unwrap());
        let path = dir.path().join("auth.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();

        assert!(matches!(Vault::open(dir.path(), false, Random::seeded(1)), Err(Error::KeyFile(..))));
    }
}
