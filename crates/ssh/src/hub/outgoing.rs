//! What goes to the peer: control messages first, then one packet of each channel in turn.

use wire::ssh::connection::{Bare, Data};
use wire::ssh::{number, put_string};

use super::{Chunk, Hub, MAX_DATA, Out, buffer};

/// What one call of [`Hub::produce`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Produced {
    /// One message.
    Message,
    /// One message, and there is no other.
    Last,
    /// There is nothing to send.
    Nothing,
}

impl Hub {
    /// Appends the payload of one message to `out`.
    pub(crate) fn produce(&mut self, out: &mut Vec<u8>) -> Produced {
        if let Some(message) = self.control.pop_front() {
            self.control_bytes -= message.len();
            out.extend_from_slice(&message);
            return self.produced();
        }
        while let Some(id) = self.ready.pop_front() {
            if self.take_turn(id, out) {
                return self.produced();
            }
        }
        Produced::Nothing
    }

    fn produced(&self) -> Produced {
        if self.has_message() { Produced::Message } else { Produced::Last }
    }

    /// One packet of channel `id`, which goes to the end of the round if it has more.
    fn take_turn(&mut self, id: u32, out: &mut Vec<u8>) -> bool {
        let half = self.limits.send_buffer / 2;
        let Some(slot) = self.slot(id) else { return false };
        slot.queued = false;
        if !slot.sendable() {
            return false;
        }
        let peer = slot.peer;
        let limit = slot.peer_window.min(slot.peer_max).clamp(1, MAX_DATA) as usize;
        match slot.outbox.pop_front() {
            Some(Out::Data(mut chunk)) => {
                let length = chunk.bytes.len().min(limit);
                let now = chunk.bytes.split_to(length);
                Data::head(out, peer, chunk.extended);
                put_string(out, &now);
                slot.peer_window = slot.peer_window.saturating_sub(u32::try_from(length).unwrap_or(u32::MAX));
                slot.out_bytes -= length;
                if !chunk.bytes.is_empty() {
                    slot.outbox.push_front(Out::Data(chunk));
                }
            }
            Some(Out::Message(message)) => out.extend_from_slice(&message),
            Some(Out::Eof) => Bare { number: number::CHANNEL_EOF, channel: peer }.encode(out),
            Some(Out::Close) => {
                slot.closed_out = true;
                Bare { number: number::CHANNEL_CLOSE, channel: peer }.encode(out);
                let (reader, writer) = (slot.reader.take(), slot.writer.take());
                self.wakes.extend(reader);
                self.wakes.extend(writer);
                self.settle(id);
                return true;
            }
            None => return false,
        }
        let writer = if slot.out_bytes <= half { slot.writer.take() } else { None };
        if slot.sendable() {
            slot.queued = true;
            self.ready.push_back(id);
        }
        self.wakes.extend(writer);
        true
    }

    /// Takes as much of `bytes` as the channel's buffer has room for; zero when it has none.
    pub(crate) fn accept_data(&mut self, id: u32, extended: Option<u32>, bytes: &[u8]) -> usize {
        let max = self.limits.send_buffer;
        let Some(slot) = self.slot(id) else { return 0 };
        let taken = bytes.len().min(max.saturating_sub(slot.out_bytes));
        let mut rest = bytes.get(..taken).unwrap_or_default();
        slot.out_bytes += taken;
        while !rest.is_empty() {
            let room = match slot.outbox.back_mut() {
                Some(Out::Data(chunk)) if chunk.extended == extended => {
                    let room = (chunk.bytes.capacity() - chunk.bytes.len()).min(rest.len());
                    let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
                    chunk.bytes.extend_from_slice(now);
                    rest = later;
                    room
                }
                _ => 0,
            };
            if room == 0 {
                let more = !slot.outbox.is_empty();
                let fresh = buffer(rest.len().min(MAX_DATA as usize), more);
                slot.outbox.push_back(Out::Data(Chunk { extended, bytes: fresh }));
            }
        }
        self.enqueue(id);
        taken
    }
}
