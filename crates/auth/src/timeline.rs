//! Looking through recordings: where things happened, pictures to seek by, search, and the export.
//!
//! Every answer is about recordings the caller may read, asked of the gate one by one; a search is an event, and so is
//! the first look at a recording.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use audit::event::kinds::{AuditAccess, RecordingAccess};
use audit::recording::Segment;
use audit::recording::asciicast::{Exporter, Version};
use bytes::Bytes;
use model::SessionId;
use model::api::Page;
use model::api::access::LiveSession;
use model::api::recordings::{RecordingInfo, RecordingState};
use model::api::timeline::{
    ExportAsciicast, GetPicture, GetTimeline, GetTranscript, Mark, Picture, ScreenHit, ScreenRow,
    SearchScreens, SegmentSpan, Timeline, Transcript,
};
use model::resource::{Kind, Verb};
use policy::Object;
use store::Txn;
use store::shelf::{Filter, Find, Query};

use crate::authority::Core;
use crate::db::{encode, key};
use crate::dispatch::{BoxFuture, Ctx, Source};
use crate::gate;
use crate::recordings::{self, blob_name, readable, reference};
use crate::refusal::{Answer, Refusal};
use crate::screens::{Note, pictures};

const MAX_BUCKETS: u64 = 2_000;
const MAX_MARKS: usize = 20_000;
/// Notes read at a time.
const NOTES: usize = 64;
/// The most steps in which activity is counted while the length of a recording is not known: a second each for eighteen
/// hours.
const MAX_FINE: u64 = 65_536;
const DEFAULT_FOUND: u32 = 50;
const MAX_FOUND: u32 = 500;
/// Enough of a transcript for one answer.
const MAX_ROWS: usize = 500;
/// The most segments looked through for it.
const MAX_SEGMENTS: u64 = 200;
/// How long after the last look a session counts as watched.
const WATCHED: Duration = Duration::from_secs(30);
const SECOND: u64 = 1_000_000;

pub(crate) async fn get(ctx: Ctx, ask: GetTimeline) -> Answer<Timeline> {
    let info = match recordings::find(&ctx.core, &ask.id).await? {
        Some(_) => readable(&ctx, &ask.id).await?.info,
        None => begun(&ctx, &ask.id).await?,
    };
    recordings::note_first_look(&ctx, &info).await?;
    if info.state == RecordingState::Live {
        watched(&ctx.core, &ask.id).await?;
    }
    let mut fold = Fold::default();
    let mut next = ask.from.unwrap_or(0);
    loop {
        let notes = ctx.core.shelf.notes(ask.id.as_str(), next, NOTES).await?;
        notes.iter().for_each(|note| fold.take(note));
        next = next.saturating_add(notes.len() as u64);
        if notes.len() < NOTES {
            return Ok(fold.timeline(info));
        }
    }
}

/// A timeline in the making, note by note: of what segments say of themselves only what is told is kept.
#[derive(Default)]
struct Fold {
    spans: Vec<SegmentSpan>,
    marks: Vec<Mark>,
    activity: Activity,
}

impl Fold {
    fn take(&mut self, note: &[u8]) {
        let until = self.spans.last().map_or(0, |span| span.until);
        let Ok(note) = serde_json::from_slice::<Note>(note) else {
            // A segment that could not be looked through takes no time: it stands where the one before ended.
            self.spans.push(SegmentSpan { from: until, until, bytes: 0 });
            return;
        };
        for (second, bytes) in note.activity.iter().enumerate() {
            self.activity.add(note.span.from.saturating_add(second as u64 * SECOND), *bytes);
        }
        let room = MAX_MARKS.saturating_sub(self.marks.len());
        self.marks.extend(note.marks.into_iter().take(room));
        self.spans.push(note.span);
    }

    fn timeline(self, info: RecordingInfo) -> Timeline {
        let length = self.spans.last().map_or(0, |span| span.until);
        let (bucket, activity) = self.activity.buckets(length);
        Timeline { info, spans: self.spans, bucket, activity, marks: self.marks }
    }
}

/// Bytes shown over time, whose end is not known before it is there: second by second, and twice as coarse each time
/// there are more than [`MAX_FINE`] of them.
struct Activity {
    unit: u64,
    sums: Vec<u64>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { unit: SECOND, sums: Vec::new() }
    }
}

impl Activity {
    fn add(&mut self, at: u64, bytes: u64) {
        while at / self.unit >= MAX_FINE {
            self.unit = self.unit.saturating_mul(2);
            let halves = self.sums.chunks(2).map(|two| two.iter().fold(0, |a, b| u64::saturating_add(a, *b)));
            self.sums = halves.collect();
        }
        let place = usize::try_from(at / self.unit).unwrap_or(usize::MAX);
        if self.sums.len() <= place {
            self.sums.resize(place + 1, 0);
        }
        if let Some(sum) = self.sums.get_mut(place) {
            *sum = sum.saturating_add(bytes);
        }
    }

    /// The same in at most [`MAX_BUCKETS`] buckets, and how long each of them is.
    fn buckets(&self, length: u64) -> (u64, Vec<u64>) {
        let bucket = (length / MAX_BUCKETS).div_ceil(self.unit).max(1).saturating_mul(self.unit);
        let count = usize::try_from(length / bucket + 1).unwrap_or(0).min(2 * MAX_BUCKETS as usize);
        let mut out = vec![0_u64; count];
        for (n, bytes) in self.sums.iter().enumerate() {
            let at = (n as u64).saturating_mul(self.unit).min(length);
            if let Some(sum) = out.get_mut(usize::try_from(at / bucket).unwrap_or(usize::MAX)) {
                *sum = sum.saturating_add(*bytes);
            }
        }
        (bucket, out)
    }
}

/// What is known of a session that goes on and whose first segment has not come.
async fn begun(ctx: &Ctx, id: &SessionId) -> Answer<RecordingInfo> {
    let live = ctx.core.db.get::<LiveSession>(&key("live", id)?).await?.ok_or_else(Refusal::not_found)?.value;
    let object = Object { name: Some(id.to_string()), ..Object::session(vec![live.user.clone()]) };
    if !gate::allows_one(&ctx.core, &ctx.pass, Kind::Session, Verb::Read, &object) {
        return Err(Refusal::not_found());
    }
    Ok(RecordingInfo {
        id: live.id,
        user: live.user,
        login: live.login,
        node: live.node,
        node_name: live.node_name.to_string(),
        kind: if live.interactive { "shell" } else { "exec" }.into(),
        command: live.command,
        started: live.started,
        ended: None,
        segments: 0,
        bytes: 0,
        state: RecordingState::Live,
        notice: None,
    })
}

/// Notes that somebody follows a session that goes on: its node then hands over what it records every second. A player
/// asks again and again, so the note is written once in a while only; it ends by itself.
async fn watched(core: &Core, id: &SessionId) -> Answer<()> {
    let (place, now) = (key("watched", id)?, core.now());
    if !core.watches.is_due(id, now) {
        return Ok(());
    }
    core.db.commit(Txn::new().put_until(place, encode(id)?, Some(now + WATCHED))).await?;
    core.refresh_rules().await?;
    Ok(())
}

pub(crate) async fn picture(ctx: Ctx, ask: GetPicture) -> Answer<Picture> {
    let recording = readable(&ctx, &ask.id).await?;
    recordings::note_first_look(&ctx, &recording.info).await?;
    let found = ctx.core.shelf.picture(ask.id.as_str(), ask.n).await?.ok_or_else(Refusal::not_found)?;
    nearest(pictures(&found), ask.at.unwrap_or(0)).ok_or_else(Refusal::not_found)
}

/// The last picture before a moment, or the first; pictures are in order.
fn nearest(pictures: Vec<Picture>, at: u64) -> Option<Picture> {
    let mut pictures = pictures.into_iter();
    let mut found = pictures.next()?;
    for next in pictures {
        if next.at > at {
            found.until = Some(next.at);
            break;
        }
        found = next;
    }
    Some(found)
}

pub(crate) async fn transcript(ctx: Ctx, ask: GetTranscript) -> Answer<Transcript> {
    let recording = readable(&ctx, &ask.id).await?;
    recordings::note_first_look(&ctx, &recording.info).await?;
    let mut piece = Transcript { rows: Vec::new(), next: ask.from };
    while piece.rows.len() < MAX_ROWS && piece.next.saturating_sub(ask.from) < MAX_SEGMENTS {
        let Some(lines) = ctx.core.shelf.lines(ask.id.as_str(), piece.next).await? else { break };
        piece.rows.extend(lines.into_iter().map(|line| ScreenRow { at: line.at, text: line.text }));
        piece.next += 1;
    }
    Ok(piece)
}

pub(crate) async fn search(ctx: Ctx, ask: SearchScreens) -> Answer<Page<ScreenHit>> {
    let query = Query::parse(&ask.text).map_err(|e| Refusal::bad(e.to_string()))?;
    let event = AuditAccess {
        who: ctx.pass.who(),
        action: "search screens".into(),
        query: serde_json::to_string(&ask).ok(),
    };
    ctx.core.note(&event).await?;
    let (core, pass) = (ctx.core.clone(), ctx.pass.clone());
    let allow = move |book: &store::shelf::Book| {
        let participants = book.who.parse().into_iter().collect();
        let object = Object { name: Some(book.id.clone()), ..Object::session(participants) };
        gate::allows_one(&core, &pass, Kind::Session, Verb::Read, &object)
    };
    let find = Find {
        query,
        filter: Filter { id: ask.session, who: ask.user, place: ask.node, from: ask.from, to: ask.to },
        allow: Box::new(allow),
        start: ask.start,
        limit: ask.limit.unwrap_or(DEFAULT_FOUND).clamp(1, MAX_FOUND) as usize,
    };
    let found = ctx.core.shelf.find(find).await?;
    let mut infos: BTreeMap<String, Option<RecordingInfo>> = BTreeMap::new();
    let mut items = Vec::with_capacity(found.hits.len());
    for hit in found.hits {
        if !infos.contains_key(&hit.book) {
            let info = info_of(&ctx.core, &hit.book).await?;
            infos.insert(hit.book.clone(), info);
        }
        if let Some(info) = infos.get(&hit.book).cloned().flatten() {
            items.push(ScreenHit { info, at: hit.line.at, text: hit.line.text, more: hit.more });
        }
    }
    Ok(Page { items, next: found.next })
}

async fn info_of(core: &Core, id: &str) -> Answer<Option<RecordingInfo>> {
    let Ok(id) = id.parse::<SessionId>() else { return Ok(None) };
    Ok(recordings::find(core, &id).await?.map(|doc| doc.value.info))
}

pub(crate) async fn export(ctx: Ctx, ask: ExportAsciicast) -> Answer<Box<dyn Source>> {
    let version = match ask.version {
        Some(2) => Version::V2,
        None | Some(3) => Version::V3,
        Some(_) => return Err(Refusal::bad("there is asciicast 2 and 3")),
    };
    let recording = readable(&ctx, &ask.id).await?;
    let event = RecordingAccess {
        who: ctx.pass.who(),
        session: reference(&recording.info),
        action: "export".into(),
        session_type: Some(recording.info.kind.clone()),
    };
    ctx.core.note(&event).await?;
    let info = recording.info;
    let exporter = Exporter::new(version, info.started);
    Ok(Box::new(Export { core: ctx.core, id: info.id, n: 0, segments: info.segments, exporter }))
}

/// One segment's lines at a time.
struct Export {
    core: Arc<Core>,
    id: SessionId,
    n: u64,
    segments: u64,
    exporter: Exporter,
}

impl Source for Export {
    fn next(&mut self) -> BoxFuture<'_, Answer<Option<Bytes>>> {
        Box::pin(async move {
            loop {
                if self.n > self.segments {
                    return Ok(None);
                }
                // Cancel safe: nothing has changed until the lines are whole.
                let mut exporter = self.exporter.clone();
                let bytes = match self.n < self.segments {
                    true => Some(self.core.blobs.get(&blob_name(&self.id, self.n)).await?),
                    false => None,
                };
                let written = tokio::task::spawn_blocking(move || {
                    let mut out = String::new();
                    match bytes {
                        Some(bytes) => Segment::parse(&bytes)?.each(Duration::ZERO, |frame| {
                            exporter.push(&frame, &mut out);
                            Ok(())
                        })?,
                        None => exporter.finish(&mut out),
                    }
                    Ok::<_, audit::Error>((exporter, out))
                });
                let (exporter, out) = written.await.map_err(Refusal::internal)?.map_err(Refusal::internal)?;
                (self.exporter, self.n) = (exporter, self.n + 1);
                if !out.is_empty() {
                    return Ok(Some(Bytes::from(out)));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use model::api::timeline::{Mark, MarkKind, Picture, SegmentSpan};

    use super::{Activity, Fold, MAX_BUCKETS, MAX_FINE, MAX_MARKS, SECOND, nearest};
    use crate::screens::Note;

    fn note(from: u64, seconds: u64, marks: usize) -> Vec<u8> {
        let mark = |n| Mark { at: from + n as u64, kind: MarkKind::Mark, label: "here".into() };
        let note = Note {
            span: SegmentSpan { from, until: from + seconds * SECOND, bytes: 10 },
            activity: vec![1; usize::try_from(seconds).unwrap()],
            marks: (0..marks).map(mark).collect(),
        };
        serde_json::to_vec(&note).unwrap()
    }

    #[test]
    fn no_more_marks_are_held_than_are_told_and_they_are_the_first() {
        let mut fold = Fold::default();
        for n in 0..100 {
            fold.take(&note(n * 10 * SECOND, 10, 300));
            assert!(fold.marks.len() <= MAX_MARKS && fold.marks.capacity() <= 2 * MAX_MARKS);
        }

        assert_eq!(fold.marks.len(), MAX_MARKS);
        assert_eq!(fold.marks.last().unwrap().at, 66 * 10 * SECOND + 199);
        assert_eq!((fold.spans.len(), fold.activity.sums.iter().sum()), (100, 1_000));
    }

    #[test]
    fn a_segment_that_could_not_be_looked_through_takes_no_time() {
        let mut fold = Fold::default();
        for note in [note(0, 5, 1), b"".to_vec(), note(7 * SECOND, 5, 1)] {
            fold.take(&note);
        }

        let spans: Vec<_> = fold.spans.iter().map(|span| (span.from / SECOND, span.until / SECOND)).collect();
        assert_eq!(spans, [(0, 5), (5, 5), (7, 12)]);
    }

    #[test]
    fn activity_is_counted_in_a_bounded_room_however_long_a_recording_is() {
        let fine = MAX_FINE * SECOND;
        let table = [
            ("nothing", vec![], 0, SECOND),
            ("an hour", (0..3_600).map(|s| s * SECOND).collect(), 3_600 * SECOND, 2 * SECOND),
            ("the last fine one", vec![0, fine - SECOND], fine - SECOND, 33 * SECOND),
            ("one more", vec![0, fine], fine, 34 * SECOND),
            (
                "a year",
                (0..5_256).map(|n| n * 6_000 * SECOND).collect(),
                31_536_000 * SECOND,
                15_872 * SECOND,
            ),
            ("beyond its length", vec![0, 90 * SECOND], 60 * SECOND, SECOND),
            ("for ever", vec![0, u64::MAX], u64::MAX, 18 * (SECOND << 29)),
        ];
        for (what, moments, length, wanted) in table {
            let mut activity = Activity::default();
            for at in &moments {
                activity.add(*at, 1);
                assert!(activity.sums.len() as u64 <= MAX_FINE, "{what}");
            }

            let (bucket, sums) = activity.buckets(length);

            assert_eq!(bucket, wanted, "{what}");
            assert!(sums.len() as u64 <= MAX_BUCKETS + 1, "{what}: {}", sums.len());
            assert_eq!(sums.iter().sum::<u64>(), moments.len() as u64, "{what}");
        }
    }

    #[test]
    fn a_moment_has_the_last_picture_before_it() {
        let kept =
            || [(0, 0), (3, 500), (9, 900)].map(|(frames, at)| Picture { frames, at, ..Picture::default() });
        let found = |at| nearest(kept().to_vec(), at).map(|picture| (picture.frames, picture.until));

        assert_eq!(found(0), Some((0, Some(500))));
        assert_eq!(found(499), Some((0, Some(500))));
        assert_eq!(found(500), Some((3, Some(900))));
        assert_eq!(found(u64::MAX), Some((9, None)));
        assert_eq!(nearest(Vec::new(), 0), None);
    }
}
