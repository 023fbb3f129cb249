//! The connection layer as a state machine: channels, windows, requests and their order. No I/O and no crypto.
//!
//! The driver feeds it packets ([`Hub::packet`]) and drains it ([`Hub::produce`]); the handles of the application work
//! on it under one short lock. Bounds: at most [`Limits::max_channels`] channels; for each, unread data never
//! exceeds the window the peer was granted, unsent data never exceeds [`Limits::send_buffer`]; windows together never
//! exceed [`Limits::total_window`] beyond the smallest window of each channel; requests the application has not taken
//! never exceed `MAX_WAITING` by more than one message. Credit is granted when data is
//! *consumed*, so a stuck reader costs its own window and nobody else anything.

mod asked;
mod incoming;
mod outgoing;
mod slot;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use bytes::BytesMut;
use tokio::sync::oneshot;
use wire::ssh::connection::{ChannelKind, Open, OpenFailed};
use wire::ssh::request::GlobalKind;

pub(crate) use asked::Found;
pub(crate) use outgoing::Produced;
pub(crate) use slot::{Chunk, Out, Phase, Slot};

use crate::Error;

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It opens sessions.
    Client,
    /// It serves them.
    Server,
}

/// What one connection may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Channels open at once, in both directions. More are refused.
    pub max_channels: usize,
    /// What a peer may send on a fresh channel before any of it is read.
    pub window: u32,
    /// What that may grow to while the reader keeps up.
    pub max_window: u32,
    /// What all windows together may grow to.
    pub total_window: u32,
    /// How much one channel holds of what the peer has not taken.
    pub send_buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_channels: 512,
            window: 512 * 1024,
            max_window: 2 * 1024 * 1024,
            total_window: 16 * 1024 * 1024,
            send_buffer: 128 * 1024,
        }
    }
}

/// The smallest window: granted even when [`Limits::total_window`] is used up.
pub(crate) const SMALL_WINDOW: u32 = 64 * 1024;
/// The most data in one packet, both ways.
pub(crate) const MAX_DATA: u32 = 32 * 1024;
/// Requests about the connection waiting for the application, beyond one for each channel.
pub(crate) const MAX_REQUESTS: usize = 64;
/// Requests waiting for the application, for each channel. A client that sends its whole environment asks for hundreds
/// in one go.
pub(crate) const MAX_ASKED: usize = 1024;
/// A channel with so many bytes of requests waiting takes no more.
pub(crate) const MAX_ASKED_BYTES: usize = 256 * 1024;
/// A connection with so many bytes of requests waiting, of its channels and its own, takes no more.
pub(crate) const MAX_WAITING: usize = 4 * 1024 * 1024;
/// What a waiting request costs besides its bytes.
const REQUEST: usize = 128;
/// Bytes of control messages waiting for the peer before the driver stops reading from it.
pub(crate) const MAX_CONTROL: usize = 64 * 1024;

/// Something the peer wants of the application.
#[derive(Debug)]
pub(crate) enum Wanted {
    Open { id: u32, kind: ChannelKind },
    Global { id: u64, kind: GlobalKind },
}

/// A request of the peer about the connection, in the order it must be answered.
struct Pending {
    id: u64,
    wants_reply: bool,
    answer: Option<GlobalAnswer>,
}

/// The answer to one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum GlobalAnswer {
    Yes,
    Port(u32),
    No,
}

/// The peer's answer to a request of ours: `Some` holds the port, if one came.
pub(crate) type GlobalReply = Option<Option<u32>>;

pub(crate) struct Hub {
    pub(crate) role: Role,
    pub(crate) limits: Limits,
    slots: Vec<Option<Box<Slot>>>,
    used: usize,
    windows: u32,
    ready: VecDeque<u32>,
    control: VecDeque<Vec<u8>>,
    control_bytes: usize,
    /// Each with what it costs.
    wanted: VecDeque<(usize, Wanted)>,
    /// Bytes of requests that wait for the application.
    waiting: usize,
    wanted_waker: Option<Waker>,
    listening: bool,
    pending: VecDeque<Pending>,
    next_global: u64,
    replies: VecDeque<oneshot::Sender<GlobalReply>>,
    no_more_sessions: bool,
    handles: usize,
    leave: Option<(u32, String)>,
    dead: Option<Error>,
    driver: Option<Waker>,
    wakes: Vec<Waker>,
}

/// Whether the driver has anything to do for the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    /// Nothing.
    Yes,
    /// Nothing but to end.
    Ending,
    /// There may be something to send.
    No,
}

/// The hub behind its lock. Wakers run after the lock is released.
pub(crate) struct Shared(Mutex<Hub>);

impl Shared {
    pub(crate) fn new(role: Role, limits: Limits) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Hub::new(role, limits))))
    }

    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Hub) -> R) -> R {
        let mut hub = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let out = work(&mut hub);
        let Some(first) = hub.wakes.pop() else { return out };
        // Hardly ever is there a second.
        let more = if hub.wakes.is_empty() { Vec::new() } else { std::mem::take(&mut hub.wakes) };
        drop(hub);
        more.into_iter().for_each(Waker::wake);
        first.wake();
        out
    }
}

impl Hub {
    fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            slots: Vec::new(),
            used: 0,
            windows: 0,
            ready: VecDeque::new(),
            control: VecDeque::new(),
            control_bytes: 0,
            wanted: VecDeque::new(),
            waiting: 0,
            wanted_waker: None,
            listening: true,
            pending: VecDeque::new(),
            next_global: 0,
            replies: VecDeque::new(),
            no_more_sessions: false,
            handles: 0,
            leave: None,
            dead: None,
            driver: None,
            wakes: Vec::new(),
        }
    }

    /// Wakes the driver once this lock is released.
    pub(crate) fn kick(&mut self) {
        self.wakes.extend(self.driver.take());
    }

    /// The driver goes to sleep: `waker` is who to kick. Says what there is to do before.
    pub(crate) fn rest(&mut self, waker: &Waker) -> Idle {
        match &self.driver {
            Some(old) if old.will_wake(waker) => {}
            _ => self.driver = Some(waker.clone()),
        }
        match (self.has_message(), self.is_ending()) {
            (true, _) => Idle::No,
            (false, true) => Idle::Ending,
            (false, false) => Idle::Yes,
        }
    }

    /// [`Hub::produce`] may have something.
    fn has_message(&self) -> bool {
        !self.control.is_empty() || !self.ready.is_empty()
    }

    fn is_ending(&self) -> bool {
        self.leave.is_some() || self.handles == 0
    }

    pub(crate) fn alive(&self) -> Result<(), Error> {
        self.dead.clone().map_or(Ok(()), Err)
    }

    /// The connection is over: everyone who waits is told.
    pub(crate) fn fail(&mut self, error: &Error) {
        if self.dead.is_some() {
            return;
        }
        self.dead = Some(error.clone());
        self.control.clear();
        self.ready.clear();
        self.replies.clear();
        self.wanted.clear();
        self.wakes.extend(self.wanted_waker.take());
        for slot in self.slots.iter_mut().flatten() {
            slot.outbox.clear();
            slot.replies.clear();
            slot.opening = None;
            self.wakes.extend(slot.reader.take());
            self.wakes.extend(slot.writer.take());
        }
    }

    // --- who still cares

    pub(crate) fn retain(&mut self) {
        self.handles += 1;
    }

    pub(crate) fn release(&mut self) {
        self.handles = self.handles.saturating_sub(1);
        if self.handles == 0 {
            self.kick();
        }
    }

    pub(crate) fn leave(&mut self, reason: u32, text: &str) {
        self.leave.get_or_insert_with(|| (reason, text.to_owned()));
        self.kick();
    }

    /// Whether the connection should end: someone asked (why), or nobody is left; and whether every channel is done.
    pub(crate) fn ending(&self) -> Option<(Option<(u32, String)>, bool)> {
        self.is_ending().then(|| (self.leave.clone(), self.used == 0))
    }

    // --- slots

    pub(crate) fn slot(&mut self, id: u32) -> Option<&mut Slot> {
        self.slots.get_mut(id as usize)?.as_deref_mut()
    }

    fn known(&mut self, id: u32) -> Result<&mut Slot, Error> {
        self.slot(id).ok_or(Error::Protocol("message for a channel that is not open"))
    }

    /// Takes a free number. `None` when there are too many channels.
    fn allot(&mut self, phase: Phase, peer: (u32, u32, u32)) -> Option<u32> {
        if self.used >= self.limits.max_channels {
            return None;
        }
        let index = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let left = self.limits.total_window.saturating_sub(self.windows);
        let window = self.limits.window.min(left.max(SMALL_WINDOW));
        self.windows = self.windows.saturating_add(window);
        self.used += 1;
        *self.slots.get_mut(index)? = Some(Box::new(Slot::new(phase, window, peer)));
        u32::try_from(index).ok()
    }

    fn free(&mut self, id: u32) {
        let Some(place) = self.slots.get_mut(id as usize) else { return };
        if let Some(slot) = place.take() {
            self.used -= 1;
            self.windows = self.windows.saturating_sub(slot.window);
            self.waiting = self.waiting.saturating_sub(slot.asked_bytes);
            self.ready.retain(|other| *other != id);
        }
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
        if self.handles == 0 && self.used == 0 {
            self.kick();
        }
    }

    /// Frees the slot when both sides have closed it and nobody holds it.
    fn settle(&mut self, id: u32) {
        let Some(slot) = self.slot(id) else { return };
        if slot.closed_in && slot.closed_out && slot.dropped {
            self.free(id);
        }
    }

    /// Puts the channel in the round of senders, if it has something it may send.
    fn enqueue(&mut self, id: u32) {
        let Some(slot) = self.slot(id) else { return };
        if !slot.queued && slot.sendable() {
            slot.queued = true;
            self.ready.push_back(id);
            self.kick();
        }
    }

    /// Queues a message that goes before all data.
    fn control(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.dead.is_some() {
            return;
        }
        let mut message = Vec::with_capacity(24);
        encode(&mut message);
        self.control_bytes += message.len();
        self.control.push_back(message);
        self.kick();
    }

    /// A control message on the application's behalf, refused while the peer reads nothing.
    pub(crate) fn ask(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        self.alive()?;
        if self.control_bytes > 4 * MAX_CONTROL {
            return Err(Error::Congested);
        }
        self.control(encode);
        Ok(())
    }

    /// The peer makes us queue more than it reads: the driver stops reading. `slack` widens the bound.
    pub(crate) fn congested(&self, slack: usize) -> bool {
        self.control_bytes > MAX_CONTROL * slack
    }

    // --- opening, from this side

    /// Asks the peer for a channel; the answer comes through the receiver.
    pub(crate) fn open(
        &mut self,
        kind: ChannelKind,
    ) -> Result<(u32, oneshot::Receiver<Result<(), Error>>), Error> {
        self.alive()?;
        let id = self.allot(Phase::Asked, (0, 0, 0)).ok_or(Error::OpenRefused {
            reason: OpenFailed::SHORTAGE,
            text: "too many channels".to_owned(),
        })?;
        let (tell, told) = oneshot::channel();
        let Some(slot) = self.slot(id) else { return Err(Error::Closed) };
        slot.opening = Some(tell);
        let window = slot.window;
        self.ask(|out| Open { kind, sender: id, window, max_packet: MAX_DATA }.encode(out))
            .inspect_err(|_| self.free(id))?;
        Ok((id, told))
    }

    /// Memory held for data, for tests and status.
    pub(crate) fn held(&self) -> usize {
        let slots = self.slots.iter().flatten();
        slots.map(|slot| slot.in_bytes + slot.out_bytes).sum::<usize>() + self.control_bytes
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        self.control.shrink_to(4);
        self.ready.shrink_to(4);
        self.wakes = Vec::new();
    }
}

/// A buffer for `length` bytes now and perhaps more of the same soon.
fn buffer(length: usize, more: bool) -> BytesMut {
    BytesMut::with_capacity(if more { length.max(MAX_DATA as usize) } else { length })
}

#[cfg(test)]
mod tests;
