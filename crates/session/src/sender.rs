//! Audit events on their way to the authority: in order, at least once, kept on disk while it is away.
//!
//! One sender owns the order. While the authority answers, events go straight to it in batches. When it does not,
//! they are written to `<spool>/events/` and every later event goes behind them, until all have been sent; who only needs
//! an event to be durable does not wait for that. An event the authority refuses for good is set aside and never blocks
//! the rest. Full (at [`MAX_BYTES`] on disk): new events that only need to be durable are refused to their caller, so no
//! session starts unrecorded. Refused sign-ins, of which strangers can make any number, are [`MAX_REFUSALS`] at most: they
//! keep no session out.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use audit::event::{Event as _, kinds};
use model::api::audit::AuditEvent;
use runtime::{Clock, Health, Scope};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, Trouble};
use crate::disk::Disk;
use crate::events::{Events, Item, QUEUE, Want, answer};
use crate::outbox::{BATCH, DEADLINE, Delivery, Outbox, Stopped};

/// Most bytes of events on disk: more than a hundred thousand sessions leave.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// The newest file is written anew with what comes next until it holds so many bytes: sessions' ends come one by one.
const SMALL: u64 = 64 * 1024;
/// Most refused sign-ins that wait on disk at a time. What is beyond is counted in the log and not kept.
const MAX_REFUSALS: usize = 1_000;
/// How long what nobody waits for leaves room for what comes next.
const MOMENT: Duration = Duration::from_millis(200);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const AWAY: &str = "the authority cannot be reached";
const UNREADABLE: &str = "earlier audit events cannot be read from this host's disk";
/// How often a file is tried that cannot be read: for some minutes. Then those behind it have their turn.
const TRIES: u32 = 60;

/// Makes the queue and its sender; events left over on disk are the sender's first work. `silent` says that nobody is
/// left to speak. Blocks.
pub(crate) fn queue(
    authority: Arc<dyn Authority>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    clock: Clock,
    health: Health,
    silent: CancellationToken,
) -> std::io::Result<(Events, Sender)> {
    let (events, from) = Events::queue();
    let names = disk.list(&dir)?;
    let numbered = |ending: &str| -> BTreeSet<u64> {
        names.iter().filter_map(|n| n.strip_suffix(ending)?.parse().ok()).collect()
    };
    let (left, aside) = (numbered(".json"), numbered(".refused"));
    // Behind what was set aside too: that is a person's to look at and must not be written over.
    let next = left.last().max(aside.last()).map_or(0, |last| last + 1);
    let outbox = Outbox { authority, disk, dir, clock, health };
    let files: VecDeque<_> = left.into_iter().map(|n| Waiting { n, bytes: outbox.size(n) }).collect();
    let sender = Sender {
        outbox,
        silent,
        from,
        files,
        tail: None,
        next,
        behind: VecDeque::new(),
        refusals: 0,
        lost: 0,
        unread: 0,
        retry_at: Instant::now(),
        wait: FIRST_WAIT,
        trouble: AWAY,
    };
    Ok((events, sender))
}

/// A file of events on disk.
struct Waiting {
    n: u64,
    bytes: u64,
}

/// The events of a file: never none.
struct Tail {
    json: Vec<u8>,
    count: usize,
}

impl Tail {
    /// These events and then those.
    fn and(&self, then: &Tail) -> Tail {
        let before = self.json.strip_suffix(b"]").unwrap_or(&self.json);
        let after = then.json.strip_prefix(b"[").unwrap_or(&then.json);
        Tail { json: [before, b",", after].concat(), count: self.count + then.count }
    }
}

/// A delivery going on, if there is one.
type Way = Option<Pin<Box<dyn Future<Output = Delivery> + Send>>>;

/// Resolves when the delivery is over. Cancel safe: it goes on where it was.
async fn arrival(way: &mut Way) -> Delivery {
    match way {
        None => std::future::pending().await,
        Some(going) => {
            let delivery = going.await;
            *way = None;
            delivery
        }
    }
}

/// Owns the order of events.
pub(crate) struct Sender {
    outbox: Outbox,
    silent: CancellationToken,
    from: mpsc::Receiver<Item>,
    /// What waits on disk, oldest first.
    files: VecDeque<Waiting>,
    /// What the newest file holds, while more may be written into it.
    tail: Option<Tail>,
    next: u64,
    /// What has to be with the authority, and behind which file it comes.
    behind: VecDeque<(u64, Item)>,
    /// Refused sign-ins written since the disk was last empty, and those that found no place.
    refusals: usize,
    lost: usize,
    /// How often the oldest file could not be read.
    unread: u32,
    retry_at: Instant,
    wait: Duration,
    /// Why nothing is sent until then, for those who cannot wait.
    trouble: &'static str,
}

impl Sender {
    /// Sends until the scope is cancelled; then what is queued is sent once more or written down.
    pub(crate) async fn run(mut self, scope: Scope) {
        let mut way = None;
        self.serve(&mut way, scope.cancelled()).await;
        // The recorders still close sessions and have something to say of each, for a moment.
        let until = Instant::now() + DEADLINE;
        let silent = self.silent.clone();
        self.serve(&mut way, async { drop(tokio::time::timeout_at(until, silent.cancelled()).await) }).await;
        self.from.close();
        loop {
            let rest: Vec<Item> = std::iter::from_fn(|| self.from.try_recv().ok()).take(BATCH).collect();
            if rest.is_empty() {
                break;
            }
            self.take(rest).await;
        }
        // What it does not come to lies on disk for the next start.
        drop(tokio::time::timeout_at(until, self.empty(&mut way)).await);
    }

    /// Takes events, and sends what waits on disk beside that, until `stop` or nobody is left to hand any over.
    async fn serve(&mut self, way: &mut Way, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            self.set_out(way).await;
            let resting = way.is_none() && !self.files.is_empty();
            let mut batch = Vec::new();
            // All cancel safe: recv_many takes nothing unless it returns.
            tokio::select! {
                biased;
                () = &mut stop => return,
                delivery = arrival(way) => self.arrived(&delivery),
                n = self.from.recv_many(&mut batch, BATCH) => if n == 0 { return },
                () = tokio::time::sleep_until(self.retry_at), if resting => {}
            }
            self.wait_for_more(&mut batch).await;
            self.take(batch).await;
        }
    }

    /// Waits a moment for what a batch of patient events is to go with, where it goes to the authority at all.
    async fn wait_for_more(&mut self, batch: &mut Vec<Item>) {
        if !self.files.is_empty() || self.is_away() {
            return;
        }
        let until = Instant::now() + MOMENT;
        while !batch.is_empty() && batch.len() < BATCH && batch.iter().all(|item| item.patient) {
            let room = BATCH - batch.len();
            // Cancel safe, as above.
            tokio::select! {
                biased;
                n = self.from.recv_many(batch, room) => if n == 0 { return },
                () = tokio::time::sleep_until(until) => return,
            }
        }
    }

    /// Sends what waits on disk until nothing does or the authority is away.
    async fn empty(&mut self, way: &mut Way) {
        loop {
            self.set_out(way).await;
            if way.is_none() {
                return;
            }
            let delivery = arrival(way).await;
            self.arrived(&delivery);
        }
    }

    /// Begins the next delivery, if there is one to make now.
    async fn set_out(&mut self, way: &mut Way) {
        if way.is_some() {
            return;
        }
        while !self.is_away()
            && let Some(due) = self.due()
        {
            self.send(due).await;
        }
        if self.is_away() || self.files.is_empty() {
            return;
        }
        let last = self.behind.front().map_or(u64::MAX, |(after, _)| *after);
        let next = self.files.iter().map(|file| file.n).take_while(|n| *n <= last).take(BATCH);
        let files: Vec<u64> = next.collect();
        if files.len() == self.files.len() {
            // What is on its way stays as it is.
            self.tail = None;
        }
        *way = Some(Box::pin(self.outbox.clone().deliver(files)));
    }

    /// What had to wait for files that are gone now.
    fn due(&mut self) -> Option<Vec<Item>> {
        let oldest = self.files.front().map_or(u64::MAX, |file| file.n);
        let mut due = Vec::new();
        while due.len() < BATCH && self.behind.front().is_some_and(|(after, _)| *after < oldest) {
            due.extend(self.behind.pop_front().map(|(_, item)| item).filter(|item| !item.is_void()));
        }
        (!due.is_empty()).then_some(due)
    }

    /// Notes what became of a delivery.
    fn arrived(&mut self, delivery: &Delivery) {
        self.files.drain(..delivery.done.min(self.files.len()));
        if delivery.done > 0 {
            (self.wait, self.unread) = (FIRST_WAIT, 0);
            self.note_empty();
        }
        match &delivery.stopped {
            None => {}
            Some(Stopped::Away(why)) => self.later(why),
            Some(Stopped::Unreadable(why)) => self.unreadable(why),
        }
    }

    fn note_empty(&mut self) {
        if !self.files.is_empty() {
            return;
        }
        if self.lost > 0 {
            tracing::error!(count = self.lost, "so many refused sign-ins are not on record");
        }
        (self.refusals, self.lost) = (0, 0);
    }

    /// The oldest file cannot be read: usually that passes.
    fn unreadable(&mut self, why: &str) {
        self.unread += 1;
        if self.unread == 1 {
            tracing::warn!(why, "audit events on disk cannot be read; those behind them wait");
        }
        if self.unread >= TRIES
            && let Some(file) = self.files.pop_front()
        {
            let n = file.n;
            tracing::error!(n, why, "events/{n}.json cannot be read: it stays on disk until the next start");
            self.unread = 0;
            self.note_empty();
        }
        self.later(UNREADABLE);
        self.trouble = UNREADABLE;
    }

    /// The last attempt failed, and the next one is not due yet.
    fn is_away(&self) -> bool {
        Instant::now() < self.retry_at
    }

    fn later(&mut self, why: &str) {
        if self.files.is_empty() {
            tracing::warn!(why, "audit events are kept on disk until the authority answers");
        }
        self.trouble = AWAY;
        self.retry_at = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        let behind = std::mem::take(&mut self.behind);
        answer(behind.into_iter().map(|(_, item)| item), &Err(why.to_owned()));
    }

    /// Sends new events, or puts them behind those that wait.
    async fn take(&mut self, mut batch: Vec<Item>) {
        batch.retain(|item| !item.is_void());
        if batch.is_empty() {
            return;
        }
        if self.files.is_empty() && !self.is_away() {
            self.send(batch).await;
        } else {
            self.keep(batch, self.trouble).await;
        }
    }

    async fn send(&mut self, batch: Vec<Item>) {
        let events = batch.iter().map(|item| item.event.clone()).collect();
        match self.outbox.emit(events).await {
            Ok(()) => {
                self.wait = FIRST_WAIT;
                answer(batch, &Ok(()));
            }
            Err(Trouble::Later(why)) => {
                self.later(&why);
                self.keep(batch, &why).await;
            }
            // One of them is at fault: find it, in order.
            Err(Trouble::Refused(_)) if batch.len() > 1 => self.send_each(batch).await,
            Err(Trouble::Refused(why)) => self.put_aside(batch, why).await,
        }
    }

    async fn send_each(&mut self, batch: Vec<Item>) {
        let mut rest = batch.into_iter();
        while let Some(item) = rest.next() {
            match self.outbox.emit(vec![item.event.clone()]).await {
                Ok(()) => answer([item], &Ok(())),
                Err(Trouble::Refused(why)) => self.put_aside(vec![item], why).await,
                Err(Trouble::Later(why)) => {
                    self.later(&why);
                    return self.keep(std::iter::once(item).chain(rest).collect(), &why).await;
                }
            }
        }
    }

    async fn put_aside(&mut self, batch: Vec<Item>, why: String) {
        let n = self.next;
        self.next += 1;
        let events: Vec<_> = batch.iter().map(|item| item.event.clone()).collect();
        drop(self.outbox.refused(n, &events, &why).await);
        answer(batch, &Err(why));
    }

    /// Writes events down behind those already on disk. Those that have to be with the authority wait for their turn, or
    /// are not kept while it is away.
    async fn keep(&mut self, batch: Vec<Item>, why: &str) {
        let away = self.is_away();
        let (must, may): (Vec<_>, Vec<_>) = batch.into_iter().partition(|i| i.want == Want::Authority);
        let may = self.admit(may);
        if !may.is_empty() {
            let outcome = self.write_down(&may).await;
            if let Err(why) = &outcome {
                tracing::error!(why, "audit events are lost: they can be neither sent nor written");
            }
            answer(may, &outcome);
        }
        if away {
            answer(must, &Err(why.to_owned()));
        } else {
            self.line_up(must);
        }
    }

    /// Lets events that have to be with the authority wait for what is on disk now, and for no more.
    fn line_up(&mut self, must: Vec<Item>) {
        if must.is_empty() {
            return;
        }
        if self.behind.len() + must.len() > QUEUE {
            return answer(must, &Err("too many wait for the authority already".to_owned()));
        }
        let after = self.files.back().map_or(0, |file| file.n);
        self.behind.extend(must.into_iter().map(|item| (after, item)));
        // What comes next goes behind them.
        self.tail = None;
    }

    /// Writes events into the newest file while that is small, or into the next one.
    async fn write_down(&mut self, batch: &[Item]) -> Result<(), String> {
        let new: Vec<&AuditEvent> = batch.iter().map(|item| &item.event).collect();
        let new = Tail { json: serde_json::to_vec(&new).map_err(|e| e.to_string())?, count: new.len() };
        let newest = self.files.back().filter(|file| file.bytes < SMALL);
        let open = self.tail.as_ref().filter(|tail| tail.count + new.count <= BATCH);
        let (n, before, tail) = match (newest, open) {
            (Some(file), Some(tail)) => (file.n, file.bytes, tail.and(&new)),
            (None, _) | (_, None) => (self.next, 0, new),
        };
        let bytes = tail.json.len() as u64;
        if self.files.iter().map(|file| file.bytes).sum::<u64>() - before + bytes > MAX_BYTES {
            return Err("too many audit events are waiting on disk".to_owned());
        }
        self.outbox.write(n, tail.json.clone()).await?;
        if n == self.next {
            self.next += 1;
        } else {
            self.files.pop_back();
        }
        self.files.push_back(Waiting { n, bytes });
        self.tail = Some(tail);
        Ok(())
    }

    /// Leaves out refused sign-ins beyond their bound.
    fn admit(&mut self, batch: Vec<Item>) -> Vec<Item> {
        let (mut kept, mut over) = (Vec::with_capacity(batch.len()), Vec::new());
        for item in batch {
            let refusal = item.event.0.get("event").is_some_and(|name| name == kinds::AuthFailure::NAME);
            if refusal && self.refusals >= MAX_REFUSALS {
                over.push(item);
            } else {
                self.refusals += usize::from(refusal);
                kept.push(item);
            }
        }
        if self.lost == 0 && !over.is_empty() {
            tracing::error!("refused sign-ins are lost: as many wait on disk as are kept");
        }
        self.lost = self.lost.saturating_add(over.len());
        answer(over, &Err("too many refused sign-ins are waiting on disk".to_owned()));
        kept
    }
}
