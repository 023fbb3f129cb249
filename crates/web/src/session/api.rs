//! The published API for a signed-in browser: passed on with that person's certificate, word for word.
//!
//! Only verbs that policy grants to people pass; hosts' and strangers' verbs look like any unknown path. The
//! authority decides each call, as for every other client.

use std::net::IpAddr;
use std::sync::Arc;

use client::CallError;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Either, StreamBody};
use hyper::body::Incoming;
use model::api::{self, Asker, Fault};

use super::guard::{self, Absent, Browser};
use super::{Person, Sessions};
use crate::Web;
use crate::answer::{self, Answer, Keep, Streamed};
use crate::people;

/// A stream of values.
const LINES: &str = "application/x-ndjson";
/// The longest path with its query.
const MAX_QUERY: usize = 8 * 1024;
/// A path of the authority's that is no verb.
const NOBODYS: &str = "/v1/nobodys";

/// Passes a request on and the answer back.
pub(crate) async fn pass(web: &Web, from: IpAddr, request: Request<Incoming>) -> Answer {
    let Browser { person, token, .. } = match guard::whose(web, from, request.headers()) {
        Ok(browser) => browser,
        Err(absent) => return absent.answer(),
    };
    let method = request.method().clone();
    if !guard::from_our_page(&method, request.headers()) {
        return guard::not_ours();
    }
    if method != Method::GET && !guard::is_meant(&person, request.headers()) {
        return answer::fault(Fault::BadRequest, "the page's token is missing or old: load the page again");
    }
    let peoples = is_peoples(&method, request.uri().path());
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    if path.len() > MAX_QUERY {
        return answer::fault(Fault::TooLarge, "the query is too long");
    }
    let (kind, body) = if method == Method::GET {
        (None, bytes::Bytes::new())
    } else {
        match people::json_body(request).await {
            Ok(body) => (Some(HeaderValue::from_static("application/json")), body),
            Err(refusal) => return refusal,
        }
    };
    // What is nobody's costs the same call: how long an answer takes must not tell either.
    let (method, path, kind, body) = if peoples {
        (method, path.as_str(), kind, body)
    } else {
        (Method::GET, NOBODYS, None, bytes::Bytes::new())
    };
    match person.client.forward(method, path, kind, body).await {
        Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
            if let Some(sessions) = web.sessions() {
                sessions.end(&token);
            }
            Absent::Nobody.answer()
        }
        // Not permitted and not there look alike to the last byte: the authority's words would tell them apart.
        Ok(response) if response.status() == StatusCode::NOT_FOUND => answer::not_found(),
        Ok(response) if peoples => back(web, person, response),
        Ok(_) => answer::not_found(),
        Err(CallError::Request(_)) => answer::not_found(),
        Err(error) => answer::failed("a call of the web app", &error),
    }
}

/// The authority's answer with a browser's headers; nothing else of its head is passed on. What would go on for long
/// stops when the browser is locked.
fn back(web: &Web, person: Arc<Person>, response: http::Response<Incoming>) -> Answer {
    let kind = match response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
        Some(b"application/octet-stream") => "application/octet-stream",
        Some(b"application/x-ndjson") => LINES,
        Some(_) | None => "application/json",
    };
    let mut answer = answer::bytes(response.status(), kind, Keep::Never, bytes::Bytes::new());
    *answer.body_mut() = Either::Right(match web.sessions() {
        Some(sessions) if kind == LINES => {
            Either::Right(until_locked(sessions.clone(), person, response.into_body()))
        }
        _ => Either::Left(response.into_body()),
    });
    answer
}

fn until_locked(sessions: Sessions, person: Arc<Person>, body: Incoming) -> Streamed {
    let lines = stream::unfold((sessions, person, body), |(sessions, person, mut body)| async move {
        let frame = tokio::select! {
            biased;
            () = sessions.until_locked(&person) => None,
            frame = body.frame() => frame,
        };
        frame.map(|frame| (frame.map_err(std::io::Error::other), (sessions, person, body)))
    });
    StreamBody::new(Box::pin(lines))
}

/// A verb of people is there.
fn is_peoples(method: &Method, path: &str) -> bool {
    api::endpoints().iter().any(|endpoint| {
        matches!(endpoint.asker, Asker::Granted(..))
            && endpoint.method.as_str() == method.as_str()
            && fits(endpoint.path, path)
    })
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    pattern.split('/').all(|wanted| match parts.next() {
        Some(part) => wanted == part || (wanted.starts_with('{') && !part.is_empty()),
        None => false,
    }) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_verbs_of_people_pass() {
        for (method, path, wanted) in [
            (Method::GET, "/v1/me", true),
            (Method::GET, "/v1/nodes", true),
            (Method::DELETE, "/v1/nodes/abc", true),
            (Method::GET, "/v1/recordings/x/segments/1", true),
            (Method::PUT, "/v1/recordings/x/segments/1", false),
            (Method::POST, "/v1/sign-in", false),
            (Method::POST, "/v1/join", false),
            (Method::GET, "/v1/policy/watch", false),
            (Method::POST, "/v1/events", false),
            (Method::GET, "/v1/users/", false),
            (Method::GET, "/v1/nothing", false),
        ] {
            assert_eq!(is_peoples(&method, path), wanted, "{method} {path}");
        }
    }
}
