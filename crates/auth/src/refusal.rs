//! What a caller is told when the answer is no.
//!
//! Forbidden and unknown are one answer: [`Refusal::not_found`]. Reasons behind an internal failure go to the log
//! with a name to find them by, never to the caller.

use std::fmt::Display;

use model::Timestamp;
use model::api::{ErrorBody, Fault};

use crate::error::Error;

/// An answer, or why there is none.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) fault: Fault,
    pub(crate) message: String,
    pub(crate) until: Option<Timestamp>,
}

/// The one text for what does not exist and what is not for the caller.
pub(crate) const NOT_FOUND: &str = "not found, or not permitted";

impl Refusal {
    fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), until: None }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(Fault::NotFound, NOT_FOUND)
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(Fault::BadRequest, message)
    }

    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(Fault::Unauthenticated, message)
    }

    /// The same until a moment.
    pub(crate) fn until(self, at: Timestamp) -> Self {
        Self { until: Some(at), ..self }
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(Fault::Conflict, message)
    }

    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        Self::new(Fault::TooMany, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(Fault::TooLarge, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Fault::Unavailable, message)
    }

    pub(crate) fn internal(reason: impl Display) -> Self {
        tracing::error!(%reason, "a request failed on our side");
        Self::new(Fault::Internal, "the authority failed; its log says why")
    }

    pub(crate) fn body(&self) -> ErrorBody {
        ErrorBody { fault: self.fault, message: self.message.clone(), until: self.until }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

impl From<store::StoreError> for Refusal {
    fn from(error: store::StoreError) -> Self {
        match error {
            store::StoreError::Conflict(_) => {
                Self::conflict("it changed at the same time: read it again and retry")
            }
            store::StoreError::Bounds(why) => Self::bad(why),
            store::StoreError::Closed => Self::unavailable("the authority is shutting down"),
            store::StoreError::Compacted(_) | store::StoreError::Backend(_) => Self::internal(error),
        }
    }
}

impl From<store::BlobError> for Refusal {
    fn from(error: store::BlobError) -> Self {
        match error {
            store::BlobError::Exists(_) => {
                Self::conflict("other bytes were kept under that number before: segments are written once")
            }
            store::BlobError::Missing(_) => Self::not_found(),
            store::BlobError::Name(_) | store::BlobError::Backend { .. } => Self::internal(error),
        }
    }
}
