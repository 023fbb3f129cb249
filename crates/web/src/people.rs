//! What people may ask before they are known: signing in, and the links that let them set a password.
//!
//! Each is one verb of the API, passed on with the address the person came from, which the authority believes of a
//! proxy. Rate limits, equal costs and lock-outs are the authority's.

use std::net::IpAddr;

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HeaderMap};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use model::api::access::{AcceptInvite, GetInvite, SignIn};
use model::api::cluster::GetTrust;
use model::api::passkeys::BeginPasskeySignIn;
use model::api::{Call, Fault};
use serde::de::DeserializeOwned;

use crate::answer::{self, Answer};
use crate::{BODY_DEADLINE, MAX_BODY, Web};

/// The cluster's authorities.
pub(crate) async fn trust(web: &Web) -> Answer {
    pass_on(web, "trust", &GetTrust {}).await
}

/// Password and code in, certificates out.
pub(crate) async fn sign_in(web: &Web, from: IpAddr, request: Request<Incoming>) -> Answer {
    match read::<SignIn>(request).await {
        Ok(ask) => pass_on(web, "sign-in", &SignIn { client_addr: Some(from), ..ask }).await,
        Err(refusal) => refusal,
    }
}

/// A challenge to sign in with a passkey.
pub(crate) async fn begin_passkey(web: &Web, from: IpAddr) -> Answer {
    pass_on(web, "passkey challenge", &BeginPasskeySignIn { client_addr: Some(from) }).await
}

/// What a link is for.
pub(crate) async fn invite(web: &Web, request: Request<Incoming>) -> Answer {
    match read::<GetInvite>(request).await {
        Ok(ask) => pass_on(web, "invite", &ask).await,
        Err(refusal) => refusal,
    }
}

/// Uses a link.
pub(crate) async fn accept_invite(web: &Web, from: IpAddr, request: Request<Incoming>) -> Answer {
    match read::<AcceptInvite>(request).await {
        Ok(ask) => pass_on(web, "invite accept", &AcceptInvite { client_addr: Some(from), ..ask }).await,
        Err(refusal) => refusal,
    }
}

async fn pass_on<V: Call>(web: &Web, what: &'static str, ask: &V) -> Answer {
    match web.client().call(ask).await {
        Ok(answer) => answer::json(&answer),
        Err(error) => answer::failed(what, &error),
    }
}

/// Reads a JSON body. Its type must be said: other sites' forms cannot say it, so they cannot post here.
pub(crate) async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Answer> {
    let body = json_body(request).await?;
    serde_json::from_slice(&body)
        // The parser's own words may repeat what was sent.
        .map_err(|_| answer::fault(Fault::BadRequest, "the body is not what this path takes"))
}

/// The bytes of a body that says it is JSON.
pub(crate) async fn json_body(request: Request<Incoming>) -> Result<Bytes, Answer> {
    if !is_json(request.headers()) {
        return Err(answer::fault(Fault::BadRequest, "the body must be application/json"));
    }
    body_of(request.into_body()).await
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(CONTENT_TYPE).map(|v| v.to_str()) else { return false };
    kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case("application/json"))
}

/// The bytes of a body, of at most [`MAX_BODY`].
pub(crate) async fn body_of(body: Incoming) -> Result<Bytes, Answer> {
    match tokio::time::timeout(BODY_DEADLINE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(answer::fault(Fault::TooLarge, "the body is too large"))
        }
        Ok(Err(_)) => Err(answer::fault(Fault::BadRequest, "the body broke off")),
        Err(_) => Err(answer::fault(Fault::BadRequest, "the body did not arrive in time")),
    }
}
