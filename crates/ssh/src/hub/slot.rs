//! One channel's state.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::BytesMut;
use tokio::sync::oneshot;
use wire::ssh::request::RequestKind;

use crate::Error;

/// Where a channel is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// We asked the peer for it.
    Asked,
    /// The peer asked us, and the application has not answered.
    Offered,
    /// Both sides have it.
    Open,
}

/// Received bytes of one kind.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) extended: Option<u32>,
    pub(crate) bytes: BytesMut,
}

/// Something to send, in order.
#[derive(Debug)]
pub(crate) enum Out {
    Data(Chunk),
    Message(Vec<u8>),
    Eof,
    Close,
}

/// A request that waits for the application.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) id: u64,
    pub(crate) wants_reply: bool,
    pub(crate) kind: RequestKind,
    pub(crate) cost: usize,
}

pub(crate) struct Slot {
    pub(crate) phase: Phase,
    pub(crate) opening: Option<oneshot::Sender<Result<(), Error>>>,
    pub(crate) dropped: bool,

    // what the peer takes
    pub(crate) peer: u32,
    pub(crate) peer_window: u32,
    pub(crate) peer_max: u32,
    pub(crate) outbox: VecDeque<Out>,
    pub(crate) out_bytes: usize,
    pub(crate) queued: bool,
    pub(crate) eof_out: bool,
    /// A close is in the outbox, or sent.
    pub(crate) closing: bool,
    pub(crate) closed_out: bool,
    pub(crate) writer: Option<Waker>,

    // what we take
    /// What the peer may have in flight and unread together.
    pub(crate) window: u32,
    /// What the peer may still send.
    pub(crate) credit: u32,
    /// What was consumed and not yet granted again.
    pub(crate) consumed: u32,
    /// The peer ran out of credit while the application kept up.
    pub(crate) starved: bool,
    pub(crate) inbox: VecDeque<Chunk>,
    pub(crate) in_bytes: usize,
    pub(crate) eof_in: bool,
    pub(crate) eof_told: bool,
    pub(crate) closed_in: bool,
    pub(crate) reader: Option<Waker>,

    // requests
    pub(crate) asked: VecDeque<Queued>,
    /// What those cost.
    pub(crate) asked_bytes: usize,
    pub(crate) exit: VecDeque<RequestKind>,
    pub(crate) answers: VecDeque<(u64, Option<bool>)>,
    pub(crate) next_request: u64,
    pub(crate) replies: VecDeque<oneshot::Sender<bool>>,
}

impl Slot {
    pub(crate) fn new(phase: Phase, window: u32, (peer, peer_window, peer_max): (u32, u32, u32)) -> Self {
        Self {
            phase,
            opening: None,
            dropped: false,
            peer,
            peer_window,
            peer_max,
            outbox: VecDeque::new(),
            out_bytes: 0,
            queued: false,
            eof_out: false,
            closing: false,
            closed_out: false,
            writer: None,
            window,
            credit: window,
            consumed: 0,
            starved: false,
            inbox: VecDeque::new(),
            in_bytes: 0,
            eof_in: false,
            eof_told: false,
            closed_in: false,
            reader: None,
            asked: VecDeque::new(),
            asked_bytes: 0,
            exit: VecDeque::new(),
            answers: VecDeque::new(),
            next_request: 0,
            replies: VecDeque::new(),
        }
    }

    /// The head of the outbox may go now.
    pub(crate) fn sendable(&self) -> bool {
        self.phase == Phase::Open
            && match self.outbox.front() {
                Some(Out::Data(_)) => self.peer_window > 0,
                Some(Out::Message(_) | Out::Eof | Out::Close) => true,
                None => false,
            }
    }
}
