//! Real sockets and pipes: what goes in comes out, whoever is slow, hangs up or breaks.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use super::*;

const LINGER: Duration = Duration::from_secs(3600);

/// A client's side and ours.
fn sockets() -> (TcpStream, End) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    far.set_nonblocking(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, End::Socket(far.into()))
}

fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(seed) >> 7) as u8).collect()
}

/// Says everything, then ends; meanwhile hears everything.
fn converse(stream: TcpStream, say: Vec<u8>, piece: usize) -> Vec<u8> {
    let mut speaker = stream.try_clone().unwrap();
    let speaking = thread::spawn(move || {
        for part in say.chunks(piece) {
            speaker.write_all(part).unwrap();
        }
        speaker.shutdown(Shutdown::Write).unwrap();
    });
    let (mut heard, mut stream) = (Vec::new(), stream);
    stream.read_to_end(&mut heard).unwrap();
    speaking.join().unwrap();
    heard
}

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn what_is_said_at_either_end_arrives_whole_at_the_other() {
    let shunt = Shunt::start().unwrap();
    for (forth, back, piece) in [
        (0, 0, 1),
        (1, 1, 1),
        (3_000, 0, 7),
        (0, 200_000, 64_000),
        (9 << 20, 7 << 20, 30_011),
        (9 << 20, 0, 65_536),
    ] {
        let ((client, a), (target, b)) = (sockets(), sockets());
        let (said, answered) = (pattern(forth, 31), pattern(back, 37));
        let joined = shunt.join(a, b, LINGER, None);

        let (heard, got, passed) = tokio::join!(
            on_thread({
                let answered = answered.clone();
                move || converse(target, answered, piece)
            }),
            on_thread({
                let said = said.clone();
                move || converse(client, said, piece)
            }),
            joined
        );

        assert!(heard == said && got == answered, "{forth} {back} {piece}");
        assert_eq!(passed.unwrap(), Passed { forth: forth as u64, back: back as u64 });
    }
}

#[tokio::test]
async fn many_pairs_at_once_keep_to_themselves_whichever_thread_they_are_on() {
    let shunt = Shunt::start().unwrap();
    let talks = (0..24).map(|n| {
        let ((client, a), (target, b)) = (sockets(), sockets());
        let joined = shunt.join(a, b, LINGER, None);
        // Some say little, some enough to be moved to the thread for copies and through the kernel.
        let length = if n % 3 == 0 { 6 << 20 } else { 900 + n };
        async move {
            let echo = on_thread(move || {
                let mut stream = target;
                let mut bytes = vec![0; 10_000];
                loop {
                    match stream.read(&mut bytes).unwrap() {
                        0 => return stream.shutdown(Shutdown::Write).unwrap(),
                        count => stream.write_all(&bytes[..count]).unwrap(),
                    }
                }
            });
            let said = pattern(length, 1000 + n);
            let talk = on_thread({
                let said = said.clone();
                move || converse(client, said, 4_099)
            });
            let ((), heard, passed) = tokio::join!(echo, talk, joined);
            assert!(heard == said, "talk {n}");
            assert_eq!(passed.unwrap().forth, length as u64);
        }
    });
    let all: Vec<_> = talks.map(|talk| Box::pin(talk) as Pin<Box<dyn Future<Output = ()>>>).collect();
    let mut all = all;
    std::future::poll_fn(|cx| {
        all.retain_mut(|talk| talk.as_mut().poll(cx).is_pending());
        if all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Copies and single keys in turn, each answered before the next: through the kernel and by hand.
#[test]
fn large_and_small_pieces_in_turn_arrive_in_order() {
    let (mut input, mut output, own) = pipes();
    let (mut target, b) = sockets();
    let carried = thread::spawn(move || carry(own, b));
    let said = pattern(4 << 20, 31);
    let mut total = 0;

    for round in 0..100 {
        // Large ones with small ones in between, then twenty small ones alone.
        let length =
            if round % 25 < 5 { [said.len(), 1, 100_000, 8 * 1024, 3_000][round % 25] } else { 1 + round };
        let part = said[..length].to_vec();
        let speaking = thread::spawn(move || {
            input.write_all(&part).unwrap();
            input
        });
        let mut heard = vec![0; length];
        target.read_exact(&mut heard).unwrap();
        input = speaking.join().unwrap();
        let mut far = target.try_clone().unwrap();
        let answering = thread::spawn(move || far.write_all(&heard).unwrap());
        let mut back = vec![0; length];
        output.read_exact(&mut back).unwrap();
        answering.join().unwrap();

        assert!(back == said[..length], "round {round}");
        total += length as u64;
    }
    target.shutdown(Shutdown::Write).unwrap();

    assert_eq!(carried.join().unwrap().unwrap(), Passed { forth: total, back: total });
}

#[tokio::test]
async fn a_reader_that_stalls_stalls_its_writer_and_the_other_direction_goes_on() {
    let shunt = Shunt::start().unwrap();
    let ((mut client, a), (mut target, b)) = (sockets(), sockets());
    let joined = shunt.join(a, b, LINGER, None);
    target.set_nonblocking(true).unwrap();
    let noise = vec![7; 1 << 20];
    // Until nothing is taken any more, however long one waits: the kernel's buffers are full, and ours holds no more.
    let mut said = 0;
    on_thread(move || {
        loop {
            match target.write(&noise) {
                Ok(count) => said += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut asked = [rustix::event::PollFd::new(&target, rustix::event::PollFlags::OUT)];
                    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
                    if rustix::event::poll(&mut asked, Some(&second)).unwrap() == 0 {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        client.write_all(b"stop").unwrap();
        target.set_nonblocking(false).unwrap();
        let mut heard = [0; 4];
        target.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"stop");
        target.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), said);
    })
    .await;
    let passed = joined.await.unwrap();
    assert_eq!(passed.forth, 4);
}

#[tokio::test]
async fn a_client_that_only_stays_is_let_go_when_what_it_reached_has_ended() {
    let shunt = Shunt::start().unwrap();
    let ((mut client, a), (mut target, b)) = (sockets(), sockets());
    target.write_all(b"bye").unwrap();
    target.shutdown(Shutdown::Write).unwrap();

    let passed = shunt.join(a, b, Duration::ZERO, None).await;

    assert_eq!(passed.unwrap(), Passed { forth: 0, back: 3 });
    let mut last = String::new();
    client.read_to_string(&mut last).unwrap();
    assert_eq!(last, "bye");
}

#[tokio::test]
async fn a_client_hears_the_end_when_what_it_reached_is_reset() {
    let shunt = Shunt::start().unwrap();
    let ((mut client, a), (mut target, b)) = (sockets(), sockets());
    let joined = shunt.join(a, b, LINGER, None);
    target.write_all(b"bye").unwrap();
    let mut said = [0; 3];
    client.read_exact(&mut said).unwrap();
    // What is unread when a socket is closed makes the kernel send a reset.
    client.write_all(b"unread").unwrap();
    let mut first = [0];
    target.read_exact(&mut first).unwrap();
    drop(target);

    let broken = joined.await.unwrap_err();

    assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() && &said == b"bye");
}

#[tokio::test]
async fn what_was_said_before_hanging_up_arrives() {
    let shunt = Shunt::start().unwrap();
    for last in [&b"exit 7"[..], &[5; 300_000]] {
        let ((mut client, a), (mut target, b)) = (sockets(), sockets());
        target.write_all(last).unwrap();
        drop(target);
        let joined = shunt.join(a, b, LINGER, None);
        let mut heard = Vec::new();
        let heard = on_thread(move || {
            client.read_to_end(&mut heard).unwrap();
            heard
        })
        .await;

        assert!(heard == last);
        let _ = joined.await;
    }
}

#[tokio::test]
async fn whoever_loses_interest_ends_the_pair() {
    let shunt = Shunt::start().unwrap();
    let ((mut client, a), (mut target, b)) = (sockets(), sockets());
    let joined = shunt.join(a, b, LINGER, None);
    client.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    target.read_exact(&mut heard).unwrap();

    drop(joined);

    assert_eq!(target.read(&mut heard).unwrap(), 0);
    assert_eq!(client.read(&mut heard).unwrap(), 0);
}

#[tokio::test]
async fn pairs_end_with_the_shunt_and_say_why() {
    let shunt = Shunt::start().unwrap();
    let ((mut client, a), (_target, b)) = (sockets(), sockets());
    let joined = shunt.join(a, b, LINGER, None);

    drop(shunt);

    assert_eq!(joined.await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

/// Pipes as a program's standard input and output are, and their far ends.
fn pipes() -> (std::io::PipeWriter, std::io::PipeReader, End) {
    let (from, said) = std::io::pipe().unwrap();
    let (heard, to) = std::io::pipe().unwrap();
    for end in [rustix::fd::AsFd::as_fd(&from), rustix::fd::AsFd::as_fd(&to)] {
        rustix::io::ioctl_fionbio(end, true).unwrap();
    }
    (said, heard, End::Pipes { from: from.into(), to: to.into() })
}

#[test]
fn pipes_and_a_socket_are_joined_until_the_far_end_is_done() {
    for (forth, back) in [(0, 1), (5, 70_000), (100_000, 6 << 20), (3 << 20, 0)] {
        let (mut input, mut output, own) = pipes();
        let (target, b) = sockets();
        let (said, answered) = (pattern(forth, 31), pattern(back, 37));
        let carried = thread::spawn(move || carry(own, b));
        let speaking = {
            let said = said.clone();
            thread::spawn(move || {
                input.write_all(&said).unwrap();
                drop(input);
            })
        };
        let reading = thread::spawn(move || {
            let mut got = Vec::new();
            let mut piece = vec![0; 5_003];
            loop {
                match output.read(&mut piece).unwrap() {
                    0 => return got,
                    count => got.extend_from_slice(&piece[..count]),
                }
            }
        });
        // The far end is done only when it has heard everything.
        let mut far = target.try_clone().unwrap();
        let answering = {
            let answered = answered.clone();
            thread::spawn(move || far.write_all(&answered).unwrap())
        };
        let (mut heard, mut target) = (Vec::new(), target);
        target.read_to_end(&mut heard).unwrap();
        answering.join().unwrap();
        target.shutdown(Shutdown::Write).unwrap();

        let passed = carried.join().unwrap().unwrap();
        speaking.join().unwrap();
        let got = reading.join().unwrap();

        assert!(heard == said && got == answered, "{forth} {back}");
        assert_eq!(passed, Passed { forth: forth as u64, back: back as u64 });
    }
}

#[test]
fn a_program_that_reads_no_more_is_an_error_and_no_signal() {
    let (_input, output, own) = pipes();
    let (mut target, b) = sockets();
    drop(output);
    target.write_all(b"anybody there?").unwrap();

    let broken = carry(own, b).unwrap_err();

    assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
}

/// Bytes that wait in the kernel at one end, more than several turns' worth; the near ends.
fn laden() -> (TcpStream, TcpStream, Box<Seat>) {
    let ((mut client, a), (target, b)) = (sockets(), sockets());
    client.set_nonblocking(true).unwrap();
    let (noise, mut waiting) = (vec![7; 64 * 1024], 0);
    while waiting < 512 * 1024 {
        waiting += client.write(&noise).unwrap();
    }
    let (done, _) = oneshot::channel();
    (client, target, Box::new(Seat::new(1, Pair::new(a, b, LINGER), done)))
}

#[test]
fn a_pair_that_has_more_waits_for_one_turn_however_often_it_is_woken() {
    let (_client, _target, seat) = laden();
    let mut board = Board::new(Arc::new(Post::new().unwrap()), Lane::Only);

    board.take(seat);
    board.pump(1);

    assert_eq!(board.again, [1]);
}

#[tokio::test]
async fn who_asks_is_told_that_a_pair_carries_copies() {
    let shunt = Shunt::start().unwrap();
    for (length, copies) in [(1_000, false), (3 << 20, true)] {
        let ((client, a), (target, b)) = (sockets(), sockets());
        let told = Arc::new(AtomicBool::new(false));
        let joined = shunt.join(a, b, LINGER, Some(told.clone()));

        let (_, _, passed) = tokio::join!(
            on_thread(move || converse(target, Vec::new(), 1)),
            on_thread(move || converse(client, pattern(length, 31), 4_096)),
            joined
        );

        assert_eq!(passed.unwrap().forth, length as u64);
        assert_eq!(told.load(Ordering::Relaxed), copies, "{length}");
    }
}
