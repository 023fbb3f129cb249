//! Two ends over a pipe that is small, slow and unfair, with each half in a task of its own; the clock is the tests'.

use std::future::Future;

use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt as _, StreamExt as _};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::*;

/// By then everything must be over. The clock jumps there once nobody can go on, so a hang costs no time.
const DEADLINE: Duration = Duration::from_secs(3600);

async fn pair() -> (Carrier<DuplexStream>, Carrier<DuplexStream>) {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let client = WebSocketStream::from_raw_socket(near, Role::Client, Some(settings())).await;
    (Carrier::client(client), Carrier::upgraded(far).await)
}

#[tokio::test]
async fn bytes_cross_in_both_directions_however_they_are_cut() {
    let (mut near, mut far) = pair().await;
    let sent: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let expected = sent.clone();

    let write = async {
        near.write_all(&sent).await.unwrap();
        near.flush().await.unwrap();
        let mut answer = [0; 5];
        near.read_exact(&mut answer).await.unwrap();
        answer
    };
    let read = async {
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).await.unwrap();
        far.write_all(b"thank").await.unwrap();
        far.flush().await.unwrap();
        got
    };
    let (answer, got) = tokio::join!(write, read);

    assert_eq!(got, expected);
    assert_eq!(&answer, b"thank");
}

#[tokio::test]
async fn the_far_end_going_away_is_an_end_of_file() {
    let (near, mut far) = pair().await;
    drop(near);

    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_frame_beyond_the_bound_is_refused() {
    let (mut near, far) = tokio::io::duplex(1024);
    let mut far = Carrier::upgraded(far).await;
    near.write_all(&[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]).await.unwrap();

    assert!(far.read(&mut [0; 8]).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_pings() {
    let (mut near, far) = pair().await;
    let mut raw = far.socket.into_inner();
    let waiting = async { near.read(&mut [0; 1]).await };
    tokio::select! {
        _ = waiting => unreachable!(),
        first = raw.read_u8() => assert_eq!(first.unwrap(), 0x89),
    }
}

/// Runs each future with a waker of its own, as tasks have, to the end of all.
async fn tasks<'a>(all: impl IntoIterator<Item = Pin<Box<dyn Future<Output = ()> + 'a>>>) {
    let all: FuturesUnordered<_> = all.into_iter().collect();
    tokio::time::timeout(DEADLINE, all.collect::<()>()).await.expect("somebody was never woken");
}

/// Numbers that look like chance and are the same each time.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }

    fn upto(&mut self, most: usize) -> usize {
        usize::try_from(self.below(most as u64)).unwrap() + 1
    }
}

/// A pipe's end that moves a few bytes at a time and now and then none, to be asked again.
struct Rough(DuplexStream, Dice);

impl Rough {
    fn balks(&mut self, cx: &Context<'_>) -> bool {
        let balks = self.1.below(4) == 0;
        if balks {
            cx.waker().wake_by_ref();
        }
        balks
    }
}

impl AsyncRead for Rough {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.balks(cx) {
            return Poll::Pending;
        }
        let mut some = vec![0; self.1.upto(500).min(out.remaining())];
        let mut part = ReadBuf::new(&mut some);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut part))?;
        out.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rough {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.balks(cx) {
            return Poll::Pending;
        }
        let count = self.1.upto(500).min(bytes.len());
        Pin::new(&mut self.0).poll_write(cx, &bytes[..count])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.balks(cx) { Poll::Pending } else { Pin::new(&mut self.0).poll_flush(cx) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed | 1);
    (0..length).map(|_| dice.below(256).to_le_bytes()[0]).collect()
}

/// Writes all in pieces, with a flush or a nap in between now and then, and shuts its direction down.
async fn write(mut to: impl AsyncWrite + Unpin, bytes: Vec<u8>, mut dice: Dice) {
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(dice.upto(100_000).min(rest.len()));
        to.write_all(now).await.unwrap();
        rest = later;
        match dice.below(6) {
            0 => tokio::time::sleep(Duration::from_secs(dice.below(45))).await,
            1 | 2 => to.flush().await.unwrap(),
            _ => {}
        }
    }
    to.shutdown().await.unwrap();
    // A direction that was shut down has nothing to say, and the other goes on.
    to.flush().await.unwrap();
}

/// Reads what is expected, slowly.
async fn read(from: &mut (impl AsyncRead + Unpin), expected: &[u8], mut dice: Dice) {
    let mut got = Vec::new();
    while got.len() < expected.len() {
        if dice.below(12) == 0 {
            tokio::time::sleep(Duration::from_secs(dice.below(90))).await;
        }
        let mut part = vec![0; dice.upto(20_000)];
        let count = from.read(&mut part).await.unwrap();
        assert_ne!(count, 0, "an end after {} of {} bytes", got.len(), expected.len());
        got.extend_from_slice(&part[..count]);
    }
    assert!(got == expected, "other bytes arrived than were sent");
}

/// Both directions at once, four tasks, to the last byte and the end of both.
async fn crosses(pipe: usize, up: usize, down: usize, seed: u64) {
    let (near, far) = duplex(pipe);
    let dice = |salt: u64| Dice(seed.rotate_left(17) ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (near, far) = (Rough(near, dice(1)), Rough(far, dice(2)));
    let near = WebSocketStream::from_raw_socket(near, Role::Client, Some(settings())).await;
    let (mut near_in, near_out) = split(Carrier::client(near));
    let (mut far_in, far_out) = split(Carrier::upgraded(far).await);
    let (up, down) = (pattern(up, seed), pattern(down, !seed));
    let (wrote, far_wrote) = tokio::sync::oneshot::channel();
    let (heard, far_heard) = tokio::sync::oneshot::channel();
    let (sent_up, sent_down) = (up.clone(), down.clone());
    tasks([
        Box::pin(write(near_out, sent_up, dice(3))) as Pin<Box<dyn Future<Output = ()>>>,
        Box::pin(async {
            write(far_out, sent_down, dice(4)).await;
            wrote.send(()).unwrap();
        }),
        Box::pin(async {
            read(&mut far_in, &up, dice(5)).await;
            heard.send(()).unwrap();
            // Stays until the near end is gone, and sees that it is; an answer to its last ping may be too late.
            assert!(matches!(far_in.read(&mut [0; 8]).await, Ok(0) | Err(_)));
        }),
        Box::pin(async move {
            read(&mut near_in, &down, dice(6)).await;
            // Goes on answering until the far end needs it no more.
            tokio::select! {
                more = near_in.read_u8() => panic!("nothing was left: {more:?}"),
                told = async { tokio::try_join!(far_wrote, far_heard) } => drop(told.unwrap()),
            }
        }),
    ])
    .await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_arrives_and_everything_ends(
        pipe in prop_oneof![1usize..64, 64usize..70_000],
        up in 0usize..150_000,
        down in 0usize..150_000,
        seed in any::<u64>(),
    ) {
        // A byte at a time takes as many turns as there are bytes.
        let most = if pipe < 64 { 4_000 } else { usize::MAX };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(crosses(pipe, up.min(most), down.min(most), seed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_does_not_take_the_place_of_a_writer_that_waits() {
    let (near, mut far) = pair().await;
    let (mut near_in, mut near_out) = split(near);
    let sent = pattern(200_000, 7);
    tasks([
        Box::pin(async {
            near_out.write_all(&sent).await.unwrap();
            near_out.flush().await.unwrap();
        }) as Pin<Box<dyn Future<Output = ()>>>,
        Box::pin(async { assert_eq!(near_in.read_u8().await.unwrap(), 9) }),
        Box::pin(async {
            tokio::time::sleep(PING + PING / 2).await;
            read(&mut far, &sent, Dice(1)).await;
            far.write_all(&[9]).await.unwrap();
            far.flush().await.unwrap();
        }),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_reads_gets_out_what_was_left_unflushed() {
    // Neither end pings: that would do it in passing.
    let (near, far) = duplex(1024);
    let mut near = Carrier::upgraded(near).await;
    let mut far = WebSocketStream::from_raw_socket(far, Role::Client, Some(settings())).await;
    let question = pattern(60_000, 3);
    tasks([
        Box::pin(async {
            near.write_all(&question).await.unwrap();
            assert_eq!(near.read_u8().await.unwrap(), 1);
        }) as Pin<Box<dyn Future<Output = ()>>>,
        Box::pin(async {
            assert_eq!(far.next().await.unwrap().unwrap(), Message::Binary(question.clone().into()));
            far.send(Message::Binary(Bytes::from_static(&[1]))).await.unwrap();
        }),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn messages_in_fragments_with_pings_between_are_one_stream() {
    let (near, far) = duplex(256);
    let mut near = WebSocketStream::from_raw_socket(near, Role::Client, Some(settings())).await;
    let mut far = Carrier::upgraded(far).await;
    let (sent, mut dice) = (pattern(100_000, 11), Dice(13));
    let pings = std::cell::Cell::new(0);
    let (all, count) = (&sent, &pings);
    tasks([
        Box::pin(async move {
            for message in all.chunks(9_000) {
                let mut opcode = Data::Binary;
                let mut rest = message;
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(dice.upto(3_000).min(rest.len()));
                    let fragment = Frame::message(now.to_vec(), OpCode::Data(opcode), later.is_empty());
                    near.send(Message::Frame(fragment)).await.unwrap();
                    if dice.below(2) == 0 {
                        near.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
                        count.set(count.get() + 1);
                    }
                    (opcode, rest) = (Data::Continue, later);
                }
            }
            // An answer to the last ping at the latest: earlier ones may be answered by it.
            near.send(Message::Ping(Bytes::from_static(b"last"))).await.unwrap();
            loop {
                match near.next().await.unwrap().unwrap() {
                    Message::Pong(of) if of == b"last".as_slice() => return,
                    Message::Pong(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }) as Pin<Box<dyn Future<Output = ()>>>,
        Box::pin(async {
            read(&mut far, &sent, Dice(17)).await;
            // Answers pings for as long as somebody reads.
            assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        }),
    ])
    .await;
    assert!(pings.get() > 5);
}
