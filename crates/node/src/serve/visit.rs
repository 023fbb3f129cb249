//! One connection from its door to its end: hands out channels and listeners, and watches for what ends it.
//!
//! What ends it: the client, silence (`ssh`), rules that no longer grant it, the time a permit gives, or the service
//! stopping. Sessions are told first and have [`FAREWELL`] to say so.

use std::sync::Arc;
use std::time::Duration;

use model::{Identity, Login, UserName};
use policy::{Denial, Permit, SshAction};
use runtime::Scope;
use session::{EndReason, Seat, Session, View};
use ssh::{ChannelKind, Connection, Event, Incoming, Opening};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::door::Guest;
use super::listen::Listeners;
use super::{Counted, Node, Peer, agent::Agent, channel, forward};
use crate::spawner::Account;

/// How long sessions have to end when the connection must.
const FAREWELL: Duration = Duration::from_secs(5);
/// Longest sleep before the wall clock is looked at again.
const LOOK: Duration = Duration::from_secs(30);

/// What all channels of a connection share.
pub(super) struct Visit {
    pub(super) node: Node,
    pub(super) peer: Peer,
    pub(super) who: Identity,
    pub(super) user: UserName,
    pub(super) login: Login,
    pub(super) ssh: Connection,
    pub(super) scope: Scope,
    /// What outlives the connection.
    pub(super) stay: Scope,
    /// The account, or why it may not come in, in words for the person.
    pub(super) account: Result<Account, String>,
    /// Counts the sessions.
    pub(super) seat: Seat,
    pub(super) agent: OnceCell<Agent>,
    /// Where the grounds for letting them in are asked about again.
    grounds: Permit,
}

/// Why a visit was ended from this side.
enum Cut {
    /// The rules or a lock say so now.
    Policy(Denial),
    Expired,
    Stopping,
}

impl Cut {
    fn public(&self) -> &'static str {
        match self {
            Cut::Policy(_) => "access is no longer granted",
            Cut::Expired => "the certificate has expired",
            Cut::Stopping => "the service is stopping",
        }
    }

    fn reason(&self) -> String {
        match self {
            Cut::Policy(denial) => denial.to_string(),
            Cut::Expired | Cut::Stopping => self.public().to_owned(),
        }
    }
}

/// Serves an accepted connection to its end.
pub(super) async fn run<S>(node: &Node, accepted: ssh::server::Accepted<S, Guest>, peer: Peer, scope: &Scope)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let ssh::server::Accepted { who: guest, connection, incoming, driver, proof, .. } = accepted;
    // Not a child: the goodbye of a stopping service still has to be said.
    let mut driving = scope.spawn_graceful("ssh connection", driver);
    let from = peer.client.map(|client| client.ip());
    let account = node.0.deps.spawner.lookup(proof, from).await.map_err(|error| crate::pump::words(&error));
    let visit = Arc::new(Visit {
        node: node.clone(),
        peer,
        seat: Seat::new(guest.permit.obligations().max_sessions),
        who: guest.who,
        user: guest.user,
        login: guest.login,
        ssh: connection,
        scope: scope.child("visit"),
        stay: scope.clone(),
        account,
        agent: OnceCell::new(),
        grounds: guest.permit,
    });
    // A kept shell goes on without counting as a connection.
    let _counted: Counted = guest.counted;
    let mut rooms = Rooms { visit: visit.clone(), tasks: Vec::new(), listeners: Listeners::default() };
    if let Some(cut) = rooms.host(incoming).await {
        visit.cut(&cut.reason()).await;
        rooms.empty().await;
        visit.ssh.disconnect(cut.public());
        if tokio::time::timeout(FAREWELL, &mut driving).await.is_err() {
            driving.abort();
        }
    } else {
        rooms.empty().await;
    }
    visit.scope.cancel();
}

/// The channels and listeners of a visit.
struct Rooms {
    visit: Arc<Visit>,
    tasks: Vec<JoinHandle<()>>,
    listeners: Listeners,
}

impl Rooms {
    /// Hands out until the connection is over (`None`) or must be cut.
    async fn host(&mut self, mut incoming: Incoming) -> Option<Cut> {
        let visit = self.visit.clone();
        let mut view = visit.node.0.deps.view.clone();
        let mut view_lives = true;
        loop {
            if let Err(cut) = visit.still() {
                return Some(cut);
            }
            // All cancel safe.
            tokio::select! {
                event = incoming.next() => match event? {
                    Event::Open(opening) => self.open(opening),
                    Event::Listen(listen) => self.listeners.answer(&visit, listen).await,
                },
                changed = view.changed(), if view_lives => view_lives = changed.is_ok(),
                () = tokio::time::sleep(visit.next_look()), if visit.ends() => {}
                () = visit.scope.cancelled() => return Some(Cut::Stopping),
            }
        }
    }

    fn open(&mut self, opening: Opening) {
        let visit = self.visit.clone();
        self.tasks.retain(|task| !task.is_finished());
        match &opening.kind {
            ChannelKind::Session => {
                let Ok(channel) = opening.accept() else { return };
                let work = channel::run(visit, channel);
                self.tasks.push(self.visit.scope.spawn_graceful("channel", work));
            }
            ChannelKind::DirectTcp(_) | ChannelKind::DirectUnix { .. } => {
                self.visit.scope.spawn_graceful("forward", forward::open(visit, opening));
            }
            ChannelKind::ForwardedTcp(_)
            | ChannelKind::ForwardedUnix { .. }
            | ChannelKind::Agent
            | ChannelKind::X11 { .. } => opening.prohibit("a client does not open these"),
            ChannelKind::Unknown(_) => opening.refuse(UNKNOWN_CHANNEL_TYPE, "unknown channel type"),
        }
    }

    /// Waits for the sessions to end; they have been told, or see that the connection is gone.
    async fn empty(&mut self) {
        let ends = self.tasks.drain(..);
        let all = async {
            for task in ends {
                drop(task.await);
            }
        };
        // What is left ends its program by itself, however long that takes.
        drop(tokio::time::timeout(FAREWELL, all).await);
    }
}

/// RFC 4254 section 5.1.
const UNKNOWN_CHANNEL_TYPE: u32 = 3;

impl Visit {
    pub(super) fn view(&self) -> Arc<View> {
        self.node.0.deps.view.borrow().clone()
    }

    /// Asks for one channel, by the rules of this moment and within what this host's configuration allows.
    pub(super) fn ask(&self, what: SshAction) -> Result<Permit, Denial> {
        let settings = &self.node.0.settings;
        match what {
            SshAction::ForwardLocal | SshAction::ForwardRemote if !settings.port_forwarding => {
                return Err(Denial::ChannelOff("port forwarding on this host"));
            }
            SshAction::FileCopy if !settings.file_copy => {
                return Err(Denial::ChannelOff("file copy on this host"));
            }
            SshAction::Shell
            | SshAction::Exec
            | SshAction::FileCopy
            | SshAction::ForwardLocal
            | SshAction::ForwardRemote
            | SshAction::AgentForward
            | SshAction::X11 => {}
        }
        self.grounds.also(what, &self.view().rules, self.node.0.deps.clock.now())
    }

    /// Resolves when a session of this visit must stop: by its own terms, or because the service does. Cancel safe.
    pub(super) async fn told_to_end(&self, session: &Session) -> EndReason {
        tokio::select! {
            reason = session.ended() => reason,
            () = self.scope.cancelled() => EndReason::Stopping,
        }
    }

    /// Whether the connection may go on. A certificate that ends cuts it only where the rules want that.
    fn still(&self) -> Result<(), Cut> {
        let duty = self.grounds.obligations();
        let now = self.node.0.deps.clock.now();
        if duty.ends_at.is_some_and(|end| now >= end) {
            return Err(Cut::Expired);
        }
        let last_good = duty.certificate_ends_at - Duration::from_millis(1);
        self.grounds.again(&self.view().rules, now.min(last_good)).map(drop).map_err(Cut::Policy)
    }

    fn ends(&self) -> bool {
        self.grounds.obligations().ends_at.is_some()
    }

    fn next_look(&self) -> Duration {
        let now = self.node.0.deps.clock.now();
        let left = self.grounds.obligations().ends_at.map_or(LOOK, |end| end.since(now));
        left.clamp(Duration::from_millis(10), LOOK)
    }
}
