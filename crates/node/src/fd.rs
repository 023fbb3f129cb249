//! A descriptor the runtime watches, and non-blocking reads and writes on it.
//!
//! Used for what tokio has no type for: terminals and the spawner's socket. Knows nothing of what the bytes mean.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Handle, Id};

/// An open descriptor, set not to block, watched by the runtime it was made in.
#[derive(Debug)]
pub(crate) struct Watched(AsyncFd<OwnedFd>, Id);

impl Watched {
    /// Takes the descriptor. Must run inside the runtime.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        #[expect(unsafe_code, reason = "the runtime's constructor asks for a promise it cannot check")]
        // SAFETY: the descriptor is owned by the `AsyncFd` from here on, no method of ours hands out `&mut OwnedFd`,
        // so it stays open and the same until the `AsyncFd` is dropped.
        let watched = unsafe { AsyncFd::register(fd) };
        let by = Handle::current().id();
        watched.map(|fd| Self(fd, by)).map_err(|refused| refused.into_parts().1)
    }

    /// The same, watched by the runtime the caller is in: its task may have moved, and one lane's threads should not
    /// have to wake the other's.
    pub(crate) fn follow(self) -> io::Result<Self> {
        if Handle::current().id() == self.1 { Ok(self) } else { Self::new(self.0.into_inner()) }
    }

    /// Waits until something can be read (or the end). Cancel safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Reads into `buffer`'s spare room without waiting: how much, `Err(None)` when nothing is there now.
    pub(crate) fn try_read_into(&self, buffer: &mut Vec<u8>) -> Result<usize, Option<io::Error>> {
        let got = self.0.try_io(Interest::READABLE, |fd| {
            Ok(rustix::io::retry_on_intr(|| rustix::io::read(fd, rustix::buffer::spare_capacity(buffer)))?)
        });
        got.map_err(|error| Some(error).filter(|e| e.kind() != io::ErrorKind::WouldBlock))
    }

    /// Writes some of `bytes`, waiting for room. Cancel safe: what was written is told.
    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?)).await
    }

    /// Some other operation that says `WouldBlock` when it must wait.
    pub(crate) async fn io<T>(
        &self,
        interest: Interest,
        work: impl FnMut(&OwnedFd) -> io::Result<T>,
    ) -> io::Result<T> {
        self.0.async_io(interest, work).await
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_descriptor_follows_its_reader_to_another_runtime() {
        let make = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (here, there) = (make(), make());
        let (reader, mut writer) = std::io::pipe().unwrap();
        let watched = here.block_on(async { Watched::new(reader.into()) }).unwrap();
        drop(here);

        let got = there.block_on(async {
            let watched = watched.follow().unwrap();
            writer.write_all(b"hello").unwrap();
            watched.readable().await.unwrap();
            let mut buffer = Vec::with_capacity(16);
            watched.try_read_into(&mut buffer).unwrap();
            buffer
        });

        assert_eq!(got, b"hello");
    }
}
