//! The queue's files: `<dir>/<number>.jsonl`, one event a line, appended and then deleted, never changed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files;

/// A file is left for the next one at this size.
pub(super) const ROTATE: u64 = 1024 * 1024;
/// The most bytes read at a time: more than the longest event.
const PIECE: u64 = 2 * 1024 * 1024;

/// A place in the queue: file and byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: u64,
    pub(super) byte: u64,
}

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Spool {
    dir: Arc<PathBuf>,
    first: u64,
    end: Place,
}

impl Spool {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        files::private_dir(dir)?;
        let mut spool = Self { dir: Arc::new(dir.to_owned()), first: 0, end: Place::default() };
        let numbers = spool.numbers()?;
        // A new file each start: the end of the last one may be torn.
        let next = numbers.last().map_or(1, |n| n.saturating_add(1));
        spool.first = numbers.first().copied().unwrap_or(next);
        spool.end = Place { file: next, byte: 0 };
        Ok(spool)
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers: Vec<u64> = std::fs::read_dir(self.dir.as_path())?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".jsonl")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn path(&self, file: u64) -> PathBuf {
        self.dir.join(format!("{file:012}.jsonl"))
    }

    /// The oldest file there was at the start.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn end(&self) -> Place {
        self.end
    }

    /// How many whole lines wait.
    pub(super) fn count(&self) -> io::Result<u64> {
        let mut count = 0;
        for file in self.numbers()? {
            let bytes = std::fs::read(self.path(file))?;
            count += bytes.iter().filter(|b| **b == b'\n').count() as u64;
        }
        Ok(count)
    }

    /// How many bytes lie in the directory.
    pub(super) fn size(&self) -> io::Result<u64> {
        self.numbers()?.into_iter().map(|file| Ok(std::fs::metadata(self.path(file))?.len())).sum()
    }

    /// Opens a file for appending, durably there.
    pub(super) fn create(&self, file: u64) -> io::Result<File> {
        let opened =
            std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(self.path(file))?;
        File::open(self.dir.as_path())?.sync_all()?;
        Ok(opened)
    }

    /// Appends and syncs. On failure the file is cut back to `byte`, so that nothing torn is sent.
    pub(super) fn append(file: &mut File, byte: u64, lines: &[u8]) -> io::Result<()> {
        file.write_all(lines).and_then(|()| file.sync_data()).inspect_err(|_| drop(file.set_len(byte)))
    }

    /// Whole lines from `place` on, up to `end`; empty when the file has no more.
    pub(super) fn read(&self, place: Place, end: Place) -> io::Result<Vec<u8>> {
        let mut file = match File::open(self.path(place.file)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(place.byte))?;
        let limit =
            if place.file == end.file { end.byte.saturating_sub(place.byte).min(PIECE) } else { PIECE };
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(whole);
        Ok(bytes)
    }

    pub(super) fn remove(&self, file: u64) -> io::Result<()> {
        match std::fs::remove_file(self.path(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Keeps an event the authority will not have, for a person to look at.
    pub(super) fn reject(&self, line: &[u8]) -> io::Result<()> {
        let path = self.dir.join("rejected.log");
        let mut file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        file.write_all(line)?;
        file.write_all(b"\n")
    }
}
