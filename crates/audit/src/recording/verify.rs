//! Verifies a recording offline: its bytes, the authority's statements about it, and the audit public key.
//!
//! Holds one segment in memory at a time. A live recording has no closing: what is there is proven, where it ends is
//! not, and the report says so.

use std::time::Duration;

use model::api::recordings::{RecordingDetail, RecordingState};
use model::resource::Notice;

use super::chain::{Chain, Closing, receipt_holds};
use super::frame::{Frame, TimedFrame};
use super::segment::Segment;
use crate::key::PublicKey;
use crate::{Error, Reason};

/// What was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How many segments hold.
    pub segments: u64,
    /// How many frames are in them.
    pub frames: u64,
    /// Whole, given up (and marked so), or still growing.
    pub state: RecordingState,
    /// Part of it was sealed by recovery after the service that recorded had stopped.
    pub interrupted: bool,
}

/// Walks a recording's segments in order.
#[derive(Clone, Debug)]
pub struct Verifier<'a> {
    detail: &'a RecordingDetail,
    chain: Chain,
    seal_key: PublicKey,
    audit_key: PublicKey,
    frames: u64,
    interrupted: bool,
    until: Duration,
    bytes: u64,
}

fn differing<const N: usize>(agrees: [(&'static str, bool); N]) -> Result<(), Error> {
    match agrees.into_iter().find(|(_, agrees)| !agrees) {
        Some((what, _)) => Err(Error::broken(0, Reason::Description(what))),
        None => Ok(()),
    }
}

/// Bytes that do not parse are segment `n`'s fault.
fn at_fault(n: u64, error: Error) -> Error {
    match error {
        Error::Malformed { what, why } => Error::broken(n, Reason::Malformed(what, why)),
        other @ (Error::Broken { .. } | Error::Unsigned(_) | Error::Event { .. }) => other,
    }
}

impl<'a> Verifier<'a> {
    /// Trusts `audit_key` and nothing in `detail` that it did not sign: what `detail.info` says of who, where, when and
    /// how much is compared with what was sealed. Only when an abandoned recording ended is the authority's word alone.
    ///
    /// # Errors
    /// The sealing key is not a key.
    pub fn new(detail: &'a RecordingDetail, audit_key: PublicKey) -> Result<Self, Error> {
        let seal_key = detail.seal_key.parse()?;
        let chain = Chain::new(detail.info.id.clone());
        Ok(Self {
            detail,
            chain,
            seal_key,
            audit_key,
            frames: 0,
            interrupted: false,
            until: Duration::ZERO,
            bytes: 0,
        })
    }

    /// Takes the next segment's bytes.
    ///
    /// # Errors
    /// Names the segment and what is wrong with it.
    pub fn segment(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let n = self.chain.next();
        let segment = Segment::parse(bytes).map_err(|error| at_fault(n, error))?;
        let hash = self.chain.admit(&segment, &self.seal_key)?;
        segment.check().map_err(|error| at_fault(n, error))?;
        let receipt = usize::try_from(n).ok().and_then(|n| self.detail.receipts.get(n));
        let receipt = receipt.ok_or(Error::broken(n, Reason::Missing("its receipt")))?;
        if !receipt_holds(receipt, &self.detail.info.id, n, &hash, &self.audit_key) {
            return Err(Error::broken(n, Reason::Signature("receipt")));
        }
        if n == 0 {
            self.described(&segment)?;
        }
        self.until = segment.header().until;
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.frames = self.frames.saturating_add(u64::from(segment.header().frames));
        self.interrupted |= segment.header().interrupted;
        Ok(())
    }

    /// Says of bytes that are no segment, where the next one belongs, that it is the one at fault.
    #[must_use]
    pub fn at_fault(&self, error: Error) -> Error {
        at_fault(self.chain.next(), error)
    }

    /// Compares the description with the recording's first frame.
    fn described(&self, segment: &Segment<'_>) -> Result<(), Error> {
        let info = &self.detail.info;
        let block = segment.unpack(0)?;
        let Some(Ok(TimedFrame { frame: Frame::Start(start), .. })) = block.frames().next() else {
            return Err(Error::broken(0, Reason::Missing("what the recording is of")));
        };
        let agrees = [
            ("user", info.user.as_str() == start.user),
            ("login", info.login.as_str() == start.login),
            ("node", info.node.as_str() == start.node),
            ("node name", info.node_name == start.node_name),
            ("kind", info.kind == start.kind),
            ("command", info.command == start.command),
            ("start", info.started == segment.header().started),
            ("notice", info.notice.map(Notice::as_str).unwrap_or_default() == start.notice),
        ];
        differing(agrees)
    }

    /// Says what was proven, once every segment went in.
    ///
    /// # Errors
    /// Segments are missing at the end, all of them are, or the closing does not hold.
    pub fn finish(self) -> Result<Report, Error> {
        let count = self.chain.next();
        // What a recording is of stands in its first segment: without it nothing of the description was sealed.
        if count == 0 {
            return Err(Error::broken(0, Reason::Missing("a recording has one segment at least")));
        }
        if self.detail.receipts.len() as u64 > count {
            return Err(Error::broken(count, Reason::Missing("there is a receipt for it")));
        }
        let closed = !self.detail.closing_signature.is_empty();
        let state = if closed { self.closed_state(count)? } else { RecordingState::Live };
        let info = &self.detail.info;
        let ended = (state == RecordingState::Complete).then(|| info.started + self.until);
        // What still grows may have grown while it was described.
        differing([
            ("state", info.state == state),
            ("number of segments", !closed || info.segments == count),
            ("size", !closed || info.bytes == self.bytes),
            ("end", ended.is_none() || info.ended == ended),
        ])?;
        if state == RecordingState::Complete && !self.chain.complete() {
            return Err(Error::broken(count, Reason::Missing("the last segment")));
        }
        Ok(Report { segments: count, frames: self.frames, state, interrupted: self.interrupted })
    }

    /// Which state the closing signature is for.
    fn closed_state(&self, count: u64) -> Result<RecordingState, Error> {
        let session = self.detail.info.id.clone();
        for state in [RecordingState::Complete, RecordingState::Abandoned] {
            let closing = Closing { session: session.clone(), count, hash: self.chain.head(), state };
            if closing.holds(&self.detail.closing_signature, &self.audit_key) {
                return Ok(state);
            }
        }
        Err(Error::broken(count, Reason::Signature("closing statement")))
    }
}

/// Verifies a recording whose segments come from `segments`, in order.
///
/// # Errors
/// Names the first segment at fault.
pub fn verify<B: AsRef<[u8]>>(
    detail: &RecordingDetail,
    segments: impl IntoIterator<Item = B>,
    audit_key: PublicKey,
) -> Result<Report, Error> {
    let mut verifier = Verifier::new(detail, audit_key)?;
    for bytes in segments {
        verifier.segment(bytes.as_ref())?;
    }
    verifier.finish()
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use model::api::recordings::{RecordingInfo, RecordingState};

    use super::{Closing, Reason, verify};
    use crate::recording::tests::{audit_key, broken_at, recording, statements};
    use crate::{Error, Hash, Sign as _};

    #[test]
    fn a_description_that_says_something_else_is_refused() {
        let segments = recording(3);
        let edits: [fn(&mut RecordingInfo); 6] = [
            |info| info.user = "eve".parse().unwrap(),
            |info| info.node_name = "web-2".into(),
            |info| info.command = "true".into(),
            |info| info.started = Timestamp::from_secs(2),
            |info| info.ended = None,
            |info| info.state = RecordingState::Abandoned,
        ];
        for edit in edits {
            let mut detail = statements(&segments, RecordingState::Complete);
            edit(&mut detail.info);
            assert_eq!(broken_at(&detail, &segments), Some(0));
        }
    }

    #[test]
    fn a_recording_without_a_segment_proves_nothing_whatever_is_signed() {
        for state in [RecordingState::Live, RecordingState::Complete, RecordingState::Abandoned] {
            for segments in [0, 7] {
                let mut detail = statements(&recording(1), state);
                let session = detail.info.id.clone();
                let closing = Closing { session, count: 0, hash: Hash::ZERO, state };
                detail.receipts.clear();
                (detail.info.segments, detail.info.bytes) = (segments, 0);
                if state != RecordingState::Live {
                    detail.closing_signature = closing.sign(&audit_key()).unwrap();
                }

                let none: [Vec<u8>; 0] = [];
                let outcome = verify(&detail, none, audit_key().public());

                let missing = Error::broken(0, Reason::Missing("a recording has one segment at least"));
                assert_eq!(outcome, Err(missing), "{state:?}, {segments} claimed");
            }
        }
    }
}
