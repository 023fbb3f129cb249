//! Opening sessions, and starting the shared services they stand on.
//!
//! [`Sessions::start`] recovers what an earlier life left and starts the recorder, the uploader, the event sender,
//! the warden and the announcer. [`Sessions::open`] returns only when `session.start` is on record.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use audit::Sign;
use audit::event::Event;
use model::SessionId;
use runtime::{Clock, Health, Random, Scope};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::about::{About, EndReason, Ledger, Outcome, ServerFacts, Terms, View};
use crate::authority::Authority;
use crate::backlog::Uploads;
use crate::disk::{Disk, RealDisk, in_words};
use crate::events::Want;
use crate::lane::Tools;
use crate::life::Session;
use crate::shard::SHARDS;
use crate::shared::Shared;
use crate::spool::Spool;
use crate::tap::Tap;
use crate::told::start_event;
use crate::{Error, recorder, recover, sender, track, upload, warden};

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
                let queue = sender::queue(authority, disk, tools.spool.events_dir(), clock, health, silent)?;
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
        for one in &found {
            recover::tell(&shared, one).await;
        }
        let open = found.into_iter().filter(|one| one.open.is_some()).map(|one| one.id).collect();
        scope.spawn_graceful("recovery", recover::later(shared.clone(), tools, open, scope.clone()));
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
        let start = start_event(&ledger, shared.server.server());
        let want = if terms.recording.strict() { Want::Authority } else { Want::Durable };
        let (on_record, spooled) = tokio::join!(shared.events.put(start, want), shared.begin(&ledger));
        if let Err(why) = on_record {
            shared.abandon(&id);
            return Err(Error::NotOnRecord(why));
        }
        if let Err(why) = spooled
            && terms.recording.strict()
            && !terms.recording.off()
        {
            shared.abandon(&id);
            let reason = EndReason::Recording(why.clone());
            let now = shared.clock.now();
            shared.end_events(&ledger, &Outcome::ended(&reason), Some((0, 0)), now).await;
            return Err(Error::Spool(why));
        }
        let slot = shared.enter(ledger, terms, seat);
        Ok(Session::new(Tap(slot), scope.child("session"), shared.clone()))
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

    /// Emits an event of this host that sessions are likely to follow at once, without keeping them waiting: returns as
    /// soon as it has its place among the events.
    pub async fn note_ahead<E: Event>(&self, event: &E) {
        drop(self.0.events.note_ahead(self.0.stamp(event)).await);
    }
}
