//! Copies bytes both ways between two streams, unread, until both directions have ended.
//!
//! Where both streams have become sockets and nothing else, they are handed to a thread that only passes bytes on
//! ([`Shunt`]): a keystroke costs least there. Until then, and where that never comes, bytes are copied here.
//!
//! One direction's end is passed on and the other goes on, also when nobody takes more in the first: whoever hung up
//! may have said something last. A direction holds `SMALL` bytes while idle and up to `LARGE` while busy. Back-pressure
//! is the streams' own: nothing is queued here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use runtime::shunt::End;
use runtime::{Direct, Shunt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

const SMALL: usize = 2 * 1024;
const LARGE: usize = 64 * 1024;

/// What one direction moves before other tasks get their turn: a keystroke elsewhere waits behind that much.
const TURN: usize = 128 * 1024;

/// How long a client may take to hear that what it reached is gone.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a client may go on when what it reached has said its last word: whoever only stays holds no place here.
const LINGER: Duration = Duration::from_secs(30);

/// How much went each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relayed {
    /// Bytes from the first stream to the second.
    pub forth: u64,
    /// Bytes from the second to the first.
    pub back: u64,
}

struct Direction {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    unflushed: bool,
    ended: bool,
    shut: bool,
    /// Why nothing more can be written.
    failed: Option<io::Error>,
    /// Its source could not be read to the end.
    lost: bool,
    total: u64,
}

impl Direction {
    fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            unflushed: false,
            ended: false,
            shut: false,
            failed: None,
            lost: false,
            total: 0,
        }
    }

    /// Nothing is on its way, and nothing but sockets is left.
    fn is_plain<R: Direct, W: Direct>(&self, from: &R, to: &W) -> bool {
        let held = self.start < self.end;
        let over = self.ended || self.failed.is_some();
        !held && !over && !self.unflushed && from.reads_directly() && to.writes_directly()
    }

    /// Fills the empty buffer. A full one means there is more: the next is larger.
    fn poll_fill<R: AsyncRead + Direct + Unpin>(
        &mut self,
        from: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let wanted = if self.end > 0 && self.end == self.buffer.len() { LARGE } else { SMALL };
        if self.buffer.len() < wanted {
            self.buffer = vec![0; wanted];
        }
        (self.start, self.end) = (0, 0);
        let mut buffer = ReadBuf::new(&mut self.buffer);
        let read = Pin::new(from).poll_read(cx, &mut buffer)?;
        self.end = buffer.filled().len();
        match read {
            Poll::Ready(()) => {
                self.ended = self.end == 0;
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                if self.buffer.len() > SMALL {
                    self.buffer = Vec::new();
                }
                Poll::Pending
            }
        }
    }

    /// Ready at the direction's end: passed on, or `failed` says why not. Fails when `from` does.
    fn poll_copy<R, W>(&mut self, from: &mut R, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Direct + Unpin,
        W: AsyncWrite + Direct + Unpin,
    {
        let mut moved = 0;
        while self.failed.is_none() && !self.shut {
            match ready!(self.poll_empty(to, &mut moved, cx)) {
                Ok(()) if self.ended => break,
                Ok(()) => {}
                Err(error) => {
                    self.failed = Some(error);
                    self.buffer = Vec::new();
                    break;
                }
            }
            if moved >= TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.poll_fill(from, cx)?.is_pending() {
                if let Err(error) = ready!(self.poll_out(to, cx)) {
                    self.failed = Some(error);
                    break;
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is held and, at the end, passes the end on.
    fn poll_empty<W>(&mut self, to: &mut W, moved: &mut usize, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Direct + Unpin,
    {
        while self.start < self.end {
            let unsent = self.buffer.get(self.start..self.end).unwrap_or_default();
            let count = ready!(Pin::new(&mut *to).poll_write(cx, unsent))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.start += count;
            self.total += u64::try_from(count).unwrap_or(0);
            *moved += count;
            self.unflushed = true;
        }
        if self.ended && !self.shut {
            ready!(Pin::new(to).poll_shutdown(cx))?;
            self.shut = true;
            self.buffer = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_out<W: AsyncWrite + Unpin>(&mut self, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// Why copying stops.
enum Copied {
    ToTheEnd,
    /// Both streams are sockets: whoever only passes bytes on can have them.
    Plain,
}

/// Relays between a client `a` and what it reached, `b`, until both directions have ended or one cannot be read, or
/// 30 s after `b` has ended: nobody answers any more, and the client need not hang up.
///
/// # Errors
/// The first failure of either stream. One that takes no more is read to its end before that is told. When `b` cannot be
/// read, `a` is told that nothing more comes, for at most 5 s: its connection to us is whole, and what is sealed
/// inside knows what is missing.
pub async fn relay<A, B>(mut a: A, mut b: B, shunt: Option<&Shunt>) -> io::Result<Relayed>
where
    A: AsyncRead + AsyncWrite + Direct + Unpin,
    B: AsyncRead + AsyncWrite + Direct + Unpin,
{
    let (mut forth, mut back) = (Direction::new(), Direction::new());
    let mut linger = None;
    let copied = std::future::poll_fn(|cx| {
        let one = forth.poll_copy(&mut a, &mut b, cx)?;
        let other = back.poll_copy(&mut b, &mut a, cx).map_err(|error| {
            back.lost = true;
            error
        })?;
        if shunt.is_some() && forth.is_plain(&a, &b) && back.is_plain(&b, &a) {
            return Poll::Ready(Ok(Copied::Plain));
        }
        if other.is_pending() {
            return Poll::Pending;
        }
        let rest = linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if one.is_ready() || rest.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok::<_, io::Error>(Copied::ToTheEnd));
        }
        Poll::Pending
    })
    .await;
    if let (Ok(Copied::Plain), Some(shunt)) = (&copied, shunt) {
        return pass_on(a, b, shunt, Relayed { forth: forth.total, back: back.total }).await;
    }
    if back.lost {
        let _ = timeout(FAREWELL, a.shutdown()).await;
    }
    match copied.err().or(forth.failed).or(back.failed) {
        Some(error) => Err(error),
        None => Ok(Relayed { forth: forth.total, back: back.total }),
    }
}

/// Hands both sockets over and waits for their end.
async fn pass_on<A: Direct, B: Direct>(a: A, b: B, shunt: &Shunt, before: Relayed) -> io::Result<Relayed> {
    let copies = b.copies();
    let (a, b) = (Box::new(a).into_socket(), Box::new(b).into_socket());
    let (Some(a), Some(b)) = (a, b) else {
        return Err(io::Error::other("a socket could not be taken from the runtime"));
    };
    let passed = shunt.join(End::Socket(a), End::Socket(b), LINGER, copies).await?;
    Ok(Relayed { forth: before.forth + passed.forth, back: before.back + passed.back })
}

#[cfg(test)]
mod tests;
