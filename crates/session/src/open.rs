//! Opening and closing sessions, and the shared services they stand on.
//!
//! [`Sessions::start`] recovers what an earlier life left and starts the recorder, the uploader, the event sender,
//! the warden and the announcer. [`Sessions::open`] returns only when `session.start` is on record.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use audit::event::{self, Event, Stamp, kinds};
use audit::recording::GapReason;
use audit::{Hash, PublicKey, Sign};
use model::api::access::TrackSession;
use model::api::audit::AuditEvent;
use model::{RequestId, SessionId, Timestamp};
use runtime::{Clock, Health, Random, Scope};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::about::{About, EndReason, Ledger, Outcome, ServerFacts, Terms, View};
use crate::authority::Authority;
use crate::disk::{Disk, RealDisk};
use crate::events::{Events, Want};
use crate::lane::{Tools, in_words};
use crate::recorder::{self, SHARDS, Shard};
use crate::recover::{self, Found};
use crate::slot::Slot;
use crate::spool::Spool;
use crate::tap::Tap;
use crate::upload::Uploads;
use crate::{Error, events, track, upload, warden};

/// Where sessions run and what they leave behind.
#[derive(Clone, Debug)]
pub struct Config {
    /// The spool directory, `<data_dir>/spool`.
    pub spool: PathBuf,
    /// This host.
    pub server: ServerFacts,
}

/// What the room needs from outside.
pub struct Deps {
    /// The authority.
    pub authority: Arc<dyn Authority>,
    /// Seals recordings: the host's own key.
    pub sign: Arc<dyn Sign>,
    /// The rules in force, and the audit key.
    pub view: watch::Receiver<Arc<View>>,
    /// The time.
    pub clock: Clock,
    /// Ids.
    pub random: Random,
    /// Where jobs report.
    pub health: Health,
    /// The disk.
    pub disk: Arc<dyn Disk>,
}

impl Deps {
    /// The usual: the machine's own disk.
    pub fn new(
        authority: Arc<dyn Authority>,
        sign: Arc<dyn Sign>,
        view: watch::Receiver<Arc<View>>,
        clock: Clock,
        random: Random,
        health: Health,
    ) -> Self {
        Self { authority, sign, view, clock, random, health, disk: Arc::new(RealDisk) }
    }
}

/// What the shared services share.
pub(crate) struct Shared {
    pub(crate) authority: Arc<dyn Authority>,
    pub(crate) spool: Spool,
    pub(crate) clock: Clock,
    pub(crate) health: Health,
    pub(crate) uploads: Uploads,
    pub(crate) opened: Notify,
    view: watch::Receiver<Arc<View>>,
    random: Random,
    server: ServerFacts,
    live: Mutex<BTreeMap<SessionId, Arc<Slot>>>,
    events: Events,
    news: mpsc::Sender<TrackSession>,
    shards: Vec<Arc<Shard>>,
    scope: Scope,
}

/// The room: opens sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions(Arc<Shared>);

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sessions")
    }
}

impl Sessions {
    /// Recovers the spool and starts the services; they end with `scope`, after closing every recording.
    ///
    /// # Errors
    /// The spool directory cannot be used.
    pub async fn start(config: Config, deps: Deps, scope: &Scope) -> Result<Self, Error> {
        let spool = Spool::new(config.spool, deps.disk.clone());
        let tools = Tools { spool: spool.clone(), sign: deps.sign };
        let (authority, disk, clock, health) =
            (deps.authority.clone(), deps.disk, deps.clock.clone(), deps.health.clone());
        let silent = CancellationToken::new();
        let recorders_done = Arc::new(silent.clone().drop_guard());
        let start = {
            let tools = tools.clone();
            move || {
                tools.spool.prepare()?;
                let found = recover::scan(&tools)?;
                let queue = events::queue(authority, disk, tools.spool.events_dir(), clock, health, silent)?;
                Ok::<_, std::io::Error>((found, queue))
            }
        };
        let started = tokio::task::spawn_blocking(start).await.map_err(|_| Error::Stopping)?;
        let (found, (events, sender)) = started.map_err(|e| Error::Spool(in_words(&e)))?;
        let (news, to_track) = mpsc::channel(track::QUEUE);
        let shared = Arc::new(Shared {
            authority: deps.authority,
            spool,
            clock: deps.clock,
            health: deps.health,
            uploads: Uploads::default(),
            opened: Notify::new(),
            view: deps.view.clone(),
            random: deps.random,
            server: config.server,
            live: Mutex::default(),
            events,
            news,
            shards: (0..SHARDS).map(|_| Arc::default()).collect(),
            scope: scope.clone(),
        });
        scope.spawn_graceful("audit events", sender.run(scope.clone()));
        scope.spawn_graceful("uploads", upload::run(shared.clone(), scope.clone()));
        for shard in &shared.shards {
            let work = recorder::run(
                shard.clone(),
                shared.clone(),
                tools.clone(),
                scope.clone(),
                recorders_done.clone(),
            );
            scope.spawn_graceful("recorder", work);
        }
        scope.spawn_graceful("warden", warden::run(shared.clone(), deps.view, scope.clone()));
        scope.spawn_graceful("announcer", track::run(shared.clone(), to_track, scope.clone()));
        for one in found {
            shared.recovered(one).await;
        }
        Ok(Self(shared))
    }

    /// Opens a session: its place in the spool is made and its start is on record before this returns.
    ///
    /// # Errors
    /// A limit is reached; or it must be recorded strictly and its start or its spool cannot be written.
    pub async fn open(&self, terms: Terms, about: About, scope: &Scope) -> Result<Session, Error> {
        let shared = &self.0;
        if shared.scope.is_cancelled() {
            return Err(Error::Stopping);
        }
        let seat = match &terms.seat {
            None => None,
            Some(seat) => Some(match seat.take() {
                Some(taken) => taken,
                None => return Err(shared.no_seat(&about, seat.max()).await),
            }),
        };
        let id = SessionId::from_random(shared.random.bytes());
        let ledger = Ledger {
            id: id.clone(),
            about,
            recording: terms.recording,
            started: shared.clock.now(),
            server: shared.server.clone(),
        };
        let start = start_event(&ledger, shared);
        let want = if terms.recording.strict() { Want::Authority } else { Want::Durable };
        let (on_record, spooled) = tokio::join!(shared.events.put(start, want), shared.begin(&ledger));
        if let Err(why) = on_record {
            shared.abandon(&id);
            return Err(Error::NotOnRecord(why));
        }
        if let Err(why) = spooled
            && terms.recording.strict()
        {
            let reason = EndReason::Recording(why.clone());
            shared.end_events(&ledger, &Outcome::ended(&reason), (0, 0)).await;
            return Err(Error::Spool(why));
        }
        Ok(shared.admit(ledger, terms, seat, scope))
    }

    /// Ids of the sessions going on here.
    #[must_use]
    pub fn live(&self) -> Vec<SessionId> {
        self.0.live().iter().map(|slot| slot.ledger.id.clone()).collect()
    }

    /// Recordings that are not all with the authority yet.
    #[must_use]
    pub fn waiting_uploads(&self) -> usize {
        self.0.uploads.waiting()
    }

    /// Emits an event of this host: returns when it is with the authority or durable on this host's disk.
    ///
    /// # Errors
    /// Neither was possible.
    pub async fn emit<E: Event>(&self, event: &E) -> Result<(), Error> {
        let event = self.0.stamp(event);
        self.0.events.put(event, Want::Durable).await.map_err(Error::NotOnRecord)
    }
}

impl Shared {
    /// Every live session.
    pub(crate) fn live(&self) -> Vec<Arc<Slot>> {
        self.map().values().cloned().collect()
    }

    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Arc<Slot>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when no session lives.
    pub(crate) fn is_quiet(&self) -> bool {
        self.map().is_empty()
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    pub(crate) fn audit_key(&self) -> Option<PublicKey> {
        self.view.borrow().audit_key
    }

    async fn begin(&self, ledger: &Ledger) -> Result<(), String> {
        if ledger.recording.off() {
            return Ok(());
        }
        let (spool, ledger) = (self.spool.clone(), ledger.clone());
        let outcome = tokio::task::spawn_blocking(move || spool.begin(&ledger)).await;
        outcome.map_err(|e| e.to_string())?.map_err(|e| in_words(&e))
    }

    /// A place in the spool that no session took.
    fn abandon(&self, id: &SessionId) {
        let (spool, id) = (self.spool.clone(), id.clone());
        drop(tokio::task::spawn_blocking(move || spool.forget(&id)));
    }

    fn admit(
        self: &Arc<Self>,
        ledger: Ledger,
        terms: Terms,
        seat: Option<crate::about::Taken>,
        scope: &Scope,
    ) -> Session {
        let id = ledger.id.clone();
        let shard = self.shard_of(&id);
        let scope = scope.child("session");
        let stop = CancellationToken::new();
        let slot = Slot::new(ledger, terms, shard, stop, seat);
        self.map().insert(id, slot.clone());
        if !slot.terms.recording.off() {
            slot.stir(false);
        }
        self.opened.notify_one();
        // Full: the next round announces it.
        drop(self.news.try_send(track::alive(&slot)));
        // The rules may have changed since the permit was given.
        if let Err(reason) = slot.terms.still(&self.view(), self.clock.now()) {
            slot.end(reason);
        }
        Session { tap: Tap(slot), scope, shared: self.clone() }
    }

    fn shard_of(&self, id: &SessionId) -> Arc<Shard> {
        let sum: usize = id.as_str().bytes().map(usize::from).sum();
        self.shards.get(sum % SHARDS).cloned().unwrap_or_default()
    }

    async fn no_seat(&self, about: &About, max: Option<u32>) -> Error {
        let reason = "max_sessions".to_owned();
        let event = kinds::SessionRejected {
            who: about.who(),
            server: self.server.server(),
            connection: about.connection(),
            reason,
            max: max.map(u64::from),
        };
        self.events.note(self.stamp(&event)).await;
        Error::Limit(format!("too many sessions over one connection (at most {})", max.unwrap_or_default()))
    }

    fn stamp<E: Event>(&self, event: &E) -> AuditEvent {
        let uid = RequestId::from_random(self.random.bytes());
        let stamp = Stamp { time: self.clock.now(), uid, cluster: &self.server.cluster, index: 0 };
        event::seal(event, &stamp)
    }

    /// A session's recording is closed: its last events, and nobody holds it any more.
    pub(crate) async fn closed(&self, slot: &Arc<Slot>) {
        let outcome = slot.outcome().cloned().unwrap_or_default();
        self.end_events(&slot.ledger, &outcome, slot.totals()).await;
        drop(self.news.try_send(track::over(slot)));
        self.map().remove(&slot.ledger.id);
        slot.settled.cancel();
    }

    async fn end_events(&self, ledger: &Ledger, outcome: &Outcome, (tx, rx): (u64, u64)) {
        let now = self.clock.now();
        for event in end_events(ledger, outcome, (tx, rx), now) {
            self.events.note(event).await;
        }
    }

    /// Frames are missing from a recording.
    pub(crate) async fn gap(&self, slot: &Slot, reason: GapReason, frames: u64, bytes: u64) {
        let event = kinds::RecordingGap {
            who: slot.ledger.about.who(),
            server: self.server.server(),
            session: slot.ledger.session(),
            reason: reason.as_str().to_owned(),
            frames,
            bytes,
        };
        self.events.note(self.stamp(&event)).await;
    }

    /// A recording an earlier life left behind.
    async fn recovered(&self, found: Found) {
        if let (Some(what), Some(ledger)) = (found.recovered, &found.ledger) {
            tracing::info!(session = %found.id, frames = what.frames, "recovered a recording");
            let event = kinds::RecordingRecovered {
                server: ledger.server.server(),
                session: ledger.session(),
                frames: what.frames,
                torn: what.torn,
            };
            self.events.note(self.stamp(&event)).await;
        }
        // The same ids as an ordinary end would have: what was told already is kept once.
        if let Some(ledger) = &found.ledger {
            let until = found.recovered.map(|what| ledger.started + what.until);
            let outcome =
                Outcome { reason: "the service that ran it stopped".to_owned(), ..Outcome::default() };
            for event in end_events(ledger, &outcome, (0, 0), until.unwrap_or(self.clock.now())) {
                self.events.note(event).await;
            }
        }
        self.uploads.leftover(&found.id, &found.segments);
    }
}

/// The id an event of a session always has, so that telling it twice is telling it once.
fn fixed_uid(id: &SessionId, name: &str) -> RequestId {
    let Hash(hash) = Hash::of(&[b"moongate session event\n", id.as_str().as_bytes(), name.as_bytes()]);
    let mut uid = [0; 16];
    for (to, from) in uid.iter_mut().zip(hash) {
        *to = from;
    }
    RequestId::from_random(uid)
}

fn fixed<E: Event>(ledger: &Ledger, event: &E, index: u64, time: Timestamp) -> AuditEvent {
    let stamp = Stamp { time, uid: fixed_uid(&ledger.id, E::NAME), cluster: &ledger.server.cluster, index };
    event::seal(event, &stamp)
}

fn start_event(ledger: &Ledger, shared: &Shared) -> AuditEvent {
    let event = kinds::SessionStart {
        who: ledger.about.who(),
        server: shared.server.server(),
        connection: ledger.about.connection(),
        session: ledger.session(),
        login: ledger.about.login.to_string(),
        size: ledger.about.size.map(|(cols, rows)| format!("{cols}:{rows}")),
        initial_command: ledger.about.words(),
        interactive: ledger.about.interactive(),
        policy_revision: ledger.about.revision,
        roles: ledger.about.roles.clone(),
    };
    fixed(ledger, &event, 0, ledger.started)
}

/// `session.leave`, `session.data`, `session.end`.
fn end_events(ledger: &Ledger, outcome: &Outcome, (tx, rx): (u64, u64), now: Timestamp) -> [AuditEvent; 3] {
    let (who, server, session) = (ledger.about.who(), ledger.server.server(), ledger.session());
    let connection = ledger.about.connection();
    let leave = kinds::SessionLeave { who: who.clone(), server: server.clone(), session: session.clone() };
    let data = kinds::SessionData {
        who: who.clone(),
        server: server.clone(),
        connection: connection.clone(),
        session: session.clone(),
        tx,
        rx,
    };
    let end = kinds::SessionEnd {
        who,
        server,
        connection,
        session,
        session_start: ledger.started,
        session_stop: now,
        interactive: ledger.about.interactive(),
        enhanced_recording: false,
        participants: vec![ledger.about.user.to_string()],
        reason: (!outcome.reason.is_empty()).then(|| outcome.reason.clone()),
        initial_command: ledger.about.words(),
    };
    [fixed(ledger, &leave, 1, now), fixed(ledger, &data, 2, now), fixed(ledger, &end, 3, now)]
}

/// An open session. Dropping it ends it, as lost.
#[derive(Debug)]
pub struct Session {
    tap: Tap,
    scope: Scope,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.tap.0.ledger.id
    }

    /// What it is.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.tap.0.ledger.about
    }

    /// Takes its frames.
    #[must_use]
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Owns its tasks: they end with the session.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Resolves when it must stop, with the reason: show [`EndReason::public`]. Cancel safe.
    pub async fn ended(&self) -> EndReason {
        self.tap.ended().await
    }

    /// Emits an event of this session: who, where and which session are filled in by `make`.
    pub async fn emit<E: Event>(&self, make: impl FnOnce(&Facts) -> E) {
        let ledger = &self.tap.0.ledger;
        let facts = Facts {
            who: ledger.about.who(),
            server: ledger.server.server(),
            connection: ledger.about.connection(),
            session: ledger.session(),
        };
        self.shared.events.note(self.shared.stamp(&make(&facts))).await;
    }

    /// Ends it with what became of its process. Returns at once; the recording is closed and the last events are
    /// sent by the services. [`Closing::settled`] waits for that.
    pub fn finish(self, outcome: Outcome) -> Closing {
        let slot = self.tap.0.clone();
        slot.close(outcome);
        Closing { slot }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let slot = &self.tap.0;
        // After `finish` the first outcome stands.
        let lost = match slot.reason() {
            Some(reason) => Outcome::ended(reason),
            None => Outcome { reason: "the connection was lost".to_owned(), ..Outcome::default() },
        };
        slot.close(lost);
        slot.stop();
        self.scope.cancel();
        if slot.terms.recording.off() {
            let (shared, slot) = (self.shared.clone(), slot.clone());
            shared.clone().scope.spawn_graceful("close", async move { shared.closed(&slot).await });
        }
    }
}

/// A session on its way out.
#[derive(Debug)]
pub struct Closing {
    slot: Arc<Slot>,
}

impl Closing {
    /// Waits until the recording is closed and the last events are handed over.
    pub async fn settled(&self) {
        self.slot.settled.cancelled().await;
    }
}

/// The fields every event of a session has.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who.
    pub who: audit::event::Who,
    /// Where.
    pub server: audit::event::Server,
    /// Over which connection.
    pub connection: audit::event::Connection,
    /// In which session.
    pub session: audit::event::SessionRef,
}
