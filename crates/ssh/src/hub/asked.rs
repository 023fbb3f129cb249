//! What the application does: answers, writes, reads, closes.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::oneshot;
use wire::ssh::connection::{Bare, OpenFailed, Opened};
use wire::ssh::request::{ChannelRequest, GlobalRequest, RequestKind};
use wire::ssh::{number, put_u32};

use super::{GlobalAnswer, GlobalReply, Hub, MAX_DATA, Out, Phase, Wanted};
use crate::Error;

/// What a channel's reader finds next.
#[derive(Debug)]
pub(crate) enum Found {
    Data(Option<u32>, Bytes),
    Request { id: u64, wants_reply: bool, kind: RequestKind },
    Exit(RequestKind),
    Eof,
    Closed,
}

impl Hub {
    // --- the connection

    pub(crate) fn poll_wanted(&mut self, cx: &Context<'_>) -> Poll<Option<Wanted>> {
        if let Some((cost, wanted)) = self.wanted.pop_front() {
            self.waiting = self.waiting.saturating_sub(cost);
            return Poll::Ready(Some(wanted));
        }
        if self.dead.is_some() {
            return Poll::Ready(None);
        }
        keep(&mut self.wanted_waker, cx);
        Poll::Pending
    }

    /// Nobody will answer the peer's wishes any more: they are refused from here on.
    pub(crate) fn stop_listening(&mut self) {
        self.listening = false;
        for (cost, wanted) in std::mem::take(&mut self.wanted) {
            self.waiting = self.waiting.saturating_sub(cost);
            match wanted {
                Wanted::Open { id, .. } => {
                    if let Some(slot) = self.slot(id) {
                        slot.dropped = true;
                    }
                    self.refuse(id, OpenFailed::PROHIBITED, "not allowed");
                }
                Wanted::Global { id, .. } => self.answer_global(id, GlobalAnswer::No),
            }
        }
    }

    /// Answers a request about the connection. Answers leave in the order the requests came.
    pub(crate) fn answer_global(&mut self, id: u64, answer: GlobalAnswer) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) {
            pending.answer = Some(answer);
        }
        while let Some((wants_reply, answer)) =
            self.pending.front().and_then(|first| Some((first.wants_reply, first.answer?)))
        {
            self.pending.pop_front();
            if !wants_reply {
                continue;
            }
            self.control(|out| match answer {
                GlobalAnswer::Yes => out.push(number::REQUEST_SUCCESS),
                GlobalAnswer::Port(port) => {
                    out.push(number::REQUEST_SUCCESS);
                    put_u32(out, port);
                }
                GlobalAnswer::No => out.push(number::REQUEST_FAILURE),
            });
        }
    }

    pub(crate) fn request_global(
        &mut self,
        request: &GlobalRequest,
    ) -> Result<oneshot::Receiver<GlobalReply>, Error> {
        self.ask(|out| request.encode(out))?;
        let (tell, told) = oneshot::channel();
        if request.wants_reply {
            self.replies.push_back(tell);
        } else {
            _ = tell.send(Some(None));
        }
        Ok(told)
    }

    // --- opening

    pub(crate) fn accept(&mut self, id: u32) -> Result<(), Error> {
        self.alive()?;
        let slot = self.slot(id).ok_or(Error::Closed)?;
        slot.phase = Phase::Open;
        let (channel, window) = (slot.peer, slot.window);
        self.control(|out| Opened { channel, sender: id, window, max_packet: MAX_DATA }.encode(out));
        Ok(())
    }

    pub(crate) fn refuse(&mut self, id: u32, reason: u32, text: &str) {
        let Some(slot) = self.slot(id) else { return };
        let failed = OpenFailed { channel: slot.peer, reason, text: text.to_owned() };
        (slot.closed_in, slot.closed_out, slot.closing) = (true, true, true);
        self.control(|out| failed.encode(out));
        self.settle(id);
    }

    // --- a channel

    fn next_asked(&mut self, id: u32) -> Option<Found> {
        let slot = self.slot(id)?;
        let request = slot.asked.pop_front()?;
        slot.asked_bytes = slot.asked_bytes.saturating_sub(request.cost);
        self.waiting = self.waiting.saturating_sub(request.cost);
        Some(Found::Request { id: request.id, wants_reply: request.wants_reply, kind: request.kind })
    }

    pub(crate) fn poll_recv(&mut self, id: u32, cx: &Context<'_>) -> Poll<Result<Found, Error>> {
        if let Some(request) = self.next_asked(id) {
            return Poll::Ready(Ok(request));
        }
        let dead = self.dead.clone();
        let Some(slot) = self.slot(id) else { return Poll::Ready(Ok(Found::Closed)) };
        if let Some(chunk) = slot.inbox.pop_front() {
            slot.in_bytes -= chunk.bytes.len();
            if slot.inbox.is_empty() {
                slot.inbox.shrink_to(2);
            }
            self.consumed(id, u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX));
            return Poll::Ready(Ok(Found::Data(chunk.extended, chunk.bytes.freeze())));
        }
        if let Some(kind) = slot.exit.pop_front() {
            return Poll::Ready(Ok(Found::Exit(kind)));
        }
        if (slot.eof_in || slot.closed_in) && !std::mem::replace(&mut slot.eof_told, true) {
            return Poll::Ready(Ok(Found::Eof));
        }
        if slot.closed_in {
            return Poll::Ready(Ok(Found::Closed));
        }
        if let Some(error) = dead {
            return Poll::Ready(Err(error));
        }
        keep(&mut slot.reader, cx);
        Poll::Pending
    }

    /// Requests and the end alone, for a reader that has no room for data: credit stays where it is.
    pub(crate) fn poll_urgent(&mut self, id: u32, cx: &Context<'_>) -> Poll<Result<Found, Error>> {
        if let Some(request) = self.next_asked(id) {
            return Poll::Ready(Ok(request));
        }
        let dead = self.dead.clone();
        let Some(slot) = self.slot(id) else { return Poll::Ready(Ok(Found::Closed)) };
        if slot.closed_in {
            return Poll::Ready(Ok(Found::Closed));
        }
        if let Some(error) = dead {
            return Poll::Ready(Err(error));
        }
        keep(&mut slot.reader, cx);
        Poll::Pending
    }

    pub(crate) fn poll_write(
        &mut self,
        id: u32,
        extended: Option<u32>,
        bytes: &[u8],
        cx: &Context<'_>,
    ) -> Poll<Result<usize, Error>> {
        self.alive()?;
        let slot = self.slot(id).ok_or(Error::Closed)?;
        if slot.closing || slot.eof_out || slot.closed_in {
            return Poll::Ready(Err(Error::Closed));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match self.accept_data(id, extended, bytes) {
            0 => {
                if let Some(slot) = self.slot(id) {
                    keep(&mut slot.writer, cx);
                }
                Poll::Pending
            }
            taken => Poll::Ready(Ok(taken)),
        }
    }

    /// Waits until everything written was handed to the stream's buffer, or can no longer be.
    pub(crate) fn poll_flushed(&mut self, id: u32, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        self.alive()?;
        let Some(slot) = self.slot(id) else { return Poll::Ready(Ok(())) };
        if slot.outbox.is_empty() || slot.closed_in {
            return Poll::Ready(Ok(()));
        }
        keep(&mut slot.writer, cx);
        Poll::Pending
    }

    /// Queues something behind the data.
    pub(crate) fn behind(&mut self, id: u32, item: Out) {
        let Some(slot) = self.slot(id) else { return };
        if slot.closing {
            return;
        }
        match item {
            Out::Eof if std::mem::replace(&mut slot.eof_out, true) => return,
            Out::Close => slot.closing = true,
            Out::Data(_) | Out::Message(_) | Out::Eof => {}
        }
        slot.outbox.push_back(item);
        self.enqueue(id);
    }

    /// A request behind the data: the end of the process.
    pub(crate) fn request_behind(&mut self, id: u32, kind: RequestKind) {
        let Some(channel) = self.slot(id).map(|slot| slot.peer) else { return };
        let mut message = Vec::new();
        ChannelRequest { channel, wants_reply: false, kind }.encode(&mut message);
        self.behind(id, Out::Message(message));
    }

    /// A request before the data. With `reply`, the answer comes through the receiver.
    pub(crate) fn request(
        &mut self,
        id: u32,
        kind: RequestKind,
        reply: Option<oneshot::Sender<bool>>,
    ) -> Result<(), Error> {
        self.alive()?;
        let slot = self.slot(id).ok_or(Error::Closed)?;
        if slot.phase != Phase::Open || slot.closing || slot.closed_in {
            return Err(Error::Closed);
        }
        let channel = slot.peer;
        self.ask(|out| ChannelRequest { channel, wants_reply: reply.is_some(), kind }.encode(out))?;
        if let (Some(slot), Some(tell)) = (self.slot(id), reply) {
            slot.replies.push_back(tell);
        }
        Ok(())
    }

    /// Answers a request of the peer. Answers leave in the order the requests came.
    pub(crate) fn answer_request(&mut self, id: u32, request: u64, yes: bool) {
        let Some(slot) = self.slot(id) else { return };
        if let Some((_, answer)) = slot.answers.iter_mut().find(|(found, _)| *found == request) {
            *answer = Some(yes);
        }
        while let Some(slot) = self.slot(id)
            && let Some((_, Some(yes))) = slot.answers.front().copied()
        {
            slot.answers.pop_front();
            let (silent, channel) = (slot.closed_out, slot.peer);
            let number = if yes { number::CHANNEL_SUCCESS } else { number::CHANNEL_FAILURE };
            if !silent {
                self.control(|out| Bare { number, channel }.encode(out));
            }
        }
    }

    /// Nobody holds the channel any more: what was written still leaves, then it is closed.
    pub(crate) fn drop_channel(&mut self, id: u32) {
        let Some(slot) = self.slot(id) else { return };
        slot.dropped = true;
        slot.asked.clear();
        let asked = std::mem::take(&mut slot.asked_bytes);
        slot.exit.clear();
        slot.inbox.clear();
        slot.replies.clear();
        slot.reader = None;
        slot.writer = None;
        let unread = u32::try_from(std::mem::take(&mut slot.in_bytes)).unwrap_or(u32::MAX);
        self.waiting = self.waiting.saturating_sub(asked);
        self.consumed(id, unread);
        self.behind(id, Out::Close);
        self.settle(id);
    }
}

fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(old) if old.will_wake(cx.waker()) => {}
        _ => *place = Some(cx.waker().clone()),
    }
}
