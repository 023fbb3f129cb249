//! What an earlier life of this service left in the spool: sealed as interrupted, and uploaded.
//!
//! [`scan`] blocks. Runs once at start, before any session opens. A leftover that cannot be understood is left where it is and
//! said aloud; it never keeps the others, or the service, from going on. What a full disk keeps from being sealed is
//! sealed [`later`]: what was sealed before is uploaded meanwhile, which makes room.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use audit::event::kinds;
use audit::recording::journal;
use audit::recording::{Frame, GapReason, Segment, Writer};
use model::SessionId;
use runtime::Scope;

use crate::about::{Ledger, Outcome};
use crate::disk::in_words;
use crate::lane::Tools;
use crate::shared::Shared;

const REASON: &str = "the service that recorded stopped";
/// How long after a recording could not be closed the next one is tried.
const AGAIN: Duration = Duration::from_secs(30);

/// One session found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) id: SessionId,
    /// What it was; `None` when that could not be read.
    pub(crate) ledger: Option<Ledger>,
    /// Sealed segments: number, and whether it is the last.
    pub(crate) segments: Vec<(u64, bool)>,
    /// Frames that were not sealed yet; `None` when the recording had been closed properly, or there is none.
    pub(crate) recovered: Option<Recovered>,
    /// Why it could not be closed just now: what is not sealed is in its journal still.
    pub(crate) open: Option<String>,
}

/// What recovery added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Frames found in the journal.
    pub(crate) frames: u64,
    /// Bytes of a torn write.
    pub(crate) torn: u64,
    /// Time of the last frame.
    pub(crate) until: Duration,
}

/// Looks through the spool and seals what is open.
pub(crate) fn scan(tools: &Tools) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for id in tools.spool.sessions()? {
        match one(tools, &id) {
            Ok(one) => {
                if let Some(why) = &one.open {
                    tracing::error!(session = %id, why, "a recording left over cannot be closed yet; its end stays here");
                }
                found.push(one);
            }
            Err(error) => {
                tracing::error!(session = %id, %error, "a recording left over cannot be recovered; it stays");
            }
        }
    }
    Ok(found)
}

/// Tells of a session an earlier life left behind, and hands its recording to the uploader.
pub(crate) async fn tell(shared: &Arc<Shared>, found: &Found) {
    tell_recovered(shared, found).await;
    // The same ids as an ordinary end would have: what was told already is kept once.
    if let Some(ledger) = &found.ledger {
        let until = found.recovered.map(|what| ledger.started + what.until);
        let outcome = Outcome { reason: "the service that ran it stopped".to_owned(), ..Outcome::default() };
        let at = until.unwrap_or(shared.clock.now());
        // How much it moved died with it: what is not known is not told.
        let told = shared.end_events(ledger, &outcome, None, at).await;
        if ledger.recording.off() {
            let (shared, id) = (shared.clone(), found.id.clone());
            shared.clone().scope.spawn_graceful("close", async move { shared.forget_when(told, &id).await });
        }
    }
    shared.uploads.leftover(&found.id, &found.segments);
}

async fn tell_recovered(shared: &Shared, found: &Found) {
    let (Some(what), Some(ledger), None) = (found.recovered, &found.ledger, &found.open) else { return };
    tracing::info!(session = %found.id, frames = what.frames, "recovered a recording");
    let event = kinds::RecordingRecovered {
        server: ledger.server.server(),
        session: ledger.session(),
        frames: what.frames,
        torn: what.torn,
    };
    shared.events.note(shared.stamp(&event)).await;
}

/// Closes the recordings that are open still, each when it can be, until the scope is cancelled.
pub(crate) async fn later(shared: Arc<Shared>, tools: Tools, mut open: VecDeque<SessionId>, scope: Scope) {
    while let Some(id) = open.pop_front() {
        let attempt = {
            let (tools, id) = (tools.clone(), id.clone());
            tokio::task::spawn_blocking(move || one(&tools, &id)).await
        };
        match attempt {
            Ok(Ok(found)) if found.open.is_none() => {
                tell_recovered(&shared, &found).await;
                // The uploader has those before it.
                let last: Vec<_> = found.segments.iter().copied().filter(|(_, last)| *last).collect();
                shared.uploads.leftover(&found.id, &last);
            }
            Ok(Ok(_) | Err(_)) | Err(_) => {
                open.push_back(id);
                if scope.token().run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
                    return;
                }
            }
        }
    }
}

fn one(tools: &Tools, id: &SessionId) -> io::Result<Found> {
    let ledger = tools.spool.ledger(id).ok();
    if ledger.as_ref().is_some_and(|ledger| ledger.recording.off()) {
        return Ok(Found { id: id.clone(), ledger, segments: Vec::new(), recovered: None, open: None });
    }
    let mut segments = Vec::new();
    let mut newest = None;
    for n in tools.spool.segments(id)? {
        let bytes = tools.spool.segment(id, n)?;
        let segment = Segment::parse(&bytes).map_err(io::Error::other)?;
        let header = segment.header();
        segments.push((n, header.last));
        newest = Some((header.started, n, segment.hash(), header.until, header.last));
    }
    if newest.as_ref().is_some_and(|(.., last)| *last) {
        return Ok(Found { id: id.clone(), ledger, segments, recovered: None, open: None });
    }
    let fresh = match (&newest, &ledger) {
        (Some((started, n, hash, until, _)), _) => {
            Some(Writer::resume(id.clone(), *started, n + 1, *hash, *until))
        }
        (None, Some(ledger)) => Some(beginning(ledger)),
        (None, None) => None,
    };
    let (mut writer, frames, torn) = open_segment(tools, id, fresh)?;
    writer.interrupted();
    if torn > 0 {
        writer.push(writer.until(), &Frame::Gap { reason: GapReason::Crash, frames: 0, bytes: torn });
    }
    writer.push(writer.until(), &Frame::End { interrupted: true, reason: REASON });
    let until = writer.until();
    let open = match close(tools, id, &mut writer) {
        Ok(last) => {
            segments.extend(last.map(|n| (n, true)));
            None
        }
        Err(error) => Some(in_words(&error)),
    };
    let recovered = Some(Recovered { frames, torn, until });
    Ok(Found { id: id.clone(), ledger, segments, recovered, open })
}

/// Seals what is open, as the last segment; gives its number.
fn close(tools: &Tools, id: &SessionId, writer: &mut Writer) -> io::Result<Option<u64>> {
    let sealed = writer.seal(true, &*tools.sign).map_err(io::Error::other)?;
    sealed.map(|sealed| tools.spool.put(id, &sealed).map(|()| sealed.n)).transpose()
}

fn beginning(ledger: &Ledger) -> Writer {
    let mut writer = Writer::new(ledger.id.clone(), ledger.started);
    writer.push(Duration::ZERO, &Frame::Start(ledger.start_frame()));
    writer
}

/// The open segment as its journal has it, or an empty one.
fn open_segment(tools: &Tools, id: &SessionId, fresh: Option<Writer>) -> io::Result<(Writer, u64, u64)> {
    let wanted = fresh.as_ref().map(Writer::n);
    for (n, bytes) in tools.spool.journals(id)? {
        if wanted.is_some_and(|wanted| wanted != n) {
            tools.spool.drop_journal(id, n)?;
            continue;
        }
        match journal::recover(&bytes) {
            Ok(back) if fresh.as_ref().is_none_or(|fresh| fresh.prev() == back.writer.prev()) => {
                let frames = u64::from(back.writer.open_frames());
                return Ok((back.writer, frames, back.torn as u64));
            }
            Ok(_) => tracing::warn!(session = %id, n, "a journal does not follow its recording; left out"),
            Err(error) => tracing::warn!(session = %id, n, %error, "a journal is torn at its head; left out"),
        }
    }
    fresh.map(|writer| (writer, 0, 0)).ok_or_else(|| io::Error::other("nothing says what it was"))
}
