//! Waiting for a condition with a deadline: the one place that sleeps between two looks.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(20);

/// Returns what `probe` finds, asking until it finds something or `limit` has passed.
///
/// # Errors
/// The limit passed; the error says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("waited {limit:?} for: {what}");
        }
        std::thread::sleep(PAUSE);
    }
}
