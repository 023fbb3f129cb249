//! Randomness as an argument. `bin` makes the operating system's source; tests make a seeded one.

use std::sync::{Arc, Mutex, PoisonError};

/// A source of random bytes. Cheap to clone.
#[derive(Clone)]
pub struct Random(Source);

#[derive(Clone)]
enum Source {
    System,
    Seeded(Arc<Mutex<u64>>),
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

/// The operating system had no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct NoRandom(getrandom::Error);

impl Random {
    /// The operating system's source.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A repeatable source for tests (splitmix64). Never for keys.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded(Arc::new(Mutex::new(seed))))
    }

    /// Fills `out`.
    ///
    /// # Errors
    /// The operating system's source failed.
    pub fn try_fill(&self, out: &mut [u8]) -> Result<(), NoRandom> {
        match &self.0 {
            Source::System => getrandom::fill(out).map_err(NoRandom),
            Source::Seeded(state) => {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                for chunk in out.chunks_mut(8) {
                    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let mut z = *state;
                    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    let word = (z ^ (z >> 31)).to_le_bytes();
                    for (to, from) in chunk.iter_mut().zip(word) {
                        *to = from;
                    }
                }
                Ok(())
            }
        }
    }

    /// `N` random bytes.
    ///
    /// # Panics
    /// When the operating system has no randomness: nothing that follows could be safe.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        #[expect(
            clippy::panic,
            reason = "without randomness no key, id or token is safe: stopping is the only right answer"
        )]
        if let Err(error) = self.try_fill(&mut out) {
            panic!("{error}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        assert_eq!(Random::seeded(7).bytes::<20>(), Random::seeded(7).bytes::<20>());
        assert_ne!(Random::system().bytes::<16>(), Random::system().bytes::<16>());
    }
}
