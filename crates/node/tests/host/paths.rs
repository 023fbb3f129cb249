//! Paths that lead nowhere fast: who walks them stands still until it is told to go on, and what goes on meanwhile.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::task::Poll;

use model::Login;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::spawner::message::Exit;
use node::spawner::{Account, Launched, Spawner};

use super::gate::wait;
use super::proof;
use super::slow::{Slow, aside, authority};
use super::start::{Made, command, is_root, me, run, run_on};

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_path_that_hangs_holds_up_nobody_else", nobody_else),
    ("a_path_that_takes_too_long_is_given_up_and_named", too_long),
    ("a_path_nobody_waits_for_is_given_up_and_left_as_it_was", nobody_waits),
    ("one_accounts_paths_leave_room_for_others", room_for_others),
    ("who_walks_paths_is_the_account_and_nothing_else", only_the_account),
    ("what_is_let_go_can_be_bound_again_at_once", bound_again),
    ("what_is_bound_goes_with_the_service", goes_with_it),
    ("who_ends_on_its_way_harms_nobody", ends_on_its_way),
];

/// A spawner, whom it has started, and a socket where somebody listens.
struct Host {
    slow: Slow,
    spawner: i32,
    service: UnixListener,
}

impl Host {
    fn new() -> (Self, Launched) {
        Self::on(Slow::new())
    }

    fn on(slow: Slow) -> (Self, Launched) {
        let launched = slow.launch();
        let spawner = launched.pid().try_into().unwrap();
        let service = UnixListener::bind(slow.path("service")).unwrap();
        // For another account too.
        let all = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o777);
        std::fs::set_permissions(slow.path("service"), all.clone()).unwrap();
        std::fs::set_permissions(slow.path(""), all).unwrap();
        (Self { slow, spawner, service }, launched)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.slow.path(name)
    }

    /// The processes that the spawner has forked.
    fn children(&self) -> BTreeSet<Pid> {
        let parent = |pid: i32| -> Option<i32> {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
        };
        let all = std::fs::read_dir("/proc").unwrap();
        let all = all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        all.filter(|pid| parent(*pid) == Some(self.spawner)).map(Pid::from_raw).collect()
    }

    /// Connects, as a word of the service that arrives shows.
    async fn connects(&self, account: &Account) {
        let path = self.path("service");
        let mut stream = account.connect(path.to_str().unwrap().as_bytes()).await.unwrap();
        let (mut far, _) = self.service.accept().unwrap();
        far.write_all(b"word").unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"word");
    }

    /// Connects, and stops the process that did: who is next to go as this account goes no further.
    async fn stops(&self, account: &Account) -> Stopped {
        let before = self.children();
        self.connects(account).await;
        let new: Vec<Pid> = self.children().difference(&before).copied().collect();
        let [walker] = new[..] else { panic!("{new:?}") };
        kill(walker, Signal::SIGSTOP).unwrap();
        Stopped(walker)
    }
}

/// A process that stands still.
struct Stopped(Pid);

impl Stopped {
    fn go_on(&self) {
        kill(self.0, Signal::SIGCONT).unwrap();
    }

    fn is_gone(&self) -> bool {
        !Path::new(&format!("/proc/{}", self.0)).exists()
    }

    async fn gone(self) {
        aside(move || wait(|| self.is_gone().then_some(()))).await.expect("it stays");
    }
}

async fn open(spawner: &Spawner) -> Account {
    open_as(spawner, Some(&me())).await.unwrap()
}

/// Where there is such an account.
async fn open_as(spawner: &Spawner, login: Option<&Login>) -> Option<Account> {
    Some(spawner.lookup(proof::good(login?), None).await.unwrap())
}

/// Runs until the spawner has surely read the question: it has answered a later one.
async fn begun<T>(asked: std::pin::Pin<&mut impl Future<Output = T>>, account: &Account) {
    let mut asked = asked;
    tokio::select! {
        biased;
        _ = &mut asked => panic!("nobody told it to go on"),
        (_, _, exit) = run(account, "exit 3", &[]) => assert_eq!(exit, Exit::Code(3)),
    }
}

fn bytes(path: &Path) -> &[u8] {
    path.to_str().unwrap().as_bytes()
}

fn nobody_else() {
    let (host, launched) = Host::new();
    let made = is_root().then(|| Made::new("p"));
    let other = made.as_ref().map(Made::login);
    run_on(launched, Some(authority()), |spawner| async move {
        let account = open(&spawner).await;
        let other = open_as(&spawner, other.as_ref()).await;
        let stopped = host.stops(&account).await;
        let path = host.path("service");
        let mut hangs = std::pin::pin!(account.connect(bytes(&path)));

        begun(hangs.as_mut(), &account).await;
        // The account itself goes other ways, and so do others.
        for account in [Some(&account), other.as_ref()].into_iter().flatten() {
            host.connects(account).await;
            let (out, _, exit) = run(account, "echo here", &[]).await;
            assert_eq!((out.as_str(), exit), ("here\n", Exit::Code(0)));
            let bound = account.agent_socket().await.unwrap();
            assert!(bound.path.exists());
        }
        open(&spawner).await;
        assert!(std::future::poll_fn(|cx| Poll::Ready(hangs.as_mut().poll(cx))).await.is_pending());

        stopped.go_on();
        hangs.await.unwrap();
    });
}

fn too_long() {
    let slow = Slow::new();
    slow.patience(1);
    let (host, launched) = Host::on(slow);
    run_on(launched, Some(authority()), |spawner| async move {
        let account = open(&spawner).await;
        let stopped = host.stops(&account).await;
        let path = host.path("service");

        let refused = account.connect(bytes(&path)).await.unwrap_err().to_string();

        let named = format!("{} was not reached on this host in 1 s", path.display());
        assert!(refused.contains(&named), "{refused}");
        stopped.gone().await;
        host.connects(&account).await;
    });
}

fn nobody_waits() {
    let (host, launched) = Host::new();
    run_on(launched, Some(authority()), |spawner| async move {
        let account = open(&spawner).await;
        let stopped = host.stops(&account).await;
        let (service, own) = (host.path("service"), host.path("own"));
        {
            let mut hangs = std::pin::pin!(account.connect(bytes(&service)));
            begun(hangs.as_mut(), &account).await;
        }
        stopped.gone().await;

        // What may be bound by then is removed, and bound by the next only after that.
        let stopped = host.stops(&account).await;
        {
            let mut hangs = std::pin::pin!(account.bind(bytes(&own)));
            begun(hangs.as_mut(), &account).await;
        }
        let mut again = std::pin::pin!(account.bind(bytes(&own)));
        begun(again.as_mut(), &account).await;
        stopped.go_on();
        let bound = again.await.unwrap();
        assert!(own.exists());
        drop(bound);
        let own = own.clone();
        aside(move || wait(|| (!own.exists()).then_some(()))).await.expect("it stays");
    });
}

fn room_for_others() {
    let (host, launched) = Host::new();
    let made = is_root().then(|| Made::new("r"));
    let other = made.as_ref().map(Made::login);
    run_on(launched, Some(authority()), |spawner| async move {
        let account = open(&spawner).await;
        let other = open_as(&spawner, other.as_ref()).await;
        let path = host.path("service");
        let (mut all, mut hanging) = (Vec::new(), Vec::new());
        for _ in 0..16 {
            all.push(host.stops(&account).await);
            let mut hangs = Box::pin(account.connect(bytes(&path)));
            begun(hangs.as_mut(), &account).await;
            hanging.push(hangs);
        }
        let processes = host.children().len();

        let mut waits = std::pin::pin!(account.connect(bytes(&path)));
        begun(waits.as_mut(), &account).await;
        assert_eq!(host.children().len(), processes, "as many as may be are at work");
        if let Some(other) = &other {
            host.connects(other).await;
        }

        all.pop().unwrap().go_on();
        hanging.pop().unwrap().await.unwrap();
        waits.await.unwrap();
        drop(hanging);
        for stopped in all {
            stopped.gone().await;
        }
    });
}

fn only_the_account() {
    let (host, launched) = Host::new();
    let made = is_root().then(|| Made::new("o"));
    let login = made.as_ref().map_or_else(me, Made::login);
    run_on(launched, Some(authority()), |spawner| async move {
        let user = nix::unistd::User::from_name(login.as_str()).unwrap().unwrap();
        let account = open_as(&spawner, Some(&login)).await.unwrap();
        let (running, _pipes) = account.run_on_pipes(command("sleep 600"), vec![]).await.unwrap();

        let Stopped(walker) = host.stops(&account).await;

        let status = std::fs::read_to_string(format!("/proc/{walker}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(field("Uid:"), vec![user.uid.to_string(); 4]);
        assert_eq!(field("Gid:"), vec![user.gid.to_string(); 4]);
        if is_root() {
            let games = nix::unistd::Group::from_name("games").unwrap().unwrap().gid.to_string();
            assert!(field("Groups:").contains(&games), "{status}");
            assert_eq!(field("CapEff:"), ["0000000000000000"]);
            assert_eq!(field("CapPrm:"), ["0000000000000000"]);
            // The three standard descriptors and the way to the spawner.
            assert_eq!(std::fs::read_dir(format!("/proc/{walker}/fd")).unwrap().count(), 4);
        }
        drop(running);
    });
}

fn bound_again() {
    let (host, launched) = Host::new();
    run_on(launched, Some(authority()), |spawner| async move {
        let account = open(&spawner).await;
        let path = host.path("own");
        for _ in 0..50 {
            let bound = account.bind(bytes(&path)).await.unwrap();
            assert!(account.bind(bytes(&path)).await.is_err(), "what is there stays");
            drop(bound);
        }
    });
}

fn goes_with_it() {
    let (host, launched) = Host::new();
    let (own, kept) = (&host.path("own"), &std::sync::OnceLock::new());
    run_on(launched, Some(authority()), |spawner| async move {
        let account = open(&spawner).await;
        let bound = account.bind(bytes(own)).await.unwrap();
        let socket = account.agent_socket().await.unwrap();
        assert!(own.exists() && socket.path.exists());
        // The service ends without giving anything back.
        kept.set((bound, socket)).unwrap();
    });

    let agent = kept.get().unwrap().1.path.parent().unwrap();
    assert!(wait(|| (!own.exists() && !agent.exists()).then_some(())).is_some(), "they stay");
}

fn ends_on_its_way() {
    let (host, launched) = Host::new();
    run_on(launched, Some(authority()), |spawner| async move {
        let account = open(&spawner).await;
        // Once on its way, once with nothing to do.
        let stopped = host.stops(&account).await;
        let path = host.path("service");
        let mut hangs = std::pin::pin!(account.connect(bytes(&path)));
        begun(hangs.as_mut(), &account).await;
        kill(stopped.0, Signal::SIGKILL).unwrap();
        let refused = hangs.await.unwrap_err().to_string();
        assert!(refused.contains("ended without an answer"), "{refused}");
        let idle = host.stops(&account).await;
        kill(idle.0, Signal::SIGKILL).unwrap();
        idle.gone().await;

        host.connects(&account).await;
    });
}
