//! The six digits an authenticator would show (RFC 6238: SHA-1, 30 s, six digits).

use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};
use data_encoding::BASE32_NOPAD;

const STEP: u64 = 30;

/// The secret inside an `otpauth://` address.
///
/// # Errors
/// There is none, or it is not base32.
pub fn secret(uri: &str) -> Result<Vec<u8>> {
    let (_, query) = uri.split_once('?').context("no query in the otpauth address")?;
    let text = query.split('&').find_map(|p| p.strip_prefix("secret=")).context("no secret")?;
    BASE32_NOPAD.decode(text.trim_end_matches('=').as_bytes()).context("secret is not base32")
}

/// The code at a moment after the epoch.
#[must_use]
pub fn code(secret: &[u8], since_epoch: Duration) -> String {
    let counter = since_epoch.as_secs() / STEP;
    let tag = sign(&Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret), &counter.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes.last().copied().unwrap_or(0) & 15);
    let word = bytes.iter().skip(offset).take(4).fold(0_u32, |word, byte| (word << 8) | u32::from(*byte));
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_match_the_rfcs_table() {
        let secret = b"12345678901234567890";
        for (at, expected) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(code(secret, Duration::from_secs(at)), expected);
        }
    }
}
