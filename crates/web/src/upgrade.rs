//! The way in through fronts that end TLS: a WebSocket whose frames carry every other route.
//!
//! Only answers the handshake (RFC 6455 section 4.2). What a front in between broke is named, because "disconnected"
//! helps nobody.

use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{Either, Full};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::answer::{self, Answer};

/// The subprotocol our dialers ask for.
const SUBPROTOCOL: &str = "moongate";

/// Answers the handshake: `101`, or what is missing.
pub(crate) fn answer<B>(request: &Request<B>) -> Answer {
    match accept(request) {
        Ok(key) => switching(request.headers(), &key),
        Err(missing) => answer::upgrade_required(&format!(
            "this path takes WebSocket upgrades only, and {}. If nginx stands in front: proxy_http_version \
             1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";",
            missing.why
        )),
    }
}

/// What did not arrive: a word, and a sentence.
struct Missing {
    word: &'static str,
    why: &'static str,
}

/// What a front dropped of an upgrade, as a word for pages to translate; `None` when it arrived whole.
pub(crate) fn missing<B>(request: &Request<B>) -> Option<&'static str> {
    accept(request).err().map(|missing| missing.word)
}

fn accept<B>(request: &Request<B>) -> Result<String, Missing> {
    let headers = request.headers();
    if request.version() < Version::HTTP_11 {
        return Err(Missing { word: "http10", why: "the request came as HTTP/1.0, which knows no upgrades" });
    }
    if !has_word(headers, &UPGRADE, "websocket") {
        return Err(Missing { word: "upgrade", why: "the header `Upgrade: websocket` did not arrive" });
    }
    if !has_word(headers, &CONNECTION, "upgrade") {
        return Err(Missing { word: "connection", why: "the header `Connection: Upgrade` did not arrive" });
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|v| v != "13") {
        return Err(Missing {
            word: "version",
            why: "the header `Sec-WebSocket-Version: 13` did not arrive",
        });
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .ok_or(Missing { word: "key", why: "the header `Sec-WebSocket-Key` did not arrive" })?;
    Ok(derive_accept_key(key.as_bytes()))
}

fn switching(headers: &HeaderMap, key: &str) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::new())));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let out = answer.headers_mut();
    out.insert(UPGRADE, HeaderValue::from_static("websocket"));
    out.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(key) = HeaderValue::from_str(key) {
        out.insert(SEC_WEBSOCKET_ACCEPT, key);
    }
    if has_word(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        out.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    answer
}

/// True when a comma-separated header has the word, in any case.
fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(word))
}
