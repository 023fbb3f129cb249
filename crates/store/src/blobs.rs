//! Blobs: recordings' segments and other large things that are written once.
//!
//! A blob is durable when `put` returns, never rewritten, and named by a path of plain parts.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

/// Why a blob could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is another blob of that name.
    #[error("`{0}` exists with other bytes; blobs are written once")]
    Exists(String),
    /// There is none.
    #[error("there is no blob `{0}`")]
    Missing(String),
    /// Not a blob's name.
    #[error("`{0}` is not a blob name (parts of letters, digits, `.`, `_`, `-`, separated by `/`)")]
    Name(String),
    /// The disk or server failed.
    #[error("the blob store failed on `{name}`: {reason}")]
    Backend {
        /// The blob.
        name: String,
        /// What went wrong.
        reason: String,
    },
}

/// A store for blobs.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Keeps `bytes` under `name`, durably. The same bytes again are fine.
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), BlobError>;
    /// The bytes.
    async fn get(&self, name: &str) -> Result<Bytes, BlobError>;
    /// Names under `prefix/`, sorted.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError>;
    /// Removes a blob; nothing happens when there is none.
    async fn delete(&self, name: &str) -> Result<(), BlobError>;
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 512
        && name.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        })
}

/// Blobs as files under one directory. Clones share nothing but the path.
#[derive(Clone, Debug)]
pub struct DirBlobs {
    root: PathBuf,
}

impl DirBlobs {
    /// Uses `root`, made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        Ok(Self { root: root.to_owned() })
    }

    fn path(&self, name: &str) -> Result<PathBuf, BlobError> {
        if is_name(name) {
            Ok(self.root.join(name))
        } else {
            Err(BlobError::Name(name.chars().take(64).collect()))
        }
    }
}

fn backend(name: &str, reason: impl std::fmt::Display) -> BlobError {
    BlobError::Backend { name: name.to_owned(), reason: reason.to_string() }
}

async fn blocking<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<io::Result<T>, BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| backend(name, e))
}

/// Keeps `bytes` at `path`, or finds them there; false when there are others. Then syncs the directory and every one
/// above it, up to `root`: a file in a directory that power took away is gone too. Also those that were there before:
/// whoever made them may have been killed before they were durable.
fn keep(
    root: &Path,
    path: &Path,
    bytes: &[u8],
    mut sync: impl FnMut(&Path) -> io::Result<()>,
) -> io::Result<bool> {
    match write_once(path, bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if std::fs::read(path)? != bytes {
                return Ok(false);
            }
        }
        Err(error) => return Err(error),
    }
    for above in path.ancestors().skip(1) {
        sync(above)?;
        if above == root {
            break;
        }
    }
    Ok(true)
}

/// Writes to a name of its own, syncs, and links into place, which fails if the name is taken.
fn write_once(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let dir = path.parent().ok_or_else(|| io::Error::other("a blob has a directory"))?;
    std::fs::create_dir_all(dir)?;
    let file_name = path.file_name().and_then(|n| n.to_str()).unwrap_or("blob");
    // Two may write the same blob at the same time: neither gets into the other's file.
    let n = WRITES.fetch_add(1, Ordering::Relaxed);
    let temporary = dir.join(format!(".{file_name}.{}.{n}.tmp", std::process::id()));
    let mut file = std::fs::File::create(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::hard_link(&temporary, path));
    drop(std::fs::remove_file(&temporary));
    written
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

fn collect(dir: &Path, prefix: &str, out: &mut Vec<String>) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if name.starts_with('.') {
            continue;
        }
        let whole = format!("{prefix}/{name}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &whole, out)?;
        } else {
            out.push(whole);
        }
    }
    Ok(())
}

#[async_trait]
impl Blobs for DirBlobs {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), BlobError> {
        let path = self.path(name)?;
        let root = self.root.clone();
        match blocking(name, move || keep(&root, &path, &bytes, sync_dir)).await? {
            Ok(true) => Ok(()),
            Ok(false) => Err(BlobError::Exists(name.to_owned())),
            Err(error) => Err(backend(name, error)),
        }
    }

    async fn get(&self, name: &str) -> Result<Bytes, BlobError> {
        let path = self.path(name)?;
        match blocking(name, move || std::fs::read(path)).await? {
            Ok(bytes) => Ok(Bytes::from(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::Missing(name.to_owned())),
            Err(error) => Err(backend(name, error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        let path = self.path(prefix)?;
        let prefix_text = prefix.to_owned();
        let found = blocking(prefix, move || {
            let mut out = Vec::new();
            collect(&path, &prefix_text, &mut out).map(|()| out)
        })
        .await?;
        let mut names = found.map_err(|e| backend(prefix, e))?;
        names.sort();
        Ok(names)
    }

    async fn delete(&self, name: &str) -> Result<(), BlobError> {
        let path = self.path(name)?;
        match blocking(name, move || std::fs::remove_file(path)).await? {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(backend(name, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_blob_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DirBlobs::open(dir.path()).unwrap();
        blobs.put("rec/a/0", Bytes::from_static(b"one")).await.unwrap();

        blobs.put("rec/a/0", Bytes::from_static(b"one")).await.unwrap();
        let other = blobs.put("rec/a/0", Bytes::from_static(b"two")).await;

        assert!(matches!(other, Err(BlobError::Exists(_))));
        assert_eq!(blobs.get("rec/a/0").await.unwrap(), Bytes::from_static(b"one"));
        assert_eq!(blobs.list("rec").await.unwrap(), ["rec/a/0"]);
    }

    #[tokio::test]
    async fn of_many_writers_at_once_one_wins_and_its_bytes_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DirBlobs::open(dir.path()).unwrap();
        for round in 0..20 {
            let name = format!("rec/{round}/0");
            let put = |byte: u8| {
                let (blobs, name) = (blobs.clone(), name.clone());
                async move { blobs.put(&name, Bytes::from(vec![byte; 2_000_000])).await }
            };

            let (a, b, c, d) = tokio::join!(put(1), put(2), put(3), put(4));

            let outcomes = [a, b, c, d];
            let kept = blobs.get(&name).await.unwrap();
            let winner = outcomes.iter().position(Result::is_ok).unwrap();
            assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
            assert!(outcomes.iter().all(|o| matches!(o, Ok(()) | Err(BlobError::Exists(_)))), "{outcomes:?}");
            assert_eq!(kept.len(), 2_000_000);
            assert!(kept.iter().all(|byte| usize::from(*byte) == winner + 1));
        }
    }

    #[test]
    fn a_blob_is_acknowledged_only_when_it_and_every_directory_above_it_last() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let path = root.join("rec/a/0");
        let above = [root.join("rec/a"), root.join("rec"), root.to_owned()];
        let put = |bytes: &[u8]| {
            let mut synced = Vec::new();
            let kept = keep(root, &path, bytes, |dir| {
                synced.push(dir.to_owned());
                Ok(())
            });
            (kept.unwrap(), synced)
        };
        // What a kill leaves in the middle: the blob is there, and nothing says that it lasts.
        assert!(keep(root, &path, b"one", |_| Err(io::Error::other("killed"))).is_err());

        assert_eq!(put(b"one"), (true, above.to_vec()), "found");
        assert_eq!(put(b"two"), (false, Vec::new()), "another");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(put(b"two"), (true, above.to_vec()), "written where the directories were");
    }

    #[tokio::test]
    async fn names_cannot_leave_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = DirBlobs::open(dir.path()).unwrap();

        for bad in ["../x", "a/../../x", "/etc/passwd", "", "a//b", ".hidden", "a b"] {
            assert!(matches!(blobs.put(bad, Bytes::new()).await, Err(BlobError::Name(_))), "{bad}");
        }
        assert!(matches!(blobs.get("none").await, Err(BlobError::Missing(_))));
    }
}
