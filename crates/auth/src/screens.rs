//! Looks through recordings as their segments arrive, and puts on the shelf what people search and seek by.
//!
//! One recording at a time, each segment once, in order. Whatever is missing from the shelf (it was thrown away, this
//! server was down, another server took the segment) is found by comparing and put in. Nothing waits for this: a
//! segment has its receipt before it is looked through. At most [`SCREENS`] screens are kept to go on from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use audit::recording::Segment;
use audit::screen::{Glance, Screen, glance};
use bytes::Bytes;
use model::SessionId;
use model::api::recordings::RecordingInfo;
use model::api::timeline::{Mark, Picture, SegmentSpan};
use serde::{Deserialize, Serialize};
use store::shelf::{Book, Leaf, Line};
use store::{BlobError, Range, ShelfError};

use crate::authority::Core;
use crate::recordings::{self, blob_name};
use crate::refusal::{Answer, Refusal};

/// Screens of recordings that still grow.
const SCREENS: usize = 32;
/// How often open recordings are compared with the shelf, for segments that another server took.
const COMPARE: Duration = Duration::from_secs(30);
/// Recordings kept to be tried again; further ones are found with the next start.
const FAILED: usize = 1_000;
/// After a failure.
const AGAIN: Duration = Duration::from_secs(5);

/// What is noted of a segment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) span: SegmentSpan,
    /// Bytes shown in each second from the first frame on.
    pub(crate) activity: Vec<u64>,
    pub(crate) marks: Vec<Mark>,
}

/// Runs for as long as the authority does.
pub(crate) async fn run(core: Arc<Core>) {
    let mut reader = Reader { core: core.clone(), screens: BTreeMap::new(), failed: BTreeSet::new() };
    let mut compared = "newest";
    loop {
        let outcome = reader.compare(compared).await.map_err(|e| e.message);
        if outcome.is_ok() {
            compared = "open";
        }
        core.health.ran("screen index", core.now(), outcome.and_then(|()| reader.outcome()));
        let until = tokio::time::Instant::now() + if compared == "open" { COMPARE } else { AGAIN };
        // Cancel safe: what waits stays in the set.
        while tokio::time::timeout_at(until, core.grown.woken()).await.is_ok() {
            reader.drain().await;
        }
    }
}

struct Reader {
    core: Arc<Core>,
    /// The screen at the end of the segments that were looked through, and how many those are.
    screens: BTreeMap<SessionId, (u64, Screen)>,
    /// Recordings that could not be looked through: tried again with each comparison. At most [`FAILED`].
    failed: BTreeSet<SessionId>,
}

impl Reader {
    /// Every recording of a family, oldest first, so that the shelf's order is that of time; and those that failed.
    async fn compare(&mut self, family: &str) -> Answer<()> {
        for id in std::mem::take(&mut self.failed) {
            self.look_through(&id).await;
        }
        let mut after = None;
        loop {
            let range = Range::under(family).after(after).limit(500);
            let (rows, more) = self.core.db.range::<SessionId>(&range).await?;
            after = rows.last().map(|(name, _)| crate::db::key(family, name)).transpose()?;
            for (_, doc) in rows {
                self.look_through(&doc.value).await;
                self.drain().await;
            }
            if !more || after.is_none() {
                return Ok(());
            }
        }
    }

    async fn drain(&mut self) {
        while let Some(id) = self.core.grown.take() {
            self.look_through(&id).await;
        }
    }

    /// One that cannot be looked through keeps nobody from finding the others.
    async fn look_through(&mut self, id: &SessionId) {
        let Err(refusal) = self.catch_up(id).await else { return };
        tracing::warn!(session = %id, why = %refusal.message, "a recording cannot be looked through for searches; it is tried again");
        if self.failed.len() < FAILED {
            self.failed.insert(id.clone());
        }
    }

    fn outcome(&self) -> Result<(), String> {
        match self.failed.first() {
            Some(id) => Err(format!(
                "{} recordings cannot be looked through and are tried again (the log says why); one is {id}",
                self.failed.len()
            )),
            None => Ok(()),
        }
    }

    /// Puts in what is missing of one recording.
    async fn catch_up(&mut self, id: &SessionId) -> Answer<()> {
        let Some(doc) = recordings::find(&self.core, id).await? else { return Ok(()) };
        let info = doc.value.info;
        let mut n = self.core.shelf.pages(id.as_str()).await?;
        while n < info.segments {
            let screen = match self.screens.remove(id) {
                Some((next, screen)) if next == n => screen,
                Some(_) | None => self.screen_before(id, n).await?,
            };
            let (screen, leaf) = self.read(id, n, screen).await?;
            match self.core.shelf.put(book(&info), leaf).await {
                Ok(()) => n += 1,
                // Somebody else put it in.
                Err(ShelfError::Order { wanted, .. }) if wanted > n => n = wanted,
                Err(error) => return Err(error.into()),
            }
            self.keep(id, n, screen);
        }
        if info.ended.is_some() {
            self.screens.remove(id);
        }
        Ok(())
    }

    fn keep(&mut self, id: &SessionId, n: u64, screen: Screen) {
        self.screens.insert(id.clone(), (n, screen));
        if self.screens.len() > SCREENS {
            self.screens.pop_first();
        }
    }

    /// The screen where segment `n` begins: the one before is drawn again on its picture.
    async fn screen_before(&self, id: &SessionId, n: u64) -> Answer<Screen> {
        let Some(before) = n.checked_sub(1) else { return Ok(Screen::default()) };
        let screen = match self.core.shelf.picture(id.as_str(), before).await? {
            Some(bytes) => pictures(&bytes).first().map(Screen::restored),
            None => None,
        };
        Ok(self.read(id, before, screen.unwrap_or_default()).await?.0)
    }

    /// Looks through one segment, off the async threads. One that cannot be read is noted as empty: it does not keep
    /// the others from being found.
    async fn read(&self, id: &SessionId, n: u64, screen: Screen) -> Answer<(Screen, Leaf)> {
        let bytes = match self.core.blobs.get(&blob_name(id, n)).await {
            Ok(bytes) => bytes,
            Err(BlobError::Missing(_)) => Bytes::new(),
            Err(error) => return Err(error.into()),
        };
        let looked = tokio::task::spawn_blocking(move || look(n, &bytes, screen)).await;
        match looked {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                tracing::warn!(session = %id, n, %error, "a segment cannot be searched");
                Ok((Screen::default(), Leaf { n, ..Leaf::default() }))
            }
            Err(_) => {
                tracing::error!(session = %id, n, "looking through a segment panicked: it cannot be searched");
                Ok((Screen::default(), Leaf { n, ..Leaf::default() }))
            }
        }
    }
}

fn look(n: u64, bytes: &[u8], mut screen: Screen) -> Result<(Screen, Leaf), audit::Error> {
    let segment = Segment::parse(bytes)?;
    let Glance { pictures, rows, marks, activity } = glance(&segment, &mut screen)?;
    let header = segment.header();
    let micros = |at: Duration| u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
    let span =
        SegmentSpan { from: micros(header.first), until: micros(header.until), bytes: bytes.len() as u64 };
    let json = |value: serde_json::Result<Vec<u8>>| value.map(Bytes::from).unwrap_or_default();
    let leaf = Leaf {
        n,
        note: json(serde_json::to_vec(&Note { span, activity, marks })),
        picture: json(serde_json::to_vec(&pictures)),
        lines: rows.into_iter().map(|row| Line { at: micros(row.at), text: row.text }).collect(),
    };
    Ok((screen, leaf))
}

/// A segment's pictures as they are kept; none of one that could not be looked through.
pub(crate) fn pictures(kept: &[u8]) -> Vec<Picture> {
    serde_json::from_slice(kept).unwrap_or_default()
}

fn book(info: &RecordingInfo) -> Book {
    Book {
        id: info.id.to_string(),
        who: info.user.to_string(),
        place: info.node.to_string(),
        place_name: info.node_name.clone(),
        began: info.started,
    }
}

impl From<ShelfError> for Refusal {
    fn from(error: ShelfError) -> Self {
        match error {
            ShelfError::Cursor => Self::bad(error.to_string()),
            ShelfError::Order { .. } | ShelfError::Backend(_) => Self::internal(error),
        }
    }
}
