//! Joining: whom to believe, then a token for certificates.
//!
//! The authorities are fetched first over a connection that trusts nobody, and count only as far as something else
//! vouches for them: a pin (then only the pinned keys are believed), the web certificate of the proxy, our own
//! process, or `--insecure`. The token is sent over a second connection that believes exactly those.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use model::api::certs::Join;
use model::api::cluster::{CaKind, GetTrust, TrustBundle};
use model::{NodeId, NodeName, Secret, SystemRole};
use runtime::{Random, Scope};

use super::{HostError, HostIdentity, HostKeys};
use crate::dial::{Dialer, HostPort, ProxyEnv, WebTrust};
use crate::tls::{Keyring, Material};
use crate::{Client, ConnectError};

/// Where the proxy tells whom the cluster trusts.
const TRUST_PATH: &str = "/webapi/trust";
const MAX_TRUST: usize = 1024 * 1024;
const WEB_DEADLINE: Duration = Duration::from_secs(15);

/// What vouches for the authorities.
#[derive(Clone, Debug)]
pub enum Verify {
    /// Their fingerprints, `sha256:<hex>`.
    Pins(Vec<String>),
    /// They are known: the authority runs in this process.
    Known(TrustBundle),
    /// The proxy's web certificate, by these roots.
    Web(WebTrust),
    /// Nothing: `--insecure`.
    Insecure,
}

/// What a host joins with.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The addresses to try, authorities or proxies.
    pub to: Vec<HostPort>,
    /// The HTTP proxies on the way.
    pub env: ProxyEnv,
    /// What vouches for the authorities.
    pub verify: Verify,
    /// The token.
    pub token: Secret,
    /// The host's id.
    pub id: NodeId,
    /// What to call it.
    pub name: NodeName,
    /// The parts of the system it will speak for.
    pub roles: BTreeSet<SystemRole>,
    /// Further names to be certified.
    pub principals: Vec<String>,
}

/// Joins and keeps the identity in `dir`. Addresses are tried in order; one that cannot be reached is no reason to
/// stop, one that cannot be trusted is.
///
/// # Errors
/// Nobody could be reached, nobody trusted, or the token was refused.
pub async fn join(
    how: &Joining,
    dir: &Path,
    keys: &HostKeys,
    scope: &Scope,
    random: &Random,
) -> Result<HostIdentity, HostError> {
    let mut last = HostError::Refused("no address to join at".to_owned());
    for to in &how.to {
        let scope = scope.child("join");
        let joined = join_at(how, to, keys, &scope, random).await;
        scope.cancel();
        match joined {
            Ok(identity) => {
                identity.save(dir)?;
                return Ok(identity);
            }
            Err(HostError::Connect(error @ ConnectError::Unreachable { .. })) => {
                last = HostError::Connect(error);
            }
            Err(HostError::Call(error)) if error.may_pass() => last = HostError::Call(error),
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn join_at(
    how: &Joining,
    to: &HostPort,
    keys: &HostKeys,
    scope: &Scope,
    random: &Random,
) -> Result<HostIdentity, HostError> {
    let keyring = Keyring::new(Material::anyone());
    let dialer = Dialer::new(to.clone(), how.env.clone(), keyring.clone());
    let client = Client::new(Arc::new(dialer.clone()), scope, random.clone());
    let believed = match &how.verify {
        Verify::Known(bundle) => bundle.clone(),
        Verify::Insecure => client.call(&GetTrust {}).await?,
        Verify::Pins(pins) => pinned(client.call(&GetTrust {}).await?, pins, to)?,
        Verify::Web(trust) => fetch(&dialer, trust).await?,
    };
    let unusable = |e: crate::tls::TlsError| HostError::Refused(format!("{to}: {e}"));
    keyring.swap(Material::trusting(&believed).map_err(unusable)?);
    client.hang_up().await;
    let mut ask = Join {
        token: how.token.clone(),
        id: how.id.clone(),
        name: how.name.clone(),
        roles: how.roles.clone(),
        principals: how.principals.clone(),
        ssh_key: keys.ssh_public(),
        tls_key_pem: keys.tls_public_pem(),
        proof: String::new(),
    };
    ask.proof = pki::joining::prove(&ask, &keys.tls)?;
    let certs = client.call(&ask).await?;
    pki::Trust::from_bundle(&certs.trust)?;
    Ok(HostIdentity::of(certs, how.id.clone(), how.name.clone(), how.roles.clone()))
}

/// The host authorities among those offered that a pin vouches for; the others may be anybody's.
///
/// # Errors
/// A certificate does not parse, or no pin matches.
pub fn pinned(offered: TrustBundle, pins: &[String], to: &HostPort) -> Result<TrustBundle, HostError> {
    let mut kept = TrustBundle::default();
    for key in offered.keys.into_iter().filter(|k| k.kind == CaKind::Host) {
        let pin = pki::x509::pin(&pki::x509::certificate_from_pem(&key.x509_pem)?)?;
        if pins.iter().any(|p| p.trim().eq_ignore_ascii_case(&pin)) {
            kept.keys.push(key);
        }
    }
    if kept.keys.is_empty() {
        return Err(HostError::Refused(format!(
            "{to} is not the authority of the CA pin: check the pin (`mctl status` shows it), or whether somebody is in between"
        )));
    }
    Ok(kept)
}

/// The authorities as the proxy's web page tells them, over TLS that a browser would accept.
async fn fetch(dialer: &Dialer, trust: &WebTrust) -> Result<TrustBundle, HostError> {
    let to = dialer.address();
    let bad = |why: String| HostError::Connect(ConnectError::Unreachable { to: to.to_string(), why });
    let advise = |error: ConnectError| match error {
        ConnectError::Untrusted { to, why } => {
            let why =
                format!("{why}; give --ca-pin (`mctl status` shows it) to join without a public certificate");
            HostError::Connect(ConnectError::Untrusted { to, why })
        }
        other => HostError::Connect(other),
    };
    let stream = dialer.connect_web(trust).await.map_err(advise)?;
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| bad(e.to_string()))?;
        let request = http::Request::get(TRUST_PATH)
            .header("host", to.to_string())
            .body(Empty::<Bytes>::new())
            .map_err(|e| bad(e.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|e| bad(e.to_string()))?;
            if !response.status().is_success() {
                return Err(bad(format!("GET {TRUST_PATH} was answered {}", response.status())));
            }
            let body = Limited::new(response.into_body(), MAX_TRUST).collect().await;
            body.map(http_body_util::Collected::to_bytes).map_err(|e| bad(e.to_string()))
        };
        tokio::select! {
            answer = answer => answer,
            ended = connection => Err(bad(ended.err().map_or_else(|| "it hung up".to_owned(), |e| e.to_string()))),
        }
    };
    let bytes = tokio::time::timeout(WEB_DEADLINE, exchange)
        .await
        .map_err(|_| bad(format!("no answer within {WEB_DEADLINE:?}")))??;
    serde_json::from_slice(&bytes).map_err(|e| bad(format!("GET {TRUST_PATH} gave no trust bundle: {e}")))
}
