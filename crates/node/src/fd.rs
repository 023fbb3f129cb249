//! A descriptor the runtime watches, and non-blocking reads and writes on it.
//!
//! Used for what tokio has no type for: terminals and the spawner's socket. Knows nothing of what the bytes mean.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Handle, Id};

/// The most of one short read: the kernel never gives more of a terminal at a time.
pub(crate) const SHORT: usize = 4 * 1024;

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

    /// What is there now, at most [`SHORT`] bytes, waiting for some; nothing is the end. For one reader at a time.
    /// Takes no more memory than there is to read. Cancel safe.
    pub(crate) async fn read_short(&self) -> io::Result<Vec<u8>> {
        poll_fn(|cx| {
            loop {
                match self.0.try_io(Interest::READABLE, read_short) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        drop(ready!(self.0.poll_read_ready(cx))?);
                    }
                    done => return Poll::Ready(done),
                }
            }
        })
        .await
    }

    /// Writes some of `bytes`, waiting for room. For one writer at a time. Cancel safe: what was written is told.
    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            loop {
                match self.0.try_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, bytes)?)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        drop(ready!(self.0.poll_write_ready(cx))?);
                    }
                    done => return Poll::Ready(done),
                }
            }
        })
        .await
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

fn read_short(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut room = [const { MaybeUninit::uninit() }; SHORT];
    loop {
        match rustix::io::read(fd, &mut room) {
            Ok((got, _)) => return Ok(got.to_vec()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
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

    #[tokio::test]
    async fn a_short_read_waits_and_takes_what_is_there_until_the_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let watched = Watched::new(reader.into()).unwrap();
        {
            let mut read = std::pin::pin!(watched.read_short());
            assert!(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await.is_pending());
            writer.write_all(b"x").unwrap();
            assert_eq!(read.await.unwrap(), b"x");
        }

        writer.write_all(&[b'y'; SHORT + 1]).unwrap();
        drop(writer);

        assert_eq!(watched.read_short().await.unwrap(), [b'y'; SHORT]);
        assert_eq!(watched.read_short().await.unwrap(), b"y");
        assert_eq!(watched.read_short().await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_write_waits_for_room() {
        use std::io::Read as _;

        let (mut reader, writer) = std::io::pipe().unwrap();
        let watched = Watched::new(writer.into()).unwrap();
        let chunk = [b'x'; 64 * 1024];
        let mut written = 0;
        loop {
            let mut write = std::pin::pin!(watched.write(&chunk));
            match poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await {
                Poll::Ready(wrote) => written += wrote.unwrap(),
                Poll::Pending => {
                    reader.read_exact(&mut vec![0; written]).unwrap();
                    assert_eq!(write.await.unwrap(), chunk.len());
                    break;
                }
            }
        }
    }
}
