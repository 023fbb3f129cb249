//! The person's SSH agent: key and certificate go in at login, so that `ssh -J gate node` works, and out at logout.

use std::time::Duration;

use anyhow::{Context as _, Result};
use model::Timestamp;
use pki::KeyPair;
use ssh::agent::Agent;
use ssh::keys::{PrivateKey, PublicKey};
use tokio::io::{AsyncRead, AsyncWrite};
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

/// Takes every key and certificate of a place out of the agent, if they are there.
pub(crate) async fn forget(keys: &Keys) {
    let work = async {
        let mut agent = connect().await?;
        take_out(&mut agent, keys).await;
        Ok::<(), anyhow::Error>(())
    };
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "nothing taken out of the agent"),
        Err(_) => tracing::debug!("the SSH agent is stuck"),
    }
}

/// One that is not there, or is no key, keeps none of the others in.
async fn take_out<S: AsyncRead + AsyncWrite + Unpin>(agent: &mut Agent<S>, keys: &Keys) {
    for path in keys.publics() {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let Ok(key) = PublicKey::from_openssh(text.trim()) else { continue };
        if let Err(error) = agent.remove(&key).await {
            tracing::debug!(%error, path = %path.display(), "not taken out of the agent");
        }
    }
}

#[cfg(test)]
mod tests {
    use pki::{KeyType, Signer as _};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use wire::ssh::{Reader, agent::Answer};

    use super::*;
    use crate::msh::profile::{Home, write_private};

    /// Answers that it holds none of what it is asked to forget; returns what that was.
    async fn asked(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Vec<Vec<u8>> {
        let mut asked = Vec::new();
        while let Ok(length) = stream.read_u32().await {
            let mut message = vec![0; length as usize];
            stream.read_exact(&mut message).await.unwrap();
            let mut reader = Reader::new(&message);
            assert_eq!(reader.u8().unwrap(), 18);
            asked.push(reader.string().unwrap().to_vec());
            let mut answer = Vec::new();
            Answer::Failure.encode(&mut answer);
            stream.write_u32(answer.len() as u32).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
        asked
    }

    #[tokio::test]
    async fn everything_in_a_place_leaves_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(dir.path())).unwrap();
        let mut public = Vec::new();
        for (n, user) in ["alice", "bob"].into_iter().enumerate() {
            let key = |salt| KeyPair::generate(KeyType::Ed25519, &[n as u8 * 2 + salt; 32]).unwrap();
            let keys = home.keys(&home.admit("gate:3080".into(), user.into(), "main".into(), false));
            for (path, key) in [(keys.ssh_pub(), key(1)), (keys.ssh_cert(), key(2))] {
                write_private(&path, format!("{} {user}@main\n", key.ssh_public()).as_bytes()).unwrap();
                public.push(PublicKey::from_openssh(&key.ssh_public().to_string()).unwrap());
            }
            write_private(&keys.ssh_key(), b"private").unwrap();
        }
        let keys = home.keys(&home.admit("gate:3080".into(), "carol".into(), "main".into(), false));
        let (ours, theirs) = duplex(1 << 16);

        let forget = async {
            let mut agent = Agent::new(ours);
            take_out(&mut agent, &keys).await;
        };
        let ((), mut asked) = tokio::join!(forget, asked(theirs));

        let mut wanted: Vec<Vec<u8>> = public.iter().map(|key| key.as_bytes().to_vec()).collect();
        wanted.sort();
        asked.sort();
        assert_eq!(asked, wanted);
    }
}
