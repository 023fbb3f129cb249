//! The audit log's hash chain: each link names the one before it, checkpoints are signed.
//!
//! A link's hash is SHA-256 over `"moongate audit link v1\n"`, the previous hash, the index (8 bytes, big-endian)
//! and the event's text. Changing, dropping or swapping a link breaks every link after it; cutting the end off is
//! found against the latest checkpoint. See docs/formats/audit-log.md. Where links are kept is `store`'s business.

use std::collections::BTreeMap;

use model::Timestamp;
use model::api::audit::{AuditEvent, ChainedEvent, Checkpoint};

use crate::key::{Hash, PublicKey, Sign, sign_base64};
use crate::{Error, Reason};

const LINK: &[u8] = b"moongate audit link v1\n";

/// The text of an event as it is hashed and kept: JSON without spaces, top-level keys sorted.
#[must_use]
pub fn canonical(event: &AuditEvent) -> String {
    let sorted: BTreeMap<_, _> = event.0.iter().collect();
    serde_json::to_string(&sorted).unwrap_or_default()
}

/// The hash of one link.
#[must_use]
pub fn link_hash(prev: &Hash, index: u64, event: &str) -> Hash {
    Hash::of(&[LINK, &prev.0, &index.to_be_bytes(), event.as_bytes()])
}

/// What a checkpoint's signature is over.
#[must_use]
pub fn checkpoint_text(index: u64, hash: &str, time: Timestamp) -> String {
    format!("moongate audit checkpoint v1\nindex {index}\nhash {hash}\ntime {time}\n")
}

/// The growing end of the chain. One owner appends; it is as large as two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    next: u64,
    head: Hash,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// A chain without links.
    #[must_use]
    pub fn new() -> Self {
        Self { next: 0, head: Hash::ZERO }
    }

    /// Goes on after the link `last` with hash `head`.
    #[must_use]
    pub fn resume(last: u64, head: Hash) -> Self {
        Self { next: last.saturating_add(1), head }
    }

    /// Index of the next link.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Hash of the last link; [`Hash::ZERO`] when there is none.
    #[must_use]
    pub fn head(&self) -> Hash {
        self.head
    }

    /// Makes the next link. The caller writes it down before it answers anyone.
    pub fn append(&mut self, event: &AuditEvent) -> ChainedEvent {
        let text = canonical(event);
        let hash = link_hash(&self.head, self.next, &text);
        let link = ChainedEvent {
            index: self.next,
            prev: self.head.to_string(),
            hash: hash.to_string(),
            event: text,
        };
        self.next = self.next.saturating_add(1);
        self.head = hash;
        link
    }

    /// Signs how far the chain has come; `None` while it is empty.
    ///
    /// # Errors
    /// The key did not sign.
    pub fn checkpoint(&self, time: Timestamp, sign: &dyn Sign) -> Result<Option<Checkpoint>, Error> {
        let Some(index) = self.next.checked_sub(1) else { return Ok(None) };
        let hash = self.head.to_string();
        let signature = sign_base64(sign, checkpoint_text(index, &hash, time).as_bytes())?;
        Ok(Some(Checkpoint { index, hash, time, signature }))
    }
}

/// Follows a chain from its start, piece by piece, and stops at the first link that does not hold.
#[derive(Clone, Debug)]
pub struct Verifier {
    chain: Chain,
    key: PublicKey,
    pending: BTreeMap<u64, Checkpoint>,
    latest: Option<u64>,
}

impl Verifier {
    /// Checks checkpoints against the cluster's audit key.
    #[must_use]
    pub fn new(key: PublicKey) -> Self {
        Self { chain: Chain::new(), key, pending: BTreeMap::new(), latest: None }
    }

    /// Goes on after a link that was verified before.
    #[must_use]
    pub fn resume(key: PublicKey, last: u64, head: Hash) -> Self {
        Self { chain: Chain::resume(last, head), key, pending: BTreeMap::new(), latest: None }
    }

    /// Takes a checkpoint: before the link it is about, or right after it. Later there is nothing left to compare it
    /// with, and one that was not compared proves nothing.
    ///
    /// # Errors
    /// It is not signed by the audit key, is about the last link with another hash, or about one passed before.
    pub fn checkpoint(&mut self, point: &Checkpoint) -> Result<(), Error> {
        let text = checkpoint_text(point.index, &point.hash, point.time);
        if !self.key.verify_base64(text.as_bytes(), &point.signature) {
            return Err(Error::broken(point.index, Reason::Signature("checkpoint signature")));
        }
        if point.index.saturating_add(1) < self.chain.next {
            return Err(Error::broken(point.index, Reason::Late));
        }
        if Some(point.index) == self.chain.next.checked_sub(1) && point.hash != self.chain.head.to_string() {
            return Err(Error::broken(point.index, Reason::Hash));
        }
        self.latest = self.latest.max(Some(point.index));
        if point.index >= self.chain.next {
            let known = self.pending.insert(point.index, point.clone());
            if known.is_some_and(|known| known.hash != point.hash) {
                return Err(Error::broken(point.index, Reason::Hash));
            }
        }
        Ok(())
    }

    /// Takes the next link.
    ///
    /// # Errors
    /// Names the link when it is not the next, does not follow, or differs from a checkpoint.
    pub fn link(&mut self, link: &ChainedEvent) -> Result<(), Error> {
        let expected = self.chain.next;
        if link.index != expected {
            return Err(Error::broken(expected, Reason::Order { expected, found: link.index }));
        }
        if link.prev != self.chain.head.to_string() {
            return Err(Error::broken(expected, Reason::Link));
        }
        let hash = link_hash(&self.chain.head, expected, &link.event);
        if link.hash != hash.to_string() {
            return Err(Error::broken(expected, Reason::Hash));
        }
        if self.pending.remove(&expected).is_some_and(|point| point.hash != link.hash) {
            return Err(Error::broken(expected, Reason::Signature("checkpoint")));
        }
        self.chain = Chain::resume(expected, hash);
        Ok(())
    }

    /// Says how far the chain holds: `links` verified, of which the first `signed` are covered by a checkpoint.
    ///
    /// # Errors
    /// Links that a checkpoint covers are missing: the first of them is named.
    pub fn finish(&self) -> Result<Verified, Error> {
        if !self.pending.is_empty() {
            return Err(Error::broken(self.chain.next, Reason::Missing("a signed checkpoint covers it")));
        }
        let signed = self.latest.map_or(0, |index| index.saturating_add(1));
        Ok(Verified { links: self.chain.next, signed, head: self.chain.head })
    }
}

/// How far a chain was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Links that follow from each other.
    pub links: u64,
    /// How many of them the latest checkpoint covers.
    pub signed: u64,
    /// The last link's hash.
    pub head: Hash,
}

/// Verifies a whole chain at once.
///
/// # Errors
/// Names the first index at fault.
pub fn verify(links: &[ChainedEvent], points: &[Checkpoint], key: PublicKey) -> Result<Verified, Error> {
    let mut verifier = Verifier::new(key);
    for point in points {
        verifier.checkpoint(point)?;
    }
    for link in links {
        verifier.link(link)?;
    }
    verifier.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::key::pair_from_seed;

    fn event(n: usize) -> AuditEvent {
        match json!({"event": "user.login", "code": "T1000I", "n": n, "evil": "\u{1b}[2J\n"}) {
            Value::Object(map) => AuditEvent(map),
            _ => panic!(),
        }
    }

    /// `count` links with a checkpoint after every third and after the last.
    fn chain(count: usize) -> (Vec<ChainedEvent>, Vec<Checkpoint>, PublicKey) {
        let pair = pair_from_seed(&[7; 32]).unwrap();
        let mut chain = Chain::new();
        let (mut links, mut points) = (Vec::new(), Vec::new());
        for n in 0..count {
            links.push(chain.append(&event(n)));
            if n % 3 == 2 || n + 1 == count {
                let time = Timestamp::from_secs(i64::try_from(n).unwrap());
                points.extend(chain.checkpoint(time, &pair).unwrap());
            }
        }
        (links, points, pair.public())
    }

    fn broken_at(links: &[ChainedEvent], points: &[Checkpoint], key: PublicKey) -> u64 {
        match verify(links, points, key) {
            Err(Error::Broken { index, .. }) => index,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_whole_chain_holds_and_resumes() {
        let (links, points, key) = chain(10);
        let whole = verify(&links, &points, key).unwrap();
        assert_eq!((whole.links, whole.signed), (10, 10));

        let mut tail = Verifier::resume(key, 4, links[4].hash.parse().unwrap());
        for link in &links[5..] {
            tail.link(link).unwrap();
        }
        assert_eq!(tail.finish().unwrap().head, whole.head);
    }

    #[test]
    fn events_are_kept_without_control_characters() {
        let text = canonical(&event(0));

        assert!(text.chars().all(|c| !c.is_control()), "{text}");
        assert!(text.starts_with(r#"{"code":"T1000I","event":"user.login""#), "{text}");
    }

    #[test]
    fn a_checkpoint_of_another_key_is_refused() {
        let (links, points, _) = chain(4);
        let other = pair_from_seed(&[8; 32]).unwrap().public();

        assert_eq!(broken_at(&links, &points, other), 2);
    }

    #[test]
    fn a_chain_rewritten_from_some_link_on_differs_from_its_checkpoints() {
        let (links, points, key) = chain(9);
        let mut forged = Chain::resume(3, links[3].hash.parse().unwrap());
        let mut rewritten = links[..4].to_vec();
        rewritten.extend((14..19).map(|n| forged.append(&event(n))));

        assert_eq!(broken_at(&rewritten, &points, key), 5);
    }

    #[test]
    fn a_checkpoint_that_comes_too_late_to_be_compared_proves_nothing() {
        let (links, points, key) = chain(9);
        let mut forged = Chain::resume(3, links[3].hash.parse().unwrap());
        let mut rewritten = links[..4].to_vec();
        rewritten.extend((14..20).map(|n| forged.append(&event(n))));
        let mut verifier = Verifier::new(key);
        for link in &rewritten {
            verifier.link(link).unwrap();
        }

        assert!(points[..2].iter().any(|point| verifier.checkpoint(point).is_err()));
    }

    proptest! {
        #[test]
        fn the_first_bad_link_is_named(at in 0usize..12, how in 0u8..5) {
            let (mut links, points, key) = chain(12);
            match how {
                0 => links[at].event.push(' '),
                1 => { links.remove(at); }
                2 => links.swap(at, (at + 1) % 12),
                3 => links.truncate(at),
                _ => { let again = links[at].clone(); links.insert(at, again); }
            }
            let expected = match how {
                2 if at == 11 => 0,
                4 => at + 1,
                _ => at,
            };
            // A doubled last link is one link too many: named as such.
            prop_assert_eq!(broken_at(&links, &points, key), expected as u64);
        }
    }
}
