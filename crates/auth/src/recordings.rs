//! Recordings: sealed segments in, verified and written once; the same bytes out, and every look is an event.
//!
//! A receipt is given when the bytes are durable and the record of them is; a closing statement when the last
//! segment came or the janitor gave up. Late segments of an abandoned recording are still taken: nothing sealed is
//! lost, and the recording is open again until its last segment comes.

use audit::event::kinds::{RecordingAccess, SessionUpload};
use audit::event::{Event, Server, SessionRef, Stamp};
use audit::recording::chain::receipt;
use audit::recording::frame::{Frame, Start};
use audit::recording::{Chain, Closing, Segment};
use audit::{Hash, PublicKey};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use model::api::Page;
use model::api::audit::AuditEvent;
use model::api::recordings::{
    GetRecording, GetSegment, GetUpload, ListRecordings, PutSegment, RecordingDetail, RecordingInfo,
    RecordingState, SegmentReceipt, UploadState,
};
use model::resource::{Kind, Node, Notice, Verb};
use model::{NodeId, RequestId, SessionId, SystemRole, Timestamp};
use policy::Object;
use serde::{Deserialize, Serialize};
use store::{Condition, Key, Range, Txn};

use crate::authority::Core;
use crate::db::{Doc, encode, key, ordered};
use crate::dispatch::Ctx;
use crate::error::Error;
use crate::gate;
use crate::refusal::{Answer, Refusal};

const DEFAULT_LISTED: u32 = 50;
const MAX_LISTED: u32 = 1_000;
/// The most rows one list looks at; the answer then says where to go on.
const MAX_LOOKED_AT: usize = 20_000;

/// What is kept of a recording.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Recording {
    pub(crate) info: RecordingInfo,
    pub(crate) seal_key: String,
    /// Hash of the last segment, hex.
    pub(crate) head: String,
    /// When the last segment came.
    pub(crate) last_segment_at: Timestamp,
    /// Where it stands in the list of newest.
    pub(crate) listed: String,
    #[serde(default)]
    pub(crate) closing_signature: String,
}

/// Where a segment's bytes are.
pub(crate) fn blob_name(id: &SessionId, n: u64) -> String {
    format!("recordings/{id}/{n:08}.seg")
}

pub(crate) fn place(id: &SessionId) -> Result<Key, Error> {
    key("recordings", id)
}

pub(crate) async fn find(core: &Core, id: &SessionId) -> Answer<Option<Doc<Recording>>> {
    Ok(core.db.get::<Recording>(&place(id)?).await?)
}

pub(crate) async fn get_upload(ctx: Ctx, ask: GetUpload) -> Answer<UploadState> {
    let (node, _, _) = ctx.pass.host()?;
    match find(&ctx.core, &ask.id).await? {
        None => Ok(UploadState { next: 0, complete: false }),
        Some(doc) if doc.value.info.node != *node => Err(Refusal::not_found()),
        Some(doc) => Ok(UploadState {
            next: doc.value.info.segments,
            complete: doc.value.info.state == RecordingState::Complete,
        }),
    }
}

pub(crate) async fn put_segment(ctx: Ctx, ask: PutSegment) -> Answer<SegmentReceipt> {
    let (node, _, roles) = ctx.pass.host()?;
    if !roles.contains(&SystemRole::Node) {
        return Err(Refusal::not_found());
    }
    let core = &ctx.core;
    let known = find(core, &ask.id).await?;
    if known.as_ref().is_some_and(|doc| doc.value.info.node != *node) {
        return Err(Refusal::not_found());
    }
    let next = known.as_ref().map_or(0, |doc| doc.value.info.segments);
    if ask.n < next {
        return again(core, &ask, &ctx.upload).await;
    }
    if ask.n > next {
        return Err(Refusal::conflict(format!("segment {next} is wanted next, not {}", ask.n)));
    }
    let segment = Segment::parse(&ctx.upload).map_err(refused)?;
    let (recording, condition) = match known {
        Some(doc) => (doc.value, Condition::At(place(&ask.id)?, doc.revision)),
        None => (begin(core, &ask.id, node, &segment).await?, Condition::Absent(place(&ask.id)?)),
    };
    take(core, recording, condition, &segment, ctx.upload.clone()).await
}

fn refused(error: audit::Error) -> Refusal {
    Refusal::bad(error.to_string())
}

/// A segment that is there already: the same bytes get the same receipt, others are refused.
async fn again(core: &Core, ask: &PutSegment, bytes: &Bytes) -> Answer<SegmentReceipt> {
    let kept = core.db.get::<SegmentReceipt>(&receipt_place(&ask.id, ask.n)?).await?;
    let kept = kept.ok_or_else(|| Refusal::internal("a receipt is missing"))?.value;
    if kept.hash == Hash::of(&[bytes]).to_string() {
        Ok(kept)
    } else {
        Err(Refusal::conflict("other bytes were kept under that number before: segments are written once"))
    }
}

fn receipt_place(id: &SessionId, n: u64) -> Result<Key, Error> {
    key("receipts", format!("{id}/{}", ordered(n)))
}

/// A new recording, out of the first frame of its first segment.
async fn begin(core: &Core, id: &SessionId, node: &NodeId, segment: &Segment<'_>) -> Answer<Recording> {
    let start = start_of(segment)?;
    let cluster = core.settings.cluster_name.as_str();
    if start.node.as_str() != node.as_str() || start.cluster.as_str() != cluster {
        return Err(Refusal::bad("the recording says that it is another node's or cluster's"));
    }
    let registered = core.db.get::<Node>(&key("nodes", node)?).await?;
    let registered =
        registered.ok_or_else(|| Refusal::conflict("report the node first: its seal key is not known"))?;
    let started = segment.header().started;
    let text = |what: &str| Refusal::bad(format!("the recording's {what} is not one"));
    Ok(Recording {
        info: RecordingInfo {
            id: id.clone(),
            user: start.user.to_string().parse().map_err(|_| text("user"))?,
            login: start.login.to_string().parse().map_err(|_| text("login"))?,
            node: node.clone(),
            node_name: start.node_name.to_string(),
            kind: start.kind.clone(),
            command: start.command.clone(),
            started,
            ended: None,
            segments: 0,
            bytes: 0,
            state: RecordingState::Live,
            notice: notice_of(&start)?,
        },
        seal_key: registered.value.seal_key,
        head: Hash::ZERO.to_string(),
        last_segment_at: core.now(),
        listed: format!("{}-{id}", ordered(u64::try_from(started.millis()).unwrap_or(0))),
        closing_signature: String::new(),
    })
}

/// What the person was told, as the recording says; older ones do not.
fn notice_of(start: &Start) -> Answer<Option<Notice>> {
    match start.notice.as_str() {
        "" => Ok(None),
        word => [Notice::Silent, Notice::Banner, Notice::Consent]
            .into_iter()
            .find(|notice| notice.as_str() == word)
            .map(Some)
            .ok_or_else(|| Refusal::bad("the recording's notice is not one")),
    }
}

fn start_of(segment: &Segment<'_>) -> Answer<Start> {
    let block = segment.unpack(0).map_err(refused)?;
    let first = block.frames().next().transpose().map_err(refused)?;
    let Some(Frame::Start(start)) = first.map(|timed| timed.frame) else {
        return Err(Refusal::bad("a recording begins with what it is of"));
    };
    Ok(start)
}

/// Verifies, keeps and signs for one segment.
async fn take(
    core: &Core,
    mut recording: Recording,
    condition: Condition,
    segment: &Segment<'_>,
    bytes: Bytes,
) -> Answer<SegmentReceipt> {
    let id = recording.info.id.clone();
    let n = recording.info.segments;
    let head: Hash = recording.head.parse().map_err(Refusal::internal)?;
    let complete = recording.info.state == RecordingState::Complete;
    let mut chain = match n {
        0 => Chain::new(id.clone()),
        _ => Chain::resume(id.clone(), n, head, complete),
    };
    let seal_key: PublicKey = recording.seal_key.parse().map_err(Refusal::internal)?;
    let hash = chain.admit(segment, &seal_key).map_err(refused)?;
    let keys = core.keys.now();
    let signed = receipt(&id, n, &hash, keys.audit()).map_err(Refusal::internal)?;
    let info = &mut recording.info;
    info.segments = n.saturating_add(1);
    info.bytes = info.bytes.saturating_add(bytes.len() as u64);
    info.state = if chain.complete() { RecordingState::Complete } else { RecordingState::Live };
    info.ended = chain.complete().then(|| info.started + segment.header().until);
    recording.head = hash.to_string();
    recording.last_segment_at = core.now();
    recording.closing_signature = String::new();
    // Bytes before words: a receipt for bytes that are not there cannot happen.
    core.blobs.put(&blob_name(&id, n), bytes).await?;
    if chain.complete() {
        let closed = close(core, &mut recording)?;
        core.log.write(vec![closed]).await?;
    }
    let open = key("open", &id)?;
    let mut txn = Txn::new()
        .quiet()
        .when(condition)
        .put(receipt_place(&id, n)?, encode(&signed)?)
        .put(place(&id)?, encode(&recording)?)
        .put(key("newest", &recording.listed)?, encode(&id)?);
    txn = if chain.complete() { txn.delete(open) } else { txn.put(open, encode(&id)?) };
    core.db.commit(txn).await?;
    core.grown.tell(&id);
    Ok(signed)
}

/// Signs the closing statement; gives the event that notes the upload. Its id follows from the statement, so that doing
/// it again after a crash is noted once.
pub(crate) fn close(core: &Core, recording: &mut Recording) -> Answer<AuditEvent> {
    let info = &recording.info;
    let closing = Closing {
        session: info.id.clone(),
        count: info.segments,
        hash: recording.head.parse().map_err(Refusal::internal)?,
        state: info.state,
    };
    recording.closing_signature = closing.sign(core.keys.now().audit()).map_err(Refusal::internal)?;
    let upload = SessionUpload {
        session: reference(info),
        server: server(info),
        segments: info.segments,
        bytes: info.bytes,
        hash: recording.head.clone(),
        state: if info.state == RecordingState::Abandoned { "abandoned" } else { "complete" }.into(),
    };
    Ok(stamped_as(core, &upload, &closing.text()))
}

/// Gives an event an id that follows from `seed`.
pub(crate) fn stamped_as<E: Event>(core: &Core, event: &E, seed: &str) -> AuditEvent {
    let hash = digest(&SHA256, format!("{} {seed}", E::NAME).as_bytes());
    let mut uid = [0; 16];
    for (to, from) in uid.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    let stamp = Stamp {
        time: core.now(),
        uid: RequestId::from_random(uid),
        cluster: &core.settings.cluster_name,
        index: 0,
    };
    audit::event::seal(event, &stamp)
}

pub(crate) fn reference(info: &RecordingInfo) -> SessionRef {
    SessionRef { sid: info.id.to_string(), session_recording: Some("node".into()) }
}

pub(crate) fn server(info: &RecordingInfo) -> Server {
    Server { server_id: info.node.to_string(), server_hostname: info.node_name.clone(), ..Server::default() }
}

/// The recording as policy looks at it.
fn object(info: &RecordingInfo) -> Object {
    Object { name: Some(info.id.to_string()), ..Object::session(vec![info.user.clone()]) }
}

pub(crate) async fn list(ctx: Ctx, ask: ListRecordings) -> Answer<Page<RecordingInfo>> {
    let core = &ctx.core;
    let limit = ask.limit.unwrap_or(DEFAULT_LISTED).clamp(1, MAX_LISTED) as usize;
    let start = Some(ask.start.as_str()).filter(|s| !s.is_empty());
    let mut after = start
        .map(|s| Key::of("newest", s))
        .transpose()
        .map_err(|_| Refusal::bad("`start` comes from an earlier answer"))?;
    let mut items = Vec::new();
    let mut looked_at = 0;
    loop {
        let range = Range::under("newest").descending().after(after).limit(100);
        let (rows, more) = core.db.range::<SessionId>(&range).await?;
        for (at, (name, doc)) in rows.iter().enumerate() {
            looked_at += 1;
            if let Some(found) = find(core, &doc.value).await? {
                let info = found.value.info;
                // What follows began earlier still.
                if ask.from.is_some_and(|from| info.started < from) {
                    return Ok(Page { items, next: String::new() });
                }
                let wanted = (ask.user.is_empty() || info.user.as_str() == ask.user)
                    && ask.to.is_none_or(|to| info.started <= to);
                if wanted && gate::allows_one(core, &ctx.pass, Kind::Session, Verb::List, &object(&info)) {
                    items.push(info);
                }
            }
            if items.len() >= limit || looked_at >= MAX_LOOKED_AT {
                let is_last = !more && at + 1 == rows.len();
                return Ok(Page { items, next: if is_last { String::new() } else { name.clone() } });
            }
        }
        let last = rows.last().map(|(name, _)| key("newest", name)).transpose()?;
        if !more || last.is_none() {
            return Ok(Page { items, next: String::new() });
        }
        after = last;
    }
}

/// A recording the caller may read.
pub(crate) async fn readable(ctx: &Ctx, id: &SessionId) -> Answer<Recording> {
    let doc = find(&ctx.core, id).await?.ok_or_else(Refusal::not_found)?;
    if gate::allows_one(&ctx.core, &ctx.pass, Kind::Session, Verb::Read, &object(&doc.value.info)) {
        Ok(doc.value)
    } else {
        Err(Refusal::not_found())
    }
}

async fn note_look(ctx: &Ctx, info: &RecordingInfo) -> Answer<()> {
    let event = RecordingAccess {
        who: ctx.pass.who(),
        session: reference(info),
        action: "view".into(),
        session_type: Some(info.kind.clone()),
    };
    ctx.core.note(&event).await
}

/// Whoever reads parts without having read what they are of has looked all the same; further parts are the same look.
pub(crate) async fn note_first_look(ctx: &Ctx, info: &RecordingInfo) -> Answer<()> {
    match ctx.pass.user().is_none_or(|user| ctx.core.looks.is_first(user, &info.id)) {
        true => note_look(ctx, info).await,
        false => Ok(()),
    }
}

pub(crate) async fn get(ctx: Ctx, ask: GetRecording) -> Answer<RecordingDetail> {
    let recording = readable(&ctx, &ask.id).await?;
    if let Some(user) = ctx.pass.user() {
        ctx.core.looks.is_first(user, &ask.id);
    }
    note_look(&ctx, &recording.info).await?;
    let receipts = ctx.core.db.all::<SegmentReceipt>(&format!("receipts/{}", ask.id)).await?;
    Ok(RecordingDetail {
        info: recording.info,
        seal_key: recording.seal_key,
        receipts: receipts.into_iter().map(|(_, doc)| doc.value).collect(),
        closing_signature: recording.closing_signature,
    })
}

pub(crate) async fn get_segment(ctx: Ctx, ask: GetSegment) -> Answer<Bytes> {
    let recording = readable(&ctx, &ask.id).await?;
    if ask.n >= recording.info.segments {
        return Err(Refusal::not_found());
    }
    note_first_look(&ctx, &recording.info).await?;
    Ok(ctx.core.blobs.get(&blob_name(&ask.id, ask.n)).await?)
}
