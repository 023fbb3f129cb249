//! Uploads: pieces into a part file, in order, then its name in one step; what breaks off goes on where it was.
//!
//! An upload has one conversation, in [`Slot`]: whoever works with it takes it out and puts it back, so that nothing
//! is ever written by two. A piece is written by a task of the session, so that a browser that goes away in the
//! middle of one leaves it whole. When the conversation is gone too, [`start`] finds the part file and steps back by
//! what may have been under way; what was so resumed is read once more at the end, so that its hash is known.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use model::Timestamp;
use model::api::Fault;
use serde::Deserialize;
use serde_json::{Value, json};
use ssh::sftp::{Attrs, CHUNK, Start, WINDOW, Writing, is_dir};
use tokio::sync::watch;
use tokio::time::timeout;

use super::asker::{Asker, Whereto};
use super::bounds::{LEFT, MAX_PIECE, MAX_TRANSFERS, STALL};
use super::browse;
use super::part::{is_name, join, may_resume, part_name};
use super::talk::{Talk, within};
use super::trouble::Trouble;
use crate::answer::{self, Answer};
use crate::people;
use crate::session::{Part, Person, Sessions, lock};

/// How long [`finish`] waits before it says that it is still at it: fronts give up after a minute.
const PATIENCE: Duration = Duration::from_secs(20);
/// The mode of a new file; the account's umask takes from it.
const MODE: u32 = 0o666;

/// What a page says of the file it wants to upload.
#[derive(Deserialize)]
struct Ask {
    #[serde(flatten)]
    whereto: Whereto,
    /// Into which directory.
    directory: String,
    name: String,
    size: u64,
    /// When the file was last changed, milliseconds since 1970: a file changed meanwhile is another one.
    #[serde(default)]
    changed: i64,
    /// What has the name already may go.
    #[serde(default)]
    replace: bool,
}

/// The uploads of one session.
#[derive(Default)]
struct Uploads(Mutex<BTreeMap<String, Arc<Upload>>>);

impl Part for Uploads {
    fn sweep(&self, now: Timestamp) {
        lock(&self.0).retain(|_, upload| !upload.is_left(now));
    }
}

/// One file on its way to a node.
struct Upload {
    id: String,
    whereto: Whereto,
    part: Vec<u8>,
    target: Vec<u8>,
    /// The mode of what is replaced.
    replaces: Option<u32>,
    size: u64,
    offset: AtomicU64,
    slot: Mutex<Slot>,
    stage: watch::Sender<Stage>,
    seen: Mutex<Timestamp>,
}

/// Where the conversation is.
enum Slot {
    Ready(Box<Open>),
    Taken,
    Gone,
}

struct Open {
    talk: Talk,
    file: Writing,
    /// Of all that was written; none when some of it was there before.
    hash: Option<digest::Context>,
}

#[derive(Clone, Debug)]
enum Stage {
    Writing,
    Checking,
    Done(String),
    Failed(Trouble),
}

impl Upload {
    fn is_left(&self, now: Timestamp) -> bool {
        let is_taken = matches!(&*lock(&self.slot), Slot::Taken);
        !is_taken && now.since(*lock(&self.seen)) >= LEFT
    }

    fn is_open(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Writing | Stage::Checking)
            && !matches!(&*lock(&self.slot), Slot::Gone)
    }

    /// Takes the conversation out.
    fn take(&self, now: Timestamp) -> Result<Box<Open>, Trouble> {
        *lock(&self.seen) = now;
        let mut slot = lock(&self.slot);
        match std::mem::replace(&mut *slot, Slot::Taken) {
            Slot::Ready(open) => Ok(open),
            Slot::Taken => Err(Trouble::new(Fault::Conflict, "busy", "another piece of it is on its way")),
            Slot::Gone => {
                *slot = Slot::Gone;
                Err(Trouble::gone())
            }
        }
    }

    fn put_back(&self, open: Option<Box<Open>>, now: Timestamp) {
        *lock(&self.seen) = now;
        *lock(&self.slot) = open.map_or(Slot::Gone, Slot::Ready);
    }

    fn told(&self) -> Value {
        let (stage, more) = match &*self.stage.borrow() {
            Stage::Writing => ("writing", Value::Null),
            Stage::Checking => ("checking", Value::Null),
            Stage::Done(sha256) => ("done", sha256.clone().into()),
            Stage::Failed(trouble) => ("failed", json!({"code": trouble.code, "message": trouble.words})),
        };
        let offset = self.offset.load(Ordering::Relaxed);
        let mut told = json!({"upload": self.id, "offset": offset, "size": self.size, "stage": stage});
        if let Value::Object(told) = &mut told {
            match more {
                Value::String(sha256) => {
                    told.insert("sha256".to_owned(), sha256.into());
                }
                Value::Object(why) => told.extend(why),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {}
            }
        }
        told
    }
}

fn find(asker: &Asker<'_>, id: &str) -> Result<Arc<Upload>, Trouble> {
    let uploads = asker.person.parts.get::<Uploads>();
    uploads.sweep(asker.sessions.now());
    lock(&uploads.0).get(id).cloned().ok_or_else(Trouble::gone)
}

/// Begins an upload, or goes on with one.
pub(super) async fn start(asker: &Asker<'_>, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let ask = match people::read::<Ask>(request).await {
        Ok(ask) => ask,
        Err(refusal) => return Ok(refusal),
    };
    if !is_name(&ask.name) {
        return Err(Trouble::bad("that is no name of a file"));
    }
    let directory = browse::checked(&ask.directory)?;
    let uploads = asker.person.parts.get::<Uploads>();
    uploads.sweep(asker.sessions.now());
    let (mut talk, _) = asker.borrow(&ask.whereto).await?;
    let directory = within(talk.sftp.real_path(directory)).await?;
    let mode = within(talk.sftp.stat(&directory)).await?.and_then(|a| a.mode);
    let Some(mode) = mode.filter(|mode| is_dir(*mode)) else {
        return Err(Trouble::new(Fault::NotFound, "missing", "there is no such directory"));
    };
    let mut target = join(&directory, &ask.name);
    let there = within(talk.sftp.stat(&target)).await?;
    if let Some(there) = there {
        if there.mode.is_some_and(is_dir) || !ask.replace {
            asker.give_back(talk);
            return Err(Trouble::new(Fault::Conflict, "exists", "there is something of that name already"));
        }
        // What a link leads to is replaced, not the link.
        target = within(talk.sftp.real_path(&target)).await?;
    }
    let mark = format!("{}\n{}\n{}\n{}", asker.person.user, ask.name, ask.size, ask.changed);
    let part = join(&directory, &part_name(&ask.name, &mark));
    let resumes = may_resume(mode);
    if let Some(known) = known(asker, &ask.whereto, &part, resumes) {
        asker.give_back(talk);
        return known.map(|upload| answer::json(&upload.told()));
    }
    let mark = if resumes { mark } else { crate::session::token_of(&asker.person.random) };
    let part = join(&directory, &part_name(&ask.name, &mark));
    let offset = if resumes { found(&mut talk, &part, ask.size).await? } else { None };
    let begin = offset.map_or(Start::New, Start::At);
    let file = within(talk.sftp.writing(&part, MODE, begin)).await?;
    let offset = offset.unwrap_or(0);
    let hash = (offset == 0).then(|| digest::Context::new(&digest::SHA256));
    let upload = Arc::new(Upload {
        id: HEXLOWER.encode(&asker.person.random.bytes::<8>()),
        whereto: ask.whereto,
        part,
        target,
        replaces: there.map(|a| a.mode.unwrap_or(MODE) & 0o7777),
        size: ask.size,
        offset: AtomicU64::new(offset),
        slot: Mutex::new(Slot::Ready(Box::new(Open { talk, file, hash }))),
        stage: watch::channel(Stage::Writing).0,
        seen: Mutex::new(asker.sessions.now()),
    });
    let mut uploads = lock(&uploads.0);
    if uploads.values().filter(|u| u.is_open()).count() >= MAX_TRANSFERS {
        return Err(Trouble::new(
            Fault::TooMany,
            "many",
            "too many uploads are under way: wait for one to end",
        ));
    }
    uploads.insert(upload.id.clone(), upload.clone());
    Ok(answer::json(&upload.told()))
}

/// An upload of this session that writes the same file.
fn known(
    asker: &Asker<'_>,
    whereto: &Whereto,
    part: &[u8],
    resumes: bool,
) -> Option<Result<Arc<Upload>, Trouble>> {
    if !resumes {
        return None;
    }
    let uploads = asker.person.parts.get::<Uploads>();
    let uploads = lock(&uploads.0);
    let known = uploads.values().find(|u| u.whereto == *whereto && u.part == part && u.is_open())?;
    let is_free = matches!(&*lock(&known.slot), Slot::Ready(_));
    if is_free {
        *lock(&known.seen) = asker.sessions.now();
        return Some(Ok(known.clone()));
    }
    Some(Err(Trouble::new(Fault::Conflict, "busy", "another piece of it is on its way")))
}

/// How much of a part file that is there can be believed.
async fn found(talk: &mut Talk, part: &[u8], size: u64) -> Result<Option<u64>, Trouble> {
    let Some(attrs) = within(talk.sftp.lstat(part)).await? else { return Ok(None) };
    let is_file = attrs.mode.is_none_or(|mode| mode & 0o170_000 == 0o100_000);
    let there = attrs.size.unwrap_or(0);
    if !is_file || there > size {
        within(talk.sftp.remove(part)).await?;
        return Ok(None);
    }
    // A piece may have failed with others behind it already written.
    Ok(Some(there.saturating_sub((CHUNK * WINDOW) as u64)))
}

/// The next piece.
pub(super) async fn piece(
    asker: &Asker<'_>,
    id: &str,
    offset: u64,
    request: Request<Incoming>,
) -> Result<Answer, Trouble> {
    let upload = find(asker, id)?;
    let length = request.body().size_hint().exact();
    if length.is_none_or(|length| length > MAX_PIECE || length > upload.size.saturating_sub(offset)) {
        return Err(Trouble::new(Fault::TooLarge, "piece", "the piece is too large, or its length unknown"));
    }
    let mut open = upload.take(asker.sessions.now())?;
    if open.file.offset() != offset {
        upload.put_back(Some(open), asker.sessions.now());
        return Err(Trouble::new(Fault::Conflict, "offset", "the upload goes on somewhere else"));
    }
    let (sessions, person) = (asker.sessions.clone(), asker.person.clone());
    let written = asker.person.scope.spawn("upload piece", async move {
        let outcome = write(&mut open, &upload, request.into_body(), (&person, &sessions)).await;
        // After a refusal by the node, what was behind it may be there or not: only a new start can tell.
        let open = (!matches!(outcome, Err(Stopped::Node(_)))).then_some(open);
        upload.put_back(open, sessions.now());
        match outcome {
            Ok(()) => Ok(upload),
            Err(Stopped::Node(trouble) | Stopped::Page(trouble)) => Err(trouble),
        }
    });
    match written.await {
        Ok(Some(outcome)) => outcome.map(|upload| answer::json(&upload.told())),
        Ok(None) | Err(_) => Err(Trouble::gone()),
    }
}

/// Who ended a piece early.
enum Stopped {
    Node(Trouble),
    Page(Trouble),
}

async fn write(
    open: &mut Open,
    upload: &Upload,
    mut body: Incoming,
    (person, sessions): (&Person, &Sessions),
) -> Result<(), Stopped> {
    let in_time = |outcome: Result<Result<(), ssh::sftp::Error>, _>| match outcome {
        Ok(done) => done.map_err(|e| Stopped::Node(e.into())),
        Err(_) => Err(Stopped::Node(Trouble::late())),
    };
    let broke = || Trouble::new(Fault::BadRequest, "broke", "the piece broke off");
    let outcome = loop {
        let frame = match timeout(STALL, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break Ok(()),
            Ok(Some(Err(_))) | Err(_) => break Err(Stopped::Page(broke())),
        };
        let Ok(data) = frame.into_data() else { continue };
        in_time(timeout(STALL, open.talk.sftp.write(&mut open.file, &data)).await)?;
        if let Some(hash) = &mut open.hash {
            hash.update(&data);
        }
        upload.offset.store(open.file.offset(), Ordering::Relaxed);
        person.idle.note_busy(sessions.now());
    };
    in_time(timeout(STALL, open.talk.sftp.settle(&mut open.file)).await)?;
    outcome
}

/// How far it is.
pub(super) fn state(asker: &Asker<'_>, id: &str) -> Result<Answer, Trouble> {
    Ok(answer::json(&find(asker, id)?.told()))
}

/// Gives the file its name once all of it is there.
pub(super) async fn finish(asker: &Asker<'_>, id: &str) -> Result<Answer, Trouble> {
    let upload = find(asker, id)?;
    let mut stage = upload.stage.subscribe();
    if matches!(*stage.borrow(), Stage::Writing) {
        let open = upload.take(asker.sessions.now())?;
        if open.file.offset() != upload.size {
            upload.put_back(Some(open), asker.sessions.now());
            return Err(Trouble::new(Fault::Conflict, "offset", "not all of the file has come"));
        }
        upload.stage.send_replace(Stage::Checking);
        let (upload, sessions) = (upload.clone(), asker.sessions.clone());
        let person = asker.person.clone();
        asker.person.scope.spawn("upload finish", async move {
            let outcome = settle(*open, &upload, (&person, &sessions)).await;
            upload.put_back(None, sessions.now());
            upload.stage.send_replace(match outcome {
                Ok(sha256) => Stage::Done(sha256),
                Err(trouble) => Stage::Failed(trouble),
            });
        });
    }
    let _ = timeout(PATIENCE, stage.wait_for(|s| matches!(s, Stage::Done(_) | Stage::Failed(_)))).await;
    Ok(answer::json(&upload.told()))
}

/// Closes the part file, makes sure of its hash, and renames it. Gives the hash.
async fn settle(
    open: Open,
    upload: &Upload,
    (person, sessions): (&Person, &Sessions),
) -> Result<String, Trouble> {
    let Open { mut talk, file, hash } = open;
    within(talk.sftp.finish(file)).await?;
    let hash = match hash {
        Some(hash) => hash,
        None => read_again(&mut talk, upload, (person, sessions)).await?,
    };
    if let Some(mode) = upload.replaces {
        let attrs = Attrs { mode: Some(mode), ..Attrs::default() };
        within(talk.sftp.set(&upload.part, attrs)).await?;
        within(talk.sftp.replace(&upload.part, &upload.target)).await?;
    } else {
        within(talk.sftp.rename(&upload.part, &upload.target)).await?;
    }
    Ok(HEXLOWER.encode(hash.finish().as_ref()))
}

async fn read_again(
    talk: &mut Talk,
    upload: &Upload,
    (person, sessions): (&Person, &Sessions),
) -> Result<digest::Context, Trouble> {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut file = within(talk.sftp.reading(&upload.part)).await?;
    let mut read = 0;
    while let Some(piece) = timeout(STALL, talk.sftp.next(&mut file)).await.map_err(|_| Trouble::late())?? {
        hash.update(&piece);
        read += piece.len() as u64;
        person.idle.note_busy(sessions.now());
    }
    if read == upload.size {
        return Ok(hash);
    }
    Err(Trouble::new(Fault::Conflict, "changed", "the part file is not what was sent: upload it again"))
}

/// Gives an upload up and removes its part file.
pub(super) async fn cancel(asker: &Asker<'_>, id: &str) -> Result<Answer, Trouble> {
    let upload = find(asker, id)?;
    let is_writing = matches!(*upload.stage.borrow(), Stage::Writing);
    if is_writing {
        match upload.take(asker.sessions.now()) {
            Ok(open) => {
                let Open { mut talk, file, .. } = *open;
                upload.put_back(None, asker.sessions.now());
                within(talk.sftp.finish(file)).await?;
                within(talk.sftp.remove(&upload.part)).await?;
            }
            Err(trouble) if trouble.code == "busy" => return Err(trouble),
            // Its conversation is gone: what it left can be resumed or removed by hand.
            Err(_) => {}
        }
    }
    lock(&asker.person.parts.get::<Uploads>().0).remove(id);
    Ok(answer::json(&model::api::Done {}))
}
