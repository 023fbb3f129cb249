//! What the peer sends: each message changes the state, or ends the connection.

use tokio::sync::oneshot;
use wire::ssh::connection::{Bare, ChannelKind, Data, Open, OpenFailed, Opened, WindowAdjust};
use wire::ssh::request::{ChannelRequest, GlobalKind, GlobalRequest, RequestKind};
use wire::ssh::{Reader, number};

use super::slot::Queued;
use super::{
    Chunk, GlobalAnswer, Hub, MAX_ASKED, MAX_ASKED_BYTES, MAX_DATA, MAX_REQUESTS, MAX_WAITING, Pending,
    Phase, REQUEST, Role, Wanted, buffer,
};
use crate::Error;
use crate::error::clean;

/// Requests about the connection that may be unanswered at once; a peer with more is broken.
const MAX_PENDING: usize = 1024;

impl Hub {
    /// Takes in one message of the connection layer.
    pub(crate) fn packet(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut from = Reader::new(payload);
        let cost = payload.len() + REQUEST;
        match payload.first().copied().unwrap_or_default() {
            number::CHANNEL_DATA | number::CHANNEL_EXTENDED_DATA => self.data(Data::decode(&mut from)?),
            number::CHANNEL_WINDOW_ADJUST => self.adjusted(WindowAdjust::decode(&mut from)?),
            number::CHANNEL_OPEN => {
                self.offered(Open::decode(&mut from)?, cost);
                Ok(())
            }
            number::CHANNEL_OPEN_CONFIRMATION => self.opened(Opened::decode(&mut from)?),
            number::CHANNEL_OPEN_FAILURE => self.open_failed(&OpenFailed::decode(&mut from)?),
            number::CHANNEL_EOF
            | number::CHANNEL_CLOSE
            | number::CHANNEL_SUCCESS
            | number::CHANNEL_FAILURE => self.bare(Bare::decode(&mut from)?),
            number::CHANNEL_REQUEST => self.requested(ChannelRequest::decode(&mut from)?, cost),
            number::GLOBAL_REQUEST => self.global(GlobalRequest::decode(&mut from)?, cost),
            number::REQUEST_SUCCESS => {
                let port = Reader::new(payload.get(1..).unwrap_or_default()).u32().ok();
                self.replied(Some(port))
            }
            number::REQUEST_FAILURE => self.replied(None),
            _ => Err(Error::Protocol("unexpected message")),
        }
    }

    fn data(&mut self, data: Data<'_>) -> Result<(), Error> {
        let slot = self.known(data.channel)?;
        let length = u32::try_from(data.bytes.len()).unwrap_or(u32::MAX);
        if slot.phase != Phase::Open || slot.eof_in || slot.closed_in {
            return Err(Error::Protocol("data on a channel that takes none"));
        }
        if length > slot.credit || length > MAX_DATA {
            return Err(Error::Protocol("more data than was granted"));
        }
        slot.credit -= length;
        if slot.dropped || slot.closing {
            self.consumed(data.channel, length);
            return Ok(());
        }
        if slot.credit < slot.window / 8 && slot.in_bytes < (slot.window / 4) as usize {
            slot.starved = true;
        }
        slot.in_bytes += data.bytes.len();
        match slot.inbox.back_mut() {
            Some(chunk)
                if chunk.extended == data.extended
                    && chunk.bytes.capacity() - chunk.bytes.len() >= data.bytes.len() =>
            {
                chunk.bytes.extend_from_slice(data.bytes);
            }
            last => {
                let mut bytes = buffer(data.bytes.len(), last.is_some());
                bytes.extend_from_slice(data.bytes);
                slot.inbox.push_back(Chunk { extended: data.extended, bytes });
            }
        }
        let reader = slot.reader.take();
        self.wakes.extend(reader);
        Ok(())
    }

    /// The application took `length` bytes: grants them again once half the window is consumed.
    pub(crate) fn consumed(&mut self, id: u32, length: u32) {
        let spare = self.limits.total_window.saturating_sub(self.windows);
        let max = self.limits.max_window;
        let Some(slot) = self.slot(id) else { return };
        slot.consumed = slot.consumed.saturating_add(length);
        // After our close the number is the peer's to forget: a word about it would be about no channel.
        if slot.consumed < slot.window / 2 || slot.closed_in || slot.eof_in || slot.closed_out {
            return;
        }
        let mut grant = slot.consumed;
        let mut grown = 0;
        if std::mem::take(&mut slot.starved) {
            grown = slot.window.min(max.saturating_sub(slot.window)).min(spare);
            grant = grant.saturating_add(grown);
            slot.window += grown;
        }
        slot.consumed = 0;
        slot.credit = slot.credit.saturating_add(grant);
        let peer = slot.peer;
        self.windows = self.windows.saturating_add(grown);
        self.control(|out| WindowAdjust { channel: peer, bytes: grant }.encode(out));
    }

    fn adjusted(&mut self, adjust: WindowAdjust) -> Result<(), Error> {
        let slot = self.known(adjust.channel)?;
        if slot.phase != Phase::Open {
            return Err(Error::Protocol("window for a channel that is not open"));
        }
        slot.peer_window =
            slot.peer_window.checked_add(adjust.bytes).ok_or(Error::Protocol("window beyond its bound"))?;
        self.enqueue(adjust.channel);
        Ok(())
    }

    fn offered(&mut self, open: Open, cost: usize) {
        let (reason, text) = match self.judge(&open.kind) {
            Ok(()) if self.waiting >= MAX_WAITING => (OpenFailed::SHORTAGE, "too much is asked at once"),
            Ok(()) => {
                let peer = (open.sender, open.window, open.max_packet);
                match self.allot(Phase::Offered, peer) {
                    Some(id) => {
                        self.waiting += cost;
                        self.wanted.push_back((cost, Wanted::Open { id, kind: open.kind }));
                        self.wakes.extend(self.wanted_waker.take());
                        return;
                    }
                    None => (OpenFailed::SHORTAGE, "too many channels"),
                }
            }
            Err(refusal) => refusal,
        };
        let failed = OpenFailed { channel: open.sender, reason, text: text.to_owned() };
        self.control(|out| failed.encode(out));
    }

    /// Which side may open what.
    fn judge(&self, kind: &ChannelKind) -> Result<(), (u32, &'static str)> {
        let by_client = match kind {
            ChannelKind::Session => {
                if self.no_more_sessions {
                    return Err((OpenFailed::PROHIBITED, "no more sessions"));
                }
                true
            }
            ChannelKind::DirectTcp(_) | ChannelKind::DirectUnix { .. } => true,
            ChannelKind::ForwardedTcp(_)
            | ChannelKind::ForwardedUnix { .. }
            | ChannelKind::Agent
            | ChannelKind::X11 { .. } => false,
            ChannelKind::Unknown(_) => return Err((OpenFailed::UNKNOWN_KIND, "unknown channel type")),
            ChannelKind::Unreadable(_) => {
                return Err((OpenFailed::CONNECT_FAILED, "the host or path is not text in UTF-8"));
            }
        };
        if !self.listening || by_client != (self.role == Role::Server) {
            return Err((OpenFailed::PROHIBITED, "not allowed"));
        }
        Ok(())
    }

    fn opened(&mut self, opened: Opened) -> Result<(), Error> {
        let slot = self.known(opened.channel)?;
        if slot.phase != Phase::Asked {
            return Err(Error::Protocol("confirmation of a channel nobody asked for"));
        }
        slot.phase = Phase::Open;
        slot.peer = opened.sender;
        slot.peer_window = opened.window;
        slot.peer_max = opened.max_packet;
        if let Some(tell) = slot.opening.take() {
            _ = tell.send(Ok(()));
        }
        self.enqueue(opened.channel);
        Ok(())
    }

    fn open_failed(&mut self, failed: &OpenFailed) -> Result<(), Error> {
        let slot = self.known(failed.channel)?;
        if slot.phase != Phase::Asked {
            return Err(Error::Protocol("refusal of a channel nobody asked for"));
        }
        slot.closed_in = true;
        slot.closed_out = true;
        slot.closing = true;
        if let Some(tell) = slot.opening.take() {
            let refused = Error::OpenRefused { reason: failed.reason, text: clean(failed.text.as_bytes()) };
            _ = tell.send(Err(refused));
        }
        self.settle(failed.channel);
        Ok(())
    }

    fn bare(&mut self, bare: Bare) -> Result<(), Error> {
        let slot = self.known(bare.channel)?;
        if slot.phase != Phase::Open || slot.closed_in {
            return Err(Error::Protocol("message for a channel that is not open"));
        }
        match bare.number {
            number::CHANNEL_EOF => {
                slot.eof_in = true;
                let reader = slot.reader.take();
                self.wakes.extend(reader);
            }
            number::CHANNEL_CLOSE => self.closed(bare.channel),
            _ => {
                let waiting =
                    slot.replies.pop_front().ok_or(Error::Protocol("an answer nobody waits for"))?;
                _ = waiting.send(bare.number == number::CHANNEL_SUCCESS);
            }
        }
        Ok(())
    }

    /// The peer closed the channel: ours is closed at once too, and what was unsent is dropped.
    fn closed(&mut self, id: u32) {
        let Some(slot) = self.slot(id) else { return };
        slot.closed_in = true;
        slot.outbox.clear();
        slot.out_bytes = 0;
        slot.replies.clear();
        slot.closing = true;
        let answer = !std::mem::replace(&mut slot.closed_out, true);
        let (peer, reader, writer) = (slot.peer, slot.reader.take(), slot.writer.take());
        self.wakes.extend(reader);
        self.wakes.extend(writer);
        if answer {
            self.control(|out| Bare { number: number::CHANNEL_CLOSE, channel: peer }.encode(out));
        }
        self.settle(id);
    }

    fn requested(&mut self, request: ChannelRequest, cost: usize) -> Result<(), Error> {
        let full = self.waiting >= MAX_WAITING;
        let slot = self.known(request.channel)?;
        if slot.phase != Phase::Open || slot.closed_in {
            return Err(Error::Protocol("request on a channel that is not open"));
        }
        let id = slot.next_request;
        slot.next_request += 1;
        if request.wants_reply {
            slot.answers.push_back((id, None));
            if slot.answers.len() > MAX_PENDING {
                return Err(Error::Protocol("too many unanswered requests"));
            }
        }
        match request.kind {
            RequestKind::Unknown(_) | RequestKind::Keepalive => {
                self.answer_request(request.channel, id, false);
            }
            _ if slot.dropped || slot.closing => self.answer_request(request.channel, id, false),
            RequestKind::ExitStatus(_) | RequestKind::ExitSignal { .. } => {
                if slot.exit.len() < 2 {
                    slot.exit.push_back(request.kind);
                }
                let reader = slot.reader.take();
                self.wakes.extend(reader);
                self.answer_request(request.channel, id, true);
            }
            _ if full || slot.asked.len() >= MAX_ASKED || slot.asked_bytes >= MAX_ASKED_BYTES => {
                self.answer_request(request.channel, id, false);
            }
            kind => {
                let replaces = matches!(kind, RequestKind::WindowChange(_)) && !request.wants_reply;
                let queued = Queued { id, wants_reply: request.wants_reply, kind, cost };
                match slot.asked.back_mut() {
                    Some(last)
                        if replaces
                            && !last.wants_reply
                            && matches!(last.kind, RequestKind::WindowChange(_)) =>
                    {
                        // As long as the one it replaces.
                        *last = queued;
                    }
                    _ => {
                        slot.asked.push_back(queued);
                        slot.asked_bytes += cost;
                        self.waiting += cost;
                    }
                }
                let Some(slot) = self.slot(request.channel) else { return Ok(()) };
                let reader = slot.reader.take();
                self.wakes.extend(reader);
            }
        }
        Ok(())
    }

    fn global(&mut self, request: GlobalRequest, cost: usize) -> Result<(), Error> {
        let id = self.next_global;
        self.next_global += 1;
        if self.pending.len() >= MAX_PENDING {
            return Err(Error::Protocol("too many unanswered requests"));
        }
        self.pending.push_back(Pending { id, wants_reply: request.wants_reply, answer: None });
        match request.kind {
            GlobalKind::Keepalive => self.answer_global(id, GlobalAnswer::Yes),
            GlobalKind::HostKeys | GlobalKind::Unknown(_) => self.answer_global(id, GlobalAnswer::No),
            GlobalKind::NoMoreSessions => {
                self.no_more_sessions = true;
                self.answer_global(id, GlobalAnswer::Yes);
            }
            kind => {
                let busy = self.wanted.len() >= MAX_REQUESTS + self.limits.max_channels
                    || self.waiting >= MAX_WAITING;
                if self.role == Role::Client || !self.listening || busy {
                    self.answer_global(id, GlobalAnswer::No);
                } else {
                    self.waiting += cost;
                    self.wanted.push_back((cost, Wanted::Global { id, kind }));
                    self.wakes.extend(self.wanted_waker.take());
                }
            }
        }
        Ok(())
    }

    fn replied(&mut self, reply: super::GlobalReply) -> Result<(), Error> {
        let waiting: oneshot::Sender<_> =
            self.replies.pop_front().ok_or(Error::Protocol("an answer nobody waits for"))?;
        _ = waiting.send(reply);
        Ok(())
    }
}
