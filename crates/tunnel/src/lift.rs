//! Streams with a connection of their own: a stream that carries much leaves the tunnel, so that its bytes are not
//! framed, copied and encrypted once more, and what people type on the tunnel waits behind nothing.
//!
//! The proxy asks for it (a [`Desk`] hands out tokens), the agent dials and names the token, the proxy checks that it
//! is the same agent. Then each direction moves by itself, after what it had queued. Without such a connection, or
//! when it fails to come about, the stream stays where it is: nothing is lost but speed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use model::NodeId;
use runtime::Random;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::mux::{LIFT_TOKEN, StreamId};

use crate::{BoxIo, Connect};

/// Bytes a stream carries, both ways together, before it is worth a connection of its own.
pub(crate) const WORTH: u64 = 1024 * 1024;

/// Small pieces it carries, both ways together, that are worth one: somebody types. Signing in takes some twenty, and
/// a command that is over soon is not to pay for a handshake.
pub(crate) const WORTH_PIECES: u32 = 64;
/// The most bytes of a small piece.
const SMALL: usize = 1024;

/// Requests that may be open at a proxy; more streams stay on their tunnels.
const MAX_OPEN: usize = 4096;

/// Requests an agent takes up at a time; more are passed over.
pub(crate) const BACKLOG: usize = 64;

/// How long either side waits for the other's part.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the proxy answers once the stream has its connection.
const HERE: u8 = 1;

type Token = [u8; LIFT_TOKEN];

/// Why a connection was not taken for a stream.
#[derive(Debug, thiserror::Error)]
pub enum Unclaimed {
    /// It said nothing in time, or broke.
    #[error("the connection named no stream")]
    Silent(#[source] io::Error),
    /// The token is nobody's: used, forgotten or made up, or another agent's.
    #[error("no stream of this agent waits for the connection")]
    Unknown,
    /// The agent is kept out though its certificate is good.
    #[error("the node is kept out: {0}")]
    KeptOut(String),
}

/// What an agent is asked for: a connection for this stream, with this token.
#[derive(Debug)]
pub(crate) struct Lift {
    pub(crate) id: StreamId,
    pub(crate) token: Token,
}

/// Whatever can give a stream the connection that was brought for it.
pub(crate) trait Place: Send + Sync {
    /// One that is over by now has no use for it.
    fn place(&self, id: StreamId, io: BoxIo);

    /// It carries copies, as far as this side has seen.
    fn is_busy(&self, id: StreamId) -> bool;
}

struct Request {
    node: NodeId,
    tunnel: Weak<dyn Place>,
    id: StreamId,
}

/// The proxy's open requests, by token.
#[derive(Clone)]
pub(crate) struct Desk {
    open: Arc<Mutex<BTreeMap<Token, Request>>>,
    random: Random,
}

impl Desk {
    pub(crate) fn new(random: Random) -> Self {
        Self { open: Arc::default(), random }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Token, Request>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token for the stream `id` of `node`'s tunnel; `None` when too many wait.
    fn request(&self, node: &NodeId, tunnel: Weak<dyn Place>, id: StreamId) -> Option<Token> {
        let mut open = self.lock();
        if open.len() >= MAX_OPEN {
            return None;
        }
        let token = self.random.bytes::<LIFT_TOKEN>();
        open.insert(token, Request { node: node.clone(), tunnel, id });
        Some(token)
    }

    fn forget(&self, token: &Token) {
        self.lock().remove(token);
    }

    /// Takes a connection of `node` for the stream whose token it names.
    pub(crate) async fn claim(&self, mut io: BoxIo, node: &NodeId) -> Result<(), Unclaimed> {
        let mut token = [0; LIFT_TOKEN];
        within(io.read_exact(&mut token)).await.map_err(Unclaimed::Silent)?;
        let wanted = {
            let mut open = self.lock();
            if open.get(&token).is_none_or(|request| request.node != *node) {
                return Err(Unclaimed::Unknown);
            }
            open.remove(&token)
        };
        let tunnel = wanted.as_ref().and_then(|request| request.tunnel.upgrade());
        let (Some(request), Some(tunnel)) = (wanted, tunnel) else { return Err(Unclaimed::Unknown) };
        let answer = async {
            io.write_all(&[HERE]).await?;
            io.flush().await
        };
        within(answer).await.map_err(Unclaimed::Silent)?;
        tunnel.place(request.id, io);
        Ok(())
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Asks for connections for the streams of one tunnel.
pub(crate) struct Lifter {
    pub(crate) desk: Desk,
    pub(crate) node: NodeId,
}

/// One stream's count of what it carried, and the request made for it, forgotten with it.
#[derive(Default)]
pub(crate) struct Load {
    carried: u64,
    pieces: u32,
    asked: Option<(Desk, Token)>,
}

impl Load {
    /// Notes what was carried; true once, when the stream is worth a connection of its own.
    pub(crate) fn add(&mut self, count: usize) -> bool {
        let before = self.is_worth_it();
        self.carried = self.carried.saturating_add(u64::try_from(count).unwrap_or(0));
        self.pieces = self.pieces.saturating_add(u32::from(count <= SMALL));
        !before && self.is_worth_it()
    }

    fn is_worth_it(&self) -> bool {
        self.carried >= WORTH || self.pieces >= WORTH_PIECES
    }

    /// It carries copies, not keystrokes. Half of what is worth a connection: the far side may have seen the rest first.
    pub(crate) fn is_busy(&self) -> bool {
        self.carried >= WORTH / 2
    }

    /// Makes the request: the token to send, if there is room for one more.
    pub(crate) fn ask(&mut self, lifter: &Lifter, tunnel: Weak<dyn Place>, id: StreamId) -> Option<Token> {
        let token = lifter.desk.request(&lifter.node, tunnel, id)?;
        self.asked = Some((lifter.desk.clone(), token));
        Some(token)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some((desk, token)) = &self.asked {
            desk.forget(token);
        }
    }
}

/// The agent's part: dials a connection for each stream it is asked for, until the tunnel is over.
pub(crate) async fn dial_for(
    tunnel: Arc<dyn Place>,
    mut wanted: mpsc::Receiver<Lift>,
    connect: Arc<dyn Connect>,
    scope: runtime::Scope,
) {
    while let Some(lift) = wanted.recv().await {
        let (at, connect) = (tunnel.clone(), connect.clone());
        let work = async move {
            let proxy = connect.name();
            match bring(connect, lift.token).await {
                Ok(io) => at.place(lift.id, io),
                Err(why) => tracing::debug!(%proxy, %why, "no connection of its own for a stream"),
            }
        };
        // A connection is watched from the lane it was dialled in.
        if tunnel.is_busy(lift.id) {
            scope.spawn_aside("dial for a copy", work);
        } else {
            scope.spawn("dial for a stream", work);
        }
    }
}

async fn bring(connect: Arc<dyn Connect>, token: Token) -> Result<BoxIo, crate::BoxError> {
    let mut io = timeout(PATIENCE, connect.connect_for_one()).await??;
    let exchange = async {
        io.write_all(&token).await?;
        io.flush().await?;
        io.read_u8().await
    };
    match within(exchange).await? {
        HERE => Ok(io),
        _ => Err("the proxy's answer is none we know".into()),
    }
}
