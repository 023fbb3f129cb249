//! The future that moves a connection's bytes: one task, which never waits for a channel's reader, and never stops
//! reading because it cannot write.
//!
//! Out: at most [`BATCH`] bytes are sealed ahead of the stream, so a keystroke waits behind that much and no more.
//! In: as much as the stream has, opened in place. Reading stops only while a peer that does not read our answers
//! makes us queue more of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use runtime::Seldom;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use wire::ssh::request::{GlobalKind, GlobalRequest};
use wire::ssh::transport::Disconnect;

use crate::Error;
use crate::hub::{Idle, Produced, Shared};
use crate::link::{Link, farewell};
use crate::transport::Transport;

/// Sealed bytes waiting for the stream.
const BATCH: usize = 128 * 1024;
/// Below so many, more are sealed.
const LOW: usize = 64 * 1024;
/// With more waiting, which only answers of the transport itself can cause, the peer is not read from.
const MOST: usize = 512 * 1024;
/// Turns before other tasks get theirs.
const TURNS: usize = 16;
/// A peer silent for so long while keys are exchanged anew is given up, or for as long as keepalives would wait.
const EXCHANGE: Duration = Duration::from_secs(30);
/// A key exchange must be done within, also with a peer that says other things: a slow line may have much on its way.
const WHOLE_EXCHANGE: Duration = Duration::from_secs(600);
/// Farewells must be done within.
const FAREWELL: Duration = Duration::from_secs(5);
/// Buffers are given back after so long without traffic.
const QUIET: Duration = Duration::from_secs(2);

/// When keys are exchanged anew.
#[derive(Debug, Clone, Copy)]
pub struct Rekey {
    /// After so many bytes in either direction.
    pub bytes: u64,
    /// After so long.
    pub every: Duration,
}

impl Default for Rekey {
    fn default() -> Self {
        Self { bytes: 4 << 30, every: Duration::from_secs(3600) }
    }
}

/// How a silent peer is found out.
#[derive(Debug, Clone, Copy)]
pub struct Keepalive {
    /// Asks after so long a silence.
    pub every: Duration,
    /// Gives up after so many questions without any answer.
    pub misses: u32,
}

impl Keepalive {
    /// How long a peer may be silent.
    fn patience(self) -> Duration {
        self.every.saturating_mul(self.misses.saturating_add(1))
    }
}

/// Moves the bytes of one connection until it ends. Spawn it in the scope that owns the connection; dropping it ends
/// the connection. Returns `Ok` when either side said goodbye or the peer closed the stream.
pub struct Driver<S> {
    pub(crate) stream: S,
    pub(crate) transport: Box<Transport>,
    hub: Arc<Shared>,
    rekey: Rekey,
    keepalive: Option<Keepalive>,
    timer: Seldom<Pin<Box<Sleep>>>,
    heard: Instant,
    asked: u32,
    keys_since: Instant,
    exchange_since: Option<Instant>,
    ending: Option<Instant>,
    said_goodbye: bool,
    unflushed: bool,
    /// The handshake's last read may have brought more than the handshake.
    unread: bool,
}

impl<S> std::fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.hub.with(|hub| hub.fail(&Error::Closed));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(crate) fn new(link: Link<S>, hub: Arc<Shared>, rekey: Rekey, keepalive: Option<Keepalive>) -> Self {
        let now = Instant::now();
        let Link { stream, mut transport, .. } = link;
        transport.shrink();
        Self {
            stream,
            transport,
            hub,
            rekey,
            keepalive,
            timer: Seldom::new(Box::pin(tokio::time::sleep_until(now + QUIET))),
            heard: now,
            asked: 0,
            keys_since: now,
            exchange_since: None,
            ending: None,
            said_goodbye: false,
            unflushed: false,
            unread: true,
        }
    }

    /// Seals what channels have to send, up to the bound. True when there is no more for now.
    fn seal(&mut self, cx: &Context<'_>) -> Result<bool, Error> {
        let idle = self.hub.with(|hub| hub.rest(cx.waker()));
        if self.said_goodbye {
            return Ok(true);
        }
        if self.transport.output().len() >= LOW {
            // A peer that reads nothing does not put off the end.
            self.watch_end();
            return Ok(false);
        }
        self.transport.compact();
        if self.transport.worn(self.rekey.bytes) {
            self.transport.rekey()?;
        }
        let mut all = idle != Idle::No;
        while !all && self.transport.may_send() && self.transport.output().len() < BATCH {
            let hub = &self.hub;
            let mut produced = Produced::Nothing;
            self.transport.send_some(|out| {
                produced = hub.with(|hub| hub.produce(out));
                produced != Produced::Nothing
            })?;
            all = matches!(produced, Produced::Nothing | Produced::Last);
        }
        if idle != Idle::Yes {
            self.leave()?;
        }
        Ok(all || !self.transport.may_send())
    }

    /// Whether someone asked for the end (why), or nobody is left (and every channel is done); from then on the
    /// farewell is timed.
    fn watch_end(&mut self) -> Option<(Option<(u32, String)>, bool)> {
        let ending = self.hub.with(|hub| hub.ending())?;
        self.ending.get_or_insert_with(|| Instant::now() + FAREWELL);
        Some(ending)
    }

    /// Ends in order, when someone asked for it or nobody is left.
    fn leave(&mut self) -> Result<(), Error> {
        let Some((asked, empty)) = self.watch_end() else { return Ok(()) };
        if let Some((reason, text)) =
            asked.or_else(|| empty.then(|| (Disconnect::BY_APPLICATION, String::new())))
        {
            self.said_goodbye = true;
            self.transport.goodbye(reason, &text)?;
        }
        Ok(())
    }

    /// Writes what is sealed. True when bytes moved.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let mut moved = false;
        while !self.transport.output().is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, self.transport.output())? {
                Poll::Ready(0) => return Err(Error::Closed),
                Poll::Ready(written) => {
                    self.transport.written(written);
                    (moved, self.unflushed) = (true, true);
                    if !self.said_goodbye && self.ending.is_some() {
                        self.ending = Some(Instant::now() + FAREWELL);
                    }
                }
                Poll::Pending => return Ok(moved),
            }
        }
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(moved)
    }

    /// Reads once and takes in every whole packet. `None` at the stream's end.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<Option<bool>, Error> {
        // While keys are exchanged nothing queued can leave, and the peer's half of the exchange must still come in.
        let slack = if self.transport.may_send() { 1 } else { 16 };
        if self.transport.output().len() > MOST || self.hub.with(|hub| hub.congested(slack)) {
            return Ok(Some(false));
        }
        match self.transport.input().poll_fill(&mut self.stream, cx)? {
            Poll::Pending => return Ok(Some(false)),
            Poll::Ready(0) => return Ok(None),
            Poll::Ready(_) => {}
        }
        self.heard = Instant::now();
        self.asked = 0;
        self.take_in()?;
        Ok(Some(true))
    }

    fn take_in(&mut self) -> Result<(), Error> {
        while let Some(at) = self.transport.next()? {
            let payload = self.transport.payload(at);
            self.hub.with(|hub| hub.packet(payload))?;
        }
        self.watch_exchange();
        Ok(())
    }

    fn watch_exchange(&mut self) {
        match (self.transport.ready(), self.exchange_since) {
            (true, Some(_)) => {
                self.exchange_since = None;
                self.keys_since = Instant::now();
            }
            (false, None) => self.exchange_since = Some(Instant::now()),
            _ => {}
        }
    }

    /// Does what is due. `Ready` when something was: another turn follows.
    fn clock(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Error> {
        self.watch_exchange();
        let now = Instant::now();
        let mut next = later(self.keys_since, self.rekey.every);
        if self.transport.ready() && now >= next {
            self.transport.rekey()?;
            return Ok(Poll::Ready(()));
        }
        if let Some(since) = self.exchange_since {
            let patience = self.keepalive.map_or(Duration::ZERO, Keepalive::patience).max(EXCHANGE);
            next = later(since.max(self.heard), patience).min(since + WHOLE_EXCHANGE);
            if now >= next {
                return Err(Error::StaleKeys);
            }
        }
        if let Some(keepalive) = self.keepalive {
            let due = later(self.heard, keepalive.every.saturating_mul(self.asked + 1));
            if now >= due {
                if self.asked >= keepalive.misses {
                    return Err(Error::Unresponsive);
                }
                self.asked += 1;
                let request = GlobalRequest { wants_reply: true, kind: GlobalKind::Keepalive };
                // A full queue of control messages asks just as well.
                drop(self.hub.with(|hub| hub.request_global(&request)));
                return Ok(Poll::Ready(()));
            }
            next = next.min(due);
        }
        if let Some(end) = self.ending {
            if now >= end {
                return Err(Error::Closed);
            }
            next = next.min(end);
        }
        if self.transport.swollen() {
            let due = self.heard + QUIET;
            if now >= due && self.transport.output().is_empty() {
                self.transport.shrink();
                self.hub.with(super::hub::Hub::shrink);
            } else {
                next = next.min(due.max(now + QUIET / 2));
            }
        }
        Ok(self.sleep_until(next, cx))
    }

    fn sleep_until(&mut self, next: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_ref();
        if timer.is_elapsed() || next < timer.deadline() {
            self.timer.get_mut().as_mut().reset(next);
        }
        Pin::new(&mut self.timer).poll(cx)
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if std::mem::take(&mut self.unread) {
            self.take_in()?;
        }
        for _ in 0..TURNS {
            let all = self.seal(cx)?;
            let wrote = self.write(cx)?;
            if self.said_goodbye {
                let done = self.transport.output().is_empty();
                if done && Pin::new(&mut self.stream).poll_shutdown(cx).is_ready() {
                    return Poll::Ready(Ok(()));
                }
                if (done || !wrote) && self.clock(cx)?.is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            let Some(read) = self.read(cx)? else { return Poll::Ready(Ok(())) };
            let more = read || (wrote && !(all && self.transport.output().is_empty()));
            if !more && self.clock(cx)?.is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outcome = std::task::ready!(this.turn(cx));
        match outcome {
            Ok(()) => {
                this.hub.with(|hub| hub.fail(&Error::Closed));
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                if let Some((reason, text)) = farewell(&error)
                    && this.transport.goodbye(reason, &text).is_ok()
                {
                    // One try: a peer that broke the rules is not waited for.
                    drop(crate::link::poll_write(&mut this.transport, &mut this.stream, cx));
                }
                this.hub.with(|hub| hub.fail(&error));
                let orderly = matches!(
                    &error,
                    Error::Closed | Error::Disconnected { reason: Disconnect::BY_APPLICATION, .. }
                );
                Poll::Ready(if orderly { Ok(()) } else { Err(error) })
            }
        }
    }
}

/// So long after, or in a year: settings may say "never" with any number.
fn later(at: Instant, by: Duration) -> Instant {
    at + by.min(Duration::from_secs(365 * 24 * 3600))
}
