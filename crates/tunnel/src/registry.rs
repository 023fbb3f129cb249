//! The proxy's side: which agents have a tunnel here, and a stream to any of them.
//!
//! An agent is who its verified certificate says. Of two tunnels of one agent the newest is dialed; the older one keeps
//! the streams it has. Two agents of one name are told apart by id, or the one that came last is meant, as the cluster
//! wants it ([`Routing`]). A host that is kept out ([`Judge`]) has nothing here, whatever its certificate says. Whether a
//! dial is *allowed* is decided at the node.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::api::nodes::TunnelState;
use model::resource::RoutingStrategy;
use model::{Identity, NodeId, NodeName, Subject};
use runtime::Random;
use tokio::sync::watch;
use wire::dial::{DialHeader, Refusal, Target};
use wire::mux::{OpenError, Settings, Side};

use crate::lift::{Desk, Lifter, Unclaimed};
use crate::shell::{self, Ended, Handle, Pump};
use crate::standing::{self, Judge, Standing};
use crate::stream::{Conversation, Stream};
use crate::{BoxIo, Io};

/// The carrier without a front in between.
const STRAIGHT: &str = "tls";

/// How long an agent whose certificate ended keeps its place: it comes again within seconds when it has a fresh one.
const COMES_AGAIN: Duration = Duration::from_secs(30);

/// Why there is no stream to a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No tunnel to such a node.
    #[error("no node `{0}` is connected here")]
    Unknown(Target),
    /// Several nodes of that name.
    #[error("{} nodes are called `{name}`; use an id: {}", ids.len(), join(ids))]
    Ambiguous {
        /// The name.
        name: NodeName,
        /// Whose it is.
        ids: Vec<NodeId>,
    },
    /// The tunnel is there and takes no stream.
    #[error("node `{0}` takes no connection now: {1}")]
    Unavailable(NodeId, OpenError),
}

fn join(ids: &[NodeId]) -> String {
    ids.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ")
}

impl DialError {
    /// What to answer on the wire.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            DialError::Unknown(_) => Refusal::Unknown,
            DialError::Ambiguous { .. } => Refusal::Ambiguous,
            DialError::Unavailable(_, OpenError::TooMany) => Refusal::Busy,
            DialError::Unavailable(_, OpenError::Leaving | OpenError::Metadata) => Refusal::Unreachable,
        }
    }
}

/// Why somebody has no tunnel here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotServed {
    /// The certificate is no agent's.
    #[error("`{0}` is not a host: only agents may open tunnels")]
    NotAHost(String),
    /// It is kept out though its certificate is good.
    #[error("node `{0}` is kept out: {1}")]
    KeptOut(NodeId, String),
}

/// How streams to nodes come about, as the cluster wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routing {
    /// What several nodes of one name are.
    pub strategy: RoutingStrategy,
    /// How long a node's first word is waited for; then the stream's reads fail.
    pub patience: Duration,
}

impl Default for Routing {
    fn default() -> Self {
        Self { strategy: RoutingStrategy::default(), patience: Duration::from_secs(30) }
    }
}

#[derive(Clone)]
struct Entry {
    /// How many came before: of an agent that comes again before it was gone, its first time counts.
    order: u64,
    name: NodeName,
    carrier: String,
    handle: Handle,
    standing: Standing,
}

/// Every tunnel of this proxy. Clones share.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    agents: Mutex<Agents>,
    changed: watch::Sender<u64>,
    judge: watch::Sender<Judge>,
    settings: Settings,
    desk: Desk,
    /// Part of every stream that was dialed.
    conversations: Conversation,
}

#[derive(Default)]
struct Agents {
    by_id: BTreeMap<NodeId, Entry>,
    draining: bool,
    came: u64,
    routing: Routing,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({} agents)", self.lock().by_id.len())
    }
}

impl Registry {
    /// An empty registry. `random` makes the tokens of streams that get a connection of their own.
    #[must_use]
    pub fn new(random: Random) -> Self {
        // Agents never open streams towards a proxy.
        let settings = Settings { max_incoming: 0, ..Settings::default() };
        let desk = Desk::new(random);
        Self(Arc::new(Inner {
            agents: Mutex::default(),
            changed: watch::Sender::new(0),
            judge: watch::Sender::new(standing::nobody()),
            settings,
            desk,
            conversations: Conversation::default(),
        }))
    }

    /// From now on streams come about like this.
    pub fn route(&self, routing: Routing) {
        self.lock().routing = routing;
    }

    /// From now on hosts are kept out as `judge` says. Those that have a tunnel lose it, and every stream ends that leads
    /// to them, also one on a tunnel that was replaced or on a connection of its own.
    pub fn judge(&self, judge: Judge) {
        self.0.judge.send_replace(judge);
        let mut agents = self.lock();
        let before = agents.by_id.len();
        agents.by_id.retain(|_, entry| entry.standing.lost().is_none());
        let fewer = agents.by_id.len() < before;
        drop(agents);
        if fewer {
            self.tell();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Agents> {
        self.0.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.0.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Runs the tunnel of the agent whom `identity` names until it ends. After `good_for`, when its certificate ends,
    /// the agent is asked to come again with a fresh one. Where it has not within 30 s, its name is free for others and
    /// the tunnel goes with its last stream.
    ///
    /// # Errors
    /// The identity is not a host's, or of one that is kept out, or it came to be while the tunnel stood.
    pub async fn serve<S: Io>(
        &self,
        io: S,
        identity: &Identity,
        carrier: &str,
        good_for: Duration,
    ) -> Result<Ended, NotServed> {
        let Subject::Host { id, name, .. } = &identity.subject else {
            return Err(NotServed::NotAHost(identity.display_name()));
        };
        let standing = self.standing(identity);
        if let Some(why) = standing.lost() {
            return Err(NotServed::KeptOut(id.clone(), why));
        }
        // Through a front a connection of its own would be framed and sealed as often as the tunnel is.
        let lifter = (carrier == STRAIGHT).then(|| Lifter { desk: self.0.desk.clone(), node: id.clone() });
        let (handle, _nothing_comes, pump) =
            shell::start_with(io, Side::Listener, self.0.settings.clone(), lifter);
        let entry = Entry {
            order: 0,
            name: name.clone(),
            carrier: carrier.to_owned(),
            handle: handle.clone(),
            standing: standing.clone(),
        };
        let registered = Registered { registry: self.clone(), id: id.clone(), handle };
        self.register(id.clone(), entry);
        tracing::info!(node = %id, %name, carrier, "tunnel up");
        let ended = tokio::select! {
            ended = registered.run(pump, good_for) => ended,
            // Without a goodbye: whoever is kept out need not take one.
            why = standing.until_lost() => {
                tracing::warn!(node = %id, %name, %why, "tunnel cut: the node is kept out");
                return Err(NotServed::KeptOut(id.clone(), why));
            }
        };
        drop(registered);
        tracing::info!(node = %id, %name, why = %runtime::causes(&ended), "tunnel down");
        Ok(ended)
    }

    fn standing(&self, identity: &Identity) -> Standing {
        Standing::new(identity.clone(), self.0.judge.subscribe())
    }

    /// Takes a connection that the agent whom `identity` names dialed for one of its streams.
    ///
    /// # Errors
    /// No stream of that agent waits for it, or it broke, or the agent is kept out.
    pub async fn claim(&self, io: BoxIo, identity: &Identity) -> Result<(), Unclaimed> {
        let Subject::Host { id, .. } = &identity.subject else { return Err(Unclaimed::Unknown) };
        if let Some(why) = self.standing(identity).lost() {
            return Err(Unclaimed::KeptOut(why));
        }
        self.0.desk.claim(io, id).await
    }

    fn register(&self, id: NodeId, mut entry: Entry) {
        let mut agents = self.lock();
        agents.came += 1;
        entry.order = agents.by_id.get(&id).map_or(agents.came, |older| older.order);
        if agents.draining {
            entry.handle.go_away();
        }
        let older = agents.by_id.insert(id, entry);
        drop(agents);
        if let Some(older) = older {
            older.handle.go_away();
        }
        self.tell();
    }

    fn forget(&self, id: &NodeId, handle: &Handle) {
        let mut agents = self.lock();
        if agents.by_id.get(id).is_some_and(|entry| entry.handle.is_same(handle)) {
            agents.by_id.remove(id);
            drop(agents);
            self.tell();
        }
    }

    /// A stream to the node that `header` names. Waits for nobody: what is written rides along. A node that says
    /// nothing for [`Routing::patience`] ends it.
    ///
    /// # Errors
    /// No such node is connected, or more than one where that is not told apart, or it takes no stream.
    pub fn dial(&self, header: &DialHeader) -> Result<Stream, DialError> {
        let (id, entry, patience) = self.find(&header.target)?;
        let mut metadata = Vec::with_capacity(DialHeader::MAX);
        header.encode(&mut metadata);
        match entry.handle.open(header.class, &metadata) {
            Ok(stream) => {
                let stream = stream.answered_within(patience, id).to(entry.standing);
                Ok(stream.within(self.0.conversations.clone()))
            }
            Err(error) => Err(DialError::Unavailable(id, error)),
        }
    }

    fn find(&self, target: &Target) -> Result<(NodeId, Entry, Duration), DialError> {
        let agents = self.lock();
        let Routing { strategy, patience } = agents.routing;
        let unknown = || DialError::Unknown(target.clone());
        match target {
            Target::Node(id) => {
                let entry = agents.by_id.get(id).ok_or_else(unknown)?;
                Ok((id.clone(), entry.clone(), patience))
            }
            Target::Name(name) => {
                let is_it = |entry: &Entry| entry.name.as_str().eq_ignore_ascii_case(name.as_str());
                let found: Vec<_> = agents.by_id.iter().filter(|(_, entry)| is_it(entry)).collect();
                let last = found.iter().max_by_key(|(_, entry)| entry.order).ok_or_else(unknown)?;
                match strategy {
                    RoutingStrategy::UnambiguousMatch if found.len() > 1 => {
                        let ids = found.into_iter().map(|(id, _)| id.clone()).collect();
                        Err(DialError::Ambiguous { name: name.clone(), ids })
                    }
                    RoutingStrategy::UnambiguousMatch | RoutingStrategy::MostRecent => {
                        Ok((last.0.clone(), last.1.clone(), patience))
                    }
                }
            }
        }
    }

    /// Every agent with a tunnel, by id.
    #[must_use]
    pub fn list(&self) -> Vec<TunnelState> {
        let agents = self.lock();
        let state = |(id, entry): (&NodeId, &Entry)| TunnelState {
            id: id.clone(),
            name: entry.name.clone(),
            carrier: entry.carrier.clone(),
        };
        agents.by_id.iter().map(state).collect()
    }

    /// Tells of every change: a number that moves.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Nobody talks to a node: not on a tunnel that has been replaced either, nor on a connection of its own.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.open_streams() == 0 && self.0.conversations.is_alone()
    }

    /// Streams open through the tunnels that are dialed.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        let handles: Vec<Handle> = self.lock().by_id.values().map(|entry| entry.handle.clone()).collect();
        handles.iter().map(Handle::open_streams).sum()
    }

    /// Tells every agent to go elsewhere. Streams go on; new ones are refused.
    pub fn drain(&self) {
        let mut agents = self.lock();
        agents.draining = true;
        agents.by_id.values().for_each(|entry| entry.handle.go_away());
    }

    /// Closes every tunnel, streams and all.
    pub fn close(&self) {
        self.lock().by_id.values().for_each(|entry| entry.handle.close());
    }
}

/// Forgets the tunnel even when the task that served it is cut off.
struct Registered {
    registry: Registry,
    id: NodeId,
    handle: Handle,
}

impl Registered {
    /// Moves the tunnel's bytes to its end, past the end of the agent's certificate.
    async fn run<S: Io>(&self, pump: Pump<S>, good_for: Duration) -> Ended {
        let (id, handle) = (&self.id, &self.handle);
        let mut running = std::pin::pin!(pump.run());
        if let Ok(ended) = tokio::time::timeout(good_for, running.as_mut()).await {
            return ended;
        }
        tracing::info!(node = %id, "the agent's certificate ended: it must come again");
        handle.go_away();
        if let Ok(ended) = tokio::time::timeout(COMES_AGAIN, running.as_mut()).await {
            return ended;
        }
        self.forget();
        handle.close_when_idle();
        running.await
    }

    /// Twice is once.
    fn forget(&self) {
        self.registry.forget(&self.id, &self.handle);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.forget();
    }
}
