//! The ring between a pump and the recorder: encoded frames, bounded, empty while idle.
//!
//! Full means: a strict session's pump waits, a best-effort session's frames are counted and a gap is written where
//! they are missing. Never silence.

use std::time::Duration;

use audit::recording::{Frame, GapReason};

/// Takes frames while it holds fewer bytes than this; one frame may reach over.
pub const CAPACITY: usize = 256 * 1024;

/// Frames waiting for the recorder.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    bytes: Vec<u8>,
    lost_frames: u64,
    lost_bytes: u64,
}

impl Ring {
    /// True when no frame is taken now.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= CAPACITY
    }

    /// Bytes waiting.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes a frame; what was lost before it is written down first.
    pub(crate) fn push(&mut self, at: Duration, frame: &Frame<'_>) {
        self.note_gap(at);
        frame.encode(at, &mut self.bytes);
    }

    /// Counts a frame that found no room.
    pub(crate) fn lose(&mut self, frame: &Frame<'_>) {
        self.lost_frames = self.lost_frames.saturating_add(1);
        self.lost_bytes = self.lost_bytes.saturating_add(frame.weight() as u64);
    }

    /// Takes everything out and gives the memory away.
    pub(crate) fn drain(&mut self, at: Duration) -> Vec<u8> {
        self.note_gap(at);
        std::mem::take(&mut self.bytes)
    }

    fn note_gap(&mut self, at: Duration) {
        if self.lost_frames > 0 {
            let gap =
                Frame::Gap { reason: GapReason::Overrun, frames: self.lost_frames, bytes: self.lost_bytes };
            (self.lost_frames, self.lost_bytes) = (0, 0);
            gap.encode(at, &mut self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use audit::recording::frame::Frames;

    use super::*;

    #[test]
    fn what_is_lost_is_written_down_where_it_is_missing() {
        let mut ring = Ring::default();
        ring.push(Duration::ZERO, &Frame::Output(b"a"));
        ring.lose(&Frame::Output(b"bcd"));
        ring.lose(&Frame::Output(b"ef"));
        ring.push(Duration::from_secs(1), &Frame::Output(b"g"));

        let bytes = ring.drain(Duration::from_secs(1));
        let frames: Vec<_> = Frames::new(&bytes).map(|f| f.unwrap().frame).collect();

        let gap = Frame::Gap { reason: GapReason::Overrun, frames: 2, bytes: 5 };
        assert_eq!(frames, [Frame::Output(b"a"), gap, Frame::Output(b"g")]);
        assert_eq!((ring.len(), ring.bytes.capacity()), (0, 0));
    }
}
