//! What went wrong with a file, for the page: whose fault, a word by which it chooses its own words, and ours.

use model::api::Fault;
use ssh::sftp::Error;

use crate::answer::{self, Answer};
use crate::reach::NoReach;

/// Why something about files failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) fault: Fault,
    pub(crate) code: &'static str,
    pub(crate) words: String,
}

impl Trouble {
    pub(crate) fn new(fault: Fault, code: &'static str, words: impl Into<String>) -> Self {
        Self { fault, code, words: words.into() }
    }

    /// What was asked for makes no sense.
    pub(crate) fn bad(words: &'static str) -> Self {
        Self::new(Fault::BadRequest, "request", words)
    }

    /// There is no such transfer, or no longer.
    pub(crate) fn gone() -> Self {
        Self::new(Fault::NotFound, "gone", "this transfer is over")
    }

    /// The far side took too long.
    pub(crate) fn late() -> Self {
        Self::new(Fault::Unavailable, "late", "the node did not answer in time")
    }

    pub(crate) fn into_answer(self) -> Answer {
        answer::coded(self.fault, self.code, &self.words)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let words = error.to_string();
        let is_full = |words: &str| {
            let words = words.to_ascii_lowercase();
            words.contains("no space") || words.contains("quota")
        };
        match error {
            Error::NotFound => Self::new(Fault::NotFound, "missing", words),
            Error::Denied => Self::new(Fault::BadRequest, "denied", words),
            Error::Refused(said) if is_full(&said) => Self::new(Fault::BadRequest, "full", said),
            Error::Refused(said) if said.to_ascii_lowercase().contains("exists") => {
                Self::new(Fault::Conflict, "exists", said)
            }
            Error::Refused(said) => Self::new(Fault::BadRequest, "refused", said),
            Error::Unsupported => Self::new(Fault::BadRequest, "refused", words),
            Error::Confused | Error::Malformed(_) | Error::Broken(_) => {
                tracing::debug!(%error, "a conversation about files broke");
                Self::new(Fault::Unavailable, "lost", "the connection to the node broke")
            }
        }
    }
}

impl From<NoReach> for Trouble {
    fn from(error: NoReach) -> Self {
        let words = error.to_string();
        match error {
            NoReach::Node(_) => Self::new(Fault::Unavailable, "node", words),
            NoReach::Login(_) => Self::new(Fault::NotFound, "login", words),
        }
    }
}
