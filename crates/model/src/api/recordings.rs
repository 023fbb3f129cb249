//! Recordings: segments in from the node that has the session, the same bytes out to whoever may see them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verb::{Asker, Call, Endpoint, Page, verb};
use crate::resource::{Kind, Notice, Verb};
use crate::{Login, NodeId, SessionId, Timestamp, UserName};

/// Uploads one sealed segment. Idempotent: the same bytes again give the same receipt; other bytes are refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PutSegment {
    /// The session.
    pub id: SessionId,
    /// The segment's number, from 0, without holes.
    pub n: u64,
}

/// Proof that a segment was verified and is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentReceipt {
    /// The session.
    pub id: SessionId,
    /// The segment's number.
    pub n: u64,
    /// Hex SHA-256 of the segment's bytes.
    pub hash: String,
    /// Ed25519 signature by the cluster's audit key, base64 (see docs/formats/recording.md).
    pub signature: String,
}

/// Asks how far a recording has been received.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GetUpload {
    /// The session.
    pub id: SessionId,
}

/// How far a recording has been received.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UploadState {
    /// The next segment wanted.
    pub next: u64,
    /// The last segment has been received and the recording is complete.
    pub complete: bool,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// Still growing.
    Live,
    /// Whole: its last segment says so.
    Complete,
    /// Its node went away; completed with what had arrived.
    Abandoned,
}

/// One recording in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingInfo {
    /// The session.
    pub id: SessionId,
    /// Who.
    pub user: UserName,
    /// As which local account.
    pub login: Login,
    /// Where.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// `shell` or `exec`.
    pub kind: String,
    /// The command, empty for a shell.
    #[serde(default)]
    pub command: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Segments received.
    pub segments: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Whether it is whole.
    pub state: RecordingState,
    /// What the person was told of being recorded, where the recording says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// Lists recordings, newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListRecordings {
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only this user's.
    #[serde(default)]
    pub user: String,
    /// At most this many. Default 50, at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Continue after this.
    #[serde(default)]
    pub start: String,
}

/// Reads what a recording is. Each first look by a person is itself an audit event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GetRecording {
    /// The session.
    pub id: SessionId,
}

/// A recording with everything needed to verify it offline.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RecordingDetail {
    /// What it is.
    pub info: RecordingInfo,
    /// The node's sealing key (32 bytes, base64).
    pub seal_key: String,
    /// A receipt for each segment, in order.
    pub receipts: Vec<SegmentReceipt>,
    /// Signed statement of how many segments there are, once it is complete or abandoned: Ed25519 by the
    /// cluster's audit key, base64.
    #[serde(default)]
    pub closing_signature: String,
}

/// Reads one segment's bytes as sealed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GetSegment {
    /// The session.
    pub id: SessionId,
    /// Which.
    pub n: u64,
}

verb!(PutSegment, Put "/v1/recordings/{id}/segments/{n}", Asker::Host, Upload => SegmentReceipt, "Uploads one sealed segment of the calling node's session.");
verb!(GetUpload, Get "/v1/recordings/{id}/upload", Asker::Host, Json => UploadState, "How far a recording has been received.");
verb!(ListRecordings, Get "/v1/recordings", Asker::Granted(Kind::Session, Verb::List), Json => Page<RecordingInfo>, "Recordings, newest first.");
verb!(GetRecording, Get "/v1/recordings/{id}", Asker::Granted(Kind::Session, Verb::Read), Json => RecordingDetail, "One recording with its receipts.");
verb!(GetSegment, Get "/v1/recordings/{id}/segments/{n}", Asker::Granted(Kind::Session, Verb::Read), Download => super::Done, "One segment's bytes as sealed.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        PutSegment::endpoint(),
        GetUpload::endpoint(),
        ListRecordings::endpoint(),
        GetRecording::endpoint(),
        GetSegment::endpoint(),
    ]
}
