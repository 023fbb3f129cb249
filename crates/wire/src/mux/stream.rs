//! One stream's two directions: what is queued, what is credited, what has ended.

use std::time::Duration;

use super::buffer::Buffer;
use super::frame::{End, MAX_PAYLOAD, ResetCode, StreamId, put_data_header};
use super::{FIRST_WINDOW, LONG_WINDOW, RATE, Read, SHORT_WINDOW, StreamError};
use crate::codec::Malformed;
use crate::dial::Class;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Watched,
    Copies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fin {
    No,
    Queued,
    Sent,
}

pub(super) struct Grant {
    pub(super) bytes: u32,
    pub(super) growth: u32,
}

#[derive(Debug)]
pub(super) struct Stream {
    class: Class,
    outbox: Buffer,
    /// What we may still take from our writer: the peer's credit less what is queued or sent.
    credit: u32,
    fin: Fin,
    /// How our direction ends here once it does.
    farewell: End,
    enlisted: bool,
    wants_write: bool,
    inbox: Buffer,
    /// What the peer may still send.
    granted: u32,
    /// What was read and not yet granted anew.
    consumed: u32,
    window: u32,
    granted_at: Option<Duration>,
    ended: bool,
    /// Theirs goes on over the stream's own connection.
    moved: bool,
    lifted: bool,
    wants_read: bool,
    over: Option<ResetCode>,
    /// The peer had said everything before it cut the stream off: what is unread is whole.
    whole: bool,
    released: bool,
    /// The peer says what nobody will read: it is to be told once our own last word is sent.
    unheard: bool,
}

impl Stream {
    pub(super) fn new(class: Class) -> Self {
        Self {
            class,
            outbox: Buffer::default(),
            credit: FIRST_WINDOW,
            fin: Fin::No,
            farewell: End::Fin,
            enlisted: false,
            wants_write: false,
            inbox: Buffer::default(),
            granted: FIRST_WINDOW,
            consumed: 0,
            window: FIRST_WINDOW,
            granted_at: None,
            ended: false,
            moved: false,
            lifted: false,
            wants_read: false,
            over: None,
            whole: false,
            released: false,
            unheard: false,
        }
    }

    pub(super) fn accept(&mut self, bytes: &[u8], limit: usize) -> Result<usize, StreamError> {
        if let Some(code) = self.over {
            return Err(StreamError::Reset(code));
        }
        if self.fin != Fin::No {
            return Err(StreamError::Finished);
        }
        let room = limit.saturating_sub(self.outbox.len()).min(size(self.credit));
        let part = bytes.get(..room).unwrap_or(bytes);
        self.outbox.push(part);
        self.credit -= small(part.len());
        self.wants_write = part.is_empty() && !bytes.is_empty();
        Ok(part.len())
    }

    /// True when a turn is needed to say so.
    pub(super) fn finish(&mut self) -> bool {
        if self.over.is_some() || self.fin != Fin::No {
            return false;
        }
        self.fin = Fin::Queued;
        true
    }

    /// Like `finish`, but what follows goes over the stream's own connection.
    pub(super) fn leave(&mut self) -> bool {
        if !self.finish() {
            return false;
        }
        self.farewell = End::Moved;
        true
    }

    /// Notes that a connection of its own was asked for; false the second time.
    pub(super) fn lift(&mut self) -> bool {
        !std::mem::replace(&mut self.lifted, true)
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<Read, StreamError> {
        if let Some(code) = self.over.filter(|_| !self.whole) {
            return Err(StreamError::Reset(code));
        }
        if self.inbox.is_empty() {
            self.wants_read = !self.ended;
            return Ok(match (self.ended, self.moved) {
                (false, _) => Read::Blocked,
                (true, false) => Read::End,
                (true, true) => Read::Moved,
            });
        }
        let mut rest = out;
        let most = rest.len();
        let count = self.inbox.take(most, |part| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        });
        self.consumed += small(count);
        Ok(Read::Bytes(count))
    }

    /// Grants what was consumed, in halves of the window; grows the window when half of it goes by in less than two
    /// round trips, because then the window, not the reader, is what limits the sender.
    pub(super) fn grant(&mut self, now: Duration, rtt: Option<Duration>, spare: u32) -> Option<Grant> {
        if self.ended || self.consumed < self.window / 2 {
            return None;
        }
        let rtt = rtt.unwrap_or_default();
        let quick = self.granted_at.is_some_and(|at| now.saturating_sub(at) < 2 * rtt);
        let growth =
            if quick { self.window.min(largest(rtt).saturating_sub(self.window)).min(spare) } else { 0 };
        let bytes = self.consumed + growth;
        self.window += growth;
        self.granted += bytes;
        self.consumed = 0;
        self.granted_at = Some(now);
        Some(Grant { bytes, growth })
    }

    /// True when a reader waits.
    pub(super) fn arrive(&mut self, bytes: &[u8], end: End) -> Result<bool, Malformed> {
        if self.ended {
            return Err(Malformed::new("tunnel", "bytes after the end of a stream"));
        }
        if end == End::Moved && !self.lifted {
            return Err(Malformed::new("tunnel", "a stream moved to a connection nobody asked for"));
        }
        let count = small(bytes.len());
        self.granted = self
            .granted
            .checked_sub(count)
            .ok_or(Malformed::new("tunnel", "more bytes than were granted"))?;
        self.ended = end != End::Open;
        self.moved = end == End::Moved;
        if self.released {
            self.unheard |= count > 0;
        } else {
            self.inbox.push(bytes);
        }
        Ok(std::mem::take(&mut self.wants_read))
    }

    /// True when a writer waits and now has room.
    pub(super) fn credit(&mut self, bytes: u32) -> Result<bool, Malformed> {
        self.credit = self
            .credit
            .checked_add(bytes)
            .filter(|credit| *credit <= i32::MAX.unsigned_abs())
            .ok_or(Malformed::new("tunnel", "more credit than there can be"))?;
        Ok(bytes > 0 && std::mem::take(&mut self.wants_write))
    }

    /// Throws everything away; says how much was queued for sending.
    pub(super) fn cut(&mut self, code: ResetCode) -> usize {
        self.inbox.clear();
        self.over.get_or_insert(code);
        let queued = self.outbox.len();
        self.outbox.clear();
        queued
    }

    /// The peer cut it off. What it said before its end can still be read.
    pub(super) fn cut_by_peer(&mut self, code: ResetCode) -> usize {
        if self.over.is_some() || !self.ended || self.moved {
            return self.cut(code);
        }
        self.whole = true;
        let unread = std::mem::take(&mut self.inbox);
        let queued = self.cut(code);
        self.inbox = unread;
        queued
    }

    /// Notes that nobody holds it: what is unread is thrown away.
    pub(super) fn let_go(&mut self) {
        self.released = true;
        self.unheard |= !self.inbox.is_empty();
        self.inbox.clear();
    }

    /// True when nobody holds it and the peer must be told so: it was not finished, or the peer goes on and our last
    /// word is sent. What is queued before that word is not to be lost.
    pub(super) fn owes_reset(&self) -> bool {
        let unfinished = match self.fin {
            Fin::No => true,
            Fin::Queued => false,
            Fin::Sent => self.unheard && !self.ended,
        };
        self.released && self.over.is_none() && unfinished
    }

    /// The lane to wait in, unless it waits already.
    pub(super) fn enlist(&mut self) -> Option<Lane> {
        if std::mem::replace(&mut self.enlisted, true) {
            return None;
        }
        Some(self.lane())
    }

    fn lane(&self) -> Lane {
        match self.class {
            Class::Interactive if self.outbox.len() <= MAX_PAYLOAD => Lane::Watched,
            Class::Interactive | Class::Bulk => Lane::Copies,
        }
    }

    /// True when it waited among the watched and has since become a copy.
    pub(super) fn belongs_elsewhere(&self, lane: Lane) -> bool {
        lane == Lane::Watched && self.lane() == Lane::Copies
    }

    /// Takes its turn: one frame. Says how many queued bytes went.
    pub(super) fn send(&mut self, id: StreamId, out: &mut Vec<u8>) -> usize {
        self.enlisted = false;
        let count = self.outbox.len().min(MAX_PAYLOAD);
        let fin = self.fin == Fin::Queued && count == self.outbox.len();
        if self.over.is_some() || (count == 0 && !fin) {
            return 0;
        }
        put_data_header(out, id, if fin { self.farewell } else { End::Open }, count);
        self.outbox.take(count, |part| out.extend_from_slice(part));
        if fin {
            self.fin = Fin::Sent;
        }
        count
    }

    pub(super) fn wants_turn(&self) -> bool {
        self.over.is_none() && (!self.outbox.is_empty() || self.fin == Fin::Queued)
    }

    /// True when a writer waits and half of the queue is free again.
    pub(super) fn take_writable(&mut self, limit: usize) -> bool {
        let free = self.outbox.len() <= limit / 2 && self.credit > 0;
        free && std::mem::take(&mut self.wants_write)
    }

    pub(super) fn take_waits(&mut self) -> (bool, bool) {
        (std::mem::take(&mut self.wants_read), std::mem::take(&mut self.wants_write))
    }

    pub(super) fn may_retire(&self) -> bool {
        self.released && (self.over.is_some() || (self.ended && self.fin == Fin::Sent))
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    pub(super) fn is_released(&self) -> bool {
        self.released
    }

    pub(super) fn growth(&self) -> u32 {
        self.window - FIRST_WINDOW
    }

    pub(super) fn queued(&self) -> usize {
        self.outbox.len()
    }

    pub(super) fn held(&self) -> usize {
        self.outbox.len() + self.inbox.len()
    }
}

/// The largest window worth having at this round trip.
fn largest(rtt: Duration) -> u32 {
    let needed = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).saturating_mul(RATE) / 1_000_000;
    u32::try_from(needed).unwrap_or(u32::MAX).clamp(SHORT_WINDOW, LONG_WINDOW)
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
