//! Cuts a file-transfer conversation into packets without gathering the data of reads and writes.
//!
//! Holds at most one packet of [`MAX`] bytes, of those with data only what stands before it.

use wire::sftp::{MAX, MAX_HANDLE};

use crate::codec::Malformed;

/// The packets whose data streams through: WRITE from the client, DATA from the server.
pub(super) const WRITE: u8 = 6;
pub(super) const DATA: u8 = 103;

/// Cuts one direction into packets, letting the data of one kind of packet through without gathering it.
pub(super) struct Half {
    /// The kind whose data streams.
    data_kind: u8,
    /// The packet's bytes so far, its length field first.
    gathered: Vec<u8>,
    /// Data of the present packet still to come.
    streaming: usize,
}

pub(super) enum Piece<'a> {
    /// A whole packet without its length; of the streaming kind, what stands before the data, then no data.
    Packet(Vec<u8>),
    /// Some of the data.
    Data(&'a [u8]),
}

impl Half {
    pub(super) fn new(data_kind: u8) -> Self {
        Self { data_kind, gathered: Vec::new(), streaming: 0 }
    }

    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Malformed> {
        if self.streaming > 0 {
            let (data, rest) = bytes.split_at(self.streaming.min(bytes.len()));
            *bytes = rest;
            self.streaming -= data.len();
            return Ok((!data.is_empty()).then_some(Piece::Data(data)));
        }
        loop {
            let want = self.wanted()?;
            if self.gathered.len() >= want.head {
                self.streaming = want.data;
                let packet = self.gathered.get(4..).unwrap_or_default().to_vec();
                // A long packet's buffer is not kept for the next.
                self.gathered = Vec::new();
                return Ok(Some(Piece::Packet(packet)));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            let (more, rest) = bytes.split_at((want.head - self.gathered.len()).min(bytes.len()));
            self.gathered.extend_from_slice(more);
            *bytes = rest;
        }
    }

    /// How much to gather, as far as what was gathered tells, and how much data follows that.
    fn wanted(&mut self) -> Result<Wanted, Malformed> {
        let Some((field, body)) = self.gathered.split_first_chunk::<4>() else { return Ok(Wanted::head(4)) };
        let len = u32::from_be_bytes(*field) as usize;
        if len == 0 || len > MAX {
            return Err(Malformed("packet length"));
        }
        let whole = Wanted::head(4 + len);
        let Some((kind, rest)) = body.split_first() else { return Ok(Wanted::head(5)) };
        if *kind != self.data_kind {
            return Ok(whole);
        }
        // DATA: id, data. WRITE: id, handle, offset, data. The data's length field is part of the head.
        let before = if *kind == DATA {
            4
        } else {
            let Some(field) = rest.get(4..8).and_then(|f| f.first_chunk::<4>()) else {
                return Ok(Wanted::head((4 + 1 + 8).min(4 + len)));
            };
            let handle = u32::from_be_bytes(*field) as usize;
            if handle > MAX_HANDLE {
                return Ok(whole);
            }
            4 + 4 + handle + 8
        };
        let head = 4 + 1 + before + 4;
        if head > 4 + len {
            return Ok(whole);
        }
        let Some(field) = self.gathered.get(head - 4..head).and_then(|f| f.first_chunk::<4>()) else {
            return Ok(Wanted::head(head));
        };
        let data = u32::from_be_bytes(*field) as usize;
        if head + data != 4 + len {
            return Err(Malformed("data length"));
        }
        // What is handed on must decode by itself: a head whose data is empty.
        if let Some(field) = self.gathered.get_mut(head - 4..head) {
            field.fill(0);
        }
        Ok(Wanted { head, data })
    }
}

struct Wanted {
    head: usize,
    data: usize,
}

impl Wanted {
    fn head(head: usize) -> Self {
        Self { head, data: 0 }
    }
}
