//! One stream of a command going by: counted and hashed whole, its first megabyte recorded.
//!
//! Constant memory whatever the stream's length; after the first megabyte a pass is one hash update.

use audit::recording::capture::Capture;
use audit::recording::frame::split;
use audit::recording::{Frame, Stream, Total};

use crate::Error;
use crate::tap::Tap;

/// Captures one stream. The pump that copies the stream owns it.
#[derive(Debug)]
pub struct StreamTap {
    tap: Tap,
    stream: Stream,
    capture: Capture,
}

impl Tap {
    /// Captures one stream of a command: counted and hashed whole, its first megabyte recorded.
    #[must_use]
    pub fn stream(&self, stream: Stream) -> StreamTap {
        StreamTap { tap: self.clone(), stream, capture: Capture::new(stream) }
    }
}

impl StreamTap {
    /// Takes bytes going by.
    ///
    /// # Errors
    /// The session has been ended.
    pub async fn pass(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let len = bytes.len() as u64;
        match self.stream {
            Stream::Stdin => self.tap.moved(0, len),
            Stream::Stdout | Stream::Stderr => self.tap.moved(len, 0),
        }
        for piece in split(self.capture.pass(bytes)) {
            self.tap.push(Frame::Bytes { stream: self.stream, data: piece }).await?;
        }
        self.tap.check()
    }

    /// Records what the stream came to. Call once, at its end.
    ///
    /// # Errors
    /// The session has been ended.
    pub async fn finish(self) -> Result<Total, Error> {
        let total = self.capture.total();
        self.tap.push(total.frame()).await?;
        Ok(total)
    }

    /// What it has come to so far.
    #[must_use]
    pub fn total(&self) -> Total {
        self.capture.total()
    }
}
