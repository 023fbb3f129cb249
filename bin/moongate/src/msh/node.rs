//! An SSH connection to a node: the node proves that it is the one meant, the person shows the certificate.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use client::BoxStream;
use model::Subject;
use model::api::cluster::TrustBundle;
use pki::ssh::Certificate;
use runtime::{Clock, Scope};
use ssh::Connection;
use ssh::client::{Config, Connected, Credential};
use ssh::connection::Incoming;
use ssh::keys::{PrivateKey, PublicKey};
use wire::dial::{Class, Target as NodeTarget};

use super::target::Target;
use super::{Entered, carry};

/// A node, signed in to.
pub(crate) struct Node {
    /// Asks.
    pub(crate) connection: Connection,
    /// Hears.
    pub(crate) incoming: Incoming,
}

/// Connects to `target` as `login`; the connection lives in `scope`.
///
/// # Errors
/// The gate or the node cannot be reached, is not who it must be, or refused.
pub(crate) async fn connect(
    entered: &Entered,
    target: &Target,
    login: &str,
    class: Class,
    scope: &Scope,
) -> Result<Node> {
    let keys = entered.home.keys(&entered.profile);
    let read = |path: &std::path::Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}: log in again", path.display()))
    };
    let key = PrivateKey::from_openssh(&read(&keys.ssh_key())?)?;
    let certificate = PublicKey::from_openssh(read(&keys.ssh_cert())?.trim())?;
    let bundle: TrustBundle = serde_json::from_str(&read(&keys.trust())?)?;
    let cluster = entered.profile.cluster.clone();
    let wanted = NodeTarget::parse(&target.node, &cluster)?;
    let stream: BoxStream = carry::open(&entered.way, &target.node, &cluster, class).await?;
    let host = move |key: &PublicKey| verify(key, &bundle, &wanted);
    let credential = Credential { key: certificate, signer: Arc::new(key) };
    let connected =
        ssh::client::connect(stream, Arc::new(Config::default()), &host, login, &[credential]).await;
    let Connected { banner, connection, incoming, driver, .. } = match connected {
        Ok(connected) => connected,
        Err(error) => {
            bail!(
                "{login}@{} refused: {error} (see `msh ls -v` for the logins you may use there)",
                target.node
            )
        }
    };
    if let Some(banner) = banner {
        show_banner(&mut std::io::stderr(), &banner)?;
    }
    scope.spawn("ssh", async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    Ok(Node { connection, incoming })
}

/// What the node wants read. It is the node's text: no control character of it reaches the terminal.
fn show_banner(out: &mut impl Write, banner: &str) -> std::io::Result<()> {
    writeln!(out, "{}", crate::show::clean_lines(banner))
}

/// The host must show a certificate of this cluster for the node that was meant.
fn verify(key: &PublicKey, bundle: &TrustBundle, wanted: &NodeTarget) -> Result<(), String> {
    if !key.is_certificate() {
        return Err("the node shows a bare key and no certificate of this cluster".into());
    }
    let trust = pki::Trust::from_bundle(bundle).map_err(|e| e.to_string())?;
    let cert = Certificate::from_blob(key.as_bytes()).map_err(|e| e.to_string())?;
    let name = match wanted {
        NodeTarget::Node(id) => id.to_string(),
        NodeTarget::Name(name) => name.to_string(),
    };
    let host = pki::ssh::verify_host(&cert, &trust, Some(&name), Clock::system().now())
        .map_err(|e| e.to_string())?;
    match host.identity.subject {
        Subject::Host { .. } => Ok(()),
        Subject::User { .. } => Err("the node shows a person's certificate".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banner_keeps_its_lines_and_none_of_its_controls() {
        let banner = "Recorded.\r\n\u{1b}]0;title\u{7}\u{1b}[2J\tEnd\rover\u{9b}31m\u{0}\n";
        let mut shown = Vec::new();

        show_banner(&mut shown, banner).unwrap();

        let shown = String::from_utf8(shown).unwrap();
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        assert_eq!(shown.lines().count(), 2, "{shown:?}");
        assert!(shown.starts_with("Recorded.\n\\u{1b}]0;title"), "{shown:?}");
    }
}
