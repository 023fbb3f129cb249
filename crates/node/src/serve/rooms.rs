//! One connection from its door to its end: hands out channels and listeners, and watches for what ends it.
//!
//! What ends it: the client, silence (`ssh`), nothing going through for as long as its role allows, rules that no longer
//! grant it, the time a permit gives, or the service stopping. Sessions are told first and have [`FAREWELL`] to say so.

use std::sync::Arc;
use std::time::Duration;

use runtime::Scope;
use session::Seat;
use session::event::Who;
use ssh::{ChannelKind, Event, Incoming, Opening};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::door::Guest;
use super::listen::Listeners;
use super::node::{Counted, Node, Peer};
use super::report::connected;
use super::visit::{Cut, Visit};
use super::{channel, forward};
use crate::relay::Pulse;

/// How long sessions have to end when the connection must.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves an accepted connection to its end.
pub(super) async fn run<S>(node: &Node, accepted: ssh::server::Accepted<S, Guest>, peer: Peer, scope: &Scope)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let ssh::server::Accepted { who: guest, connection, incoming, driver, proof, .. } = accepted;
    // Not a child: the goodbye of a stopping service still has to be said.
    let mut driving = scope.spawn_graceful("ssh connection", driver);
    connected(node, &peer, Who::of(&guest.who).with_login(guest.login.as_str())).await;
    let from = peer.client.map(|client| client.ip());
    let account = tokio::select! {
        account = node.0.deps.spawner.lookup(proof, from) => account,
        // Nobody is there any more who would want it.
        _ = &mut driving => return,
    };
    let account = account.map_err(|error| crate::pump::words(&error));
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
        pulse: Pulse::new(),
    });
    // A kept shell goes on without counting as a connection.
    let _counted: Counted = guest.counted;
    let mut rooms = Rooms { visit: visit.clone(), tasks: Vec::new(), listeners: Listeners::default() };
    if let Some(cut) = rooms.host(incoming).await {
        visit.cut(&cut.reason()).await;
        rooms.empty().await;
        visit.ssh.disconnect(&visit.told(&cut));
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
                    Event::Open(opening) => {
                        visit.pulse.beat();
                        self.open(opening);
                    }
                    Event::Listen(listen) => {
                        visit.pulse.beat();
                        self.listeners.answer(&visit, listen).await;
                    }
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
                let work = async move {
                    channel::run(visit.clone(), channel).await;
                    // What was quiet so far was a session: it had a limit of its own.
                    visit.pulse.beat();
                };
                self.tasks.push(self.visit.scope.spawn_graceful("channel", work));
            }
            ChannelKind::DirectTcp(_) | ChannelKind::DirectUnix { .. } => {
                self.visit.scope.spawn_graceful("forward", forward::open(visit, opening));
            }
            ChannelKind::ForwardedTcp(_)
            | ChannelKind::ForwardedUnix { .. }
            | ChannelKind::Agent
            | ChannelKind::X11 { .. } => opening.prohibit("a client does not open these"),
            ChannelKind::Unknown(_) | ChannelKind::Unreadable(_) => {
                opening.refuse(UNKNOWN_CHANNEL_TYPE, "unknown channel type");
            }
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
