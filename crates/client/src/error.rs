//! What can go wrong between us and the authority, grouped by whose fault it is.

use model::api::Fault;

use crate::connect::ConnectError;

/// Why a call gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The authority cannot be reached now: try again later.
    #[error("the authority cannot be reached")]
    Unreachable(#[source] ConnectError),
    /// The connection broke while we waited: try again; the call may have been carried out.
    #[error("the connection to the authority broke: {0}")]
    Broken(String),
    /// No answer in time: try again; the call may have been carried out.
    #[error("the authority did not answer within {0:?}")]
    Late(std::time::Duration),
    /// The authority said no, and why.
    #[error("{message}")]
    Refused {
        /// Whose fault.
        fault: Fault,
        /// What it said.
        message: String,
        /// Until when it will go on saying so, where it told.
        until: Option<model::Timestamp>,
    },
    /// The answer makes no sense to this build.
    #[error("the authority's answer makes no sense: {0}")]
    Malformed(String),
    /// The request cannot be written (a caller's mistake).
    #[error("the request cannot be written: {0}")]
    Request(String),
    /// Something on our own disk or with our own keys.
    #[error("{0}")]
    Local(String),
}

impl CallError {
    /// True when the same call may succeed later without anyone changing anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(ConnectError::Untrusted { .. }) => false,
            Self::Unreachable(ConnectError::Unreachable { .. } | ConnectError::Refused { .. })
            | Self::Broken(_)
            | Self::Late(_) => true,
            Self::Refused { fault, .. } => match fault {
                Fault::Unavailable | Fault::TooMany | Fault::Internal => true,
                Fault::BadRequest
                | Fault::Unauthenticated
                | Fault::NotFound
                | Fault::Conflict
                | Fault::TooLarge => false,
            },
            Self::Malformed(_) | Self::Request(_) | Self::Local(_) => false,
        }
    }

    /// The authority's word for what is wrong, if it gave one.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Refused { fault, .. } => Some(*fault),
            Self::Unreachable(_)
            | Self::Broken(_)
            | Self::Late(_)
            | Self::Malformed(_)
            | Self::Request(_)
            | Self::Local(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_what_nobody_has_to_change() {
        let refused = |fault| CallError::Refused { fault, message: String::new(), until: None };
        let to = || "auth".to_owned();
        for (error, passes) in [
            (CallError::Unreachable(ConnectError::Unreachable { to: to(), why: String::new() }), true),
            (CallError::Unreachable(ConnectError::Untrusted { to: to(), why: String::new() }), false),
            (CallError::Broken(String::new()), true),
            (CallError::Late(std::time::Duration::ZERO), true),
            (refused(Fault::Unavailable), true),
            (refused(Fault::TooMany), true),
            (refused(Fault::NotFound), false),
            (refused(Fault::BadRequest), false),
            (CallError::Malformed(String::new()), false),
        ] {
            assert_eq!(error.may_pass(), passes, "{error:?}");
        }
    }
}
