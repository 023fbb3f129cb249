//! Looking at directories, and small changes: a new directory, another name, a removal.

use http::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use ssh::sftp::{Entry, is_dir};

use super::asker::{Asker, Whereto};
use super::bounds::MAX_NAMES;
use super::talk::{Talk, within};
use super::trouble::Trouble;
use crate::answer::{self, Answer};
use crate::people;

/// The longest path, in bytes.
const MAX_PATH: usize = 4096;
/// The mode asked for a new directory; the account's umask takes from it.
const DIRECTORY: u32 = 0o777;

#[derive(Deserialize)]
struct List {
    #[serde(flatten)]
    whereto: Whereto,
    path: String,
}

#[derive(Deserialize)]
struct Change {
    #[serde(flatten)]
    whereto: Whereto,
    path: String,
    #[serde(flatten)]
    act: Act,
}

#[derive(Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
enum Act {
    Mkdir,
    Rename { to: String },
    Remove,
}

/// A path as it may be asked for; empty is where the account starts.
pub(super) fn checked(path: &str) -> Result<&[u8], Trouble> {
    match path {
        "" => Ok(b"."),
        path if path.len() <= MAX_PATH && !path.contains('\0') => Ok(path.as_bytes()),
        _ => Err(Trouble::bad("the path is too long, or no path")),
    }
}

/// What is in a directory.
pub(super) async fn list(asker: &Asker<'_>, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let ask = match people::read::<List>(request).await {
        Ok(ask) => ask,
        Err(refusal) => return Ok(refusal),
    };
    let path = checked(&ask.path)?;
    let (mut talk, kept) = asker.borrow(&ask.whereto).await?;
    let mut outcome = look(&mut talk, path).await;
    // One that was kept may have ended meanwhile.
    if kept && outcome.as_ref().is_err_and(|t| t.code == "lost") {
        talk = asker.open(&ask.whereto).await?;
        outcome = look(&mut talk, path).await;
    }
    settle(asker, talk, outcome).map(|told| answer::json(&told))
}

/// Keeps the conversation unless it broke.
fn settle<T>(asker: &Asker<'_>, talk: Talk, outcome: Result<T, Trouble>) -> Result<T, Trouble> {
    if outcome.as_ref().err().is_none_or(|t| t.code != "lost" && t.code != "late") {
        asker.give_back(talk);
    }
    outcome
}

async fn look(talk: &mut Talk, path: &[u8]) -> Result<Value, Trouble> {
    let path = within(talk.sftp.real_path(path)).await?;
    let (mut entries, more) = within(talk.sftp.list(&path, MAX_NAMES)).await?;
    entries.truncate(MAX_NAMES);
    let entries: Vec<Value> = entries.iter().map(told).collect();
    Ok(json!({"path": String::from_utf8_lossy(&path), "entries": entries, "more": more}))
}

fn told(entry: &Entry) -> Value {
    let mode = entry.attrs.mode.unwrap_or(0);
    let kind = match mode & 0o170_000 {
        _ if is_dir(mode) => "directory",
        0o100_000 | 0 => "file",
        0o120_000 => "link",
        _ => "other",
    };
    json!({
        "name": String::from_utf8_lossy(&entry.name),
        // A name that is no text cannot be asked for in JSON: it is shown and no more.
        "text": std::str::from_utf8(&entry.name).is_ok(),
        "kind": kind,
        "size": entry.attrs.size,
        "mode": mode & 0o7777,
        "changed": entry.attrs.times.map(|(_, changed)| changed),
    })
}

/// Makes a directory, renames, removes.
pub(super) async fn change(asker: &Asker<'_>, request: Request<Incoming>) -> Result<Answer, Trouble> {
    let ask = match people::read::<Change>(request).await {
        Ok(ask) => ask,
        Err(refusal) => return Ok(refusal),
    };
    let path = checked(&ask.path)?;
    let (mut talk, _) = asker.borrow(&ask.whereto).await?;
    let sftp = &mut talk.sftp;
    let outcome = match &ask.act {
        Act::Mkdir => within(sftp.mkdir(path, DIRECTORY)).await,
        Act::Rename { to } => match checked(to) {
            Ok(to) => within(sftp.rename(path, to)).await,
            Err(trouble) => Err(trouble),
        },
        Act::Remove => match within(sftp.lstat(path)).await {
            Ok(Some(attrs)) if attrs.mode.is_some_and(is_dir) => within(sftp.rmdir(path)).await,
            Ok(_) => within(sftp.remove(path)).await,
            Err(trouble) => Err(trouble),
        },
    };
    settle(asker, talk, outcome).map(|()| answer::json(&model::api::Done {}))
}
