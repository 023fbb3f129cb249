//! Terminals over plain HTTP, for pages behind a front that does not pass WebSocket upgrades.
//!
//! A request with the first message in it is answered by a stream of frames; what the page says comes in posts that
//! name the line by a secret the stream began with. Same cookie, same token, same one-time ticket, same frames, same
//! flow control; at most [`MAX_LINES`] a session, each dropped with its stream.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{Either, StreamBody};
use hyper::body::{Frame, Incoming};
use model::Timestamp;
use model::api::Fault;
use serde_json::json;
use tokio::sync::mpsc;

use super::line::{self, Line, Plain};
use super::{Came, frame, serve};
use crate::Web;
use crate::answer::{self, Answer, Keep};
use crate::people;
use crate::session::{Part, Person, guard, lock, token_hash, token_of};
use crate::streams::Streams;

/// Lines of one session.
const MAX_LINES: usize = super::MAX_TERMINALS;
/// Frames out of posts that wait for the terminal; a post waits while there are more.
const WAITING: usize = 64;
/// How long a post may wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pieces of the answer that wait for the connection.
const AHEAD: usize = 2;
/// Names a line in a post.
const LINE: HeaderName = HeaderName::from_static("x-terminal-line");
/// Asks nginx not to gather the stream into its buffers.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The lines of a session, by the hash of their secrets.
#[derive(Default)]
pub(crate) struct Lines(Mutex<BTreeMap<String, mpsc::Sender<Bytes>>>);

impl Part for Lines {
    fn sweep(&self, _now: Timestamp) {
        lock(&self.0).retain(|_, line| !line.is_closed());
    }
}

/// What a front dropped of the last upgrade this session asked for.
#[derive(Default)]
pub(crate) struct Front(Mutex<Option<&'static str>>);

impl Part for Front {
    fn sweep(&self, _now: Timestamp) {}
}

/// Notes what did not arrive of an upgrade.
pub(crate) fn note_front(person: &Person, missing: Option<&'static str>) {
    *lock(&person.parts.get::<Front>().0) = missing;
}

/// Opens a line: the request holds the first message, the answer is the stream.
pub(crate) async fn open(web: &Web, came: Came, request: Request<Incoming>, streams: &Streams) -> Answer {
    if !guard::is_ours(&came.person, &Method::POST, request.headers()) {
        return guard::not_ours();
    }
    let first = match people::json_body(request).await {
        Ok(body) => String::from_utf8_lossy(&body).into_owned(),
        Err(refusal) => return refusal,
    };
    let lines = came.person.parts.get::<Lines>();
    let (to_terminal, heard) = mpsc::channel(WAITING);
    let secret = token_of(&came.person.random);
    {
        let mut lines = lock(&lines.0);
        lines.retain(|_, line| !line.is_closed());
        if lines.len() >= MAX_LINES {
            return answer::fault(Fault::TooMany, "too many terminals are open: close one first");
        }
        lines.insert(token_hash(&secret), to_terminal);
    }
    let missing = *lock(&came.person.parts.get::<Front>().0);
    let (said, pieces) = mpsc::channel(AHEAD);
    let web = web.clone();
    let scope = came.person.scope.clone();
    scope.spawn("terminal line", async move {
        let mut line = Line::Plain(Plain { first: Some(first), heard, said });
        let news = json!({"state": "line", "line": secret, "missing": missing});
        if line.send(frame::news(&news)).await.is_ok() {
            serve(&web, line, came).await;
        }
    });
    streamed(pieces, streams)
}

/// The stream, for as long as the terminal has something to say.
fn streamed(pieces: mpsc::Receiver<Bytes>, streams: &Streams) -> Answer {
    let mut answer = answer::bytes(StatusCode::OK, "application/octet-stream", Keep::Never, Bytes::new());
    answer.headers_mut().insert(BUFFERING, HeaderValue::from_static("no"));
    let state = (pieces, streams.enter());
    let body = stream::unfold(state, |(mut pieces, streaming)| async move {
        let piece = pieces.recv().await?;
        Some((Ok(Frame::data(piece)), (pieces, streaming)))
    });
    *answer.body_mut() = Either::Right(Either::Right(StreamBody::new(Box::pin(body))));
    answer
}

/// Takes what the page says on one of its lines. Done when the terminal has it, so that posts keep their order.
pub(crate) async fn heard(web: &Web, from: IpAddr, request: Request<Incoming>) -> Answer {
    let headers = request.headers();
    let person = match guard::whose_wish(web, from, &Method::POST, headers) {
        Ok(browser) => browser.person,
        Err(answer) => return *answer,
    };
    let bytes = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream");
    if !bytes {
        return guard::not_ours();
    }
    let secret = headers.get(LINE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let line = lock(&person.parts.get::<Lines>().0).get(&token_hash(secret)).cloned();
    let Some(line) = line else { return answer::not_found() };
    let body = match people::body_of(request.into_body()).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let Some(frames) = line::frames(body) else {
        return answer::fault(Fault::BadRequest, "the page sent something that is no frame");
    };
    match tokio::time::timeout(PATIENCE, pass(&line, frames)).await {
        Ok(true) => answer::json(&model::api::Done {}),
        Ok(false) => answer::not_found(),
        Err(_) => answer::fault(Fault::Unavailable, "the terminal does not take what is typed"),
    }
}

/// Hands frames on in order; `false` when the terminal has let go of the line.
async fn pass(line: &mpsc::Sender<Bytes>, frames: Vec<Bytes>) -> bool {
    for frame in frames {
        if line.send(frame).await.is_err() {
            return false;
        }
    }
    true
}
