//! What a tunnel's streams, handles and pump share: the state machine, and who waits for what.
//!
//! One lock, never held across an await.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use wire::mux::{Mux, StreamId};

use crate::BoxIo;
use crate::lift::{Lifter, Place};

pub(crate) struct State {
    pub(crate) mux: Mux,
    pub(crate) readers: BTreeMap<StreamId, Waker>,
    pub(crate) writers: BTreeMap<StreamId, Waker>,
    pub(crate) over: bool,
    /// It is, because the peer went silent.
    pub(crate) dead: bool,
    /// Connections that streams have of their own, until they take them.
    pub(crate) own: BTreeMap<StreamId, BoxIo>,
    /// Streams that carry copies.
    pub(crate) busy: BTreeSet<StreamId>,
    pub(crate) pump: Option<Waker>,
    pub(crate) close: bool,
    pub(crate) close_when_idle: bool,
}

impl State {
    /// Wakes the pump if it sleeps and there is something to do.
    pub(crate) fn nudge(&mut self) {
        if (self.mux.has_output() || self.close || self.may_close())
            && let Some(pump) = self.pump.take()
        {
            pump.wake();
        }
    }

    /// The pump goes to sleep: `waker` is who to nudge.
    pub(crate) fn rest(&mut self, waker: &Waker) {
        match &self.pump {
            Some(old) if old.will_wake(waker) => {}
            _ => self.pump = Some(waker.clone()),
        }
    }

    /// True once it shall close and nothing is left to wait for.
    pub(crate) fn may_close(&self) -> bool {
        self.close_when_idle && self.mux.open_streams() == 0
    }
}

/// What streams, handles and the pump share.
pub(crate) struct Shared {
    state: Mutex<State>,
    epoch: Instant,
    pub(crate) leaving: watch::Sender<bool>,
    pub(crate) ended: watch::Sender<bool>,
    lifter: Option<Lifter>,
}

impl Shared {
    pub(crate) fn new(mux: Mux, epoch: Instant, lifter: Option<Lifter>) -> Self {
        let state = State {
            mux,
            readers: BTreeMap::new(),
            writers: BTreeMap::new(),
            over: false,
            dead: false,
            own: BTreeMap::new(),
            busy: BTreeSet::new(),
            pump: None,
            close: false,
            close_when_idle: false,
        };
        Self {
            state: Mutex::new(state),
            epoch,
            leaving: watch::Sender::new(false),
            ended: watch::Sender::new(false),
            lifter,
        }
    }

    /// When time zero of the state machine was.
    pub(crate) fn epoch(&self) -> Instant {
        self.epoch
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Who asks for connections for single streams; `None` on the agent's side.
    pub(crate) fn lifter(&self) -> Option<&Lifter> {
        self.lifter.as_ref()
    }

    /// Every stream is over; whoever waits on one learns of it. Twice is once.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.over = true;
        let readers = std::mem::take(&mut state.readers);
        let writers = std::mem::take(&mut state.writers);
        drop(state);
        readers.into_values().chain(writers.into_values()).for_each(Waker::wake);
        self.ended.send_replace(true);
    }
}

impl Place for Shared {
    fn place(&self, id: StreamId, io: BoxIo) {
        let mut state = self.lock();
        let unused = if state.mux.is_held(id) { state.own.insert(id, io) } else { Some(io) };
        let wakers = [state.readers.remove(&id), state.writers.remove(&id)];
        drop(state);
        drop(unused);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn is_busy(&self, id: StreamId) -> bool {
        self.lock().busy.contains(&id)
    }
}
