//! Random tokens, and what is kept of them.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use runtime::Random;

/// A random token of 256 bits.
pub(crate) fn token(random: &Random) -> String {
    HEXLOWER.encode(&random.bytes::<32>())
}

/// What is kept of a token: it opens nothing.
pub(crate) fn hash(token: &str) -> String {
    HEXLOWER.encode(digest(&SHA256, token.as_bytes()).as_ref())
}
