//! The I/O around `wire::mux`: one task moves bytes between a connection and its streams.
//!
//! Writes go out in batches of at most `BATCH` bytes, so that a keystroke waits behind one batch, not behind a copy.
//! The read buffer grows to `MAX_READ` under load and shrinks when idle. Streams and the pump share the state machine
//! under a lock that is never held across an await.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use runtime::Seldom;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use wire::Malformed;
use wire::dial::Class;
use wire::mux::{self, Dead, Event, Mux, OpenError, ResetCode, Settings, Side};

use crate::lift::{self, Lift, Lifter, Place};
use crate::state::{Shared, State};
use crate::stream::Stream;

/// Bytes handed to the connection at a time.
const BATCH: usize = 64 * 1024;

/// The largest read buffer.
const MAX_READ: usize = 256 * 1024;

/// The smallest: one frame fits.
const MIN_READ: usize = mux::MAX;

/// Incoming streams that may wait to be taken; more are refused as busy.
const BACKLOG: usize = 256;

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why a tunnel is over.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// We closed it.
    #[error("closed")]
    Closed,
    /// The peer closed it.
    #[error("the peer closed it")]
    ByPeer,
    /// The connection ended, and the peer had said nothing: it was killed, it keeps us out, or somebody on the way cut it.
    #[error("the other side ended the connection without a word: it says why in its own log, if it was it")]
    HungUp,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The peer went silent.
    #[error("the connection is dead")]
    Dead(#[source] Dead),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol")]
    Malformed(#[source] Malformed),
}

impl Ended {
    pub(crate) fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Self::HungUp,
            _ => Self::Broken(error),
        }
    }
}

/// A stream the peer opened.
#[derive(Debug)]
pub struct Incoming {
    /// Its priority.
    pub class: Class,
    /// What it is for.
    pub metadata: Vec<u8>,
    /// Its bytes.
    pub stream: Stream,
}

/// One end of a tunnel: opens streams, asks questions, says goodbye. Clones are the same end.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({} streams)", self.open_streams())
    }
}

impl Handle {
    /// Opens a stream. Waits for nobody: what is written rides along.
    ///
    /// # Errors
    /// The tunnel is closing or full.
    pub fn open(&self, class: Class, metadata: &[u8]) -> Result<Stream, OpenError> {
        let mut state = self.0.lock();
        if state.over {
            return Err(OpenError::Leaving);
        }
        let id = state.mux.open(class, metadata)?;
        state.nudge();
        drop(state);
        Ok(Stream::new(self.0.clone(), id))
    }

    /// Tells the peer that we take no new streams; those that are open go on.
    pub fn go_away(&self) {
        let mut state = self.0.lock();
        state.mux.go_away();
        state.nudge();
    }

    /// Closes the tunnel, streams and all.
    pub fn close(&self) {
        let mut state = self.0.lock();
        state.close = true;
        state.nudge();
    }

    /// Closes the tunnel once the last stream is over.
    pub fn close_when_idle(&self) {
        let mut state = self.0.lock();
        state.close_when_idle = true;
        state.nudge();
    }

    /// Streams not yet over.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.0.lock().mux.open_streams()
    }

    /// The round trip, as last measured.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.0.lock().mux.rtt()
    }

    /// Bytes held for slow readers and the network.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.lock().mux.held()
    }

    /// True when no new stream can be opened.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        let state = self.0.lock();
        state.over || state.mux.is_leaving()
    }

    /// Waits until the peer says it is leaving. Cancel-safe.
    pub async fn peer_leaving(&self) {
        let _ = self.0.leaving.subscribe().wait_for(|leaving| *leaving).await;
    }

    /// Waits until the tunnel is over. Cancel-safe.
    pub async fn ended(&self) {
        let _ = self.0.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// What gives its streams connections of their own.
    pub(crate) fn place(&self) -> Arc<dyn Place> {
        self.0.clone()
    }

    /// True when both are ends of the same tunnel's same side.
    #[must_use]
    pub fn is_same(&self, other: &Handle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Moves a tunnel's bytes. A future: it ends when the tunnel does, and the tunnel ends when it is dropped.
pub struct Pump<S> {
    io: S,
    shared: Arc<Shared>,
    incoming: mpsc::Sender<Incoming>,
    lifts: Option<mpsc::Sender<Lift>>,
    inbox: Inbox,
    outbox: Vec<u8>,
    sent: usize,
    unflushed: bool,
    timer: Seldom<Pin<Box<Sleep>>>,
    saying_goodbye: bool,
    wakers: Vec<Waker>,
}

/// Starts a tunnel over `io`: a handle, the streams its peer opens, and the pump that somebody must run.
pub fn start<S>(io: S, side: Side, settings: Settings) -> (Handle, mpsc::Receiver<Incoming>, Pump<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    start_with(io, side, settings, None)
}

/// The same, with streams that `lifter` asks connections for.
pub(crate) fn start_with<S>(
    io: S,
    side: Side,
    settings: Settings,
    lifter: Option<Lifter>,
) -> (Handle, mpsc::Receiver<Incoming>, Pump<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (incoming, taken) = mpsc::channel(BACKLOG);
    let mux = Mux::new(side, settings, Duration::ZERO);
    let epoch = Instant::now();
    let timer = Seldom::new(Box::pin(tokio::time::sleep_until(epoch + mux.deadline())));
    let shared = Arc::new(Shared::new(mux, epoch, lifter));
    let pump = Pump {
        io,
        shared: shared.clone(),
        incoming,
        lifts: None,
        inbox: Inbox::default(),
        outbox: Vec::new(),
        sent: 0,
        unflushed: false,
        timer,
        saying_goodbye: false,
        wakers: Vec::new(),
    };
    (Handle(shared), taken, pump)
}

#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    filled: bool,
}

impl Inbox {
    /// Makes room behind what is unread, more when the last read filled what there was.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let wanted = if self.filled { (self.bytes.len() * 4).min(MAX_READ) } else { self.bytes.len() };
        let wanted = wanted.max(MIN_READ);
        if wanted > self.bytes.len() {
            self.bytes.resize(wanted, 0);
        }
    }

    /// Gives memory back when nothing is coming.
    fn shrink(&mut self) {
        if self.start == self.end && self.bytes.len() > MIN_READ {
            *self = Self::default();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    /// Takes up what the peer asks for: connections for single streams.
    pub(crate) fn lifts(&mut self) -> mpsc::Receiver<Lift> {
        let (lifts, wanted) = mpsc::channel(lift::BACKLOG);
        self.lifts = Some(lifts);
        wanted
    }

    /// Collects who is to be woken, and hands over what was opened.
    fn handle_events(&mut self, state: &mut State) {
        while let Some(event) = state.mux.event() {
            match event {
                Event::Readable(id) => self.wakers.extend(state.readers.remove(&id)),
                Event::Writable(id) => self.wakers.extend(state.writers.remove(&id)),
                Event::Lifted { id, token } => {
                    // Passed over when there are too many: the stream stays where it is.
                    if let Some(lifts) = &self.lifts {
                        let _ = lifts.try_send(Lift { id, token });
                    }
                }
                Event::GoingAway => {
                    self.shared.leaving.send_replace(true);
                }
                Event::Opened { id, class, metadata } => match self.incoming.try_reserve() {
                    Ok(place) => {
                        place.send(Incoming {
                            class,
                            metadata,
                            stream: Stream::new(self.shared.clone(), id),
                        });
                    }
                    Err(_) => {
                        state.mux.reset(id, ResetCode::Busy);
                        state.mux.release(id);
                    }
                },
            }
        }
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Sends until the connection is full or nothing is left.
    fn write_side(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        loop {
            if self.sent == self.outbox.len() {
                self.refill(cx);
                if self.outbox.is_empty() {
                    break;
                }
            }
            let unsent = self.outbox.get(self.sent..).unwrap_or_default();
            match Pin::new(&mut self.io).poll_write(cx, unsent) {
                Poll::Ready(Ok(0)) => return Err(Ended::ByPeer),
                Poll::Ready(Ok(count)) => {
                    self.sent += count;
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(Ended::of(error)),
                Poll::Pending => return Ok(()),
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(Ended::of(error)),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Takes the next batch from the streams; registers for being nudged when there is none.
    fn refill(&mut self, cx: &Context<'_>) {
        self.outbox.clear();
        self.sent = 0;
        let shared = self.shared.clone();
        let mut state = shared.lock();
        state.mux.transmit(&mut self.outbox, BATCH);
        self.handle_events(&mut state);
        if self.outbox.is_empty() {
            state.rest(cx.waker());
            self.saying_goodbye |= state.close || state.may_close();
        }
        drop(state);
        self.wake();
        if self.outbox.is_empty() && self.outbox.capacity() > BATCH / 4 {
            self.outbox = Vec::new();
        }
    }

    /// Receives until the connection is empty; true when anything moved.
    fn read_side(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        self.inbox.make_room();
        let room = self.inbox.bytes.get_mut(self.inbox.end..).unwrap_or_default();
        let mut buffer = ReadBuf::new(room);
        match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => return Err(Ended::of(error)),
            Poll::Ready(Ok(())) => {}
        }
        let (count, left) = (buffer.filled().len(), buffer.remaining());
        if count == 0 {
            return Err(Ended::ByPeer);
        }
        self.inbox.end += count;
        self.inbox.filled = left == 0;
        let shared = self.shared.clone();
        let mut state = shared.lock();
        let seen = self.inbox.bytes.get(self.inbox.start..self.inbox.end).unwrap_or_default();
        let used = state.mux.receive(seen, shared.now()).map_err(Ended::Malformed);
        self.handle_events(&mut state);
        drop(state);
        self.wake();
        self.inbox.start += used?;
        Ok(true)
    }

    /// Lets the state machine's time pass.
    fn clock_side(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        if Pin::new(&mut self.timer).poll(cx).is_pending() {
            return Ok(false);
        }
        let mut state = self.shared.lock();
        state.mux.tick(self.shared.now()).map_err(Ended::Dead)?;
        let next = self.shared.epoch() + state.mux.deadline();
        drop(state);
        self.timer.get_mut().as_mut().reset(next.max(Instant::now() + Duration::from_millis(10)));
        self.inbox.shrink();
        Ok(true)
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            // Only what came in, or time, makes for another turn: all that could be sent was.
            let moved = self.write_side(cx).and_then(|()| {
                let read = self.read_side(cx)?;
                Ok(self.clock_side(cx)? | read)
            });
            match moved {
                Err(ended) => return Poll::Ready(ended),
                Ok(_) if self.saying_goodbye => return Poll::Ready(Ended::Closed),
                Ok(true) => {}
                Ok(false) => return Poll::Pending,
            }
        }
    }

    /// Runs the tunnel to its end and says why it ended.
    pub async fn run(mut self) -> Ended {
        let ended = std::future::poll_fn(|cx| self.advance(cx)).await;
        self.shared.lock().dead = matches!(ended, Ended::Dead(_));
        self.shared.end();
        if matches!(ended, Ended::Closed) {
            let goodbye = std::future::poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx));
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
        ended
    }
}

impl<S> Drop for Pump<S> {
    fn drop(&mut self) {
        self.shared.end();
    }
}
