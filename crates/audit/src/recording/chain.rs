//! Whether segments follow each other, and the statements the authority signs about them.
//!
//! The authority admits each upload through a [`Chain`] and answers with a receipt; a verifier walks the same chain
//! offline. Receipts and closings are signed by the cluster's audit key over the texts given here.

use std::time::Duration;

use model::SessionId;
use model::api::recordings::{RecordingState, SegmentReceipt};

use super::segment::Segment;
use crate::key::{Hash, PublicKey, Sign, sign_base64};
use crate::{Error, Reason};

/// How far a recording's chain has come: all that is needed to admit the next segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    session: SessionId,
    next: u64,
    prev: Hash,
    until: Duration,
    complete: bool,
}

impl Chain {
    /// A recording of which nothing has come.
    #[must_use]
    pub fn new(session: SessionId) -> Self {
        Self { session, next: 0, prev: Hash::ZERO, until: Duration::ZERO, complete: false }
    }

    /// Goes on after `count` segments, the last of which had `hash`.
    #[must_use]
    pub fn resume(session: SessionId, count: u64, hash: Hash, complete: bool) -> Self {
        Self { session, next: count, prev: hash, until: Duration::ZERO, complete }
    }

    /// The number of the next segment: also how many have been admitted.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Hash of the last segment admitted.
    #[must_use]
    pub fn head(&self) -> Hash {
        self.prev
    }

    /// The last segment has been admitted.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// Admits the next segment: session, number, link, times, seal by `key`. Gives its hash.
    ///
    /// # Errors
    /// Names the segment and what is wrong; the chain is unchanged.
    pub fn admit(&mut self, segment: &Segment<'_>, key: &PublicKey) -> Result<Hash, Error> {
        let n = self.next;
        let broken = |reason| Err(Error::broken(n, reason));
        let header = segment.header();
        if header.session != self.session {
            return broken(Reason::Session);
        }
        if header.n != n {
            return broken(Reason::Order { expected: n, found: header.n });
        }
        if self.complete {
            return broken(Reason::AfterEnd);
        }
        if header.prev != self.prev {
            return broken(Reason::Link);
        }
        if header.first < self.until {
            return broken(Reason::Time);
        }
        if header.seal_key != *key {
            return broken(Reason::Key);
        }
        if !segment.seal_holds(key) {
            return broken(Reason::Signature("seal"));
        }
        self.prev = segment.hash();
        self.next = n.saturating_add(1);
        self.until = header.until;
        self.complete = header.last;
        Ok(self.prev)
    }
}

fn receipt_text(id: &SessionId, n: u64, hash: &str) -> String {
    format!("moongate recording receipt v1\nsession {id}\nsegment {n}\nhash {hash}\n")
}

/// Signs that a segment was verified and is durable.
///
/// # Errors
/// The key did not sign.
pub fn receipt(id: &SessionId, n: u64, hash: &Hash, sign: &dyn Sign) -> Result<SegmentReceipt, Error> {
    let hash = hash.to_string();
    let signature = sign_base64(sign, receipt_text(id, n, &hash).as_bytes())?;
    Ok(SegmentReceipt { id: id.clone(), n, hash, signature })
}

/// True when `receipt` is the audit key's word about exactly this segment.
#[must_use]
pub fn receipt_holds(receipt: &SegmentReceipt, id: &SessionId, n: u64, hash: &Hash, key: &PublicKey) -> bool {
    receipt.id == *id
        && receipt.n == n
        && receipt.hash == hash.to_string()
        && key.verify_base64(receipt_text(id, n, &receipt.hash).as_bytes(), &receipt.signature)
}

/// The authority's statement of how a recording ended: how many segments, the last one's hash, and whether it is
/// whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The session.
    pub session: SessionId,
    /// How many segments.
    pub count: u64,
    /// Hash of the last; [`Hash::ZERO`] when there is none.
    pub hash: Hash,
    /// Whole, or given up.
    pub state: RecordingState,
}

impl Closing {
    /// What is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let state = match self.state {
            RecordingState::Live => "live",
            RecordingState::Complete => "complete",
            RecordingState::Abandoned => "abandoned",
        };
        format!(
            "moongate recording closing v1\nsession {}\nsegments {}\nhash {}\nstate {state}\n",
            self.session, self.count, self.hash
        )
    }

    /// Signs it; base64.
    ///
    /// # Errors
    /// The key did not sign.
    pub fn sign(&self, sign: &dyn Sign) -> Result<String, Error> {
        sign_base64(sign, self.text().as_bytes())
    }

    /// True when `signature` is the audit key's over this statement.
    #[must_use]
    pub fn holds(&self, signature: &str, key: &PublicKey) -> bool {
        key.verify_base64(self.text().as_bytes(), signature)
    }
}
