//! The files in which events wait on this host, and their way from there to the authority.
//!
//! A delivery takes the oldest files, as many as make [`BATCH`] events, in one call, and removes them when the authority
//! has them. Events it will never take, and files that hold none, are set aside for a person to look at; what cannot be
//! read just now stays. When to try again, and who waits meanwhile, is [`events`](crate::events)' to know.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::api::audit::AuditEvent;
use runtime::{Clock, Health};

use crate::authority::{Authority, Trouble};
use crate::disk::{Disk, in_words};

/// Most events in one call, and in one file.
pub(crate) const BATCH: usize = 200;
/// How long the authority may take for one call.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// Longest file worth reading.
const MAX_FILE: u64 = 32 * 1024 * 1024;
const JOB: &str = "audit events";

/// Where events lie, and whom they are for. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) authority: Arc<dyn Authority>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) health: Health,
}

/// How far a delivery came.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// So many files, from the first on, are done with.
    pub(crate) done: usize,
    /// Why no more of them.
    pub(crate) stopped: Option<Stopped>,
}

/// Why a delivery did not come further.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The authority does not take events now.
    Away(String),
    /// The next file cannot be read now.
    Unreadable(String),
}

/// Why a file gives no events.
enum NoEvents {
    /// It is gone, or never held any and was set aside.
    Done,
    /// The disk does not give it now.
    Later(String),
}

impl Outbox {
    /// Sends events, all or none of them.
    pub(crate) async fn emit(&self, events: Vec<AuditEvent>) -> Result<(), Trouble> {
        let outcome = tokio::time::timeout(DEADLINE, self.authority.emit(events))
            .await
            .unwrap_or_else(|_| Err(Trouble::Later("no answer in time".to_owned())));
        let seen = outcome.clone().map_err(|trouble| trouble.to_string());
        self.health.ran(JOB, self.clock.now(), seen);
        outcome
    }

    /// Sends what the first of `files` hold, in order, in one call.
    pub(crate) async fn deliver(self, files: Vec<u64>) -> Delivery {
        let batches = match self.load_some(&files).await {
            Ok(batches) if batches.is_empty() => return Delivery { done: 1, stopped: None },
            Ok(batches) => batches,
            Err(why) => {
                self.health.ran(JOB, self.clock.now(), Err(why.clone()));
                return Delivery { done: 0, stopped: Some(Stopped::Unreadable(why)) };
            }
        };
        let events = batches.iter().flat_map(|(_, events)| events).cloned().collect();
        let refused = match self.emit(events).await {
            Ok(()) => false,
            Err(Trouble::Refused(_)) => true,
            Err(Trouble::Later(why)) => return Delivery { done: 0, stopped: Some(Stopped::Away(why)) },
        };
        let mut done = 0;
        for (n, events) in batches {
            if !refused {
                self.forget(n).await;
            } else if let Err(why) = self.sift(n, events).await {
                return Delivery { done, stopped: Some(Stopped::Away(why)) };
            }
            done += 1;
        }
        Delivery { done, stopped: None }
    }

    /// The first files' events, as many as make one call; none when the first file is done with.
    async fn load_some(&self, files: &[u64]) -> Result<Vec<(u64, Vec<AuditEvent>)>, String> {
        let (mut batches, mut count) = (Vec::new(), 0);
        for n in files.iter().copied() {
            let first = batches.is_empty();
            match self.load(n, first).await {
                Ok(events) if first || count + events.len() <= BATCH => {
                    count += events.len();
                    batches.push((n, events));
                }
                Err(NoEvents::Later(why)) if first => return Err(why),
                // Its own turn comes next.
                Ok(_) | Err(NoEvents::Done | NoEvents::Later(_)) => break,
            }
        }
        Ok(batches)
    }

    /// Reads a file. One that holds no events is set aside when it is the `first`.
    async fn load(&self, n: u64, first: bool) -> Result<Vec<AuditEvent>, NoEvents> {
        let path = self.path(n, "json");
        let json = match self.blocking(move |disk| disk.read(&path, MAX_FILE)).await {
            Ok(json) => Ok(json),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(NoEvents::Done),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(error.to_string()),
            Err(error) => return Err(NoEvents::Later(in_words(&error))),
        };
        let events: Result<Vec<AuditEvent>, String> =
            json.and_then(|json| serde_json::from_slice(&json).map_err(|e| e.to_string()));
        let why = match events {
            Ok(events) if !events.is_empty() => return Ok(events),
            Ok(_) => "no events are in it".to_owned(),
            Err(why) => why,
        };
        if first {
            self.set_aside(n, &why).await;
        }
        Err(NoEvents::Done)
    }

    /// Sends the events of a file that was refused one by one; those at fault are set aside under its number. What was
    /// sent before something went wrong is kept once.
    async fn sift(&self, n: u64, events: Vec<AuditEvent>) -> Result<(), String> {
        let (mut aside, mut last_why) = (Vec::new(), String::new());
        for event in events {
            match self.emit(vec![event.clone()]).await {
                Ok(()) => {}
                Err(Trouble::Refused(why)) => {
                    aside.push(event);
                    last_why = why;
                }
                Err(Trouble::Later(why)) => return Err(why),
            }
        }
        if aside.is_empty() || self.refused(n, &aside, &last_why).await.is_ok() {
            self.forget(n).await;
        } else {
            // Where they cannot be written alone, the whole file stays.
            self.set_aside(n, &last_why).await;
        }
        Ok(())
    }

    async fn forget(&self, n: u64) {
        let path = self.path(n, "json");
        drop(self.blocking(move |disk| disk.remove(&path)).await);
    }

    /// Writes down events that the authority will never take, for a person to look at.
    pub(crate) async fn refused(&self, n: u64, events: &[AuditEvent], why: &str) -> Result<(), String> {
        tracing::error!(n, why, "audit events were refused and are set aside as events/{n}.refused");
        let json = serde_json::to_vec(events).map_err(|e| e.to_string())?;
        self.put(self.path(n, "refused"), json).await
    }

    /// How long a file is; nothing where that cannot be told.
    pub(crate) fn size(&self, n: u64) -> u64 {
        self.disk.size(&self.path(n, "json")).unwrap_or(0)
    }

    /// Writes a file of events, in place of the one of that number; as a whole, or not at all.
    pub(crate) async fn write(&self, n: u64, json: Vec<u8>) -> Result<(), String> {
        self.put(self.path(n, "json"), json).await
    }

    async fn put(&self, path: PathBuf, json: Vec<u8>) -> Result<(), String> {
        let outcome = self.blocking(move |disk| disk.write_whole(&path, &json)).await;
        outcome.map_err(|error| in_words(&error))
    }

    /// A file that will never be taken must not block those behind it.
    async fn set_aside(&self, n: u64, why: &str) {
        tracing::error!(n, why, "audit events cannot be sent and are set aside as events/{n}.refused");
        let (from, to) = (self.path(n, "json"), self.path(n, "refused"));
        drop(self.blocking(move |disk| disk.rename(&from, &to)).await);
    }

    fn path(&self, n: u64, ending: &str) -> PathBuf {
        self.dir.join(format!("{n:020}.{ending}"))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Disk) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let disk = self.disk.clone();
        tokio::task::spawn_blocking(move || work(&*disk)).await.map_err(io::Error::other)?
    }
}
