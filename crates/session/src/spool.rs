//! Where a session's bytes lie on this host until the authority has them.
//!
//! ```text
//! <spool>/<session>/about.json      what is needed to end the session properly after a crash
//!                   <n>.seg         sealed segments without a receipt, and always the newest one
//!                   <n>.journal     the open segment so far
//! <spool>/<session>.gone/           is being removed
//! <spool>/events/<n>.json           audit events the authority does not have yet
//! ```
//! All calls block. The newest segment stays until the recording is over, because the next one must name it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use audit::recording::{Sealed, journal, segment};
use model::SessionId;

use crate::about::Ledger;
use crate::disk::Disk;

const MAX_LEDGER: u64 = 256 * 1024;
const ABOUT: &str = "about.json";
/// Ends the name of a directory that is being removed.
const GONE: &str = ".gone";

/// The spool directory.
#[derive(Clone)]
pub(crate) struct Spool {
    root: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Spool {
    pub(crate) fn new(root: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { root, disk }
    }

    pub(crate) fn events_dir(&self) -> PathBuf {
        self.root.join("events")
    }

    fn dir(&self, id: &SessionId) -> PathBuf {
        self.root.join(id.as_str())
    }

    fn file(&self, id: &SessionId, n: u64, kind: &str) -> PathBuf {
        self.dir(id).join(format!("{n}.{kind}"))
    }

    /// Makes the spool itself, and finishes what was being forgotten when an earlier life ended.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        self.disk.make_dir(&self.root)?;
        for name in self.disk.list(&self.root)?.iter().filter(|name| name.ends_with(GONE)) {
            self.disk.remove_dir(&self.root.join(name))?;
        }
        self.disk.make_dir(&self.events_dir())
    }

    /// Makes a session's place before its first byte.
    pub(crate) fn begin(&self, ledger: &Ledger) -> io::Result<()> {
        self.disk.make_dir(&self.dir(&ledger.id))?;
        let json = serde_json::to_vec(ledger).map_err(io::Error::other)?;
        self.disk.write_soon(&self.dir(&ledger.id).join(ABOUT), &json)
    }

    /// Reads what a session left over was.
    pub(crate) fn ledger(&self, id: &SessionId) -> io::Result<Ledger> {
        let json = self.disk.read(&self.dir(id).join(ABOUT), MAX_LEDGER)?;
        serde_json::from_slice(&json).map_err(io::Error::other)
    }

    /// Sessions that have something here.
    pub(crate) fn sessions(&self) -> io::Result<Vec<SessionId>> {
        Ok(self.disk.list(&self.root)?.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Numbers of the sealed segments here, in order.
    pub(crate) fn segments(&self, id: &SessionId) -> io::Result<Vec<u64>> {
        self.numbers(id, ".seg")
    }

    fn numbers(&self, id: &SessionId, ending: &str) -> io::Result<Vec<u64>> {
        let names = self.disk.list(&self.dir(id))?;
        let mut numbers: Vec<u64> =
            names.iter().filter_map(|name| name.strip_suffix(ending)?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Puts a sealed segment on the disk for good; its journal goes.
    pub(crate) fn put(&self, id: &SessionId, sealed: &Sealed) -> io::Result<()> {
        self.disk.write_whole(&self.file(id, sealed.n, "seg"), &sealed.bytes)?;
        self.disk.remove(&self.file(id, sealed.n, "journal"))
    }

    /// Reads a sealed segment.
    pub(crate) fn segment(&self, id: &SessionId, n: u64) -> io::Result<Vec<u8>> {
        self.disk.read(&self.file(id, n, "seg"), segment::MAX as u64)
    }

    /// Removes a segment the authority has.
    pub(crate) fn remove(&self, id: &SessionId, n: u64) -> io::Result<()> {
        self.disk.remove(&self.file(id, n, "seg"))
    }

    /// Appends to the journal of segment `n`.
    pub(crate) fn journal(&self, id: &SessionId, n: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.append(&self.file(id, n, "journal"), bytes)
    }

    /// The newest journal left over, if it can be read.
    pub(crate) fn journals(&self, id: &SessionId) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut out = Vec::new();
        for n in self.numbers(id, ".journal")? {
            out.push((n, self.disk.read(&self.file(id, n, "journal"), journal::MAX as u64)?));
        }
        Ok(out)
    }

    /// Forgets a journal.
    pub(crate) fn drop_journal(&self, id: &SessionId, n: u64) -> io::Result<()> {
        self.disk.remove(&self.file(id, n, "journal"))
    }

    /// Forgets a session: the authority has all of it. In one step, whenever the process may end: what is left of a
    /// directory half removed would look like a recording that was cut off.
    pub(crate) fn forget(&self, id: &SessionId) -> io::Result<()> {
        let gone = self.root.join(format!("{id}{GONE}"));
        match self.disk.rename(&self.dir(id), &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        self.disk.remove_dir(&gone)
    }
}
