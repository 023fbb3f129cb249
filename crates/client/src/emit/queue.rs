//! The writing half of the queue: one owner of the open file. What waits is written with one sync.

use std::fs::File;
use std::io;
use std::sync::Arc;

use runtime::Scope;
use tokio::sync::{mpsc, watch};

use super::spool::{Place, ROTATE, Spool};
use super::{EmitError, Item, MAX_BACKLOG, Progress};

/// The most bytes written with one sync.
const TOGETHER: usize = 1024 * 1024;

pub(super) struct Writer {
    pub(super) spool: Spool,
    pub(super) incoming: mpsc::Receiver<Item>,
    pub(super) end: watch::Sender<Place>,
    pub(super) progress: Arc<watch::Sender<Progress>>,
}

/// Where the open file stands.
struct Open {
    file: Option<File>,
    at: Place,
    backlog: u64,
}

impl Writer {
    pub(super) async fn run(mut self, scope: Scope) {
        let backlog = self.spool.size().unwrap_or(0);
        let mut open = Open { file: None, at: self.spool.end(), backlog };
        loop {
            // Cancel safe: `recv` loses nothing.
            let first = tokio::select! {
                item = self.incoming.recv() => item,
                () = scope.cancelled(), if !self.incoming.is_closed() => {
                    self.incoming.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let mut items = vec![first];
            let mut size = items.iter().map(|i| i.lines.len()).sum::<usize>();
            while size < TOGETHER
                && let Ok(more) = self.incoming.try_recv()
            {
                size += more.lines.len();
                items.push(more);
            }
            open = self.write(open, items).await;
        }
    }

    async fn write(&self, mut open: Open, mut items: Vec<Item>) -> Open {
        let lines: Vec<u8> = items.iter_mut().flat_map(|item| std::mem::take(&mut item.lines)).collect();
        let length = lines.len() as u64;
        let spool = self.spool.clone();
        let (mut file, at, backlog) = (open.file.take(), open.at, open.backlog);
        let written = tokio::task::spawn_blocking(move || {
            let backlog = if backlog > MAX_BACKLOG / 2 { spool.size()? } else { backlog };
            if backlog + length > MAX_BACKLOG {
                return Err(io::Error::other("too many events wait for the authority"));
            }
            let (mut open, at) = match file.take() {
                Some(file) if at.byte < ROTATE => (file, at),
                // A file that is full stays for the sender; a failed one may be torn.
                kept => {
                    let next = if at.byte == 0 && kept.is_none() { at.file } else { at.file + 1 };
                    (spool.create(next)?, Place { file: next, byte: 0 })
                }
            };
            Spool::append(&mut open, at.byte, &lines)?;
            Ok((open, Place { file: at.file, byte: at.byte + length }, backlog + length))
        })
        .await;
        let outcome = match written.map_err(io::Error::other).and_then(|done| done) {
            Ok((file, at, backlog)) => {
                open = Open { file: Some(file), at, backlog };
                self.progress.send_modify(|p| p.kept += items.iter().map(|i| i.count).sum::<u64>());
                self.end.send_replace(at);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "audit events cannot be kept");
                open = Open { file: None, at: Place { file: open.at.file + 1, byte: 0 }, ..open };
                Err(EmitError::Disk(error.to_string()))
            }
        };
        for item in items {
            // Whoever emitted may have gone; the event is kept all the same.
            drop(item.done.send(outcome.clone()));
        }
        open
    }
}
