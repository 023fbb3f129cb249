//! Two streams and what is between them: nothing is lost, whoever is slow, hangs up or breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use runtime::direct::Wrapped;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, join, sink};
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
    let (relayed, (got, answer)) = tokio::join!(relay(a, b, None), ends);

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
async fn what_is_only_sockets_is_handed_over_and_nothing_is_lost() {
    let shunt = Shunt::start().unwrap();
    let ((mut client, a), (mut target, b)) = (sockets().await, sockets().await);
    client.write_all(b"before").await.unwrap();
    let relayed = relay(a, b, Some(&shunt));
    let talk = async {
        let mut heard = [0; 6];
        target.read_exact(&mut heard).await.unwrap();
        target.write_all(b"an answer").await.unwrap();
        target.shutdown().await.unwrap();
        client.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        (heard, answer)
    };

    let (relayed, (heard, answer)) = tokio::join!(relayed, talk);

    assert_eq!((&heard, answer.as_str()), (b"before", "an answer"));
    assert_eq!(relayed.unwrap(), Relayed { forth: 6, back: 9 });
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stalls_stalls_its_writer_and_nothing_is_queued() {
    let (mut left, a) = duplex(1000);
    let (_right, b) = duplex(1000);
    let flood = async { tokio::time::timeout(Duration::from_secs(1), left.write_all(&[0; 1 << 20])).await };
    let both = async { tokio::join!(tokio::time::timeout(Duration::from_secs(2), relay(a, b, None)), flood) };

    let (relayed, flood) = both.await;

    assert!(relayed.is_err() && flood.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_stays_is_let_go_when_what_it_reached_has_ended() {
    let (mut left, a) = duplex(1000);
    let (mut right, b) = duplex(1000);
    right.write_all(b"bye").await.unwrap();
    right.shutdown().await.unwrap();

    let relayed = timeout(Duration::from_secs(60), relay(a, b, None)).await;

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

    assert!(relay(a, b, None).await.is_err());
}

#[tokio::test]
async fn a_client_hears_the_end_when_what_it_reached_is_reset() {
    /// Says something, then breaks.
    struct Reset(bool);
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
    /// Counts ends that were passed on.
    struct Ends<W>(W, Arc<AtomicUsize>);
    impl<W: AsyncWrite + Unpin> AsyncWrite for Ends<W> {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, b)
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }
        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }
    let (mut left, a) = duplex(1000);
    let (from, to) = tokio::io::split(a);
    let ends = Arc::new(AtomicUsize::new(0));
    let client = Wrapped::new(join(from, Ends(to, ends.clone())));
    let target = Wrapped::new(join(Reset(false), sink()));

    let relayed = relay(client, target, None).await;

    let mut last = String::new();
    left.read_to_string(&mut last).await.unwrap();
    assert_eq!(relayed.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!((last.as_str(), ends.load(Ordering::Relaxed)), ("bye", 1));
}

#[tokio::test]
async fn what_was_said_before_hanging_up_arrives_and_so_does_the_end() {
    let (mut left, a) = duplex(1000);
    let (mut right, b) = duplex(1000);
    right.write_all(b"exit 7").await.unwrap();
    drop(right);
    left.write_all(b"and another thing").await.unwrap();

    let mut last = String::new();
    let (relayed, read) = tokio::join!(relay(a, b, None), left.read_to_string(&mut last));

    assert!(relayed.is_err());
    assert_eq!((read.unwrap(), last.as_str()), (6, "exit 7"));
}

/// A socket whose owner wants to know whether it carries copies.
struct Asked(TcpStream, Arc<AtomicBool>);

impl AsyncRead for Asked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl AsyncWrite for Asked {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Direct for Asked {
    fn reads_directly(&self) -> bool {
        true
    }
    fn writes_directly(&self) -> bool {
        true
    }
    fn copies(&self) -> Option<Arc<AtomicBool>> {
        Some(self.1.clone())
    }
    fn into_socket(self: Box<Self>) -> Option<std::os::fd::OwnedFd> {
        Box::new(self.0).into_socket()
    }
}

#[tokio::test]
async fn who_is_reached_hears_that_copies_go_through_what_was_handed_over() {
    let shunt = Shunt::start().unwrap();
    let ((mut client, a), (mut target, b)) = (sockets().await, sockets().await);
    let copies = Arc::new(AtomicBool::new(false));
    let relayed = relay(a, Asked(b, copies.clone()), Some(&shunt));
    let talk = async {
        let say = async {
            client.write_all(&vec![7; 3 << 20]).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let hear = async {
            target.read_to_end(&mut heard).await.unwrap();
            target.shutdown().await.unwrap();
        };
        tokio::join!(say, hear)
    };

    let (relayed, _) = tokio::join!(relayed, talk);

    assert_eq!(relayed.unwrap().forth, 3 << 20);
    assert!(copies.load(Ordering::Relaxed));
}
