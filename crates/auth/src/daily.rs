//! The audit log as daily files for people and log shippers: `<dir>/YYYY-MM-DD.log`, one JSON event a line.
//!
//! A copy: the chain in the store is what counts. A day is the day (UTC) an event was written, so files only grow.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::api::audit::ChainedEvent;
use runtime::{Clock, Health};

const JOB: &str = "audit files";
/// How far back the newest file is read for events already there.
const TAIL: u64 = 4 * 1024 * 1024;

/// Appends to the file of the day.
pub(crate) struct DailyFiles {
    dir: PathBuf,
    clock: Clock,
    health: Health,
    reached: Option<u64>,
}

impl DailyFiles {
    pub(crate) fn new(dir: &Path, clock: Clock, health: Health) -> Self {
        Self { dir: dir.to_owned(), clock, health, reached: None }
    }

    /// Every link before this number is in a file, as far as is known.
    pub(crate) fn reached(&self) -> Option<u64> {
        self.reached
    }

    pub(crate) fn resume_at(&mut self, next: u64) {
        self.reached = Some(next);
    }

    /// Appends and says whether that worked. A failure is shown in status and stops nobody: from then on the files
    /// have a hole, which the next start fills from the last good place.
    pub(crate) async fn write(&mut self, links: &[ChainedEvent]) -> bool {
        let Some(last) = links.last().map(|l| l.index) else { return true };
        let now = self.clock.now();
        let path = self.dir.join(format!("{}.log", now.date()));
        let text: String = links.iter().flat_map(|l| [l.event.as_str(), "\n"]).collect();
        let outcome = tokio::task::spawn_blocking(move || append(&path, &text)).await;
        let outcome = outcome.map_err(io::Error::other).and_then(|done| done);
        let good = outcome.is_ok();
        self.reached = self.reached.filter(|_| good).map(|_| last.saturating_add(1));
        self.health.ran(JOB, now, outcome.map_err(|e| e.to_string()));
        good
    }

    /// The `uid`s of the newest file's last events.
    pub(crate) async fn known_uids(&self) -> BTreeMap<String, ()> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || tail_uids(&dir).unwrap_or_default()).await.unwrap_or_default()
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
    // A crash or a full disk may have cut the last line: the next one must not go on in its middle.
    if ends_within_a_line(&mut file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(text.as_bytes())
}

fn ends_within_a_line(file: &mut std::fs::File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn tail_uids(dir: &Path) -> io::Result<BTreeMap<String, ()>> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(dir)?.filter_map(|e| e.ok().map(|e| e.path())).collect();
    names.sort();
    let Some(newest) = names.pop() else { return Ok(BTreeMap::new()) };
    let mut file = std::fs::File::open(newest)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let uid = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        Some((event.get("uid")?.as_str()?.to_owned(), ()))
    };
    Ok(text.lines().filter_map(uid).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_does_not_take_the_next_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("2026-01-01.log");
        append(&path, "{\"uid\":\"a\"}\n").unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"uid\":\"b").unwrap();

        append(&path, "{\"uid\":\"c\"}\n").unwrap();
        append(&path, "{\"uid\":\"d\"}\n").unwrap();

        let text = std::fs::read_to_string(&path).unwrap();
        let whole = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
        assert_eq!(whole.count(), 3, "{text}");
        assert_eq!(tail_uids(dir.path()).unwrap().into_keys().collect::<Vec<_>>(), ["a", "c", "d"]);
    }
}
