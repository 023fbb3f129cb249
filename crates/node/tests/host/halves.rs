//! The two halves: what a start costs, what becomes of what nobody wants any more, and how either takes the other's end.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use node::spawner::message::{Exit, Size};
use node::spawner::{Orders, Spawner, launch};
use runtime::Scope;

use super::gate::PATIENCE;
use super::proof;
use super::start::{command, me, run, run_on, with_spawner};

pub(crate) const TESTS: &[crate::Test] = &[
    ("programs_hang_up_when_the_service_is_gone", hang_up),
    ("a_stranger_on_the_socket_ends_the_spawner", stranger),
    ("starting_is_cheap", starting_is_cheap),
    ("much_given_back_at_once_stops_nobody", much_given_back_at_once),
    ("what_nobody_waits_for_any_more_goes_back", nobody_waits),
    ("a_question_whose_asker_left_with_the_account_harms_nobody", asker_left),
    ("a_host_that_does_not_answer_is_not_waited_for_for_ever", slow_host),
];

fn hang_up() {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let launched = launch(&std::env::current_exe().unwrap(), &Orders::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stdout = runtime.block_on(async {
        let scope = Scope::root("test");
        let spawner = Spawner::attach(launched, &scope).await.unwrap();
        spawner.trust(vec![proof::public(&proof::ca(1))]).await.unwrap();
        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();
        let (_, pipes) = account
            .run_on_pipes(command("trap 'echo hung up; exit' HUP; echo ready; sleep 60 & wait"), vec![])
            .await
            .unwrap();
        let mut stdout = std::fs::File::from(pipes.stdout);
        let mut line = [0; 6];
        stdout.read_exact(&mut line).unwrap();
        scope.drain(PATIENCE).await;
        stdout
    });
    drop((read, write));
    let mut rest = String::new();
    std::io::BufReader::new(stdout).read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hung up\n");
}

fn stranger() {
    for bytes in [&b"\xff"[..], &b"\x0a\0\0\0\0"[..]] {
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("spawner")
            .stdin(theirs)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();

        rustix::io::write(&ours, bytes).unwrap();

        assert!(!child.wait().unwrap().success());
    }
}

/// CPU time a process and its collected children have used, and what it holds.
fn cost(pid: u32) -> (Duration, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<u64> =
        stat.rsplit(')').next().unwrap().split_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
    // utime and stime; a tick is 10 ms, and so is the error.
    (Duration::from_millis(10 * (fields[11] + fields[12])), 4 * fields[21])
}

fn starting_is_cheap() {
    let launched = launch(&std::env::current_exe().unwrap(), &Orders::default()).unwrap();
    let pid = launched.pid();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let scope = Scope::root("test");
        let spawner = Spawner::attach(launched, &scope).await.unwrap();
        spawner.trust(vec![proof::public(&proof::ca(1))]).await.unwrap();
        let (before, started) = (cost(pid).0, std::time::Instant::now());
        let times = 200;
        for _ in 0..times {
            let account = spawner.lookup(proof::good(&me()), None).await.unwrap();
            let (mut running, pipes) = account.run_on_pipes(command("true"), vec![]).await.unwrap();
            drop(pipes);
            assert_eq!(running.ended().await.unwrap(), Exit::Code(0));
        }
        let (cpu, kib) = cost(pid);
        let each = (cpu - before) / times;
        println!(
            "  a start: {each:?} of the spawner's CPU, {:?} in all; it holds {kib} KiB",
            started.elapsed() / times
        );
        assert!(each < Duration::from_millis(5), "{each:?}");
        assert!(kib < 12 * 1024, "{kib} KiB");
        assert!(scope.drain(PATIENCE).await);
    });
}

/// How many descriptors a process has open.
fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Asks, and is gone before the answer.
pub(super) async fn ask_and_leave<T>(asked: impl Future<Output = T>) {
    let mut asked = std::pin::pin!(asked);
    std::future::poll_fn(|cx| {
        assert!(asked.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
}

/// Asks, and is gone once the question is on its way.
async fn ask_and_leave_later<T>(asked: impl Future<Output = T>) {
    tokio::select! {
        biased;
        _ = asked => {}
        () = tokio::task::yield_now() => {}
    }
}

fn nobody_waits() {
    let launched = launch(&std::env::current_exe().unwrap(), &Orders::default()).unwrap();
    let pid = launched.pid();
    run_on(launched, Some(proof::public(&proof::ca(1))), |spawner| async move {
        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();
        let mark = tempfile::tempdir().unwrap();
        let mark = mark.path().join("mark");
        let before = descriptors(pid);

        for _ in 0..50 {
            ask_and_leave(account.open_pty(Size::default())).await;
            ask_and_leave_later(account.open_pty(Size::default())).await;
        }
        let words = || command(&format!("sleep 2; touch {}", mark.display()));
        ask_and_leave(account.run_on_pipes(words(), Vec::new())).await;
        ask_and_leave_later(account.run_on_pipes(words(), Vec::new())).await;

        // Answers come in order, and what goes back goes before the second question.
        drop(account.open_pty(Size::default()).await.unwrap());
        drop(account.open_pty(Size::default()).await.unwrap());
        let (mut last, _pipes) = account.run_on_pipes(command("sleep 3"), Vec::new()).await.unwrap();
        last.ended().await.unwrap();
        assert!(descriptors(pid) <= before + 2, "{} after {before}", descriptors(pid));
        assert!(!mark.exists(), "a program nobody watches ran on");
    });
}

/// What is given back may overtake a question that still waits to be sent.
fn asker_left() {
    with_spawner(|spawner| async move {
        for _ in 0..20 {
            let account = spawner.lookup(proof::good(&me()), None).await.unwrap();
            for _ in 0..20 {
                ask_and_leave(account.connect(b"/nowhere")).await;
            }
            drop(account);
        }

        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();

        let (out, _, exit) = run(&account, "echo still here", &[]).await;
        assert_eq!((out.as_str(), exit), ("still here\n", Exit::Code(0)));
    });
}

fn slow_host() {
    let launched = launch(&std::env::current_exe().unwrap(), &Orders::default()).unwrap();
    let stopped = nix::unistd::Pid::from_raw(launched.pid().try_into().unwrap());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let scope = Scope::root("test");
        let spawner = Spawner::attach(launched, &scope).await.unwrap();

        nix::sys::signal::kill(stopped, nix::sys::signal::Signal::SIGSTOP).unwrap();
        let looked = spawner.lookup(proof::good(&me()), None);
        let looked = tokio::time::timeout(Duration::from_secs(3600), looked).await;
        nix::sys::signal::kill(stopped, nix::sys::signal::Signal::SIGCONT).unwrap();

        let refused = looked.expect("in time").unwrap_err().to_string();
        assert!(refused.contains("does not answer"), "{refused}");
        assert!(scope.drain(PATIENCE).await);
    });
}

/// More than the sockets between the two halves hold, both ways.
fn much_given_back_at_once() {
    with_spawner(|spawner| async move {
        let mut held = Vec::new();
        for _ in 0..2000 {
            held.push(spawner.lookup(proof::good(&me()), None).await.unwrap());
        }
        drop(held);

        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();

        let (out, _, exit) = run(&account, "echo still here", &[]).await;
        assert_eq!((out.as_str(), exit), ("still here\n", Exit::Code(0)));
    });
}
