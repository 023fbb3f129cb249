//! One stream of a tunnel as bytes in and bytes out.
//!
//! Reading is what lets the peer send more; a stream nobody reads holds at most its window. Dropping one that was not
//! shut down resets it at both ends. A stream that carries much goes on over a connection of its own (`lift`);
//! whoever holds it sees no difference.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use model::NodeId;
use model::time::Span;
use runtime::{Direct, Pace};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use wire::mux::{Read, ResetCode, StreamError, StreamId};

use crate::BoxIo;
use crate::lift::{Load, Place};
use crate::standing::Standing;
use crate::state::{Shared, State};

/// How long the peer's first word is waited for.
struct Patience {
    node: NodeId,
    length: Duration,
    end: Pin<Box<Sleep>>,
}

/// Somebody talks to a node for as long as this, or a clone of it, is held.
#[derive(Debug, Clone, Default)]
pub struct Conversation(Arc<()>);

impl Conversation {
    /// True while nobody else holds it.
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// A stream. Reads end with an error, not an end of file, when it was reset or the tunnel broke.
pub struct Stream {
    shared: Arc<Shared>,
    id: StreamId,
    load: Load,
    /// It carries copies, for those who wait for its end and those who take its socket.
    busy: Arc<AtomicBool>,
    own: Option<BoxIo>,
    /// Of its own connection: one that is typed on for days carries no copy, however much that comes to.
    pace: Pace,
    /// Until the peer has answered, if that was asked for.
    patience: Option<Patience>,
    /// The node's it leads to, and what waits for the end of that where no tunnel's end tells.
    standing: Option<Standing>,
    lost: Option<Pin<Box<dyn Future<Output = String> + Send>>>,
    conversation: Conversation,
    /// The peer's direction comes over our own connection now.
    moved_in: bool,
    /// Ours does.
    moved_out: bool,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.id.0)
    }
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        Self {
            shared,
            id,
            load: Load::default(),
            busy: Arc::default(),
            own: None,
            pace: Pace::new(now()),
            patience: None,
            standing: None,
            lost: None,
            conversation: Conversation::default(),
            moved_in: false,
            moved_out: false,
        }
    }

    /// The first read fails when `node` at the far end says nothing for so long.
    pub(crate) fn answered_within(mut self, length: Duration, node: NodeId) -> Self {
        self.patience = Some(Patience { node, length, end: Box::pin(tokio::time::sleep(length)) });
        self
    }

    /// The stream leads to the node of `standing`, and ends when that is lost.
    pub(crate) fn to(mut self, standing: Standing) -> Self {
        self.standing = Some(standing);
        self
    }

    /// The stream is part of `conversation`.
    pub(crate) fn within(mut self, conversation: Conversation) -> Self {
        self.conversation = conversation;
        self
    }

    /// What it is part of, for those who take its socket and go on.
    #[must_use]
    pub fn conversation(&self) -> Conversation {
        self.conversation.clone()
    }

    /// Cuts the stream off at both ends, and says why.
    pub fn reset(self, code: ResetCode) {
        self.shared.lock().mux.reset(self.id, code);
    }

    /// Notes what was carried; the proxy's side asks for a connection when it is much.
    fn carried(&mut self, count: usize) {
        let before = self.load.is_busy();
        let worth_it = self.load.add(count);
        if !before && self.load.is_busy() {
            self.busy.store(true, Ordering::Relaxed);
            self.shared.lock().busy.insert(self.id);
        }
        if worth_it
            && let Some(lifter) = self.shared.lifter()
            && let Some(token) = self.load.ask(lifter, self.weak(), self.id)
        {
            let mut state = self.shared.lock();
            state.mux.lift(self.id, token);
            state.nudge();
        }
    }

    /// Notes what was carried over its own connection.
    fn carried_alone(&mut self, count: usize) {
        if let Some(copies) = self.pace.add(u64::try_from(count).unwrap_or(0), now) {
            self.busy.store(copies, Ordering::Relaxed);
        }
    }

    /// A node that went silent is found out on its tunnel, in seconds. What somebody types on ends with such a tunnel, as if
    /// it had stayed there; a copy goes on for as long as its own connection does.
    fn falls_with_tunnel(&self) -> bool {
        self.shared.lifter().is_some() && !self.busy.load(Ordering::Relaxed)
    }

    /// Ready when the stream is to end, also when its socket was taken: its node is kept out, or went silent on the tunnel.
    /// The latter is nothing to one that carries copies, nor is a tunnel that ended in another way.
    pub fn fallen(&self) -> impl Future<Output = ()> + Send + use<> {
        let (shared, busy, standing) = (self.shared.clone(), self.busy.clone(), self.standing.clone());
        let silent = async move {
            let over = shared.ended.subscribe().wait_for(|ended| *ended).await.is_ok();
            let fallen = over && shared.lock().dead && !busy.load(Ordering::Relaxed);
            drop(shared);
            if !fallen {
                std::future::pending::<()>().await;
            }
        };
        let kept_out = async move {
            match standing {
                Some(standing) => drop(standing.until_lost().await),
                None => std::future::pending().await,
            }
        };
        async move {
            tokio::select! {
                () = silent => {}
                () = kept_out => {}
            }
        }
    }

    /// Ready once the node of a stream that has left its tunnel is kept out.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(standing) = &self.standing else { return Poll::Pending };
        let lost = self.lost.get_or_insert_with(|| Box::pin(standing.clone().until_lost()));
        let why = ready!(lost.as_mut().poll(cx));
        self.lost = None;
        Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, format!("the node is kept out: {why}")))
    }

    fn weak(&self) -> Weak<dyn Place> {
        let shared: Arc<dyn Place> = self.shared.clone();
        Arc::downgrade(&shared)
    }

    /// Reads through the tunnel; `None` once the peer goes on over our own connection.
    fn poll_tunnel(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<Option<io::Result<()>>> {
        let mut state = self.shared.lock();
        let read = state.mux.read(self.id, out.initialize_unfilled(), self.shared.now());
        match read {
            Ok(Read::Bytes(count)) => {
                out.advance(count);
                state.nudge();
                drop(state);
                self.carried(count);
                Poll::Ready(Some(Ok(())))
            }
            Ok(Read::End) => Poll::Ready(Some(Ok(()))),
            Ok(Read::Moved) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(as_io(error)))),
            Ok(Read::Blocked) if state.over => Poll::Ready(Some(Err(broken()))),
            Ok(Read::Blocked) => {
                state.readers.insert(self.id, cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Reads from wherever the peer's direction is.
    fn poll_either(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.moved_in
            && let Poll::Ready(error) = self.poll_lost(cx)
        {
            return Poll::Ready(Err(error));
        }
        if self.moved_in && self.falls_with_tunnel() {
            let mut state = self.shared.lock();
            if state.dead {
                return Poll::Ready(Err(broken()));
            }
            state.readers.insert(self.id, cx.waker().clone());
        }
        if !self.moved_in {
            if let Some(done) = ready!(self.poll_tunnel(cx, out)) {
                return Poll::Ready(done);
            }
            self.moved_in = true;
        }
        let (busy, before) = (self.load.is_busy(), out.filled().len());
        let mut own = ready!(self.poll_own(cx))?;
        let read = match own.as_mut().poll_read(cx, out) {
            // A key among copies does not wait until the thread that watches sockets has had its turn.
            Poll::Pending if busy => own.read_now(out),
            read => read,
        };
        self.carried_alone(out.filled().len() - before);
        read
    }

    /// Ready with an error when the peer has been silent for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(patience) = &mut self.patience else { return Poll::Pending };
        ready!(patience.end.as_mut().poll(cx));
        let (node, length) = (&patience.node, patience.length);
        tracing::warn!(%node, ?length, "a node did not answer");
        let why = format!("node `{node}` did not answer within {}", Span(length));
        self.patience = None;
        self.shared.lock().mux.reset(self.id, ResetCode::Cancelled);
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, why))
    }

    /// The connection of our own, once it is there.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut BoxIo>>> {
        if self.own.is_none() {
            let mut state = self.shared.lock();
            self.own = state.own.remove(&self.id);
            if self.own.is_none() {
                if state.over {
                    return Poll::Ready(Err(broken()));
                }
                state.readers.insert(self.id, cx.waker().clone());
            }
        }
        match &mut self.own {
            Some(own) => Poll::Ready(Ok(Pin::new(own))),
            None => Poll::Pending,
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the tunnel broke")
}

fn as_io(error: StreamError) -> io::Error {
    let kind = match error {
        StreamError::Finished => io::ErrorKind::BrokenPipe,
        StreamError::Reset(ResetCode::Cancelled) => io::ErrorKind::ConnectionReset,
        StreamError::Reset(ResetCode::Refused | ResetCode::Unreachable | ResetCode::Busy) => {
            io::ErrorKind::ConnectionRefused
        }
    };
    io::Error::new(kind, error)
}

/// Moves our direction to the stream's own connection, when there is one and the direction still goes on.
fn leave(state: &mut State, id: StreamId, own: &mut Option<BoxIo>) -> bool {
    if own.is_none() {
        *own = state.own.remove(&id);
    }
    own.is_some() && state.mux.leave(id)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        match self.poll_either(cx, out) {
            Poll::Ready(done) => {
                self.patience = None;
                Poll::Ready(done)
            }
            Poll::Pending => self.poll_patience(cx).map(Err),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if !this.moved_out {
            let mut state = this.shared.lock();
            if !leave(&mut state, this.id, &mut this.own) {
                if state.over {
                    return Poll::Ready(Err(broken()));
                }
                return match state.mux.write(this.id, bytes) {
                    Ok(0) if !bytes.is_empty() => {
                        state.writers.insert(this.id, cx.waker().clone());
                        Poll::Pending
                    }
                    Ok(count) => {
                        state.nudge();
                        drop(state);
                        this.carried(count);
                        Poll::Ready(Ok(count))
                    }
                    Err(error) => Poll::Ready(Err(as_io(error))),
                };
            }
            state.nudge();
            this.moved_out = true;
        }
        let written = ready!(ready!(this.poll_own(cx))?.poll_write(cx, bytes));
        if let Ok(count) = written {
            this.carried_alone(count);
        }
        Poll::Ready(written)
    }

    /// The pump sends what is queued without being asked.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.moved_out {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_own(cx))?.poll_flush(cx)
    }

    /// Ends our direction after what is queued. The other goes on.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.moved_out {
            return ready!(self.poll_own(cx))?.poll_shutdown(cx);
        }
        let mut state = self.shared.lock();
        state.mux.finish(self.id);
        state.nudge();
        Poll::Ready(Ok(()))
    }
}

impl Direct for Stream {
    fn reads_directly(&self) -> bool {
        self.moved_in && self.own.as_ref().is_some_and(|own| own.reads_directly())
    }
    fn writes_directly(&self) -> bool {
        self.moved_out && self.own.as_ref().is_some_and(|own| own.writes_directly())
    }
    fn copies(&self) -> Option<Arc<AtomicBool>> {
        Some(self.busy.clone())
    }
    fn into_socket(mut self: Box<Self>) -> Option<OwnedFd> {
        if !self.moved_in || !self.moved_out {
            return None;
        }
        self.own.take()?.into_socket()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.mux.release(self.id);
        state.readers.remove(&self.id);
        state.writers.remove(&self.id);
        let unused = state.own.remove(&self.id);
        state.busy.remove(&self.id);
        state.nudge();
        drop(state);
        // Closing a connection is nothing to do under the lock.
        drop(unused);
    }
}
