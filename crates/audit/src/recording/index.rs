//! Where in a recording a moment is: built from segment headers, kept by whoever reads.
//!
//! Sixteen bytes a segment. Finding a block within a segment is [`super::Segment::each`]'s work.

use std::time::Duration;

use super::segment::Header;

/// First and last time of each segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index(Vec<(Duration, Duration)>);

impl Index {
    /// Takes the next segment's header.
    pub fn add(&mut self, header: &Header) {
        self.0.push((header.first, header.until));
    }

    /// How many segments it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The segment to start reading from to see everything not before `at`.
    #[must_use]
    pub fn find(&self, at: Duration) -> usize {
        self.0.partition_point(|(_, until)| *until < at)
    }

    /// How long the recording is, as far as it is known.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.0.last().map_or(Duration::ZERO, |(_, until)| *until)
    }
}
