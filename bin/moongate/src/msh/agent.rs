//! The person's SSH agent: key and certificate go in at login, so that `ssh -J gate node` works, and out at logout.

use std::time::Duration;

use anyhow::{Context as _, Result};
use model::Timestamp;
use pki::KeyPair;
use ssh::agent::Agent;
use ssh::keys::{PrivateKey, PublicKey};
use tokio::net::UnixStream;

use super::profile::Keys;

/// How long an agent may take.
const DEADLINE: Duration = Duration::from_secs(5);

async fn connect() -> Result<Agent<UnixStream>> {
    let socket =
        std::env::var_os("SSH_AUTH_SOCK").context("no SSH agent is running (SSH_AUTH_SOCK is not set)")?;
    let stream = UnixStream::connect(socket).await.context("the SSH agent does not answer")?;
    Ok(Agent::new(stream))
}

/// Puts key and certificate into the agent, if there is one; they leave it by themselves at `until`.
///
/// # Errors
/// `required` and there is no agent, or it refused.
pub(crate) async fn offer(
    key: &KeyPair,
    cert: &str,
    comment: &str,
    (now, until): (Timestamp, Timestamp),
    required: bool,
) -> Result<()> {
    let put = async {
        let own = PrivateKey::from_openssh(&key.to_openssh(comment, 0))?;
        let cert = PublicKey::from_openssh(cert.trim())?;
        let lifetime = Some(until.since(now));
        let mut agent = connect().await?;
        agent.add(&own, None, comment, lifetime).await?;
        agent.add(&own, Some(&cert), comment, lifetime).await.context("the SSH agent refused the certificate")
    };
    let done =
        tokio::time::timeout(DEADLINE, put).await.unwrap_or_else(|_| anyhow::bail!("the SSH agent is stuck"));
    match done {
        Err(error) if required => Err(error),
        Err(error) => {
            tracing::debug!(%error, "nothing put into the agent");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Takes key and certificate out of the agent, if they are there.
pub(crate) async fn forget(keys: &Keys) {
    let work = async {
        let mut agent = connect().await?;
        for path in [keys.ssh_cert(), keys.ssh_pub()] {
            if let Ok(text) = std::fs::read_to_string(path) {
                agent.remove(&PublicKey::from_openssh(text.trim())?).await?;
            }
        }
        Ok::<(), anyhow::Error>(())
    };
    if let Ok(Err(error)) = tokio::time::timeout(DEADLINE, work).await {
        tracing::debug!(%error, "nothing taken out of the agent");
    }
}
