//! The few things this room does with files, as a trait so that tests can fill the disk.
//!
//! All calls block: they are made on blocking threads only. Files are for the service's own user alone (0600, 0700).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// A disk.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// The disk cannot.
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Writes a whole file so that a crash leaves either nothing or all of it, and it is on the disk on return.
    ///
    /// # Errors
    /// The disk cannot.
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Writes a whole file without waiting for the disk: for what only has to survive the process.
    ///
    /// # Errors
    /// The disk cannot.
    fn write_soon(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Appends to a file, making it if need be, without waiting for the disk: all of the bytes or none.
    ///
    /// # Errors
    /// The disk cannot.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Reads a file of at most `max` bytes.
    ///
    /// # Errors
    /// The disk cannot, or the file is longer.
    fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>>;

    /// The length of a file.
    ///
    /// # Errors
    /// The disk cannot, or there is no such file.
    fn size(&self, path: &Path) -> io::Result<u64>;

    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// The disk cannot.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Renames within a directory.
    ///
    /// # Errors
    /// The disk cannot.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; one that is gone already is no error.
    ///
    /// # Errors
    /// The disk cannot.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and what is in it; one that is gone already is no error.
    ///
    /// # Errors
    /// The disk cannot.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// The machine's disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let part = path.with_extension("part");
        let written = create(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_data()
        });
        if written.is_err() {
            // Nobody reads it, and on a full disk it is room that others need.
            drop(fs::remove_file(&part));
        }
        written?;
        fs::rename(&part, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }

    fn write_soon(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        create(path)?.write_all(bytes)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        all_or_nothing(&mut file, |file| file.write_all(bytes))
    }

    fn read(&self, path: &Path, max: u64) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        if file.metadata()?.len() > max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than it may be"));
        }
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        gone_is_fine(fs::remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        gone_is_fine(fs::remove_dir_all(path))
    }
}

/// What people see: the reason, not the path.
pub(crate) fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only".to_owned(),
        _ => error.to_string(),
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Cuts off again what a write put at a file's end before it failed.
fn all_or_nothing(file: &mut File, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let before = file.metadata()?.len();
    let done = write(file);
    if done.is_err() {
        // What a full disk took would be torn, and nothing behind it could be read.
        drop(file.set_len(before));
    }
    done
}

fn gone_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_whole_private_and_gone_when_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (sub, disk) = (dir.path().join("a/b"), RealDisk);
        disk.make_dir(&sub).unwrap();
        let file = sub.join("0.seg");
        disk.write_whole(&file, b"first").unwrap();
        disk.write_whole(&file, b"one").unwrap();
        disk.append(&file, b" two").unwrap();

        assert_eq!(disk.read(&file, 7).unwrap(), b"one two");
        assert!(disk.read(&file, 6).is_err());
        assert_eq!(disk.size(&file).unwrap(), 7);
        assert_eq!(disk.list(&sub).unwrap(), ["0.seg"]);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&sub).unwrap().permissions().mode() & 0o777, 0o700);
        disk.remove(&file).unwrap();
        disk.remove(&file).unwrap();
        disk.remove_dir(&sub).unwrap();
        disk.remove_dir(&sub).unwrap();
    }

    #[test]
    fn what_an_append_that_failed_left_behind_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.journal");
        RealDisk.append(&path, b"whole").unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();

        let failed = all_or_nothing(&mut file, |file| {
            file.write_all(b" and ha")?;
            Err(io::ErrorKind::StorageFull.into())
        });

        assert!(failed.is_err());
        RealDisk.append(&path, b" again").unwrap();
        assert_eq!(RealDisk.read(&path, 100).unwrap(), b"whole again");
    }
}
