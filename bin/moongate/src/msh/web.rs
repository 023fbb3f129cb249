//! The few calls a person makes before having certificates: JSON over HTTPS to the gate's web routes.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use model::api::ErrorBody;
use runtime::Scope;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gate::FirstContact;

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// The longest answer.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// `GET path`.
///
/// # Errors
/// The gate cannot be reached or says no.
pub(crate) async fn get<T: DeserializeOwned>(contact: &FirstContact, scope: &Scope, path: &str) -> Result<T> {
    within(contact, scope, (http::Method::GET, path), Bytes::new()).await
}

/// `POST path` with a JSON body.
///
/// # Errors
/// The gate cannot be reached or says no.
pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(
    contact: &FirstContact,
    scope: &Scope,
    path: &str,
    body: &B,
) -> Result<T> {
    within(contact, scope, (http::Method::POST, path), serde_json::to_vec(body)?.into()).await
}

async fn within<T: DeserializeOwned>(
    contact: &FirstContact,
    scope: &Scope,
    (method, path): (http::Method, &str),
    body: Bytes,
) -> Result<T> {
    let host = contact.dialer.address().to_string();
    tokio::time::timeout(DEADLINE, exchange(contact, scope, &host, (method, path), body))
        .await
        .map_err(|_| anyhow::anyhow!("{host} did not answer {path} within {} s", DEADLINE.as_secs()))?
}

async fn exchange<T: DeserializeOwned>(
    contact: &FirstContact,
    scope: &Scope,
    host: &str,
    (method, path): (http::Method, &str),
    body: Bytes,
) -> Result<T> {
    let stream = contact.dialer.connect_web(&contact.web).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    scope.spawn("web call", async move { drop(connection.await) });
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, host)
        .header(http::header::CONTENT_TYPE, "application/json")
        .header(http::header::USER_AGENT, concat!("msh/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))?;
    let response = sender.send_request(request).await.with_context(|| format!("{host} broke off {path}"))?;
    let status = response.status();
    let bytes = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|e| anyhow::anyhow!("the answer of {host} to {path} broke off: {e}"))?
        .to_bytes();
    if status.is_success() {
        return serde_json::from_slice(&bytes)
            .with_context(|| format!("{host} answered {path} with something else: is it a Moongate?"));
    }
    match serde_json::from_slice::<ErrorBody>(&bytes) {
        Ok(error) => bail!("{}", error.message),
        Err(_) => bail!(
            "{host} answered {path} with HTTP status {status}: is it a Moongate, or a front before one?"
        ),
    }
}
