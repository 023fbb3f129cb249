//! What a session is, on what terms it runs, and how it ends: plain data from whoever opens it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use audit::PublicKey;
use audit::event::{Connection, Server, SessionRef, Who};
use model::api::access::EndSession;
use model::api::cluster::PolicySnapshot;
use model::resource::{Notice, RecordingMode, Strictness};
use model::{Login, SessionId, Timestamp, UserName};
use policy::{Denial, Permit, Rules};
use serde::{Deserialize, Serialize};

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A shell on a terminal, or a command on one.
    Shell,
    /// A command without a terminal.
    Exec,
    /// sftp and the like.
    Subsystem,
}

impl Kind {
    /// Its name in recordings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Shell => "shell",
            Kind::Exec => "exec",
            Kind::Subsystem => "subsystem",
        }
    }
}

/// What a session is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Who.
    pub user: UserName,
    /// As which local account.
    pub login: Login,
    /// Who acts as the user, if not the user.
    #[serde(default)]
    pub impersonator: Option<String>,
    /// What it does.
    pub kind: Kind,
    /// The command or subsystem; empty for a shell.
    #[serde(default)]
    pub command: String,
    /// The terminal's type; empty without a terminal.
    #[serde(default)]
    pub term: String,
    /// Columns and rows, with a terminal.
    #[serde(default)]
    pub size: Option<(u16, u16)>,
    /// The person's address.
    #[serde(default)]
    pub client_addr: String,
    /// Our end's address, if it has one.
    #[serde(default)]
    pub local_addr: Option<String>,
    /// The roles that allowed it.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The revision of the rules that allowed it.
    #[serde(default)]
    pub revision: Option<u64>,
}

impl About {
    /// Who, for events.
    #[must_use]
    pub fn who(&self) -> Who {
        Who {
            user: self.user.to_string(),
            login: Some(self.login.to_string()),
            impersonator: self.impersonator.clone(),
            user_kind: Some("user".to_owned()),
        }
    }

    /// Over which connection, for events.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection {
            remote: self.client_addr.clone(),
            local: self.local_addr.clone(),
            proto: Some("ssh".to_owned()),
        }
    }

    /// Has a terminal.
    #[must_use]
    pub fn interactive(&self) -> bool {
        self.size.is_some()
    }

    pub(crate) fn words(&self) -> Vec<String> {
        if self.command.is_empty() { Vec::new() } else { vec![self.command.clone()] }
    }
}

/// How a session is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Where, and whether at all.
    pub mode: RecordingMode,
    /// What happens when recording cannot go on.
    pub strictness: Strictness,
    /// Typed keys too.
    pub keystrokes: bool,
    /// What the person is told of it.
    #[serde(default)]
    pub notice: Notice,
}

impl Recording {
    /// Nothing is recorded; events still are.
    #[must_use]
    pub fn off(self) -> bool {
        self.mode == RecordingMode::Off
    }

    /// Each segment is acknowledged before the session goes on.
    #[must_use]
    pub fn sync(self) -> bool {
        matches!(self.mode, RecordingMode::NodeSync | RecordingMode::ProxySync)
    }

    /// The session ends when recording cannot go on.
    #[must_use]
    pub fn strict(self) -> bool {
        self.strictness == Strictness::Strict
    }
}

/// On what terms a session runs: what a permit obliges to, and its place on its connection.
#[derive(Debug)]
pub struct Terms {
    /// How it is recorded.
    pub recording: Recording,
    /// It ends when quiet this long.
    pub idle_limit: Option<Duration>,
    /// It ends then, whatever happens.
    pub ends_at: Option<Timestamp>,
    /// Asked again after each change of the rules.
    pub permit: Option<Permit>,
    /// Its connection, whose sessions are counted.
    pub seat: Option<Seat>,
}

impl Terms {
    /// What `permit` obliges to.
    #[must_use]
    pub fn of(permit: Permit, seat: Option<Seat>) -> Self {
        let duty = permit.obligations();
        let recording = Recording {
            mode: duty.recording.mode,
            strictness: duty.recording.strictness,
            keystrokes: duty.recording.keystrokes,
            notice: duty.recording.notice,
        };
        Self { recording, idle_limit: duty.idle_limit, ends_at: duty.ends_at, permit: Some(permit), seat }
    }

    /// Asks whether the session may still go on.
    pub(crate) fn still(&self, view: &View, now: Timestamp) -> Result<(), EndReason> {
        let Some(permit) = &self.permit else { return Ok(()) };
        // A certificate that ends ends the session only where the rules want that: `ends_at` says so.
        let last_good = permit.obligations().certificate_ends_at - Duration::from_millis(1);
        match permit.again(&view.rules, now.min(last_good)) {
            Ok(_) => Ok(()),
            Err(Denial::Locked(id)) => Err(EndReason::Locked(id.to_string())),
            Err(denial) => Err(EndReason::Policy(denial.to_string())),
        }
    }
}

/// The rules as sessions need them: made from each snapshot the authority sends.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// What decides.
    pub rules: Rules,
    /// The key that signs receipts.
    pub audit_key: Option<PublicKey>,
    /// Sessions an admin asked to end.
    pub end: Vec<EndSession>,
    /// Sessions somebody watches.
    pub watched: BTreeSet<SessionId>,
}

impl View {
    /// Reads a snapshot.
    #[must_use]
    pub fn of(snapshot: &PolicySnapshot) -> Self {
        Self {
            rules: Rules::from_snapshot(snapshot),
            audit_key: snapshot.trust.audit_key.parse().ok(),
            end: snapshot.end_sessions.clone(),
            watched: snapshot.watched.iter().cloned().collect(),
        }
    }
}

/// Counts the sessions of one connection. Clones count together.
#[derive(Clone, Debug)]
pub struct Seat {
    taken: Arc<AtomicU32>,
    max: Option<u32>,
}

impl Seat {
    /// Room for `max` sessions at a time.
    #[must_use]
    pub fn new(max: Option<u32>) -> Self {
        Self { taken: Arc::new(AtomicU32::new(0)), max }
    }

    /// How many there may be.
    #[must_use]
    pub fn max(&self) -> Option<u32> {
        self.max
    }

    /// Whether a session is open.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire) > 0
    }

    /// Takes one place, given back when the guard is dropped; `None` when all are taken.
    pub(crate) fn take(&self) -> Option<Taken> {
        let max = self.max.unwrap_or(u32::MAX);
        let grow = |taken: u32| (taken < max).then(|| taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, grow).ok()?;
        Some(Taken(self.taken.clone()))
    }
}

/// A place taken.
#[derive(Debug)]
pub(crate) struct Taken(Arc<AtomicU32>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why a session ended before its process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Quiet for too long.
    Idle(Duration),
    /// The certificate, or the time granted, ran out.
    Expired,
    /// The rules no longer allow it; what they say now.
    Policy(String),
    /// Somebody or something is locked.
    Locked(String),
    /// An admin ended it.
    Admin(String),
    /// Strict recording cannot go on.
    Recording(String),
    /// The service is stopping.
    Stopping,
}

impl EndReason {
    /// What a person is told who is not to learn of recordings.
    #[must_use]
    pub fn silent(&self) -> String {
        match self {
            EndReason::Recording(_) => "the session cannot go on".to_owned(),
            EndReason::Admin(_) => EndReason::Admin(String::new()).public(),
            EndReason::Idle(_)
            | EndReason::Expired
            | EndReason::Policy(_)
            | EndReason::Locked(_)
            | EndReason::Stopping => self.public(),
        }
    }

    /// What the person is told: never what the rules or locks say.
    #[must_use]
    pub fn public(&self) -> String {
        match self {
            EndReason::Policy(_) | EndReason::Locked(_) => "access is no longer granted".to_owned(),
            EndReason::Recording(_) => "the session must be recorded and cannot be any longer".to_owned(),
            EndReason::Idle(_) | EndReason::Expired | EndReason::Admin(_) | EndReason::Stopping => {
                self.to_string()
            }
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndReason::Idle(after) => {
                write!(f, "client exceeded idle timeout of {}", model::time::Span(*after))
            }
            EndReason::Expired => f.write_str("the certificate has expired"),
            EndReason::Policy(why) => write!(f, "access is no longer granted: {why}"),
            EndReason::Locked(why) if why.is_empty() => f.write_str("a lock is in force"),
            EndReason::Locked(why) => write!(f, "a lock is in force: {why}"),
            EndReason::Admin(why) if why.is_empty() => f.write_str("ended by an administrator"),
            EndReason::Admin(why) => write!(f, "ended by an administrator: {why}"),
            EndReason::Recording(why) => write!(f, "the session must be recorded and cannot be: {why}"),
            EndReason::Stopping => f.write_str("the service is stopping"),
        }
    }
}

/// How a session's process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status.
    pub status: Option<i32>,
    /// The signal that ended it, without `SIG`.
    pub signal: Option<String>,
    /// Why the session ended, in words; empty for an ordinary end.
    pub reason: String,
}

impl Outcome {
    /// The process ended with `status`.
    #[must_use]
    pub fn exit(status: i32) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// The session was ended for `reason`.
    #[must_use]
    pub fn ended(reason: &EndReason) -> Self {
        Self { reason: reason.to_string(), ..Self::default() }
    }
}

/// What of a session is kept on disk beside its recording: enough to end it properly after a crash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) id: SessionId,
    pub(crate) about: About,
    pub(crate) recording: Recording,
    pub(crate) started: Timestamp,
    pub(crate) server: ServerFacts,
}

/// Where sessions of this service run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// The host's id.
    pub id: model::NodeId,
    /// Its name.
    pub name: model::NodeName,
    /// Its address, if it listens.
    #[serde(default)]
    pub addr: Option<String>,
    /// Its cluster.
    pub cluster: model::ClusterName,
}

impl ServerFacts {
    /// For events.
    #[must_use]
    pub fn server(&self) -> Server {
        Server {
            server_id: self.id.to_string(),
            server_hostname: self.name.to_string(),
            server_addr: self.addr.clone(),
            server_version: Some(model::VERSION.to_owned()),
            ..Server::default()
        }
    }
}

impl Ledger {
    pub(crate) fn session(&self) -> SessionRef {
        SessionRef {
            sid: self.id.to_string(),
            session_recording: Some(self.recording.mode.as_str().to_owned()),
        }
    }

    pub(crate) fn start_frame(&self) -> audit::recording::Start {
        let (cols, rows) = self.about.size.unwrap_or_default();
        audit::recording::Start {
            user: self.about.user.to_string(),
            login: self.about.login.to_string(),
            node: self.server.id.to_string(),
            node_name: self.server.name.to_string(),
            cluster: self.server.cluster.to_string(),
            kind: self.about.kind.as_str().to_owned(),
            command: self.about.command.clone(),
            term: self.about.term.clone(),
            cols,
            rows,
            notice: self.recording.notice.as_str().to_owned(),
        }
    }
}
