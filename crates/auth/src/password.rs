//! Passwords: argon2id, two at a time, and the same cost whether the user exists or not.
//!
//! Parameters are OWASP's (19 MiB, 2 passes, 1 lane). Knows nothing of users or lock-outs.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64;
use model::Secret;
use runtime::Random;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::refusal::{Answer, Refusal};

/// The shortest password, in characters.
pub(crate) const MIN: usize = 12;
/// The longest password, in characters.
pub(crate) const MAX: usize = 128;
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const AT_ONCE: usize = 2;
/// Hashes waiting beyond this many are refused: each holds a request open.
const QUEUE: usize = 64;

/// A hashed password as kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hashed {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    hash: String,
}

/// Hashes passwords. Clones share the limit.
#[derive(Clone)]
pub(crate) struct Hasher {
    slots: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    random: Random,
    nobody: Arc<Hashed>,
}

impl Hasher {
    pub(crate) fn new(random: Random) -> Self {
        // No password leads to this hash: it only costs what a real one costs.
        let nobody = Hashed {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: BASE64.encode(&random.bytes::<16>()),
            hash: BASE64.encode(&random.bytes::<32>()),
        };
        Self {
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Arc::new(Semaphore::new(QUEUE)),
            random,
            nobody: Arc::new(nobody),
        }
    }

    /// A turn to hash, or a refusal when too many wait. Taken before a try is counted: who is sent away has not tried.
    pub(crate) fn turn(&self) -> Answer<Turn<'_>> {
        let queued = self
            .queue
            .try_acquire()
            .map_err(|_| Refusal::too_many("too many sign-ins at once: try again in a minute"))?;
        Ok(Turn { hasher: self, _queued: queued })
    }
}

/// A place in the queue of those who hash.
pub(crate) struct Turn<'h> {
    hasher: &'h Hasher,
    _queued: SemaphorePermit<'h>,
}

impl Turn<'_> {
    /// Hashes a new password.
    pub(crate) async fn hash(self, password: &Secret) -> Answer<Hashed> {
        let salt = self.hasher.random.bytes::<16>();
        let params = (MEMORY_KIB, PASSES, LANES);
        let hash = self.run(password.clone(), salt.to_vec(), params).await?;
        Ok(Hashed {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: BASE64.encode(&salt),
            hash: BASE64.encode(&hash),
        })
    }

    /// Compares; `None` costs the same and is never right.
    pub(crate) async fn verify(self, password: &Secret, kept: Option<&Hashed>) -> Answer<bool> {
        let known = kept.is_some();
        let kept = kept.unwrap_or(&self.hasher.nobody);
        let unusable = |_| Refusal::internal("a kept password hash is unusable");
        let salt = BASE64.decode(kept.salt.as_bytes()).map_err(unusable)?;
        let expected = BASE64.decode(kept.hash.as_bytes()).map_err(unusable)?;
        let params = (kept.memory_kib, kept.passes, kept.lanes);
        let hash = self.run(password.clone(), salt, params).await?;
        Ok(bool::from(hash.as_slice().ct_eq(&expected)) && known)
    }

    async fn run(&self, password: Secret, salt: Vec<u8>, params: (u32, u32, u32)) -> Answer<[u8; 32]> {
        let slot = self.hasher.slots.clone().acquire_owned().await.map_err(Refusal::internal)?;
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let (memory, passes, lanes) = params;
            let params = Params::new(memory, passes, lanes, Some(32)).map_err(Refusal::internal)?;
            let mut out = [0; 32];
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(password.expose().as_bytes(), &salt, &mut out)
                .map_err(Refusal::internal)?;
            Ok(out)
        })
        .await
        .map_err(Refusal::internal)?
    }
}

/// Checks the rules for a new password.
pub(crate) fn check_rules(password: &Secret, user: &str) -> Answer<()> {
    let length = password.expose().chars().count();
    if !(MIN..=MAX).contains(&length) {
        return Err(Refusal::bad(format!("a password has {MIN} to {MAX} characters, this one {length}")));
    }
    if password.expose().to_lowercase().contains(&user.to_lowercase()) && length < user.len() + MIN {
        return Err(Refusal::bad("a password may not be little more than the user's name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_is_right() {
        let hasher = Hasher::new(Random::seeded(1));
        let right = Secret::new("correct horse battery");
        let turn = || hasher.turn().unwrap();
        let kept = turn().hash(&right).await.unwrap();

        assert!(turn().verify(&right, Some(&kept)).await.unwrap());
        assert!(!turn().verify(&Secret::new("correct horse batterz"), Some(&kept)).await.unwrap());
        assert!(!turn().verify(&right, None).await.unwrap());
        assert!(!serde_json::to_string(&kept).unwrap().contains("horse"));
    }

    #[test]
    fn short_long_and_telling_passwords_are_refused() {
        for bad in ["short", "elevenchars", "annannannann1".repeat(11).as_str(), "administrator"] {
            assert!(check_rules(&Secret::new(bad), "administrator").is_err(), "{bad}");
        }
        assert!(check_rules(&Secret::new("twelve chars"), "ann").is_ok());
    }
}
