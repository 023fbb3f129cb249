//! What a terminal says, until it is closed; once its program has exited, until it is quiet.
//!
//! For a key of one byte it takes one read, and looks at nothing else.

use std::pin::Pin;
use std::time::Duration;

use runtime::Seldom;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::fd::Watched;

/// How long a terminal's last output may take after its program has ended. Others may hold the terminal open.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// How much a terminal may still say then: more than the kernel holds of one.
const LAST_BYTES: usize = 256 * 1024;

/// One terminal, heard to its end.
pub(crate) struct Hearing<'a> {
    master: &'a Watched,
    exited: Seldom<Pin<Box<WaitForCancellationFuture<'a>>>>,
    /// How much it said since the program exited, if it has.
    after: Option<usize>,
}

impl<'a> Hearing<'a> {
    pub(crate) fn new(master: &'a Watched, exited: &'a CancellationToken) -> Self {
        Self { master, exited: Seldom::new(Box::pin(exited.cancelled())), after: None }
    }

    /// What it says next; `None` once that was all. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        if self.after.is_none() {
            tokio::select! {
                biased;
                () = &mut self.exited => self.after = Some(0),
                // EIO is how a terminal ends.
                said = self.master.read_short() => return said.ok().filter(|said| !said.is_empty()),
            }
        }
        let after = self.after.filter(|after| *after < LAST_BYTES)?;
        let said = tokio::time::timeout(LAST_WORDS, self.master.read_short()).await.ok()?.ok()?;
        self.after = Some(after + said.len());
        Some(said).filter(|said| !said.is_empty())
    }
}
