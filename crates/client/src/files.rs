//! Small files that must survive: written aside, synced, renamed into place, for their owner only.

use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes a directory (and those above it) that only its owner may enter.
///
/// # Errors
/// The directory cannot be made.
pub fn private_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Replaces a file whole, or leaves it as it was; mode 0600.
///
/// # Errors
/// The disk failed; the old file, if any, is still there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Err(io::Error::other("the path has no directory or name"));
    };
    let aside = dir.join(format!(".{name}.new"));
    // What a crash left aside was never in use.
    drop(std::fs::remove_file(&aside));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written
        .and_then(|()| std::fs::rename(&aside, path))
        .inspect_err(|_| drop(std::fs::remove_file(&aside)))?;
    std::fs::File::open(dir)?.sync_all()
}

/// Reads a file of at most `max` bytes; `None` when there is none.
///
/// # Errors
/// It cannot be read, or is longer.
pub fn read(path: &Path, max: u64) -> io::Result<Option<String>> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(max.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() as u64 > max {
        return Err(io::Error::other("the file is longer than anything we write"));
    }
    Ok(Some(text))
}
