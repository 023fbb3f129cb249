//! Downloads: a ticket first, so that what is wrong is said on the page; then a plain answer the browser saves itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{Either, StreamBody};
use hyper::body::{Frame, Incoming};
use model::Timestamp;
use model::api::Fault;
use serde::Deserialize;
use serde_json::{Value, json};
use ssh::sftp::{Reading, is_dir};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::asker::{Asker, Whereto};
use super::bounds::{LEFT, MAX_TRANSFERS, STALL, TICKET};
use super::browse::checked;
use super::talk::{Talk, within};
use super::trouble::Trouble;
use crate::answer::{self, Answer, Keep};
use crate::people;
use crate::session::{Part, Person, Sessions, lock, token_hash, token_of};
use crate::streams::{Streaming, Streams};

/// One file on its way to the browser.
struct Download {
    id: String,
    whereto: Whereto,
    name: String,
    size: u64,
    sent: AtomicU64,
    stop: CancellationToken,
    phase: Mutex<Phase>,
}

enum Phase {
    /// The ticket's hash and end, and the open file.
    Waiting(String, Timestamp, Box<(Talk, Reading)>),
    Running,
    Done {
        sha256: String,
        at: Timestamp,
    },
    Failed {
        trouble: Trouble,
        at: Timestamp,
    },
}

#[derive(Deserialize)]
struct Ask {
    #[serde(flatten)]
    whereto: Whereto,
    path: String,
}

/// The downloads of one session.
#[derive(Default)]
struct Downloads(Mutex<BTreeMap<String, Arc<Download>>>);

impl Part for Downloads {
    fn sweep(&self, now: Timestamp) {
        lock(&self.0).retain(|_, download| !download.is_left(now));
    }
}

impl Download {
    fn is_left(&self, now: Timestamp) -> bool {
        match &*lock(&self.phase) {
            Phase::Waiting(_, until, _) => *until <= now,
            Phase::Running => false,
            Phase::Done { at, .. } | Phase::Failed { at, .. } => now.since(*at) >= LEFT,
        }
    }

    fn is_open(&self) -> bool {
        matches!(&*lock(&self.phase), Phase::Waiting(..) | Phase::Running)
    }

    fn told(&self) -> Value {
        let mut told = json!({
            "id": self.id,
            "node": self.whereto.node,
            "login": self.whereto.login,
            "name": self.name,
            "size": self.size,
            "sent": self.sent.load(Ordering::Relaxed),
        });
        let (state, more) = match &*lock(&self.phase) {
            Phase::Waiting(..) => ("waiting", Value::Null),
            Phase::Running => ("running", Value::Null),
            Phase::Done { sha256, .. } => ("done", json!({"sha256": sha256})),
            Phase::Failed { trouble, .. } => {
                ("failed", json!({"code": trouble.code, "message": trouble.words}))
            }
        };
        if let Value::Object(told) = &mut told {
            told.insert("state".to_owned(), state.into());
            if let Value::Object(more) = more {
                told.extend(more);
            }
        }
        told
    }

    /// Ends it, unless it has ended.
    fn fail(&self, trouble: Trouble, at: Timestamp) {
        let mut phase = lock(&self.phase);
        if matches!(*phase, Phase::Waiting(..) | Phase::Running) {
            *phase = Phase::Failed { trouble, at };
        }
    }
}

/// Opens a file and makes a ticket for it.
pub(super) async fn ticket(asker: &Asker<'_>, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let ask = match people::read::<Ask>(request).await {
        Ok(ask) => ask,
        Err(refusal) => return Ok(refusal),
    };
    let path = checked(&ask.path)?;
    let now = asker.sessions.now();
    let downloads = asker.person.parts.get::<Downloads>();
    downloads.sweep(now);
    room(&lock(&downloads.0))?;
    let mut talk = asker.open(&ask.whereto).await?;
    let attrs = within(talk.sftp.stat(path)).await?.ok_or(ssh::sftp::Error::NotFound)?;
    if attrs.mode.is_some_and(is_dir) {
        return Err(Trouble::new(Fault::BadRequest, "directory", "that is a directory"));
    }
    let reading = within(talk.sftp.reading(path)).await?;
    let ticket = token_of(&asker.person.random);
    let download = Arc::new(Download {
        id: HEXLOWER.encode(&asker.person.random.bytes::<8>()),
        whereto: ask.whereto,
        name: ask.path.rsplit('/').next().unwrap_or_default().to_owned(),
        size: attrs.size.unwrap_or(0),
        sent: AtomicU64::new(0),
        stop: asker.person.scope.token().child_token(),
        phase: Mutex::new(Phase::Waiting(token_hash(&ticket), now + TICKET, Box::new((talk, reading)))),
    });
    let told = json!({"ticket": ticket, "download": download.told()});
    let mut downloads = lock(&downloads.0);
    room(&downloads)?;
    downloads.insert(download.id.clone(), download);
    Ok(answer::json(&told))
}

fn room(downloads: &BTreeMap<String, Arc<Download>>) -> Result<(), Trouble> {
    let open = downloads.values().filter(|d| d.is_open()).count();
    if open < MAX_TRANSFERS {
        return Ok(());
    }
    Err(Trouble::new(Fault::TooMany, "many", "too many downloads are under way: wait for one to end"))
}

/// How far downloads are.
pub(super) fn list(asker: &Asker<'_>) -> Answer {
    let downloads = asker.person.parts.get::<Downloads>();
    downloads.sweep(asker.sessions.now());
    let items: Vec<Value> = lock(&downloads.0).values().map(|d| d.told()).collect();
    answer::json(&json!({"items": items}))
}

/// Ends a download.
pub(super) fn stop(asker: &Asker<'_>, id: &str) -> Result<Answer, Trouble> {
    let downloads = asker.person.parts.get::<Downloads>();
    let download = lock(&downloads.0).remove(id).ok_or_else(Trouble::gone)?;
    download.fail(stopped(), asker.sessions.now());
    download.stop.cancel();
    Ok(answer::json(&model::api::Done {}))
}

fn stopped() -> Trouble {
    Trouble::new(Fault::BadRequest, "stopped", "the download was stopped")
}

/// The file itself. A ticket is good once.
pub(super) fn fetch(asker: &Asker<'_>, ticket: &str, streams: &Streams) -> Result<Answer, Trouble> {
    let now = asker.sessions.now();
    let downloads = asker.person.parts.get::<Downloads>();
    let (download, talk, reading) = redeem(&lock(&downloads.0), ticket, now).ok_or_else(Trouble::gone)?;
    let size = download.size;
    let mut answer = answer::bytes(StatusCode::OK, "application/octet-stream", Keep::Never, Bytes::new());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_LENGTH, size.into());
    if let Ok(value) = HeaderValue::from_str(&disposition(&download.name)) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    let pull = Pull {
        talk,
        reading,
        hash: digest::Context::new(&digest::SHA256),
        left: size,
        download,
        person: asker.person.clone(),
        sessions: asker.sessions.clone(),
        _streaming: streams.enter(),
    };
    let pieces = stream::unfold(pull, |mut pull| async move {
        let piece = pull.next().await?;
        Some((piece.map(Frame::data), pull))
    });
    *answer.body_mut() = Either::Right(Either::Right(StreamBody::new(Box::pin(pieces))));
    Ok(answer)
}

fn redeem(
    downloads: &BTreeMap<String, Arc<Download>>,
    ticket: &str,
    now: Timestamp,
) -> Option<(Arc<Download>, Talk, Reading)> {
    let hash = token_hash(ticket);
    downloads.values().find_map(|download| {
        let mut phase = lock(&download.phase);
        if !matches!(&*phase, Phase::Waiting(known, until, _) if *known == hash && *until > now) {
            return None;
        }
        match std::mem::replace(&mut *phase, Phase::Running) {
            Phase::Waiting(_, _, open) => Some((download.clone(), open.0, open.1)),
            Phase::Running | Phase::Done { .. } | Phase::Failed { .. } => None,
        }
    })
}

/// A file being read as fast as the browser takes it.
struct Pull {
    talk: Talk,
    reading: Reading,
    hash: digest::Context,
    left: u64,
    download: Arc<Download>,
    person: Arc<Person>,
    sessions: Sessions,
    _streaming: Streaming,
}

impl Drop for Pull {
    fn drop(&mut self) {
        if self.left > 0 {
            self.download.fail(stopped(), self.sessions.now());
        } else {
            self.done();
        }
    }
}

impl Pull {
    /// The next piece; `None` when all of it went.
    async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        if self.left == 0 {
            return None;
        }
        let outcome = tokio::select! {
            biased;
            () = self.download.stop.cancelled() => Err(stopped()),
            read = timeout(STALL, self.talk.sftp.next(&mut self.reading)) => match read {
                Ok(read) => read.map_err(Trouble::from),
                Err(_) => Err(Trouble::late()),
            },
        };
        match outcome {
            Ok(Some(mut piece)) => {
                // A file that grows is sent as long as it was.
                piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.hash.update(&piece);
                self.left -= piece.len() as u64;
                self.download.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                self.person.idle.note_busy(self.sessions.now());
                Some(Ok(piece.into()))
            }
            Ok(None) => Some(self.broken(Trouble::new(
                Fault::Conflict,
                "changed",
                "the file became shorter meanwhile",
            ))),
            Err(trouble) => Some(self.broken(trouble)),
        }
    }

    /// Breaks the answer off: the browser sees that it is not whole.
    fn broken(&mut self, trouble: Trouble) -> std::io::Result<Bytes> {
        let words = trouble.words.clone();
        self.download.fail(trouble, self.sessions.now());
        Err(std::io::Error::other(words))
    }

    fn done(&self) {
        let mut phase = lock(&self.download.phase);
        if matches!(*phase, Phase::Running) {
            let sha256 = HEXLOWER.encode(self.hash.clone().finish().as_ref());
            *phase = Phase::Done { sha256, at: self.sessions.now() };
        }
    }
}

/// `attachment` with the name in both forms of RFC 6266 section 4.
fn disposition(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._- ".contains(c) { c } else { '_' }).collect();
    let mut coded = String::with_capacity(name.len() * 3);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            coded.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            let _ = write!(coded, "%{byte:02X}");
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{coded}")
}

#[cfg(test)]
mod tests {
    use super::disposition;

    #[test]
    fn a_name_cannot_leave_its_header() {
        assert_eq!(disposition("a b.txt"), "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt");
        assert_eq!(
            disposition("权\"\r\n;x"),
            "attachment; filename=\"_____x\"; filename*=UTF-8''%E6%9D%83%22%0D%0A%3Bx"
        );
    }
}
