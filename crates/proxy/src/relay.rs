//! Copies bytes both ways between two streams, unread, until both directions have ended.
//!
//! One direction's end is passed on and the other goes on, also when nobody takes more in the first: whoever hung up
//! may have said something last. A direction holds `SMALL` bytes while idle and up to `LARGE` while busy. One that has
//! carried much and leads from a socket to a socket goes on inside the kernel. Back-pressure is the streams' own:
//! nothing is queued here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use runtime::Direct;
use runtime::direct::{Passage, is_refused};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

const SMALL: usize = 2 * 1024;
const LARGE: usize = 64 * 1024;

/// What one direction moves before other tasks get their turn: a keystroke elsewhere waits behind that much.
const TURN: usize = 128 * 1024;

/// What a direction carries before it is worth a pipe of the kernel's, if it can have one.
const WORTH: u64 = 1024 * 1024;

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

/// How a direction's bytes get across.
enum Way {
    Copied,
    /// From socket to socket: nothing is in the buffer.
    Spliced(Passage),
    /// Copied for good: no pipe was to be had, or the kernel does not do it.
    OnlyCopied,
}

struct Direction {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    way: Way,
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
            way: Way::Copied,
            unflushed: false,
            ended: false,
            shut: false,
            failed: None,
            lost: false,
            total: 0,
        }
    }

    /// Lets the kernel go on where it can. Nothing is held here.
    fn shorten<R: Direct, W: Direct>(&mut self, from: &R, to: &W) {
        let worth = matches!(self.way, Way::Copied) && self.total >= WORTH;
        if worth && from.reads_from().is_some() && to.writes_to().is_some() {
            self.way = Passage::new().map_or(Way::OnlyCopied, Way::Spliced);
            self.buffer = Vec::new();
            (self.start, self.end) = (0, 0);
        }
    }

    /// Fills the empty buffer. A full one means there is more: the next is larger.
    fn poll_fill<R: AsyncRead + Direct + Unpin>(
        &mut self,
        from: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let (Way::Spliced(passage), Some(socket)) = (&mut self.way, from.reads_from()) {
            match ready!(passage.poll_take(socket, cx)) {
                Err(error) if is_refused(&error) => self.way = Way::OnlyCopied,
                taken => {
                    self.ended = taken? == 0;
                    return Poll::Ready(Ok(()));
                }
            }
        }
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
            self.shorten(from, to);
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
        if let (Way::Spliced(passage), Some(socket)) = (&mut self.way, to.writes_to()) {
            while passage.held() > 0 {
                let count = ready!(passage.poll_give(socket, cx))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.total += u64::try_from(count).unwrap_or(0);
                *moved += count;
            }
        }
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

/// Relays between a client `a` and what it reached, `b`, until both directions have ended or one cannot be read, or
/// 30 s after `b` has ended: nobody answers any more, and the client need not hang up.
///
/// # Errors
/// The first failure of either stream. One that takes no more is read to its end before that is told. When `b` cannot be
/// read, `a` is told that nothing more comes, for at most 5 s: its connection to us is whole, and what is sealed
/// inside knows what is missing.
pub async fn relay<A, B>(mut a: A, mut b: B) -> io::Result<Relayed>
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
        if other.is_pending() {
            return Poll::Pending;
        }
        let rest = linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if one.is_ready() || rest.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok::<(), io::Error>(()));
        }
        Poll::Pending
    })
    .await;
    if back.lost {
        let _ = timeout(FAREWELL, a.shutdown()).await;
    }
    match copied.err().or(forth.failed).or(back.failed) {
        Some(error) => Err(error),
        None => Ok(Relayed { forth: forth.total, back: back.total }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn each_direction_ends_by_itself_and_nothing_is_lost() {
        let (mut left, a) = duplex(10_000);
        let (mut right, b) = duplex(300);
        let sent: Vec<u8> = (0..400_000u32).map(|n| n.to_le_bytes()[1]).collect();
        let expected = sent.clone();

        let ends = async {
            let write = async {
                left.write_all(&sent).await.unwrap();
                left.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            tokio::join!(write, async { right.read_to_end(&mut got).await.unwrap() });
            right.write_all(b"thanks").await.unwrap();
            right.shutdown().await.unwrap();
            let mut answer = Vec::new();
            left.read_to_end(&mut answer).await.unwrap();
            (got, answer)
        };
        let (relayed, (got, answer)) = tokio::join!(relay(a, b), ends);

        assert_eq!(relayed.unwrap(), Relayed { forth: 400_000, back: 6 });
        assert_eq!(got, expected);
        assert_eq!(answer, b"thanks");
    }

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn sockets_that_carry_much_are_left_to_the_kernel_and_nothing_is_lost() {
        const MUCH: usize = 6 << 20;
        let (left, mut a) = sockets().await;
        let (right, mut b) = sockets().await;
        let pattern = |seed: usize| (0..MUCH).map(move |n| (n.wrapping_mul(seed) >> 7) as u8);
        let talk = |stream: TcpStream, seed: usize| async move {
            let (mut from, mut to) = stream.into_split();
            let send = async {
                let said: Vec<u8> = pattern(seed).collect();
                to.write_all(&said).await.unwrap();
                to.shutdown().await.unwrap();
            };
            let mut heard = Vec::new();
            tokio::join!(send, async { from.read_to_end(&mut heard).await.unwrap() });
            heard
        };
        let (mut forth, mut back) = (Direction::new(), Direction::new());
        let both = std::future::poll_fn(|cx| {
            let one = forth.poll_copy(&mut a, &mut b, cx)?;
            let other = back.poll_copy(&mut b, &mut a, cx)?;
            if one.is_ready() && other.is_ready() {
                Poll::Ready(Ok::<(), io::Error>(()))
            } else {
                Poll::Pending
            }
        });

        let (copied, from_right, from_left) = tokio::join!(both, talk(left, 31), talk(right, 37));

        copied.unwrap();
        assert!(from_right.iter().copied().eq(pattern(37)) && from_left.iter().copied().eq(pattern(31)));
        for direction in [forth, back] {
            assert!(matches!(direction.way, Way::Spliced(_)));
            assert_eq!((direction.total, direction.buffer.len()), (MUCH as u64, 0));
        }
    }

    #[tokio::test]
    async fn little_is_copied_and_costs_no_pipe() {
        let (mut left, mut a) = sockets().await;
        let (mut right, mut b) = sockets().await;
        left.write_all(b"ls\n").await.unwrap();
        left.shutdown().await.unwrap();
        let mut forth = Direction::new();

        std::future::poll_fn(|cx| forth.poll_copy(&mut a, &mut b, cx)).await.unwrap();

        let mut heard = String::new();
        right.read_to_string(&mut heard).await.unwrap();
        assert!(heard == "ls\n" && matches!(forth.way, Way::Copied));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stalls_stalls_its_writer_and_nothing_is_queued() {
        let (mut left, a) = duplex(1000);
        let (_right, b) = duplex(1000);
        let flood =
            async { tokio::time::timeout(Duration::from_secs(1), left.write_all(&[0; 1 << 20])).await };
        let both = async { tokio::join!(tokio::time::timeout(Duration::from_secs(2), relay(a, b)), flood) };

        let (relayed, flood) = both.await;

        assert!(relayed.is_err() && flood.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_only_stays_is_let_go_when_what_it_reached_has_ended() {
        let (mut left, a) = duplex(1000);
        let (mut right, b) = duplex(1000);
        right.write_all(b"bye").await.unwrap();
        right.shutdown().await.unwrap();

        let relayed = timeout(Duration::from_secs(60), relay(a, b)).await;

        assert_eq!(relayed.expect("it ends").unwrap(), Relayed { forth: 0, back: 3 });
        let mut last = String::new();
        left.read_to_string(&mut last).await.unwrap();
        assert_eq!(last, "bye");
    }

    #[tokio::test]
    async fn a_broken_stream_ends_the_relay() {
        let (left, a) = duplex(1000);
        let (right, b) = duplex(1000);
        drop(right);
        let mut left = left;
        left.write_all(b"x").await.unwrap();

        assert!(relay(a, b).await.is_err());
    }

    #[tokio::test]
    async fn a_client_hears_the_end_when_what_it_reached_is_reset() {
        /// Says something, then breaks.
        struct Reset(bool);
        impl Direct for Reset {}
        impl AsyncRead for Reset {
            fn poll_read(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                out: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                if std::mem::replace(&mut self.0, true) {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                out.put_slice(b"bye");
                Poll::Ready(Ok(()))
            }
        }
        impl AsyncWrite for Reset {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(Ok(b.len()))
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        /// Counts ends that were passed on.
        struct Client(tokio::io::DuplexStream, std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl Direct for Client {}
        impl AsyncRead for Client {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                out: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_read(cx, out)
            }
        }
        impl AsyncWrite for Client {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                b: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write(cx, b)
            }
            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_flush(cx)
            }
            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Pin::new(&mut self.0).poll_shutdown(cx)
            }
        }
        let (mut left, a) = duplex(1000);
        let ends = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));

        let relayed = relay(Client(a, ends.clone()), Reset(false)).await;

        let mut last = String::new();
        left.read_to_string(&mut last).await.unwrap();
        assert_eq!(relayed.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!((last.as_str(), ends.load(std::sync::atomic::Ordering::Relaxed)), ("bye", 1));
    }

    #[tokio::test]
    async fn what_was_said_before_hanging_up_arrives_and_so_does_the_end() {
        let (mut left, a) = duplex(1000);
        let (mut right, b) = duplex(1000);
        right.write_all(b"exit 7").await.unwrap();
        drop(right);
        left.write_all(b"and another thing").await.unwrap();

        let mut last = String::new();
        let (relayed, read) = tokio::join!(relay(a, b), left.read_to_string(&mut last));

        assert!(relayed.is_err());
        assert_eq!((read.unwrap(), last.as_str()), (6, "exit 7"));
    }
}
