//! Calls: one verb out, one answer or a stream of items back.
//!
//! Every wait has a deadline and every answer a bound ([`MAX_ANSWER`], [`MAX_SEGMENT`], [`MAX_ITEM`]).

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use model::SessionId;
use model::api::recordings::{GetSegment, PutSegment, SegmentReceipt};
use model::api::{Call, ErrorBody, Fault};
use runtime::{Random, Scope};

use crate::connect::Connect;
use crate::error::CallError;
use crate::link::Link;
use crate::request;

/// How long a call may take unless the caller says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// The authority sends a heartbeat on a quiet stream at least this often.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// A stream quiet for this long is dead.
pub const SILENCE: Duration = Duration::from_secs(35);
/// The longest JSON answer.
pub const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// The longest segment.
pub const MAX_SEGMENT: usize = 16 * 1024 * 1024;
/// The longest item of a stream.
pub const MAX_ITEM: usize = 16 * 1024 * 1024;

/// Calls the authority. Cheap to clone; clones share one connection.
#[derive(Clone)]
pub struct Client(Arc<Link>);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// A client over `connect`; its connections live in `scope`. Nothing is dialed before the first call.
    #[must_use]
    pub fn new(connect: Arc<dyn Connect>, scope: &Scope, random: Random) -> Self {
        Self(Arc::new(Link::new(connect, scope.clone(), random)))
    }

    /// Calls `verb` and waits up to [`DEADLINE`] for its answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<V: Call>(&self, verb: &V) -> Result<V::Response, CallError> {
        self.call_within(verb, DEADLINE).await
    }

    /// Calls `verb` with a deadline of the caller's.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call_within<V: Call>(&self, verb: &V, deadline: Duration) -> Result<V::Response, CallError> {
        let request = request::write(verb, None)?;
        let answer = within(deadline, async {
            let response = self.0.send(request).await?;
            body_of(response, MAX_ANSWER).await
        })
        .await?;
        parse(&answer)
    }

    /// Opens a stream. The caller resumes a broken one by calling again with where it got to.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn stream<V: Call>(&self, verb: &V) -> Result<Items<V::Response>, CallError> {
        let request = request::write(verb, None)?;
        let response = within(DEADLINE, self.0.send(request)).await?;
        if !response.status().is_success() {
            return Err(within(DEADLINE, refusal(response)).await.err().unwrap_or_else(no_reason));
        }
        Ok(Items { body: response.into_body(), lines: Lines::default(), ended: false, item: PhantomData })
    }

    /// Uploads one sealed segment; the receipt says that it is verified and durable.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn put_segment(
        &self,
        id: &SessionId,
        n: u64,
        bytes: Bytes,
    ) -> Result<SegmentReceipt, CallError> {
        let request = request::write(&PutSegment { id: id.clone(), n }, Some(bytes))?;
        let answer = within(DEADLINE, async {
            let response = self.0.send(request).await?;
            body_of(response, MAX_ANSWER).await
        })
        .await?;
        parse(&answer)
    }

    /// Reads one segment's bytes as sealed.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn get_segment(&self, id: &SessionId, n: u64) -> Result<Bytes, CallError> {
        let request = request::write(&GetSegment { id: id.clone(), n }, None)?;
        within(DEADLINE, async {
            let response = self.0.send(request).await?;
            body_of(response, MAX_SEGMENT).await
        })
        .await
    }

    /// Passes a request on as it is, and the answer back as it comes: for a front that adds nothing. `path` begins
    /// with `/` and may have a query.
    ///
    /// # Errors
    /// See [`CallError`]; a refusal of the authority is an answer, not an error.
    pub async fn forward(
        &self,
        method: http::Method,
        path: &str,
        kind: Option<HeaderValue>,
        body: Bytes,
    ) -> Result<Response<Incoming>, CallError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", crate::tls::AUTH_NAME))
            .body(Full::new(body))
            .map_err(|e| CallError::Request(e.to_string()))?;
        if let Some(kind) = kind {
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        within(DEADLINE, self.0.send(request)).await
    }

    /// Counts the connections that have ended or were let go of: who must be heard again then, watches this.
    #[must_use]
    pub fn lost(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.lost()
    }

    /// Lets go of the connection, so that the next call dials with the keyring's present material.
    pub async fn hang_up(&self) {
        self.0.hang_up().await;
    }
}

/// The items of an open stream.
pub struct Items<T> {
    body: Incoming,
    lines: Lines,
    ended: bool,
    item: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Items")
    }
}

impl<T: serde::de::DeserializeOwned> Items<T> {
    /// The next item; `None` when the authority ended the stream. Cancel safe.
    ///
    /// # Errors
    /// The stream broke, was silent for [`SILENCE`], or sent something that is no item.
    pub async fn next(&mut self) -> Result<Option<T>, CallError> {
        loop {
            while let Some(line) = self.lines.next() {
                if !line.is_empty() {
                    return parse(&line).map(Some);
                }
            }
            if self.ended {
                return Ok(None);
            }
            if self.lines.pending.len() > MAX_ITEM {
                return Err(CallError::Malformed("an item of the stream is too long".into()));
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame())
                .await
                .map_err(|_| CallError::Late(SILENCE))?;
            match frame {
                None => self.ended = true,
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.lines.pending.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(CallError::Broken(runtime::causes(&error))),
            }
        }
    }
}

/// Cuts what arrives into lines. Each byte is looked at once, however long the line and however small the pieces.
#[derive(Default)]
struct Lines {
    pending: BytesMut,
    /// So much of `pending` is known to hold no end of a line.
    searched: usize,
}

impl Lines {
    fn next(&mut self) -> Option<BytesMut> {
        let unsearched = self.pending.get(self.searched..).unwrap_or_default();
        let Some(at) = unsearched.iter().position(|b| *b == b'\n') else {
            self.searched = self.pending.len();
            return None;
        };
        let end = self.searched + at;
        self.searched = 0;
        let mut line = self.pending.split_to(end + 1);
        line.truncate(end);
        Some(line)
    }
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::time::timeout(deadline, work).await.unwrap_or(Err(CallError::Late(deadline)))
}

async fn body_of(response: Response<Incoming>, max: usize) -> Result<Bytes, CallError> {
    if !response.status().is_success() {
        return refusal(response).await;
    }
    collect(response, max).await
}

async fn collect(response: Response<Incoming>, max: usize) -> Result<Bytes, CallError> {
    Limited::new(response.into_body(), max)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|e| CallError::Broken(e.to_string()))
}

async fn refusal(response: Response<Incoming>) -> Result<Bytes, CallError> {
    let status = response.status();
    let body = collect(response, MAX_ANSWER).await?;
    let error = serde_json::from_slice::<ErrorBody>(&body).unwrap_or_else(|_| ErrorBody {
        fault: if status == StatusCode::NOT_FOUND { Fault::NotFound } else { Fault::Internal },
        message: format!("the authority answered {status}"),
        until: None,
    });
    Err(CallError::Refused { fault: error.fault, message: error.message, until: error.until })
}

fn no_reason() -> CallError {
    CallError::Malformed("a refusal without a reason".into())
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(bytes).map_err(|e| CallError::Malformed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_wherever_they_arrive_in_pieces() {
        let text = "a long first line\n\nthird\nnot yet ended";
        for piece in 1..text.len() {
            let (mut lines, mut got) = (Lines::default(), Vec::new());
            for bytes in text.as_bytes().chunks(piece) {
                lines.pending.extend_from_slice(bytes);
                while let Some(line) = lines.next() {
                    got.push(String::from_utf8(line.to_vec()).unwrap());
                }
                assert_eq!(lines.searched, lines.pending.len(), "nothing is looked at twice");
            }

            assert_eq!(got, ["a long first line", "", "third"]);
            assert_eq!(lines.pending, "not yet ended");
        }
    }
}
