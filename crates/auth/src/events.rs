//! The audit log's API: events of hosts in; search, tail and proof out.
//!
//! A host emits events for itself only, and none of those that are the authority's to tell.

use std::time::Duration;

use audit::event::Event as _;
use audit::event::kinds::{
    AuditAccess, AuthFailure, ClientDisconnect, Exec, Port, RecordingGap, RecordingRecovered, ScpUpload,
    SessionConnect, SessionConsent, SessionData, SessionEnd, SessionJoin, SessionLeave, SessionRejected,
    SessionResize, SessionStart, Sftp, SftpSummary, Subsystem, X11Forward,
};
use bytes::Bytes;
use model::api::Page;
use model::api::audit::{
    AuditEvent, ChainPiece, ChainedEvent, Checkpoint, EmitEvents, EmitReceipt, ExportChain, SearchEvents,
    TailEvents,
};
use serde_json::Value;
use store::Range;
use tokio::sync::watch;

use crate::authority::Core;
use crate::db::{key, ordered};
use crate::dispatch::{BoxFuture, Ctx, Source};
use crate::refusal::{Answer, Refusal};
use crate::sink::field;

const MAX_BATCH: usize = 1_000;
const DEFAULT_FOUND: u32 = 100;
const MAX_FOUND: u32 = 10_000;
/// The most links one search looks at; the answer then says where to go on.
const MAX_LOOKED_AT: usize = 100_000;
const PIECE: usize = 1_000;
/// How far a host's clock may be ahead of ours.
const AHEAD: Duration = Duration::from_secs(86_400);

/// Events that hosts tell. Every other is the authority's own, also those that are yet to come.
const OF_HOSTS: [&str; 20] = [
    AuthFailure::NAME,
    ClientDisconnect::NAME,
    Exec::NAME,
    Port::NAME,
    RecordingGap::NAME,
    RecordingRecovered::NAME,
    ScpUpload::NAME,
    SessionConnect::NAME,
    SessionConsent::NAME,
    SessionData::NAME,
    SessionEnd::NAME,
    SessionJoin::NAME,
    SessionLeave::NAME,
    SessionRejected::NAME,
    SessionResize::NAME,
    SessionStart::NAME,
    Sftp::NAME,
    SftpSummary::NAME,
    Subsystem::NAME,
    X11Forward::NAME,
];

pub(crate) async fn emit(ctx: Ctx, ask: EmitEvents) -> Answer<EmitReceipt> {
    if ask.events.is_empty() || ask.events.len() > MAX_BATCH {
        return Err(Refusal::bad(format!("a batch has 1 to {MAX_BATCH} events")));
    }
    let events = ask.events.into_iter().map(|e| vouch(&ctx, e)).collect::<Answer<Vec<_>>>()?;
    let (id, _, _) = ctx.pass.host()?;
    let links = ctx.core.log.write_of(id, events).await?;
    Ok(EmitReceipt { index: links.saturating_sub(1) })
}

/// Checks that an event is the caller's to tell, and well formed.
fn vouch(ctx: &Ctx, mut event: AuditEvent) -> Answer<AuditEvent> {
    let (id, _, _) = ctx.pass.host()?;
    let cluster = ctx.core.settings.cluster_name.as_str();
    for (name, must) in [("server_id", id.as_str()), ("cluster_name", cluster)] {
        let given = event.0.entry(name).or_insert_with(|| Value::from(must));
        if given.as_str() != Some(must) {
            return Err(Refusal::bad(format!("a host emits events with its own {name} only")));
        }
    }
    let kind = audit::event::check(&event).map_err(|e| Refusal::bad(e.to_string()))?;
    if !OF_HOSTS.contains(&kind.event) {
        return Err(Refusal::bad(format!("`{}` is the authority's to tell", kind.event)));
    }
    Ok(event)
}

pub(crate) async fn search(ctx: Ctx, ask: SearchEvents) -> Answer<Page<AuditEvent>> {
    let limit = ask.limit.unwrap_or(DEFAULT_FOUND).clamp(1, MAX_FOUND) as usize;
    let types: Vec<&str> = ask.types.split(',').map(str::trim).filter(|t| !t.is_empty()).collect();
    let wanted = |event: &AuditEvent| {
        let time = field(event, "time").parse::<model::Timestamp>().unwrap_or_default();
        (types.is_empty() || types.contains(&field(event, "event")))
            && (ask.user.is_empty() || field(event, "user") == ask.user)
            && (ask.session.is_empty() || field(event, "sid") == ask.session)
            && ask.from.is_none_or(|from| time >= from)
            && ask.to.is_none_or(|to| time <= to)
    };
    let start = match ask.start.as_str() {
        "" => None,
        text => Some(text.parse::<u64>().map_err(|_| Refusal::bad("`start` comes from an earlier answer"))?),
    };
    note_access(&ctx, "search", describe(&ask)).await?;
    let mut after = start.map(|n| key("log", ordered(n))).transpose()?;
    let mut items = Vec::new();
    let mut looked_at = 0;
    loop {
        let mut range = Range::under("log").after(after).limit(PIECE);
        if !ask.ascending {
            range = range.descending();
        }
        let (links, more) = ctx.core.db.range::<ChainedEvent>(&range).await?;
        for (at, (_, doc)) in links.iter().enumerate() {
            looked_at += 1;
            let event: AuditEvent = serde_json::from_str(&doc.value.event).map_err(Refusal::internal)?;
            if wanted(&event) {
                items.push(event);
            }
            if items.len() >= limit || looked_at >= MAX_LOOKED_AT {
                let is_last = !more && at + 1 == links.len();
                let next = if is_last { String::new() } else { doc.value.index.to_string() };
                return Ok(Page { items, next });
            }
        }
        let last = links.last().map(|(_, doc)| doc.value.index);
        let (true, Some(last)) = (more, last) else { return Ok(Page { items, next: String::new() }) };
        if !ask.ascending && all_before(&ctx.core, last, ask.from).await? {
            return Ok(Page { items, next: String::new() });
        }
        after = Some(key("log", ordered(last))?);
    }
}

/// True when every link before this one is of a time before `from`: what was signed for by then had come by then. A
/// host's clock may be ahead, and is believed for a day.
async fn all_before(core: &Core, link: u64, from: Option<model::Timestamp>) -> Answer<bool> {
    let Some(from) = from else { return Ok(false) };
    let before = link.checked_sub(2).map(|n| key("checkpoints", ordered(n))).transpose()?;
    let (points, _) =
        core.db.range::<Checkpoint>(&Range::under("checkpoints").after(before).limit(1)).await?;
    Ok(points.first().is_some_and(|(_, point)| point.value.time + AHEAD < from))
}

fn describe(ask: &impl serde::Serialize) -> String {
    serde_json::to_string(ask).unwrap_or_default()
}

/// Looking at the log is an event too.
async fn note_access(ctx: &Ctx, action: &str, query: String) -> Answer<()> {
    let event = AuditAccess { who: ctx.pass.who(), action: action.into(), query: Some(query) };
    ctx.core.note(&event).await
}

pub(crate) async fn tail(ctx: Ctx, ask: TailEvents) -> Answer<Box<dyn Source>> {
    note_access(&ctx, "tail", String::new()).await?;
    let head = ctx.core.log.head();
    let next = match ask.after {
        Some(after) => after.saturating_add(1),
        None => *head.borrow(),
    };
    Ok(Box::new(Tail { core: ctx.core, head, next, waiting: std::collections::VecDeque::new() }))
}

/// Follows the chain by number: what a slow reader has not seen is read from the store again, never dropped.
struct Tail {
    core: std::sync::Arc<Core>,
    head: watch::Receiver<u64>,
    next: u64,
    waiting: std::collections::VecDeque<ChainedEvent>,
}

impl Source for Tail {
    fn next(&mut self) -> BoxFuture<'_, Answer<Option<Bytes>>> {
        Box::pin(async move {
            loop {
                if let Some(link) = self.waiting.pop_front() {
                    self.next = link.index.saturating_add(1);
                    return Ok(Some(Bytes::from(format!("{}\n", link.event))));
                }
                let next = self.next;
                if self.head.wait_for(|head| *head > next).await.is_err() {
                    return Ok(None);
                }
                let after = next.checked_sub(1).map(|n| key("log", ordered(n))).transpose()?;
                let range = Range::under("log").after(after).limit(100);
                let (links, _) = self.core.db.range::<ChainedEvent>(&range).await?;
                self.waiting = links.into_iter().map(|(_, doc)| doc.value).collect();
            }
        })
    }
}

pub(crate) async fn export(ctx: Ctx, ask: ExportChain) -> Answer<ChainPiece> {
    let core = &ctx.core;
    let limit = ask.limit.unwrap_or(1_000).clamp(1, 10_000) as usize;
    // Whoever takes the log piece by piece looks once; whoever begins in its middle looks all the same.
    if !core.exports.goes_on(&ctx.pass.name(), ask.from) {
        note_access(&ctx, "export", describe(&ask)).await?;
    }
    let before = ask.from.checked_sub(1).map(ordered);
    // Before the links: what is signed later is of links that this piece may not have.
    let after = before.as_ref().map(|n| key("checkpoints", n)).transpose()?;
    let (points, _) =
        core.db.range::<Checkpoint>(&Range::under("checkpoints").after(after).limit(limit)).await?;
    let (newest, _) = core.db.range::<Checkpoint>(&Range::under("checkpoints").descending().limit(1)).await?;
    let after = before.map(|n| key("log", n)).transpose()?;
    let (links, more) = core.db.range::<ChainedEvent>(&Range::under("log").after(after).limit(limit)).await?;
    let links: Vec<ChainedEvent> = links.into_iter().map(|(_, doc)| doc.value).collect();
    let next = links.last().map_or(ask.from, |link| link.index.saturating_add(1));
    if !links.is_empty() {
        core.exports.reached(&ctx.pass.name(), next);
    }
    // There are never more checkpoints than links; those beyond the piece come with the next. Beyond the last piece
    // there are none, unless an end that was signed for is gone: then the newest says so.
    let mut checkpoints: Vec<Checkpoint> =
        points.into_iter().map(|(_, doc)| doc.value).filter(|p| p.index < next).collect();
    if !more {
        checkpoints.extend(newest.into_iter().map(|(_, doc)| doc.value).filter(|p| p.index >= next));
    }
    let total = *core.log.head().borrow();
    Ok(ChainPiece { links, checkpoints, total })
}
