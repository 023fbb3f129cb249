//! A host with a spool in a temporary directory, an authority that can be down or lie, a disk that can be full.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use audit::key::pair_from_seed;
use audit::recording::{Chain, Segment, chain};
use audit::{Hash, Sign};
use bytes::Bytes;
use model::api::access::TrackSession;
use model::api::audit::AuditEvent;
use model::api::recordings::{SegmentReceipt, UploadState};
use model::resource::{Notice, RecordingMode, Strictness};
use model::{NodeId, SessionId, Timestamp};
use runtime::{Clock, Health, Random, Scope};
use tokio::sync::watch;

use crate::authority::Answer;
use crate::*;

/// How the stand-in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Good,
    Down,
    /// Receipts signed by nobody we know.
    Forged,
    /// Receipts about something else.
    Wrong,
}

#[derive(Default)]
pub(super) struct Kept {
    pub(super) events: Vec<AuditEvent>,
    uids: BTreeSet<String>,
    /// The names of the events of each call that was answered well.
    pub(super) calls: Vec<Vec<String>>,
    pub(super) segments: BTreeMap<SessionId, Vec<Vec<u8>>>,
    pub(super) tracked: Vec<TrackSession>,
}

/// An authority that keeps everything in memory.
pub(super) struct Fake {
    pub(super) kept: Mutex<Kept>,
    pub(super) events: Mutex<Manner>,
    pub(super) segments: Mutex<Manner>,
    /// This recording is refused for good.
    pub(super) refuses: Mutex<Option<SessionId>>,
    /// Events of this name are refused for good.
    pub(super) refuses_event: Mutex<Option<&'static str>>,
    /// Events are answered only while this is false.
    pub(super) holds_events: watch::Sender<bool>,
    /// How often events came.
    pub(super) calls: AtomicUsize,
    /// How long it takes to take events.
    pub(super) takes: Mutex<Duration>,
    /// That a session lives takes longer to be told than that it is over.
    pub(super) slow_to_hear: AtomicBool,
}

pub(super) fn audit_key() -> impl Sign {
    pair_from_seed(&[2; 32]).unwrap()
}

pub(super) fn seal_key() -> impl Sign {
    pair_from_seed(&[1; 32]).unwrap()
}

fn down() -> Trouble {
    Trouble::Later("the authority is down".into())
}

impl Fake {
    fn take(&self, id: &SessionId, n: u64, bytes: &[u8]) -> Result<SegmentReceipt, Trouble> {
        let manner = *self.segments.lock().unwrap();
        if manner == Manner::Down {
            return Err(down());
        }
        if self.refuses.lock().unwrap().as_ref() == Some(id) {
            return Err(Trouble::Refused("no".into()));
        }
        let mut kept = self.kept.lock().unwrap();
        let have = kept.segments.entry(id.clone()).or_default();
        if have.get(usize::try_from(n).unwrap()).map(Vec::as_slice) != Some(bytes) {
            let mut chain = Chain::new(id.clone());
            for bytes in have.iter() {
                chain.admit(&Segment::parse(bytes).unwrap(), &seal_key().public()).unwrap();
            }
            let segment = Segment::parse(bytes).map_err(|e| Trouble::Refused(e.to_string()))?;
            segment.check().unwrap();
            chain.admit(&segment, &seal_key().public()).map_err(|e| Trouble::Refused(e.to_string()))?;
            have.push(bytes.to_vec());
        }
        let hash = Hash::of(&[bytes]);
        let stranger = pair_from_seed(&[3; 32]).unwrap();
        Ok(match manner {
            Manner::Forged => chain::receipt(id, n, &hash, &stranger).unwrap(),
            Manner::Wrong => chain::receipt(id, n + 1, &hash, &audit_key()).unwrap(),
            Manner::Good | Manner::Down => chain::receipt(id, n, &hash, &audit_key()).unwrap(),
        })
    }
}

impl Authority for Fake {
    fn emit(&self, events: Vec<AuditEvent>) -> Answer<'_, ()> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let takes = *self.takes.lock().unwrap();
            if !takes.is_zero() {
                tokio::time::sleep(takes).await;
            }
            self.holds_events.subscribe().wait_for(|holds| !holds).await.unwrap();
            if *self.events.lock().unwrap() == Manner::Down {
                return Err(down());
            }
            let refuses = *self.refuses_event.lock().unwrap();
            if events.iter().any(|e| refuses.is_some_and(|name| e.0["event"] == name)) {
                return Err(Trouble::Refused("no such event".into()));
            }
            let mut kept = self.kept.lock().unwrap();
            let names = events.iter().map(|e| e.0["event"].as_str().unwrap().to_owned());
            kept.calls.push(names.collect());
            for event in events {
                audit::event::check(&event).unwrap();
                if kept.uids.insert(event.0["uid"].to_string()) {
                    kept.events.push(event);
                }
            }
            Ok(())
        })
    }

    fn put_segment<'a>(&'a self, id: &'a SessionId, n: u64, bytes: Bytes) -> Answer<'a, SegmentReceipt> {
        Box::pin(async move { self.take(id, n, &bytes) })
    }

    fn upload_state<'a>(&'a self, id: &'a SessionId) -> Answer<'a, UploadState> {
        Box::pin(async move {
            if *self.segments.lock().unwrap() == Manner::Down {
                return Err(down());
            }
            let next = self.kept.lock().unwrap().segments.get(id).map_or(0, Vec::len) as u64;
            Ok(UploadState { next, complete: false })
        })
    }

    fn track(&self, session: TrackSession) -> Answer<'_, ()> {
        Box::pin(async move {
            if session.session.is_some() && self.slow_to_hear.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            self.kept.lock().unwrap().tracked.push(session);
            Ok(())
        })
    }
}

/// A disk that can be full.
#[derive(Default)]
pub(super) struct Flaky {
    pub(super) full: AtomicBool,
    /// Makes files, and nothing can be written into them.
    pub(super) hollow: AtomicBool,
    /// Directories are removed but for their last file, as when the machine loses power then.
    pub(super) tears: AtomicBool,
    /// Files of this name are there and cannot be read.
    pub(super) unreadable: Mutex<Option<&'static str>>,
}

impl Flaky {
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for Flaky {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        if !path.is_dir() {
            self.check()?;
        }
        RealDisk.make_dir(path)
    }
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        // Nothing here outlives the machine: no waiting for the disk.
        let part = path.with_extension("part");
        RealDisk.write_soon(&part, bytes)?;
        RealDisk.rename(&part, path)
    }
    fn write_soon(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        if self.hollow.load(Ordering::SeqCst) {
            RealDisk.write_soon(path, b"")?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        RealDisk.write_soon(path, bytes)
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        RealDisk.append(path, bytes)
    }
    fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        let unreadable = *self.unreadable.lock().unwrap();
        if unreadable.is_some_and(|name| path.ends_with(name)) {
            return Err(io::Error::other("too many open files"));
        }
        RealDisk.read(path, max)
    }
    fn size(&self, path: &Path) -> io::Result<u64> {
        RealDisk.size(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        if self.tears.load(Ordering::SeqCst) {
            let names = RealDisk.list(path)?;
            names.iter().rev().skip(1).try_for_each(|name| RealDisk.remove(&path.join(name)))?;
            return Err(io::ErrorKind::Interrupted.into());
        }
        RealDisk.remove_dir(path)
    }
}

pub(super) struct World {
    pub(super) sessions: Sessions,
    pub(super) authority: Arc<Fake>,
    pub(super) disk: Arc<Flaky>,
    pub(super) view: watch::Sender<Arc<View>>,
    pub(super) clock: Clock,
    pub(super) scope: Scope,
    pub(super) spool: PathBuf,
    dir: tempfile::TempDir,
}

pub(crate) fn about() -> About {
    About {
        user: "ann".parse().unwrap(),
        login: "root".parse().unwrap(),
        impersonator: None,
        kind: Kind::Shell,
        command: String::new(),
        term: "xterm".into(),
        size: Some((80, 24)),
        client_addr: "192.0.2.1:5000".into(),
        local_addr: None,
        roles: vec!["dev".into()],
        revision: Some(7),
    }
}

pub(crate) fn terms(mode: RecordingMode, strictness: Strictness) -> Terms {
    let recording = Recording { mode, strictness, keystrokes: false, notice: Notice::Silent };
    Terms { recording, idle_limit: None, ends_at: None, permit: None, seat: None }
}

pub(super) fn strict() -> Terms {
    terms(RecordingMode::Node, Strictness::Strict)
}

pub(super) fn best_effort() -> Terms {
    terms(RecordingMode::Node, Strictness::BestEffort)
}

pub(crate) fn server() -> ServerFacts {
    ServerFacts {
        id: NodeId::from_random([5; 16]),
        name: "web-1".parse().unwrap(),
        addr: None,
        cluster: "example".parse().unwrap(),
    }
}

impl World {
    pub(super) async fn new() -> Self {
        let fake = Fake {
            kept: Mutex::default(),
            events: Mutex::new(Manner::Good),
            segments: Mutex::new(Manner::Good),
            refuses: Mutex::new(None),
            refuses_event: Mutex::new(None),
            holds_events: watch::Sender::new(false),
            calls: AtomicUsize::new(0),
            takes: Mutex::default(),
            slow_to_hear: AtomicBool::new(false),
        };
        Self::over(tempfile::tempdir().unwrap(), Arc::new(fake), Arc::default(), 1).await
    }

    async fn over(dir: tempfile::TempDir, authority: Arc<Fake>, disk: Arc<Flaky>, seed: u64) -> Self {
        let spool = dir.path().join("spool");
        let view = View { audit_key: Some(audit_key().public()), ..View::default() };
        let (view, watching) = watch::channel(Arc::new(view));
        let clock = Clock::manual(Timestamp::from_secs(1_000_000));
        let deps = Deps {
            authority: authority.clone(),
            sign: Arc::new(seal_key()),
            view: watching,
            clock: clock.clone(),
            random: Random::seeded(seed),
            health: Health::default(),
            disk: disk.clone(),
        };
        let scope = Scope::root("test");
        let config = Config { spool: spool.clone(), server: server() };
        let sessions = Sessions::start(config, deps, &scope).await.unwrap();
        Self { sessions, authority, disk, view, clock, scope, spool, dir }
    }

    /// The host as it would come up again had it lost power over its process now: the spool as it lies there, a new
    /// service over it. The old one goes on in its own directory and is told nothing.
    pub(super) async fn after_kill(&self) -> World {
        self.after_kill_with(|_, _| ()).await
    }

    /// The same, with something done to the spool and its disk before the host comes up again.
    pub(super) async fn after_kill_with(&self, change: impl FnOnce(&Path, &Flaky)) -> World {
        let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Flaky::default()));
        let spool = dir.path().join("spool");
        copy(&self.spool, &spool);
        change(&spool, &disk);
        Self::over(dir, self.authority.clone(), disk, 99).await
    }

    pub(super) async fn open(&self, terms: Terms) -> Session {
        self.sessions.open(terms, about(), &self.scope).await.unwrap()
    }

    pub(super) fn events(&self, sid: &SessionId) -> Vec<String> {
        let kept = self.authority.kept.lock().unwrap();
        let of = |e: &&AuditEvent| e.0.get("sid").is_some_and(|s| s == sid.as_str());
        kept.events.iter().filter(of).map(|e| e.0["event"].as_str().unwrap().to_owned()).collect()
    }

    /// Has an event of this host on record, which says which one it is.
    pub(super) async fn tell(&self, n: usize) -> Result<(), Error> {
        let event = event::kinds::ClientDisconnect {
            who: event::Who::user("ann"),
            reason: n.to_string(),
            ..event::kinds::ClientDisconnect::default()
        };
        self.sessions.emit(&event).await
    }

    /// Which of those events the authority has, in its order.
    pub(super) fn told(&self) -> Vec<usize> {
        let kept = self.authority.kept.lock().unwrap();
        let of = |e: &&AuditEvent| e.0["event"] == "client.disconnect";
        kept.events.iter().filter(of).map(|e| e.0["reason"].as_str().unwrap().parse().unwrap()).collect()
    }

    /// The files in which events wait, and those of events that were set aside.
    pub(super) fn queued(&self) -> Vec<String> {
        RealDisk.list(&self.spool.join("events")).unwrap()
    }

    /// How many events wait in them.
    pub(super) fn waiting(&self) -> usize {
        let read = |name: &String| std::fs::read(self.spool.join("events").join(name)).unwrap_or_default();
        let count = |bytes: Vec<u8>| serde_json::from_slice::<Vec<AuditEvent>>(&bytes).map_or(0, |e| e.len());
        self.queued().iter().map(read).map(count).sum()
    }

    pub(super) fn event(&self, name: &str) -> Option<AuditEvent> {
        let kept = self.authority.kept.lock().unwrap();
        kept.events.iter().find(|e| e.0["event"] == name).cloned()
    }

    /// Everything shown in a recording as the authority has it, gaps as `[gap]`, and whether it is whole.
    pub(super) fn recorded(&self, id: &SessionId) -> (String, bool) {
        let kept = self.authority.kept.lock().unwrap();
        let (mut text, mut whole) = (String::new(), false);
        for bytes in kept.segments.get(id).into_iter().flatten() {
            let segment = Segment::parse(bytes).unwrap();
            whole = segment.header().last;
            segment
                .each(Duration::ZERO, |f| {
                    match f.frame {
                        Frame::Gap { .. } => text.push_str("[gap]"),
                        Frame::End { interrupted: true, .. } => text.push_str("[interrupted]"),
                        frame => {
                            let shown = audit::recording::export::shown(&frame);
                            text.push_str(&String::from_utf8_lossy(shown));
                        }
                    }
                    Ok(())
                })
                .unwrap();
        }
        (text, whole)
    }

    pub(super) fn segments(&self, id: &SessionId) -> usize {
        self.authority.kept.lock().unwrap().segments.get(id).map_or(0, Vec::len)
    }

    pub(super) fn files(&self, id: &SessionId) -> Vec<String> {
        RealDisk.list(&self.spool.join(id.as_str())).unwrap_or_default()
    }

    pub(super) fn set_events(&self, manner: Manner) {
        *self.authority.events.lock().unwrap() = manner;
    }

    pub(super) fn set_segments(&self, manner: Manner) {
        *self.authority.segments.lock().unwrap() = manner;
    }

    /// Every task ends.
    pub(super) async fn end(self) {
        assert!(self.scope.drain(Duration::from_secs(60)).await, "{:?}", self.scope);
        drop(self.dir);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Moves the clock until `what` is true; an hour of it is too long.
pub(super) async fn until(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..36_000 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never happened: {what}");
}
