//! Answers: JSON, pages and files, each with the headers that keep a browser careful.

use std::pin::Pin;

use bytes::Bytes;
use client::CallError;
use futures_util::Stream;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use model::api::{ErrorBody, Fault};
use serde::Serialize;

/// Every answer: bytes of ours, the authority's as they come, or a file's.
pub(crate) type Answer = Response<Body>;
/// What answers carry.
pub(crate) type Body = Either<Full<Bytes>, Either<Incoming, Streamed>>;
/// Bytes that are made while they are sent.
pub(crate) type Streamed = StreamBody<Pin<Box<dyn Stream<Item = std::io::Result<Frame<Bytes>>> + Send>>>;

/// Everything from here, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src \
                      'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
/// The same for the browser app, which also brings its fonts and workers.
const APP_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                          connect-src 'self'; font-src 'self'; worker-src 'self'; manifest-src 'self'; \
                          frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// How long a browser may keep something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Not at all: it is about somebody, or may change at once.
    Never,
    /// An hour: it changes with the program only.
    Hour,
}

/// Bytes of a type.
pub(crate) fn bytes(status: StatusCode, kind: &'static str, keep: Keep, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let keep = match keep {
        Keep::Never => "no-store",
        Keep::Hour => "max-age=3600",
    };
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, keep),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // The secret of a link is in its page's address.
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// A file of the browser app.
pub(crate) fn app(kind: &'static str, keep: Keep, body: Bytes) -> Answer {
    let mut answer = bytes(StatusCode::OK, kind, keep, body);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(APP_POLICY));
    answer
}

/// A value as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(StatusCode::OK, "application/json", Keep::Never, body),
        Err(_) => fault(Fault::Internal, "the answer could not be written"),
    }
}

/// A refusal.
pub(crate) fn fault(fault: Fault, message: &str) -> Answer {
    let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    refusal(status, &ErrorBody { fault, message: message.to_owned(), until: None })
}

/// A refusal with a word by which pages choose their own.
pub(crate) fn coded(fault: Fault, code: &'static str, message: &str) -> Answer {
    let mut answer = self::fault(fault, message);
    let body = serde_json::json!({"fault": fault, "message": message, "code": code});
    *answer.body_mut() = Either::Left(Full::new(body.to_string().into()));
    answer
}

fn refusal(status: StatusCode, body: &ErrorBody) -> Answer {
    let body = serde_json::to_vec(body).unwrap_or_default();
    bytes(status, "application/json", Keep::Never, body)
}

/// There is nothing, or not for you: always the same.
pub(crate) fn not_found() -> Answer {
    fault(Fault::NotFound, "not found")
}

/// The front in between must be set up differently.
pub(crate) fn upgrade_required(message: &str) -> Answer {
    let mut answer = fault(Fault::BadRequest, message);
    *answer.status_mut() = StatusCode::UPGRADE_REQUIRED;
    let headers = answer.headers_mut();
    headers.insert(http::header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer
}

/// What became of a call to the authority, for the person who asked. Its refusals are passed on word for word; what
/// else went wrong is ours to log and not theirs to read.
pub(crate) fn failed(what: &'static str, error: &CallError) -> Answer {
    match error {
        CallError::Refused { fault: said, message, until } => {
            let status = StatusCode::from_u16(said.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            refusal(status, &ErrorBody { fault: *said, message: message.clone(), until: *until })
        }
        CallError::Unreachable(_)
        | CallError::Broken(_)
        | CallError::Late(_)
        | CallError::Malformed(_)
        | CallError::Request(_)
        | CallError::Local(_) => {
            tracing::warn!(what, error = %runtime::causes(error), "the authority did not answer");
            fault(Fault::Unavailable, "the gate cannot reach its authority now: try again in a moment")
        }
    }
}
