//! Output that came and has not been acknowledged: bounded, addressed by offset, sent again after a reconnect.

use bytes::{Buf, BytesMut};
use serde_json::Value;

use super::WINDOW;

/// The most put into one frame.
const CHUNK: usize = 32 * 1024;

/// Output of a terminal from the last acknowledged byte on, and how it ended.
#[derive(Default)]
pub(crate) struct Buffer {
    base: u64,
    bytes: BytesMut,
    ended: Option<Value>,
}

impl Buffer {
    /// Empty, where what comes first stands at `base`.
    pub(crate) fn starting_at(base: u64) -> Self {
        Self { base, ..Self::default() }
    }

    /// The offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// There is room for more: the channel may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes.len() < WINDOW
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Lets go of what was drawn. Says whether that made room.
    pub(crate) fn acknowledge(&mut self, offset: u64) -> bool {
        let was_full = !self.has_room();
        let drawn = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let drawn = drawn.min(self.bytes.len());
        self.bytes.advance(drawn);
        self.base += drawn as u64;
        was_full && self.has_room()
    }

    /// What comes at `from` or, where that is already gone, at the first byte that is not: its offset and the bytes.
    pub(crate) fn after(&self, from: u64) -> Option<(u64, &[u8])> {
        let from = from.max(self.base);
        let start = usize::try_from(from - self.base).ok()?;
        let rest = self.bytes.get(start..)?;
        let chunk = rest.get(..rest.len().min(CHUNK))?;
        (!chunk.is_empty()).then_some((from, chunk))
    }

    /// Notes how it ended; the first word counts.
    pub(crate) fn finish(&mut self, how: Value) {
        self.ended.get_or_insert(how);
    }

    pub(crate) fn ended(&self) -> Option<&Value> {
        self.ended.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unacknowledged_output_is_sent_again_and_no_byte_twice() {
        let mut buffer = Buffer::default();
        buffer.push(b"hello world");

        assert_eq!(buffer.after(0), Some((0, &b"hello world"[..])));
        buffer.acknowledge(6);
        assert_eq!(buffer.after(0), Some((6, &b"world"[..])), "what was drawn is gone");
        assert_eq!(buffer.after(8), Some((8, &b"rld"[..])));
        assert_eq!(buffer.after(11), None);
        assert_eq!(buffer.after(99), None);
        buffer.acknowledge(99);
        assert_eq!((buffer.end(), buffer.after(0)), (11, None));
    }

    #[test]
    fn a_full_window_has_no_room_until_enough_is_drawn() {
        let mut buffer = Buffer::default();
        buffer.push(&vec![b'y'; WINDOW]);

        assert!(!buffer.has_room());
        assert!(buffer.acknowledge(1));
        assert!(buffer.has_room());
        assert_eq!(buffer.after(1).unwrap().1.len(), CHUNK);
    }
}
