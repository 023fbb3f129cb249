//! A name service that waits until it is told: what goes on meanwhile, and how long for.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::Duration;

use model::Login;
use nix::poll::{PollFd, PollFlags};
use node::spawner::claim::Claim;
use node::spawner::message::{Answer, Exit, MAX, Question, Signal, Size, VERSION};
use node::spawner::{Launched, Names, Orders, Program, launch};

use super::gate::{Gate, PATIENCE, wait};
use super::halves::ask_and_leave;
use super::proof;
use super::start::{Made, command, is_root, me, run, run_on};

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_slow_look_up_holds_up_nobody_else", nobody_else),
    ("a_look_up_that_takes_too_long_is_given_up_and_named", too_long),
    ("a_look_up_nobody_waits_for_is_given_up", nobody_waits),
    ("who_hangs_up_is_not_looked_up_any_more", hangs_up),
    ("look_ups_beyond_their_number_are_refused", too_many),
    ("who_finds_no_place_is_told_so", no_place),
    ("an_account_that_is_not_known_yet_opens_nothing", not_yet),
    ("look_ups_end_with_the_spawner", end_with_it),
    ("who_come_one_after_the_other_are_looked_up_by_one_process", one_after_the_other),
    ("who_has_served_its_time_is_asked_no_more", served),
    ("a_name_service_that_crashes_is_told_and_harms_nobody", crashes),
];

/// Which processes have asked for a name, a line for each time.
const ASKERS: &str = "askers";
/// Where this is, who asks crashes.
const CRASHES: &str = "crashes";

/// Where the names of this process are slow.
static SLOW: OnceLock<PathBuf> = OnceLock::new();

/// The host's names, but who asks for one that has a pipe beside the pins waits for a byte from it. Each process that asks
/// leaves its number there, and ends where there is a file that says so.
pub(crate) fn names(orders: &Orders) -> Names {
    let system = Names { find: plain, ..Names::SYSTEM };
    let Some(directory) = orders.pins.as_deref().and_then(Path::parent) else { return system };
    let seconds = |name| {
        let seconds = std::fs::read_to_string(directory.join(name)).ok();
        Duration::from_secs(seconds.map_or(3600, |seconds| seconds.parse().unwrap()))
    };
    SLOW.set(directory.to_owned()).unwrap();
    let find = |name: &str| {
        let directory = SLOW.get().unwrap();
        let mut askers = OpenOptions::new().append(true).create(true).open(directory.join(ASKERS))?;
        writeln!(askers, "{}", std::process::id())?;
        if directory.join(CRASHES).exists() {
            std::process::abort();
        }
        if let Ok(mut pipe) = File::open(directory.join(name)) {
            pipe.read_exact(&mut [0])?;
        }
        plain(name)
    };
    Names { find, patience: seconds("patience"), serves: seconds("serves") }
}

/// The host's names, but who runs the tests has an empty home: what their shells read when they start is their own
/// business, and takes as long as they like.
fn plain(name: &str) -> std::io::Result<Option<nix::unistd::User>> {
    let found = (Names::SYSTEM.find)(name)?;
    let Some(user) = found.filter(|user| user.uid == nix::unistd::Uid::current()) else {
        return (Names::SYSTEM.find)(name);
    };
    let home = std::env::current_exe()?.with_extension("home");
    std::fs::create_dir_all(&home)?;
    Ok(Some(nix::unistd::User { dir: home, ..user }))
}

/// A directory whose spawner has slow names.
pub(super) struct Slow(tempfile::TempDir);

impl Slow {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// From now on everything is given up after so many seconds.
    pub(super) fn patience(&self, seconds: u32) {
        std::fs::write(self.path("patience"), seconds.to_string()).unwrap();
    }

    fn orders(&self) -> Orders {
        Orders { pins: Some(self.0.path().join("pins")), own_env: false }
    }

    pub(super) fn launch(&self) -> Launched {
        launch(&std::env::current_exe().unwrap(), &self.orders()).unwrap()
    }

    fn pipe(&self, login: &Login) -> PathBuf {
        self.0.path().join(login.as_str())
    }

    /// From now on this name waits.
    fn hold(&self, login: &Login) {
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        nix::unistd::mkfifo(&self.pipe(login), mode).unwrap();
    }

    /// And no longer does for whom asks now.
    fn let_go(&self, login: &Login) {
        std::fs::remove_file(self.pipe(login)).unwrap();
    }

    /// Who has asked for names, each time.
    fn askers(&self) -> Vec<String> {
        let askers = std::fs::read_to_string(self.0.path().join(ASKERS)).unwrap();
        askers.lines().map(str::to_owned).collect()
    }

    /// Waits until somebody waits for this name.
    fn reached(&self, login: &Login) -> impl FnOnce() -> Waiting + Send + use<> {
        let pipe = self.pipe(login);
        move || {
            let mut writer = OpenOptions::new();
            let writer = writer.write(true).custom_flags(nix::libc::O_NONBLOCK);
            Waiting(wait(|| writer.open(&pipe).ok()).expect("nobody looks it up"))
        }
    }
}

/// Who waits for a name.
struct Waiting(File);

impl Waiting {
    /// This many go on.
    fn tell(&mut self, many: usize) {
        self.0.write_all(&vec![b'.'; many]).unwrap();
    }

    /// Waits until they all are gone.
    fn gone(&self) {
        let mut pipe = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        let patience = u16::try_from(PATIENCE.as_millis()).unwrap_or(u16::MAX);
        assert_eq!(nix::poll::poll(&mut pipe, patience), Ok(1), "still looked up");
    }
}

/// Beside the runtime, which is to go on.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

pub(super) fn authority() -> Vec<u8> {
    proof::public(&proof::ca(1))
}

fn nobody_else() {
    let slow = Slow::new();
    let made = is_root().then(|| Made::new("s"));
    let other = made.as_ref().map(Made::login);
    run_on(slow.launch(), Some(authority()), |spawner| async move {
        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();
        let (mut running, _pipes) = account.run_on_pipes(command("exec sleep 600"), vec![]).await.unwrap();
        slow.hold(&me());
        let looked = spawner.lookup(proof::good(&me()), None);
        let mut looked = std::pin::pin!(looked);

        let meanwhile = async {
            let waiting = aside(slow.reached(&me())).await;
            // A program ends, others start, and where there is another account it comes in.
            running.signal(Signal::Term).await.unwrap();
            assert_eq!(running.ended().await.unwrap(), Exit::Signal { number: 15, core: false });
            let (out, _, exit) = run(&account, "echo here", &[]).await;
            assert_eq!((out.as_str(), exit), ("here\n", Exit::Code(0)));
            let pty = account.open_pty(Size::default()).await.unwrap();
            let (mut shell, master) =
                account.run_on_pty(pty, Program::Command(b"exit 4".to_vec()), vec![]).await.unwrap();
            assert_eq!(shell.ended().await.unwrap(), Exit::Code(4));
            drop(master);
            if let Some(other) = &other {
                let other = spawner.lookup(proof::good(other), None).await.unwrap();
                assert_eq!(run(&other, "exit 5", &[]).await.2, Exit::Code(5));
            }
            waiting
        };
        let mut waiting = tokio::select! {
            looked = &mut looked => panic!("nobody told it to go on: {looked:?}"),
            waiting = meanwhile => waiting,
        };
        waiting.tell(1);

        let account = looked.await.unwrap();
        assert_eq!(run(&account, "exit 6", &[]).await.2, Exit::Code(6));
    });
}

fn too_long() {
    let slow = Slow::new();
    slow.patience(1);
    run_on(slow.launch(), Some(authority()), |spawner| async move {
        slow.hold(&me());

        let looked = spawner.lookup(proof::good(&me()), None);
        let (refused, waiting) = tokio::join!(looked, aside(slow.reached(&me())));

        let refused = refused.unwrap_err().to_string();
        let named = format!("did not answer in 1 s who `{}` is", me().as_str());
        assert!(refused.contains(&named), "{refused}");
        waiting.gone();
        slow.let_go(&me());
        spawner.lookup(proof::good(&me()), None).await.unwrap();
    });
}

fn nobody_waits() {
    let slow = Slow::new();
    run_on(slow.launch(), Some(authority()), |spawner| async move {
        slow.hold(&me());
        // One leaves before it is heard that its account is looked up, one after.
        ask_and_leave(spawner.lookup(proof::good(&me()), None)).await;
        let waiting = tokio::select! {
            _ = spawner.lookup(proof::good(&me()), None) => panic!("nobody told it to go on"),
            waiting = aside(slow.reached(&me())) => waiting,
        };

        aside(move || waiting.gone()).await;
    });
}

fn hangs_up() {
    let slow = Slow::new();
    slow.hold(&me());
    let roles = vec![policy::presets::access()];
    let gate = Gate::on(slow.launch(), me().as_str(), roles, node::serve::Settings::default());
    let mut client = gate.ssh(&[], &["echo never"]).spawn().unwrap();
    let waiting = slow.reached(&me())();

    client.kill().unwrap();
    client.wait().unwrap();

    waiting.gone();
}

/// A spawner that is spoken to by hand.
struct Raw {
    socket: OwnedFd,
    child: Child,
}

impl Raw {
    fn new(slow: &Slow) -> Self {
        let (socket, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .arg(node::spawner::SUBCOMMAND)
            .arg(slow.orders().pins.unwrap())
            .stdin(theirs)
            .spawn()
            .unwrap();
        let mut raw = Self { socket, child };
        assert!(matches!(raw.ask(&Question::Hello { version: VERSION }), Answer::Hello { .. }));
        assert_eq!(raw.ask(&Question::Trust { authorities: vec![authority()] }), Answer::Done);
        raw
    }

    fn ask(&mut self, question: &Question) -> Answer {
        rustix::io::write(&self.socket, &question.encode()).unwrap();
        self.hear()
    }

    fn hear(&mut self) -> Answer {
        let mut buffer = vec![0; MAX];
        let len = rustix::io::read(&self.socket, &mut buffer).unwrap();
        Answer::decode(&buffer[..len]).unwrap()
    }

    fn look(&mut self) -> Answer {
        self.ask(&Question::Lookup(Claim { proof: proof::good(&me()), from: None }))
    }
}

fn too_many() {
    let slow = Slow::new();
    slow.hold(&me());
    let mut raw = Raw::new(&slow);

    let mut handles = Vec::new();
    let refused = loop {
        match raw.look() {
            Answer::Begun { handle: lookup } => handles.push(lookup),
            Answer::Refused { reason } => break reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(handles.len(), 128);
    assert!(refused.contains("busy"), "{refused}");

    // All are told, and there is room again.
    let mut waiting = slow.reached(&me())();
    waiting.tell(handles.len());
    for _ in 0..handles.len() {
        let Answer::Found { account, .. } = raw.hear() else { panic!("not found") };
        handles.retain(|handle| *handle != account);
    }
    assert!(handles.is_empty(), "{handles:?}");
    slow.let_go(&me());
    assert!(matches!(raw.look(), Answer::Begun { .. }));
    assert!(matches!(raw.hear(), Answer::Found { .. }));
    drop(raw.socket);
    assert!(raw.child.wait().unwrap().success());
}

fn no_place() {
    let slow = Slow::new();
    run_on(slow.launch(), Some(authority()), |spawner| async move {
        slow.hold(&me());
        let mut waiting: Vec<_> =
            (0..64).map(|_| Box::pin(spawner.lookup(proof::good(&me()), None))).collect();
        for one in &mut waiting {
            let begun = std::future::poll_fn(|cx| std::task::Poll::Ready(one.as_mut().poll(cx))).await;
            assert!(begun.is_pending());
        }

        tokio::time::pause();
        let refused = spawner.lookup(proof::good(&me()), None).await.unwrap_err().to_string();
        tokio::time::resume();

        assert!(refused.contains("busy"), "{refused}");
        // Those who give up leave their places to others.
        drop(waiting);
        slow.let_go(&me());
        spawner.lookup(proof::good(&me()), None).await.unwrap();
    });
}

fn not_yet() {
    let questions: [fn(u32) -> Question; 4] = [
        |account| Question::OpenPty { account, size: Size::default() },
        |account| Question::Spawn { account, pty: None, program: Program::Shell, env: Vec::new() },
        |account| Question::AgentSocket { account },
        |account| Question::Connect { account, path: b"s".to_vec() },
    ];
    for question in questions {
        let slow = Slow::new();
        slow.hold(&me());
        let mut raw = Raw::new(&slow);
        let Answer::Begun { handle: lookup } = raw.look() else { panic!("not looked up") };

        rustix::io::write(&raw.socket, &question(lookup).encode()).unwrap();

        assert!(!raw.child.wait().unwrap().success(), "an account was opened that is not known");
    }
}

fn end_with_it() {
    let slow = Slow::new();
    slow.hold(&me());
    let killed = |raw: &mut Raw| raw.child.kill().unwrap();
    let left = |raw: &mut Raw| rustix::net::shutdown(&raw.socket, rustix::net::Shutdown::Both).unwrap();
    for end in [killed as fn(&mut Raw), left] {
        let mut raw = Raw::new(&slow);
        assert!(matches!(raw.look(), Answer::Begun { .. }));
        let waiting = slow.reached(&me())();

        end(&mut raw);
        raw.child.wait().unwrap();

        waiting.gone();
    }
}

fn one_after_the_other() {
    let slow = Slow::new();
    run_on(slow.launch(), Some(authority()), |spawner| async move {
        for _ in 0..3 {
            spawner.lookup(proof::good(&me()), None).await.unwrap();
        }
        let askers = slow.askers();
        assert!(askers.len() == 3 && askers.iter().all(|asker| *asker == askers[0]), "{askers:?}");

        // While one is at it, somebody else is asked.
        slow.hold(&me());
        let held = spawner.lookup(proof::good(&me()), None);
        let mut held = std::pin::pin!(held);
        let mut waiting = tokio::select! {
            held = &mut held => panic!("nobody told it to go on: {held:?}"),
            waiting = aside(slow.reached(&me())) => waiting,
        };
        slow.let_go(&me());
        spawner.lookup(proof::good(&me()), None).await.unwrap();
        waiting.tell(1);
        held.await.unwrap();

        let askers = slow.askers();
        assert!(askers.len() == 5 && askers[4] != askers[3], "{askers:?}");
    });
}

fn served() {
    let slow = Slow::new();
    std::fs::write(slow.0.path().join("serves"), "0").unwrap();
    run_on(slow.launch(), Some(authority()), |spawner| async move {
        for _ in 0..2 {
            spawner.lookup(proof::good(&me()), None).await.unwrap();
        }

        let askers = slow.askers();
        assert!(askers.len() == 2 && askers[0] != askers[1], "{askers:?}");
        let is_gone = |asker: &String| !Path::new("/proc").join(asker).exists();
        aside(move || wait(|| askers.iter().all(is_gone).then_some(()))).await.expect("they stay");
    });
}

fn crashes() {
    let slow = Slow::new();
    run_on(slow.launch(), Some(authority()), |spawner| async move {
        // Once in a new process, once in one that has answered before.
        for _ in 0..2 {
            std::fs::write(slow.0.path().join(CRASHES), "").unwrap();
            let refused = spawner.lookup(proof::good(&me()), None).await.unwrap_err().to_string();
            let told = format!("looking up `{}` failed on this host", me().as_str());
            assert!(refused.contains(&told), "{refused}");

            std::fs::remove_file(slow.0.path().join(CRASHES)).unwrap();
            let account = spawner.lookup(proof::good(&me()), None).await.unwrap();
            assert_eq!(run(&account, "exit 3", &[]).await.2, Exit::Code(3));
        }
    });
}
