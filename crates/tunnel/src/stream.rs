//! One stream of a tunnel as bytes in and bytes out.
//!
//! Reading is what lets the peer send more; a stream nobody reads holds at most its window. Dropping one that was not
//! shut down resets it at both ends.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::mux::{Read, ResetCode, StreamError, StreamId};

use crate::shell::Shared;

/// A stream. Reads end with an error, not an end of file, when it was reset or the tunnel broke.
pub struct Stream {
    shared: Arc<Shared>,
    id: StreamId,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.id.0)
    }
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        Self { shared, id }
    }

    /// Cuts the stream off at both ends, and says why.
    pub fn reset(self, code: ResetCode) {
        self.shared.lock().mux.reset(self.id, code);
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the tunnel broke")
}

fn as_io(error: StreamError) -> io::Error {
    let kind = match error {
        StreamError::Finished => io::ErrorKind::BrokenPipe,
        StreamError::Reset(ResetCode::Cancelled) => io::ErrorKind::ConnectionReset,
        StreamError::Reset(ResetCode::Refused | ResetCode::Unreachable | ResetCode::Busy) => {
            io::ErrorKind::ConnectionRefused
        }
    };
    io::Error::new(kind, error)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = state.mux.read(self.id, out.initialize_unfilled(), self.shared.now());
        match read {
            Ok(Read::Bytes(count)) => {
                out.advance(count);
                state.nudge();
                Poll::Ready(Ok(()))
            }
            Ok(Read::End) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(as_io(error))),
            Ok(Read::Blocked) if state.over => Poll::Ready(Err(broken())),
            Ok(Read::Blocked) => {
                state.readers.insert(self.id, cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        if state.over {
            return Poll::Ready(Err(broken()));
        }
        match state.mux.write(self.id, bytes) {
            Ok(0) if !bytes.is_empty() => {
                state.writers.insert(self.id, cx.waker().clone());
                Poll::Pending
            }
            Ok(count) => {
                state.nudge();
                Poll::Ready(Ok(count))
            }
            Err(error) => Poll::Ready(Err(as_io(error))),
        }
    }

    /// The pump sends what is queued without being asked.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends our direction after what is queued. The other goes on.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        state.mux.finish(self.id);
        state.nudge();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.mux.release(self.id);
        state.readers.remove(&self.id);
        state.writers.remove(&self.id);
        state.nudge();
    }
}
