//! Terminals of signed-in browsers: an SSH client with the person's key in memory, and a WebSocket to the page, or
//! plain HTTP where a front passes no upgrades.
//!
//! ```text
//! node ⇄ SSH channel → Buffer (≤ WINDOW unacknowledged) → WebSocket → page
//!                    ←        bounded input             ←
//! ```
//!
//! A terminal outlives its WebSocket for [`DETACHED`]: the bytes nobody acknowledged are kept and sent again to the
//! next one. Where this process is started anew, its node has kept the shell for the page that has its key
//! (docs/formats/kept-shell.md). Bounds: [`WINDOW`] bytes of output, [`MAX_INPUT`] of input, [`MAX_TERMINALS`] a session. Frames are
//! described in docs/formats/web-terminal.md. Knows nothing of pages, roles or recordings.

mod buffer;
pub mod frame;
mod line;
mod plain;
mod pulse;
mod serve;
mod shell;
mod ticket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) use line::{Line, frames};
pub(crate) use plain::{heard, note_front, open};
pub(crate) use serve::{Came, serve};
pub(crate) use ticket::{admit, list, ticket};

use crate::session::lock;
use shell::Shell;

/// Output sent and not acknowledged: beyond it the node's channel is not read.
pub const WINDOW: usize = 256 * 1024;
/// Input taken and not yet written to the node's channel.
pub const MAX_INPUT: usize = 512 * 1024;
/// Terminals of one session.
pub const MAX_TERMINALS: usize = 32;
/// How long a terminal waits for its page to come back.
pub const DETACHED: Duration = Duration::from_secs(300);

/// The terminals of one session.
#[derive(Default)]
pub(crate) struct Terminals(Mutex<BTreeMap<String, Arc<Shell>>>);

impl Terminals {
    /// Keeps a terminal; no when there are too many. One that is over stays for a page that has not heard how, for
    /// [`DETACHED`] or until its room is needed.
    fn keep(&self, shell: Arc<Shell>) -> bool {
        let mut all = lock(&self.0);
        all.retain(|_, other| !other.is_stale());
        while all.len() >= MAX_TERMINALS {
            let over = all.values().filter(|other| other.is_over());
            let Some(oldest) = over.min_by_key(|other| other.ended()).map(|other| other.id.clone()) else {
                return false;
            };
            all.remove(&oldest);
        }
        all.insert(shell.id.clone(), shell);
        true
    }

    fn find(&self, id: &str) -> Option<Arc<Shell>> {
        let mut all = lock(&self.0);
        all.retain(|_, other| !other.is_stale());
        all.get(id).cloned()
    }

    fn forget(&self, id: &str) {
        lock(&self.0).remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Shell>> {
        lock(&self.0).values().filter(|shell| !shell.is_over()).cloned().collect()
    }
}
