//! Looks through recordings as their segments arrive, and puts on the shelf what people search and seek by.
//!
//! One segment at a time, each once, in a recording's order; recordings that grow have turns of one segment, so that none
//! keeps the others waiting. Whatever is missing from the shelf (it was thrown away, this server was down, another
//! server took the segment) is found by comparing and put in. Nothing waits for this: a segment has its receipt before
//! it is looked through. At most [`SCREENS`] screens are kept to go on from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    let mut reader = Reader {
        core: core.clone(),
        turns: Turns::default(),
        screens: BTreeMap::new(),
        failed: BTreeSet::new(),
    };
    let mut compared = "newest";
    loop {
        let outcome = reader.compare(compared).await.map_err(|e| e.message);
        if outcome.is_ok() {
            compared = "open";
        }
        core.health.ran("screen index", core.now(), outcome.and_then(|()| reader.outcome()));
        let until = tokio::time::Instant::now() + if compared == "open" { COMPARE } else { AGAIN };
        // However fast recordings grow, the comparison has its time.
        while tokio::time::Instant::now() < until {
            // Cancel safe: what waits stays in the set.
            if reader.turns.is_empty() && tokio::time::timeout_at(until, core.grown.woken()).await.is_err() {
                break;
            }
            reader.round().await;
        }
    }
}

/// Recordings that grew, in the order of their turns, each once: so as long as they are many.
#[derive(Default)]
struct Turns {
    line: VecDeque<SessionId>,
    waiting: BTreeSet<SessionId>,
}

impl Turns {
    fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Stands at the end of the line, unless it stands in it.
    fn join(&mut self, id: SessionId) {
        if self.waiting.insert(id.clone()) {
            self.line.push_back(id);
        }
    }

    /// Those who stand in it now. Who joins from now on is not of this round.
    fn round(&mut self) -> VecDeque<SessionId> {
        self.waiting.clear();
        std::mem::take(&mut self.line)
    }
}

struct Reader {
    core: Arc<Core>,
    turns: Turns,
    /// The screen at the end of the segments that were looked through, and how many those are.
    screens: BTreeMap<SessionId, (u64, Screen)>,
    /// Recordings that could not be looked through: tried again with each comparison. At most [`FAILED`].
    failed: BTreeSet<SessionId>,
}

impl Reader {
    /// Every recording of a family, oldest first, so that the shelf's order is that of time; and those that failed.
    async fn compare(&mut self, family: &str) -> Answer<()> {
        for id in std::mem::take(&mut self.failed) {
            self.all_of(&id).await;
        }
        let mut after = None;
        loop {
            let range = Range::under(family).after(after).limit(500);
            let (rows, more) = self.core.db.range::<SessionId>(&range).await?;
            after = rows.last().map(|(name, _)| crate::db::key(family, name)).transpose()?;
            for (_, doc) in rows {
                self.all_of(&doc.value).await;
            }
            if !more || after.is_none() {
                return Ok(());
            }
        }
    }

    /// Puts in what one recording has by now, with a turn for everybody who waits between two of its segments.
    async fn all_of(&mut self, id: &SessionId) {
        let mut left = self.look_through(id).await;
        self.round().await;
        while left > 0 {
            left = left.saturating_sub(1).min(self.look_through(id).await);
            self.round().await;
        }
    }

    /// One segment of each recording that waits.
    async fn round(&mut self) {
        while let Some(id) = self.core.grown.take() {
            self.turns.join(id);
        }
        for id in self.turns.round() {
            if self.look_through(&id).await > 0 {
                self.turns.join(id);
            }
        }
    }

    /// Looks through a recording's next segment; says how many are left. One that cannot be looked through keeps nobody
    /// from finding the others.
    async fn look_through(&mut self, id: &SessionId) -> u64 {
        let refusal = match self.next_of(id).await {
            Ok(left) => return left,
            Err(refusal) => refusal,
        };
        tracing::warn!(session = %id, why = %refusal.message, "a recording cannot be looked through for searches; it is tried again");
        if self.failed.len() < FAILED {
            self.failed.insert(id.clone());
        }
        0
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

    /// Puts in the next segment that is missing of one recording; says how many more are.
    async fn next_of(&mut self, id: &SessionId) -> Answer<u64> {
        let Some(doc) = recordings::find(&self.core, id).await? else { return Ok(0) };
        let info = doc.value.info;
        let mut n = self.core.shelf.pages(id.as_str()).await?;
        if n < info.segments {
            let screen = match self.screens.remove(id) {
                Some((next, screen)) if next == n => screen,
                Some(_) | None => self.screen_before(id, n).await?,
            };
            let (screen, leaf) = self.read(id, n, screen).await?;
            self.keep(id, n.saturating_add(1), screen);
            match self.core.shelf.put(book(&info), leaf).await {
                Ok(()) => n = n.saturating_add(1),
                // Somebody else put it in.
                Err(ShelfError::Order { wanted, .. }) if wanted > n => n = wanted,
                Err(error) => return Err(error.into()),
            }
        }
        let left = info.segments.saturating_sub(n);
        if left == 0 && info.ended.is_some() {
            self.screens.remove(id);
        }
        Ok(left)
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
            Ok(Ok((screen, leaf, whole))) => {
                if !whole {
                    tracing::warn!(session = %id, n, "a segment takes too much work to draw: its end cannot be searched");
                }
                Ok((screen, leaf))
            }
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

/// Looks through one segment, and says whether all of it was drawn.
fn look(n: u64, bytes: &[u8], mut screen: Screen) -> Result<(Screen, Leaf, bool), audit::Error> {
    let segment = Segment::parse(bytes)?;
    let Glance { pictures, rows, marks, activity, whole } = glance(&segment, &mut screen)?;
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
    Ok((screen, leaf, whole))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_with_much_to_look_through_keeps_no_other_waiting() {
        let ids = [1, 2, 3].map(|n| SessionId::from_random([n; 16]));
        let mut left: BTreeMap<_, _> = ids.iter().cloned().zip([4, 1, 2]).collect();
        let mut turns = Turns::default();
        let mut rounds = Vec::new();
        for id in ids.iter().chain(&ids) {
            turns.join(id.clone());
        }

        while !turns.is_empty() {
            let mut round = Vec::new();
            for id in turns.round() {
                let left = left.get_mut(&id).unwrap();
                *left -= 1;
                round.extend(ids.iter().position(|known| *known == id));
                if *left > 0 {
                    turns.join(id);
                }
            }
            rounds.push(round);
        }

        assert_eq!(rounds, [vec![0, 1, 2], vec![0, 2], vec![0], vec![0]]);
    }
}
