//! Many streams over one connection, as a state machine without I/O: bytes and time in, bytes and events out.
//!
//! What it promises, and why (see `docs/formats/mux.md`):
//! - A stream that nobody reads holds at most its own window, and stops nobody else: there is no shared window.
//!   Credit is granted when bytes are *consumed*. Windows start at 64 KiB and grow with what the reader takes per
//!   round trip, to 4 MiB on short paths and 16 MiB on long ones, all growth together within a budget.
//! - Frames are at most 16 KiB, control goes before interactive before bulk, round robin within each. An interactive
//!   stream with more than a frame queued is a copy and waits with the copies.
//! - A reset throws away what is queued at both ends, but not what came before an end: whoever finishes a stream and
//!   lets go of it is heard to the last byte, whatever the other side says meanwhile.
//!
//! Time is a `Duration` since any fixed moment of the caller's choosing. Every queue is bounded.

mod buffer;
mod frame;
mod pulse;
mod stream;
mod terms;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::codec::{Malformed, Reader};
use crate::dial::Class;
pub use frame::{
    End, Frame, HEADER, LIFT_TOKEN, MAX, MAX_METADATA, MAX_PAYLOAD, PREFACE, ResetCode, StreamId,
};
use pulse::Pulse;
use stream::{Lane, Stream};
pub use terms::{Dead, Event, OpenError, Read, Settings, Side, StreamError};

/// What each stream may receive before anything was consumed.
pub const FIRST_WINDOW: u32 = 64 * 1024;

/// The most a window grows to on a short path.
pub const SHORT_WINDOW: u32 = 4 * 1024 * 1024;

/// The most a window grows to at all.
pub const LONG_WINDOW: u32 = 16 * 1024 * 1024;

/// The rate windows are sized for: a window need not exceed this rate times the round trip.
const RATE: u64 = 250 * 1024 * 1024;

/// Control bytes a peer can make us queue before it is called a flood; and those that wait before we open no more.
const MAX_CONTROL: usize = 1024 * 1024;

/// Queued bytes of all streams beyond which each stream may queue one frame only.
const MAX_QUEUED: usize = 16 * 1024 * 1024;

/// One end of a connection with many streams.
#[derive(Debug)]
pub struct Mux {
    side: Side,
    settings: Settings,
    streams: BTreeMap<StreamId, Stream>,
    incoming: usize,
    next_ours: u32,
    last_theirs: u32,
    lanes: [VecDeque<StreamId>; 2],
    control: Vec<u8>,
    /// Of those, what the peer made us say.
    answers: usize,
    pong: Option<u64>,
    events: VecDeque<Event>,
    greeted: bool,
    leaving: bool,
    peer_leaving: bool,
    queued: usize,
    grown: u32,
    pulse: Pulse,
}

impl Mux {
    /// A fresh connection at time `now`; its preface and a first ping wait to be sent.
    #[must_use]
    pub fn new(side: Side, settings: Settings, now: Duration) -> Self {
        let pulse = Pulse::new(settings.quiet, settings.dead, now);
        let mut mux = Self {
            side,
            settings,
            streams: BTreeMap::new(),
            incoming: 0,
            next_ours: if side == Side::Dialer { 1 } else { 2 },
            last_theirs: 0,
            lanes: [VecDeque::new(), VecDeque::new()],
            control: PREFACE.to_vec(),
            answers: 0,
            pong: None,
            events: VecDeque::new(),
            greeted: false,
            leaving: false,
            peer_leaving: false,
            queued: 0,
            grown: 0,
            pulse,
        };
        mux.ping(now);
        mux
    }

    /// Opens a stream. Bytes written right after ride along with its OPEN.
    ///
    /// # Errors
    /// The connection is closing or full, or the metadata too long.
    pub fn open(&mut self, class: Class, metadata: &[u8]) -> Result<StreamId, OpenError> {
        if metadata.len() > MAX_METADATA {
            return Err(OpenError::Metadata);
        }
        if self.leaving || self.peer_leaving || self.next_ours > u32::MAX - 2 {
            return Err(OpenError::Leaving);
        }
        // Streams that came and went before the peer heard of them count too.
        let unsaid = self.control.len() >= MAX_CONTROL;
        if unsaid || self.streams.len() - self.incoming >= self.settings.max_outgoing {
            return Err(OpenError::TooMany);
        }
        let id = StreamId(self.next_ours);
        self.next_ours += 2;
        self.streams.insert(id, Stream::new(class));
        Frame::Open { id, class, metadata }.encode(&mut self.control);
        Ok(id)
    }

    /// Queues bytes for sending; says how many there was room for. None (of some): [`Event::Writable`] will tell.
    ///
    /// # Errors
    /// The stream was reset or finished.
    pub fn write(&mut self, id: StreamId, bytes: &[u8]) -> Result<usize, StreamError> {
        let limit = if self.queued >= MAX_QUEUED { MAX_PAYLOAD } else { self.settings.queue };
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Reset(ResetCode::Cancelled))?;
        let count = stream.accept(bytes, limit)?;
        self.queued += count;
        if count > 0 {
            schedule(&mut self.lanes, id, stream);
        }
        Ok(count)
    }

    /// Ends our direction once everything queued is sent. Twice is once.
    pub fn finish(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.finish()
        {
            schedule(&mut self.lanes, id, stream);
        }
    }

    /// Ends our direction here once everything queued is sent: what follows goes over the stream's own connection.
    /// False when the direction has ended already.
    pub fn leave(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        let left = stream.leave();
        if left {
            schedule(&mut self.lanes, id, stream);
        }
        left
    }

    /// Asks the peer to dial a connection for this one stream and to name `token` there. Once for each stream.
    pub fn lift(&mut self, id: StreamId, token: [u8; LIFT_TOKEN]) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.is_over()
            && stream.lift()
        {
            Frame::Lift { id, token }.encode(&mut self.control);
        }
    }

    /// Reads into `out`. Consuming is what grants the peer credit.
    ///
    /// # Errors
    /// The stream was reset; what was unread is gone.
    pub fn read(&mut self, id: StreamId, out: &mut [u8], now: Duration) -> Result<Read, StreamError> {
        let rtt = self.pulse.rtt();
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Reset(ResetCode::Cancelled))?;
        let read = stream.read(out)?;
        if let Read::Bytes(_) = read {
            let spare = self.settings.budget - self.grown;
            if let Some(grant) = stream.grant(now, rtt, spare) {
                self.grown += grant.growth;
                Frame::Credit { id, bytes: grant.bytes }.encode(&mut self.control);
            }
        }
        Ok(read)
    }

    /// Cuts a stream off at both ends, whoever still holds it here.
    pub fn reset(&mut self, id: StreamId, code: ResetCode) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.is_over() {
            return;
        }
        self.queued -= stream.cut(code);
        Frame::Reset { id, code }.encode(&mut self.control);
        self.wake(id);
    }

    /// Says that nobody holds the stream here any more. Unless it was finished it is reset; if it was, the peer hears
    /// everything, and then that nobody listens.
    pub fn release(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.let_go();
        self.settle(id);
    }

    /// Tells the peer of a stream that nobody holds, and forgets the stream, where it is time for that.
    fn settle(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(Stream::owes_reset) {
            self.reset(id, ResetCode::Cancelled);
        }
        self.retire(id);
    }

    /// Takes no new streams from now on and tells the peer; those that are open live on.
    pub fn go_away(&mut self) {
        if !self.leaving {
            self.leaving = true;
            Frame::GoAway { last: StreamId(self.last_theirs) }.encode(&mut self.control);
        }
    }

    /// Takes received bytes; says how many were whole frames. The rest must come again, with more.
    ///
    /// # Errors
    /// The peer broke the protocol: the connection is of no more use.
    pub fn receive(&mut self, bytes: &[u8], now: Duration) -> Result<usize, Malformed> {
        if !bytes.is_empty() {
            self.pulse.heard(now);
        }
        let mut reader = Reader::new(bytes);
        if !self.greeted {
            if frame::preface(&mut reader)?.is_none() {
                return Ok(0);
            }
            self.greeted = true;
        }
        while let Some(frame) = Frame::decode(&mut reader)? {
            let before = self.control.len();
            self.take(frame, now)?;
            self.answers += self.control.len() - before;
            if self.answers > MAX_CONTROL {
                return Err(Malformed::new("tunnel", "the peer makes us answer faster than it listens"));
            }
        }
        Ok(bytes.len() - reader.remaining())
    }

    fn take(&mut self, frame: Frame<'_>, now: Duration) -> Result<(), Malformed> {
        match frame {
            Frame::Data { id, end, bytes } => self.data(id, end, bytes)?,
            Frame::Lift { id, token } => self.lifted(id, token)?,
            Frame::Open { id, class, metadata } => self.opened(id, class, metadata)?,
            Frame::Credit { id, bytes } => {
                self.must_be_known(id)?;
                if let Some(stream) = self.streams.get_mut(&id)
                    && stream.credit(bytes)?
                {
                    self.events.push_back(Event::Writable(id));
                }
            }
            Frame::Reset { id, code } => {
                self.must_be_known(id)?;
                if let Some(stream) = self.streams.get_mut(&id) {
                    self.queued -= stream.cut_by_peer(code);
                    self.wake(id);
                    self.retire(id);
                }
            }
            Frame::Ping { token } => self.pong = Some(token),
            Frame::Pong { token } => self.pulse.pong(token, now),
            Frame::GoAway { last } => {
                self.peer_leaving = true;
                self.events.push_back(Event::GoingAway);
                self.abandon_after(last);
            }
        }
        Ok(())
    }

    fn is_theirs(&self, id: StreamId) -> bool {
        (id.0 % 2 == 1) == (self.side == Side::Listener)
    }

    /// Streams that are over are forgotten, and frames for them may still arrive; ones that never were may not.
    fn must_be_known(&self, id: StreamId) -> Result<(), Malformed> {
        let known = if self.is_theirs(id) { id.0 <= self.last_theirs } else { id.0 < self.next_ours };
        if known {
            Ok(())
        } else {
            Err(Malformed::new("tunnel", "a frame for a stream that was never opened"))
        }
    }

    fn lifted(&mut self, id: StreamId, token: [u8; LIFT_TOKEN]) -> Result<(), Malformed> {
        self.must_be_known(id)?;
        if !self.is_theirs(id) {
            return Err(Malformed::new("tunnel", "a stream lifted by the side that did not open it"));
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if !stream.lift() {
            return Err(Malformed::new("tunnel", "a stream lifted twice"));
        }
        if !stream.is_over() && !stream.is_released() {
            self.events.push_back(Event::Lifted { id, token });
        }
        Ok(())
    }

    fn data(&mut self, id: StreamId, end: End, bytes: &[u8]) -> Result<(), Malformed> {
        self.must_be_known(id)?;
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.is_over() {
            return Ok(());
        }
        if stream.arrive(bytes, end)? {
            self.events.push_back(Event::Readable(id));
        }
        self.settle(id);
        Ok(())
    }

    fn opened(&mut self, id: StreamId, class: Class, metadata: &[u8]) -> Result<(), Malformed> {
        if !self.is_theirs(id) || id.0 <= self.last_theirs {
            return Err(Malformed::new(
                "tunnel",
                "a stream opened under a number that is not the peer's next",
            ));
        }
        self.last_theirs = id.0;
        if self.leaving || self.incoming >= self.settings.max_incoming {
            let code = if self.leaving { ResetCode::Refused } else { ResetCode::Busy };
            Frame::Reset { id, code }.encode(&mut self.control);
            return Ok(());
        }
        self.incoming += 1;
        self.streams.insert(id, Stream::new(class));
        self.events.push_back(Event::Opened { id, class, metadata: metadata.to_vec() });
        Ok(())
    }

    /// Our streams that the leaving peer never took: trying them elsewhere is safe.
    fn abandon_after(&mut self, last: StreamId) {
        let (theirs, streams) = (self.side == Side::Listener, &mut self.streams);
        let lost: Vec<StreamId> = streams
            .range(StreamId(last.0.saturating_add(1))..)
            .map(|(id, _)| *id)
            .filter(|id| (id.0 % 2 == 1) != theirs)
            .collect();
        for id in lost {
            if let Some(stream) = self.streams.get_mut(&id) {
                self.queued -= stream.cut(ResetCode::Refused);
                self.wake(id);
                self.retire(id);
            }
        }
    }

    /// Tells whoever waits on a stream that something happened to it.
    fn wake(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            let (read, write) = stream.take_waits();
            self.events.extend(read.then_some(Event::Readable(id)));
            self.events.extend(write.then_some(Event::Writable(id)));
        }
    }

    /// Forgets a stream that is over on every side.
    fn retire(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(Stream::may_retire)
            && let Some(stream) = self.streams.remove(&id)
        {
            self.grown -= stream.growth();
            self.queued -= stream.queued();
            if self.is_theirs(id) {
                self.incoming -= 1;
            }
        }
    }

    /// Moves frames to `out` until it holds `limit` bytes or nothing is left: control first, then whoever is watched,
    /// then copies.
    pub fn transmit(&mut self, out: &mut Vec<u8>, limit: usize) {
        out.append(&mut self.control);
        self.answers = 0;
        if self.control.capacity() > 64 * 1024 {
            self.control = Vec::new();
        }
        if let Some(token) = self.pong.take() {
            Frame::Pong { token }.encode(out);
        }
        while out.len() < limit {
            let [watched, copies] = &mut self.lanes;
            let (id, lane) = match (watched.pop_front(), copies.is_empty()) {
                (Some(id), _) => (id, Lane::Watched),
                (None, false) => (copies.pop_front().unwrap_or(StreamId(0)), Lane::Copies),
                (None, true) => break,
            };
            // Streams that were cut off or forgotten stay in a lane until their turn comes.
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            if stream.belongs_elsewhere(lane) {
                copies.push_back(id);
                continue;
            }
            self.queued -= stream.send(id, out);
            if stream.wants_turn() {
                schedule(&mut self.lanes, id, stream);
            }
            if stream.take_writable(self.settings.queue) {
                self.events.push_back(Event::Writable(id));
            }
            self.settle(id);
        }
    }

    /// True while [`Mux::transmit`] has something to give.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.control.is_empty() || self.pong.is_some() || self.lanes.iter().any(|lane| !lane.is_empty())
    }

    /// The next event.
    pub fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn ping(&mut self, now: Duration) {
        let token = self.pulse.ping(now);
        Frame::Ping { token }.encode(&mut self.control);
    }

    /// Lets time pass: pings a peer that has been quiet.
    ///
    /// # Errors
    /// The peer has been silent for too long.
    pub fn tick(&mut self, now: Duration) -> Result<(), Dead> {
        if self.pulse.tick(now, !self.streams.is_empty())? {
            self.ping(now);
        }
        Ok(())
    }

    /// When [`Mux::tick`] wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.pulse.deadline(!self.streams.is_empty())
    }

    /// The round trip, as last measured; near its smallest.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.pulse.rtt()
    }

    /// True while somebody here holds the stream and it was not cut off.
    #[must_use]
    pub fn is_held(&self, id: StreamId) -> bool {
        self.streams.get(&id).is_some_and(|stream| !stream.is_over() && !stream.is_released())
    }

    /// Streams not yet over or still held.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// True once either side said it is leaving.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving || self.peer_leaving
    }

    /// Bytes held for readers and the network: what this connection costs in memory beside its bookkeeping.
    #[must_use]
    pub fn held(&self) -> usize {
        self.streams.values().map(Stream::held).sum::<usize>() + self.control.len()
    }
}

fn schedule(lanes: &mut [VecDeque<StreamId>; 2], id: StreamId, stream: &mut Stream) {
    let [watched, copies] = lanes;
    match stream.enlist() {
        Some(Lane::Watched) => watched.push_back(id),
        Some(Lane::Copies) => copies.push_back(id),
        None => {}
    }
}

#[cfg(test)]
mod tests;
