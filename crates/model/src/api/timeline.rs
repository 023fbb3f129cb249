//! What is derived from recordings so that they can be looked through: where things happened, what the screen was at
//! each place, and in which of them a text was to be seen. None of it is evidence: the segments are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::recordings::RecordingInfo;
use super::verb::{Asker, Call, Endpoint, Page, verb};
use crate::resource::{Kind, Verb};
use crate::{SessionId, Timestamp};

/// What a mark is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// A command line was entered: read off the screen behind what looks like a prompt, so a hint and no evidence.
    Command,
    /// The terminal changed its size.
    Resize,
    /// Frames are missing.
    Gap,
    /// Somebody joined.
    Join,
    /// Somebody left.
    Leave,
    /// A command without a shell began.
    Exec,
    /// A place that was marked.
    Mark,
    /// The program ended.
    Exit,
}

/// A moment worth finding again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// Microseconds since the recording began.
    pub at: u64,
    /// What it is of.
    pub kind: MarkKind,
    /// The command, the size, the name: at most 256 characters.
    pub label: String,
}

/// Where a segment lies in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentSpan {
    /// First frame, in microseconds since the recording began.
    pub from: u64,
    /// Last frame.
    pub until: u64,
    /// Bytes as sealed.
    pub bytes: u64,
}

/// Reads where things happened in a recording. A first look by a person is itself an audit event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GetTimeline {
    /// The session.
    pub id: SessionId,
    /// Only from this segment on. Default: from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
}

/// Where things happened in a recording, as far as its segments have been looked through.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// What it is.
    pub info: RecordingInfo,
    /// One for each segment from the one asked for, in order. Fewer than there are segments while looking through
    /// them goes on.
    pub spans: Vec<SegmentSpan>,
    /// Length of a bucket of `activity`, in microseconds.
    pub bucket: u64,
    /// Bytes shown in each bucket from the beginning on; at most 2,000 buckets.
    pub activity: Vec<u64>,
    /// What happened when, in order; at most 20,000.
    pub marks: Vec<Mark>,
}

/// Reads what the screen was where a segment begins, or at the last place before a moment of which a picture is kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GetPicture {
    /// The session.
    pub id: SessionId,
    /// The segment.
    pub n: u64,
    /// The moment, in microseconds since the recording began. Default: where the segment begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// A screen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// What to write to a fresh terminal of that size.
    pub state: String,
    /// How many of the segment's frames have been drawn on it: what follows is drawn from there on.
    #[serde(default)]
    pub frames: u32,
    /// When the last of those was, in microseconds since the recording began; 0 when there are none.
    #[serde(default)]
    pub at: u64,
    /// Where the segment's next picture is; absent when this is its last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Searches what was on screens: rows as they were to be seen, never what was typed. Every search is an audit event.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SearchScreens {
    /// Words that must all be in one row, upper and lower case alike; `"two words"` for a phrase. The longest must have
    /// three characters, or two of Chinese, Japanese or Korean.
    pub text: String,
    /// Only this user's sessions.
    #[serde(default)]
    pub user: String,
    /// Only sessions on the node of this name or id.
    #[serde(default)]
    pub node: String,
    /// Only this session.
    #[serde(default)]
    pub session: String,
    /// Only sessions that began not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Only sessions that began not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// At most this many. Default 50, at most 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Continue after this.
    #[serde(default)]
    pub start: String,
}

/// A place where the text was to be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScreenHit {
    /// In which recording.
    pub info: RecordingInfo,
    /// When it came on the screen: microseconds since the recording began.
    pub at: u64,
    /// The row.
    pub text: String,
    /// How many more rows of the same segment have it.
    pub more: u64,
}

/// Reads what was to be seen, row by row, in the order in which it came on the screen.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GetTranscript {
    /// The session.
    pub id: SessionId,
    /// From this segment on.
    pub from: u64,
}

/// A piece of a transcript: whole segments, until there are 500 rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transcript {
    /// The rows.
    pub rows: Vec<ScreenRow>,
    /// The segment after the last one of the piece.
    pub next: u64,
}

/// A row, and when it came on the screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScreenRow {
    /// Microseconds since the recording began.
    pub at: u64,
    /// What it says.
    pub text: String,
}

/// Saves a recording as asciicast: a header line, then one line for each event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExportAsciicast {
    /// The session.
    pub id: SessionId,
    /// 2 or 3. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u8>,
}

verb!(GetTimeline, Get "/v1/recordings/{id}/timeline", Asker::Granted(Kind::Session, Verb::Read), Json => Timeline, "Where things happened in a recording.");
verb!(GetPicture, Get "/v1/recordings/{id}/pictures/{n}", Asker::Granted(Kind::Session, Verb::Read), Json => Picture, "The screen where a segment begins, or at a moment.");
verb!(GetTranscript, Get "/v1/recordings/{id}/transcript", Asker::Granted(Kind::Session, Verb::Read), Json => Transcript, "What was to be seen, row by row.");
verb!(ExportAsciicast, Get "/v1/recordings/{id}/asciicast", Asker::Granted(Kind::Session, Verb::Read), Stream => serde_json::Value, "A recording as asciicast, line by line.");
verb!(SearchScreens, Get "/v1/screens", Asker::Granted(Kind::Session, Verb::Read), Json => Page<ScreenHit>, "Searches what was on the screen, newest recordings first.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        GetTimeline::endpoint(),
        GetPicture::endpoint(),
        GetTranscript::endpoint(),
        ExportAsciicast::endpoint(),
        SearchScreens::endpoint(),
    ]
}
