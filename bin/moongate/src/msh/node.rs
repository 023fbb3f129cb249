//! An SSH connection to a node: the node proves that it is the one meant, the person shows the certificate.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use client::BoxStream;
use model::api::cluster::TrustBundle;
use model::{Subject, SystemRole};
use pki::ssh::Certificate;
use runtime::{Clock, Scope};
use ssh::Connection;
use ssh::client::{Config, Connected, Credential};
use ssh::connection::Incoming;
use ssh::keys::{PrivateKey, PublicKey};
use tokio::sync::oneshot;
use wire::dial::{Class, Target as NodeTarget};

use super::target::Target;
use super::{Entered, carry};

/// A node, signed in to.
pub(crate) struct Node {
    /// Asks.
    pub(crate) connection: Connection,
    /// Hears.
    pub(crate) incoming: Incoming,
    /// Tells how it ended.
    pub(crate) ended: Ended,
}

/// How a connection ended, once it has.
pub(crate) type Ended = oneshot::Receiver<Result<(), ssh::Error>>;

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
    let ended = drive(driver, scope);
    Ok(Node { connection, incoming, ended })
}

/// Keeps a connection going in `scope`.
fn drive(driver: impl Future<Output = Result<(), ssh::Error>> + Send + 'static, scope: &Scope) -> Ended {
    let (tell, ended) = oneshot::channel();
    scope.spawn("ssh", async move {
        let outcome = driver.await;
        if let Err(error) = &outcome {
            tracing::debug!(%error, "connection ended");
        }
        // Most who use a connection hear of its end by what they do with it.
        drop(tell.send(outcome));
    });
    ended
}

/// What is said when nothing broke, and it ended all the same.
const HUNG_UP: &str = "the node or the gate hung up: start it again once `msh ls` shows the node online";

/// What is said of a connection that ended while it was used.
pub(crate) fn broken(error: ssh::Error) -> anyhow::Error {
    match error {
        ssh::Error::Closed => anyhow!(HUNG_UP),
        error => anyhow::Error::new(error).context("the connection broke"),
    }
}

/// Waits for the connection's end, or until `stop` says that it was enough.
///
/// # Errors
/// The connection ended first, and why.
pub(crate) async fn hold(ended: Ended, stop: impl Future<Output = std::io::Result<()>>) -> Result<()> {
    tokio::select! {
        stopped = stop => Ok(stopped?),
        outcome = ended => match outcome {
            Ok(Err(error)) => Err(broken(error)),
            Ok(Ok(())) | Err(_) => bail!(HUNG_UP),
        },
    }
}

/// What the node wants read. It is the node's text: no control character of it reaches the terminal.
fn show_banner(out: &mut impl Write, banner: &str) -> std::io::Result<()> {
    writeln!(out, "{}", crate::show::clean_lines(banner))
}

/// The host must show a certificate of this cluster for the node that was meant: its own id or name, not only a further
/// name that some host got certified for.
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
    match &host.identity.subject {
        Subject::Host { roles, .. } if !roles.contains(&SystemRole::Node) => {
            Err(format!("{} answers, which is no node", host.identity.display_name()))
        }
        Subject::Host { id, name: own, .. } => {
            let names = pki::ssh::host_principals(id, own, &host.identity.cluster);
            let is_meant = names.iter().any(|own| own.eq_ignore_ascii_case(&name));
            if is_meant { Ok(()) } else { Err(format!("{own} answers, and {name} was meant")) }
        }
        Subject::User { .. } => Err("the node shows a person's certificate".into()),
    }
}

#[cfg(test)]
mod tests {
    use model::api::cluster::{CaKey, CaKind};
    use model::{ClusterName, Identity, NodeId};
    use pki::ssh::{HostRequest, issue_host};
    use pki::{Authority, KeyPair, KeyType, Signer};

    use super::*;

    fn cluster() -> ClusterName {
        "gate.example".parse().unwrap()
    }

    fn bundle(ca: &Authority) -> TrustBundle {
        let now = Clock::system().now();
        let key = |kind| CaKey {
            kind,
            ssh: ca.ssh_public().to_string(),
            x509_pem: pki::x509::authority_certificate(ca, kind, &cluster(), [3; 16], now).unwrap(),
            active: true,
        };
        TrustBundle { keys: vec![key(CaKind::Host), key(CaKind::User)], audit_key: String::new() }
    }

    fn id(n: u8) -> NodeId {
        NodeId::from_random([n; 16])
    }

    /// What a host of that name shows that was certified for a further one.
    fn shown(ca: &Authority, name: &str, role: SystemRole, further: &str) -> PublicKey {
        let now = Clock::system().now();
        let identity = Identity {
            subject: Subject::Host { id: id(2), name: name.parse().unwrap(), roles: [role].into() },
            cluster: cluster(),
            expires_at: now + std::time::Duration::from_secs(3_600),
            login_ip: None,
            pin_ip: false,
            mfa_at: None,
            impersonator: None,
            disallow_reissue: false,
        };
        let request = HostRequest {
            key: &KeyPair::generate(KeyType::Ed25519, &[7; 32]).unwrap().ssh_public(),
            identity: &identity,
            principals: &[further.to_owned()],
            serial: 1,
            nonce: [4; 32],
            now,
        };
        PublicKey::from_bytes(issue_host(ca, &request).unwrap().blob().to_vec()).unwrap()
    }

    #[test]
    fn only_the_node_that_was_meant_is_believed() {
        let ca = Authority::generate(KeyType::EcdsaP256, &[1; 32]).unwrap();
        let bundle = bundle(&ca);
        let (node, proxy) = (SystemRole::Node, SystemRole::Proxy);
        let own = format!("{}.gate.example", id(2));
        for (typed, name, role, believed) in [
            ("Web-2", "web-2", node, true),
            ("web-2", "Web-2", node, true),
            ("web-2.gate.example", "web-2", node, true),
            (id(2).as_str(), "web-2", node, true),
            (&own, "web-2", node, true),
            ("web-2", "web-2", proxy, false),
            (id(2).as_str(), "web-2", proxy, false),
            ("web-2", "web-1", node, false),
            ("web-2", "proxy-1", proxy, false),
            (id(3).as_str(), "web-2", node, false),
        ] {
            let key = shown(&ca, name, role, "web-2");
            let wanted = NodeTarget::parse(typed, cluster().as_str()).unwrap();

            let outcome = verify(&key, &bundle, &wanted);

            assert_eq!(outcome.is_ok(), believed, "{typed} {name} {role}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn who_holds_a_connection_hears_of_its_end() {
        let scope = Scope::root("test");
        for (outcome, said) in [
            (Err(ssh::Error::Unresponsive), "the connection broke: the peer does not answer"),
            (Err(ssh::Error::Closed), HUNG_UP),
            (Ok(()), HUNG_UP),
        ] {
            let ended = drive(async { outcome }, &scope);

            let held = hold(ended, std::future::pending()).await;

            assert_eq!(format!("{:#}", held.unwrap_err()), said);
        }

        let stopped = hold(drive(std::future::pending(), &scope), std::future::ready(Ok(()))).await;
        assert!(stopped.is_ok(), "{stopped:?}");
    }

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
