//! What can be wrong with a record, and where in it.

/// What can be wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Bytes that are not what they claim to be.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// What they claim to be.
        what: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// A chain that does not hold; everything before `index` does.
    #[error("broken at index {index}: {reason}")]
    Broken {
        /// The first link or segment at fault.
        index: u64,
        /// What is wrong with it.
        reason: Reason,
    },
    /// The key did not sign.
    #[error("the key did not sign: {0}")]
    Unsigned(String),
    /// An event that breaks the rules of its kind.
    #[error("event `{event}` is refused: {why}")]
    Event {
        /// Its type, shortened.
        event: String,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    pub(crate) const fn malformed(what: &'static str, why: &'static str) -> Self {
        Error::Malformed { what, why }
    }

    pub(crate) const fn broken(index: u64, reason: Reason) -> Self {
        Error::Broken { index, reason }
    }
}

/// Why a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The bytes do not parse.
    #[error("{0} ({1})")]
    Malformed(&'static str, &'static str),
    /// Another number was expected here: something was dropped, doubled or swapped.
    #[error("carries number {found} where {expected} belongs")]
    Order {
        /// The number that belongs here.
        expected: u64,
        /// The number that is here.
        found: u64,
    },
    /// Belongs to another session.
    #[error("belongs to another session")]
    Session,
    /// Does not follow from the one before it.
    #[error("does not follow from the one before it")]
    Link,
    /// Its bytes do not have the hash that was written down.
    #[error("its bytes do not have the hash that was written down")]
    Hash,
    /// A seal or signature does not hold.
    #[error("its {0} does not hold")]
    Signature(&'static str),
    /// Sealed by another key than the rest.
    #[error("sealed by another key than expected")]
    Key,
    /// Missing, though signed for.
    #[error("missing: {0}")]
    Missing(&'static str),
    /// A checkpoint came after the links it is about: there is nothing to compare it with.
    #[error("its checkpoint came too late to be compared with it")]
    Late,
    /// What is said of it is not what it says itself.
    #[error("the description gives another {0} than the sealed recording")]
    Description(&'static str),
    /// More than was signed for.
    #[error("comes after the end")]
    AfterEnd,
    /// Times run backwards.
    #[error("times run backwards")]
    Time,
}
