//! The audit log as daily files for people and log shippers: `<dir>/YYYY-MM-DD.log`, one JSON event a line.
//!
//! A copy: the chain in the store is what counts. A day is the day (UTC) an event was written, so files only grow, in the
//! chain's order. What a full disk kept out comes before what is newer. Synced every second or [`UNSYNCED`] bytes, not
//! with each event: what the store remembers as written is on the disk.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::api::audit::ChainedEvent;
use runtime::{Clock, Health};

const JOB: &str = "audit files";
/// How far back each of the newest files is read for events already there: far more than is written between two syncs.
const TAIL: u64 = 4 * 1024 * 1024;
/// How many files the events written between two syncs can be in: midnight may have been between them.
const NEWEST: usize = 2;
/// The most bytes written without a sync.
const UNSYNCED: u64 = 1024 * 1024;

/// Appends to the file of the day.
pub(crate) struct DailyFiles {
    dir: PathBuf,
    clock: Clock,
    health: Health,
    /// Every link before this number is in a file.
    next: u64,
    /// The same, also after a power cut.
    lasting: u64,
    /// The file that was written to last, and how much since its last sync.
    file: PathBuf,
    unsynced: u64,
}

impl DailyFiles {
    pub(crate) fn new(dir: &Path, clock: Clock, health: Health) -> Self {
        let file = PathBuf::new();
        Self { dir: dir.to_owned(), clock, health, next: 0, lasting: 0, file, unsynced: 0 }
    }

    /// Goes on with this link.
    pub(crate) fn begin_at(&mut self, next: u64) {
        (self.next, self.lasting) = (next, next);
    }

    /// The link to be written next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Every link before this number is in a file for good.
    pub(crate) fn lasting(&self) -> u64 {
        self.lasting
    }

    /// Appends links and says whether that worked; every one before `next` is in a file then. A failure is shown in
    /// status and stops nobody: what is missing is to be written again, before what is newer.
    pub(crate) async fn write(&mut self, links: &[ChainedEvent], next: u64) -> bool {
        let now = self.clock.now();
        let path = self.dir.join(format!("{}.log", now.date()));
        if path != self.file && !self.sync().await {
            return false;
        }
        let text: String = links.iter().flat_map(|l| [l.event.as_str(), "\n"]).collect();
        let size = text.len() as u64;
        let done = match text.is_empty() {
            true => Ok(()),
            false => {
                off_thread({
                    let path = path.clone();
                    move || append(&path, &text)
                })
                .await
            }
        };
        let good = done.is_ok();
        self.health.ran(JOB, now, done.map_err(|e| e.to_string()));
        if !good {
            return false;
        }
        self.file = path;
        self.next = next;
        self.unsynced = self.unsynced.saturating_add(size);
        if self.unsynced >= UNSYNCED {
            self.sync().await;
        }
        true
    }

    /// Sees to it that what was written lasts, and says whether that worked.
    pub(crate) async fn sync(&mut self) -> bool {
        if self.unsynced > 0 {
            let path = self.file.clone();
            let done = off_thread(move || lasting(&path)).await;
            let good = done.is_ok();
            let outcome = done.map_err(|error| format!("not on the disk yet: {error}"));
            self.health.ran(JOB, self.clock.now(), outcome);
            if !good {
                return false;
            }
        }
        self.unsynced = 0;
        self.lasting = self.next;
        true
    }

    /// The `uid`s of the last events in the newest files.
    pub(crate) async fn known_uids(&self) -> BTreeSet<String> {
        let dir = self.dir.clone();
        off_thread(move || tail_uids(&dir)).await.unwrap_or_default()
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other).and_then(|done| done)
}

/// Appends all of the text or nothing.
fn append(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    // A crash may have cut the last line: the next one must not go on in its middle.
    let lead: &[u8] = if ends_within_a_line(&mut file)? { b"\n" } else { b"" };
    let done = file.write_all(lead).and_then(|()| file.write_all(text.as_bytes()));
    if done.is_err() {
        // What a full disk took of it would be there twice once the rest fits.
        drop(file.set_len(before));
    }
    done
}

/// Waits until a file's bytes, and its name, are on the disk.
fn lasting(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) => file.sync_data()?,
        // Removed by whoever keeps the disk tidy: nothing of it is to last.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
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

fn tail_uids(dir: &Path) -> io::Result<BTreeSet<String>> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(dir)?.filter_map(|e| e.ok().map(|e| e.path())).collect();
    names.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
    names.sort();
    let mut uids = BTreeSet::new();
    for path in names.iter().rev().take(NEWEST) {
        let mut file = File::open(path)?;
        // A killed process may not have synced what is there now.
        file.sync_data()?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let uid = |line: &str| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(event.get("uid")?.as_str()?.to_owned())
        };
        uids.extend(String::from_utf8_lossy(&bytes).lines().filter_map(uid));
    }
    Ok(uids)
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    fn link(index: u64) -> ChainedEvent {
        let event = format!("{{\"uid\":\"{index}\"}}");
        ChainedEvent { index, prev: String::new(), hash: String::new(), event }
    }

    fn files(dir: &Path) -> (DailyFiles, Clock) {
        let clock = Clock::manual(Timestamp::from_secs(0));
        (DailyFiles::new(&dir.join("events"), clock.clone(), Health::default()), clock)
    }

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
        assert_eq!(tail_uids(dir.path()).unwrap().into_iter().collect::<Vec<_>>(), ["a", "c", "d"]);
    }

    #[tokio::test]
    async fn what_is_remembered_as_written_was_synced() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, clock) = files(dir.path());
        files.begin_at(5);

        assert!(files.write(&[link(5)], 6).await);
        assert_eq!((files.next(), files.lasting()), (6, 5), "not with each event");
        assert!(files.sync().await);
        assert_eq!(files.lasting(), 6);
        assert!(files.write(&[link(6)], 7).await);
        clock.advance(std::time::Duration::from_secs(86_400));
        assert!(files.write(&[link(7)], 8).await);
        assert_eq!(files.lasting(), 7, "a day's file is synced before the next begins");
        let large = ChainedEvent { event: "x".repeat(usize::try_from(UNSYNCED).unwrap()), ..link(8) };
        assert!(files.write(&[large], 9).await);
        assert_eq!(files.lasting(), 9, "nor only once a second");
        assert_eq!(files.known_uids().await.len(), 3, "of both days");
    }

    #[tokio::test]
    async fn what_could_not_be_synced_is_not_remembered_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, clock) = files(dir.path());
        assert!(files.write(&[link(0)], 1).await);
        // Opening it fails as a broken disk does.
        let path = dir.path().join("events/1970-01-01.log");
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&path, &path).unwrap();

        assert!(!files.sync().await);
        clock.advance(std::time::Duration::from_secs(86_400));
        assert!(!files.write(&[link(1)], 2).await);

        assert_eq!((files.next(), files.lasting()), (1, 0));
        std::fs::remove_file(&path).unwrap();
        assert!(files.write(&[link(1)], 2).await, "removed, there is nothing to be synced");
        assert_eq!((files.next(), files.lasting()), (2, 1));
    }

    #[tokio::test]
    async fn a_write_that_fails_moves_nothing_on() {
        let dir = tempfile::tempdir().unwrap();
        let (mut files, _) = files(dir.path());
        std::fs::write(dir.path().join("events"), "in the way").unwrap();

        assert!(!files.write(&[link(0)], 1).await);

        assert_eq!((files.next(), files.lasting()), (0, 0));
        std::fs::remove_file(dir.path().join("events")).unwrap();
        assert!(files.write(&[link(0), link(1)], 2).await);
        assert_eq!(files.next(), 2);
    }
}
