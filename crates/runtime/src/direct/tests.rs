//! Real sockets on loopback: what goes in comes out, whoever is slow.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 16) as u8).collect()
}

async fn pass(from: &TcpStream, to: &TcpStream) -> io::Result<u64> {
    let (mut passage, mut total) = (Passage::new()?, 0);
    loop {
        let taken = std::future::poll_fn(|cx| passage.poll_take(from, cx)).await?;
        if taken == 0 {
            return Ok(total);
        }
        while passage.held() > 0 {
            total += std::future::poll_fn(|cx| passage.poll_give(to, cx)).await? as u64;
        }
    }
}

#[tokio::test]
async fn bytes_pass_from_socket_to_socket_until_the_end() {
    let (mut source, from) = pair().await;
    let (to, mut sink) = pair().await;
    let sent = pattern(5_000_000);
    let expected = sent.clone();

    let write = async move {
        // Pieces of all sizes, so that buffers of the kernel are cut everywhere.
        for piece in sent.chunks(7919) {
            source.write_all(piece).await.unwrap();
        }
    };
    let read = async move {
        let mut got = Vec::new();
        sink.read_to_end(&mut got).await.unwrap();
        got
    };
    let pass = async move { pass(&from, &to).await.unwrap() };
    let ((), passed, got) = tokio::join!(write, pass, read);

    assert_eq!(passed, 5_000_000);
    assert!(got == expected, "bytes changed on the way");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_stops_the_passage_and_nothing_grows() {
    let (source, from) = pair().await;
    let (to, mut sink) = pair().await;
    let mut passage = Passage::new().unwrap();
    source.set_nodelay(true).unwrap();
    let flood = vec![7; 1 << 16];
    let (mut written, mut passed) = (0, 0);

    // Until neither end takes any more: the kernel's buffers and the passage are full.
    loop {
        let put = source.try_write(&flood).unwrap_or(0);
        written += put;
        let moved = std::future::poll_fn(|cx| {
            if passage.held() == 0
                && let Poll::Ready(taken) = passage.poll_take(&from, cx)
            {
                taken?;
            }
            let given = if passage.held() > 0 { passage.poll_give(&to, cx) } else { Poll::Pending };
            Poll::Ready(io::Result::Ok(if let Poll::Ready(given) = given { given? } else { 0 }))
        });
        let moved = moved.await.unwrap();
        passed += moved;
        assert!(passage.held() <= 2 * MOST);
        if put == 0 && moved == 0 && passage.held() > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(passed < written);

    // And it goes on, whole, when the reader does.
    drop(source);
    let read = async move {
        let mut got = Vec::new();
        sink.read_to_end(&mut got).await.unwrap();
        got.len()
    };
    let go_on = async move {
        loop {
            while passage.held() > 0 {
                std::future::poll_fn(|cx| passage.poll_give(&to, cx)).await.unwrap();
            }
            if std::future::poll_fn(|cx| passage.poll_take(&from, cx)).await.unwrap() == 0 {
                return;
            }
        }
    };
    let ((), got) = tokio::join!(go_on, read);
    assert_eq!(got, written);
}

#[tokio::test]
async fn a_slow_pipe_gets_everything_a_socket_had() {
    let (mut source, from) = pair().await;
    let (sender, mut receiver) = pipe::pipe().unwrap();
    let sent = pattern(3_000_000);
    let expected = sent.clone();

    let write = async move {
        for piece in sent.chunks(4099) {
            source.write_all(piece).await.unwrap();
        }
    };
    let read = async move {
        let (mut got, mut piece) = (Vec::new(), [0; 777]);
        loop {
            match receiver.read(&mut piece).await.unwrap() {
                0 => return got,
                count => got.extend_from_slice(&piece[..count]),
            }
            tokio::task::yield_now().await;
        }
    };
    let pass = async move {
        while std::future::poll_fn(|cx| poll_into_pipe(&from, &sender, cx)).await.unwrap() > 0 {}
    };
    let ((), (), got) = tokio::join!(write, pass, read);

    assert!(got == expected, "bytes changed on the way");
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_is_an_error() {
    let (mut source, from) = pair().await;
    let (sender, receiver) = pipe::pipe().unwrap();
    drop(receiver);
    source.write_all(b"anybody?").await.unwrap();

    let moved = std::future::poll_fn(|cx| poll_into_pipe(&from, &sender, cx)).await;

    assert_eq!(moved.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_socket_that_was_reset_is_an_error_and_not_an_end() {
    let (source, from) = pair().await;
    let mut passage = Passage::new().unwrap();
    reset_on_close(&source);
    drop(source);

    let taken = std::future::poll_fn(|cx| passage.poll_take(&from, cx)).await;

    assert_eq!(taken.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_call_that_is_not_there_is_told_from_a_socket_that_failed() {
    use rustix::io::Errno;
    for errno in [Errno::NOSYS, Errno::INVAL, Errno::PERM, Errno::ACCESS, Errno::OPNOTSUPP] {
        assert!(is_refused(&errno.into()), "{errno}");
    }
    for errno in [Errno::CONNRESET, Errno::PIPE, Errno::NOTCONN, Errno::TIMEDOUT, Errno::AGAIN] {
        assert!(!is_refused(&errno.into()), "{errno}");
    }
}

/// Closing it sends a reset.
fn reset_on_close(socket: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO)).unwrap();
}
