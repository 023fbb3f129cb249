//! A queue of bytes in chunks: dense for tiny writes, no copy-down for large ones, nothing kept when empty.
//!
//! The bound is the caller's: credit on the receiving side, the queue limit on the sending one.

use std::collections::VecDeque;

const LEAST: usize = 512;
const MOST: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Buffer {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk already taken.
    taken: usize,
    length: usize,
}

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            let room = self.chunks.back().map_or(0, |tail| tail.capacity() - tail.len());
            if room == 0 {
                self.chunks.push_back(Vec::with_capacity(bytes.len().clamp(LEAST, MOST)));
                continue;
            }
            let Some(tail) = self.chunks.back_mut() else { return };
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            tail.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Moves up to `most` bytes to `sink`, in order, a slice at a time; says how many.
    pub(crate) fn take(&mut self, most: usize, mut sink: impl FnMut(&[u8])) -> usize {
        let mut left = most.min(self.length);
        let total = left;
        while left > 0 {
            let Some(front) = self.chunks.front() else { break };
            let rest = front.get(self.taken..).unwrap_or_default();
            let part = rest.get(..left).unwrap_or(rest);
            sink(part);
            left -= part.len();
            self.taken += part.len();
            if self.taken == front.len() {
                self.chunks.pop_front();
                self.taken = 0;
            }
        }
        self.length -= total;
        total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(writes in proptest::collection::vec((0..40_000usize, 0..40_000usize), 0..12)) {
            let (mut buffer, mut model, mut next) = (Buffer::default(), VecDeque::new(), 0u8);
            for (put, get) in writes {
                let bytes: Vec<u8> = (0..put).map(|_| { next = next.wrapping_add(1); next }).collect();
                buffer.push(&bytes);
                model.extend(bytes);
                let mut out = Vec::new();
                let count = buffer.take(get, |part| out.extend_from_slice(part));
                prop_assert_eq!(count, out.len());
                let expected: Vec<u8> = model.drain(..get.min(model.len())).collect();
                prop_assert_eq!(out, expected);
                prop_assert_eq!(buffer.len(), model.len());
            }
        }
    }

    #[test]
    fn tiny_writes_are_kept_dense_and_an_empty_buffer_keeps_nothing() {
        let mut buffer = Buffer::default();
        for _ in 0..10_000 {
            buffer.push(b"x");
        }
        assert!(buffer.chunks.iter().map(Vec::capacity).sum::<usize>() < 2 * 10_000);

        buffer.take(10_000, |_| {});
        assert!(buffer.chunks.is_empty() && buffer.is_empty());
    }
}
