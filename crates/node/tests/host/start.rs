//! Programs started through the spawner: who they are, what they see, how they end. The spawner itself: `halves`.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;

use model::Login;
use node::spawner::message::{Exit, Signal, Size};
use node::spawner::{Account, Launched, Orders, Program, Spawner, launch};
use runtime::Scope;

use super::gate::PATIENCE;
use super::proof;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_command_ends_with_its_code_and_both_streams", a_command_ends_with_its_code_and_both_streams),
    ("stdin_reaches_the_command_and_its_end_too", stdin_reaches_the_command_and_its_end_too),
    ("a_shell_is_a_login_shell_on_a_terminal_of_the_size_asked", a_login_shell),
    ("a_signal_is_told_by_name", a_signal_is_told_by_name),
    ("the_environment_is_what_was_allowed_and_no_more", the_environment),
    ("an_accounts_own_file_sets_variables_where_that_is_permitted", own_file),
    ("no_descriptor_of_ours_reaches_the_program", no_descriptor_leaks),
    ("another_account_is_entered_whole_or_not_at_all", another_account),
    ("an_agent_socket_is_reachable_by_its_account_alone", agent_socket),
    ("sockets_are_bound_and_reached_with_the_accounts_rights", sockets_with_rights),
];

pub(crate) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

pub(crate) fn me() -> Login {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap().name.parse().unwrap()
}

pub(crate) fn with_spawner<F: Future<Output = ()>>(test: impl FnOnce(Spawner) -> F) {
    run_with(&Orders::default(), Some(proof::public(&proof::ca(1))), test);
}

/// With a spawner that was not told whom to believe.
pub(crate) fn with_untrusting_spawner<F: Future<Output = ()>>(test: impl FnOnce(Spawner) -> F) {
    run_with(&Orders::default(), None, test);
}

fn run_with<F: Future<Output = ()>>(
    orders: &Orders,
    authority: Option<Vec<u8>>,
    test: impl FnOnce(Spawner) -> F,
) {
    run_on(launch(&std::env::current_exe().unwrap(), orders).unwrap(), authority, test);
}

pub(super) fn run_on<F: Future<Output = ()>>(
    launched: Launched,
    authority: Option<Vec<u8>>,
    test: impl FnOnce(Spawner) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let scope = Scope::root("test");
        let spawner = Spawner::attach(launched, &scope).await.unwrap();
        if let Some(authority) = authority {
            spawner.trust(vec![authority]).await.unwrap();
        }
        tokio::time::timeout(PATIENCE, test(spawner)).await.expect("in time");
        assert!(scope.drain(PATIENCE).await);
    });
}

pub(super) fn command(text: &str) -> Program {
    Program::Command(text.as_bytes().to_vec())
}

async fn read_all(fd: OwnedFd) -> String {
    tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        let mut file = std::fs::File::from(fd);
        // A terminal ends with EIO.
        let _ = file.read_to_end(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    })
    .await
    .unwrap()
}

/// Standard output, standard error and how it ended.
pub(super) async fn run(account: &Account, text: &str, env: &[(&str, &str)]) -> (String, String, Exit) {
    let env = env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let (mut running, pipes) = account.run_on_pipes(command(text), env).await.unwrap();
    drop(pipes.stdin);
    let (out, err) = tokio::join!(read_all(pipes.stdout), read_all(pipes.stderr));
    (out, err, running.ended().await.unwrap())
}

fn a_command_ends_with_its_code_and_both_streams() {
    with_spawner(|spawner| async move {
        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();

        let (out, err, exit) = run(&account, "echo out; echo err >&2; exit 7", &[]).await;

        assert_eq!((out.as_str(), err.as_str(), exit), ("out\n", "err\n", Exit::Code(7)));
    });
}

fn stdin_reaches_the_command_and_its_end_too() {
    with_spawner(|spawner| async move {
        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();
        let (mut running, pipes) = account.run_on_pipes(command("wc -c"), vec![]).await.unwrap();

        let mut stdin = std::fs::File::from(pipes.stdin);
        stdin.write_all(&[b'x'; 100_000]).unwrap();
        drop(stdin);

        assert_eq!(read_all(pipes.stdout).await.trim(), "100000");
        assert_eq!(running.ended().await.unwrap(), Exit::Code(0));
    });
}

fn a_login_shell() {
    with_spawner(|spawner| async move {
        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();
        let size = Size { cols: 101, rows: 37, ..Size::default() };
        let pty = account.open_pty(size).await.unwrap();
        assert!(pty.path.starts_with("/dev/pts"));
        let path = pty.path.clone();
        let env = vec![("TERM".to_owned(), "dumb".to_owned())];
        let (mut running, master) = account.run_on_pty(pty, Program::Shell, env).await.unwrap();

        let mut typist = std::fs::File::from(master.try_clone().unwrap());
        typist.write_all(b"echo name=$0; stty size; tty; echo t=$TERM; pwd; exit 3\n").unwrap();
        let screen = read_all(master).await;

        assert!(screen.contains("name=-"), "{screen}");
        assert!(screen.contains("37 101"), "{screen}");
        assert!(screen.contains(path.to_str().unwrap()), "{screen}");
        assert!(screen.contains("t=dumb"), "{screen}");
        assert!(screen.contains(account.home().to_str().unwrap()), "{screen}");
        assert_eq!(running.ended().await.unwrap(), Exit::Code(3));
    });
}

fn a_signal_is_told_by_name() {
    with_spawner(|spawner| async move {
        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();
        let (mut running, pipes) =
            account.run_on_pipes(command("echo ready; exec sleep 60"), vec![]).await.unwrap();
        let mut stdout = std::fs::File::from(pipes.stdout);
        let mut line = [0; 6];
        stdout.read_exact(&mut line).unwrap();

        running.signal(Signal::Term).await.unwrap();
        let exit = running.ended().await.unwrap();

        assert_eq!(exit, Exit::Signal { number: 15, core: false });
        assert_eq!(exit.signal_name(), Some("TERM"));
        running.signal(Signal::Kill).await.unwrap();
    });
}

fn the_environment() {
    with_spawner(|spawner| async move {
        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();
        let asked =
            [("LANG", "C.UTF-8"), ("LD_PRELOAD", "/nowhere.so"), ("SSH_CLIENT", "::1 5 22"), ("X", "y")];

        let (out, _, _) =
            run(&account, "tr '\\0' '\\n' < /proc/$$/environ | cut -d= -f1 | sort", &asked).await;

        let names: Vec<&str> =
            out.lines().filter(|n| !matches!(*n, "_" | "PWD" | "SHLVL" | "OLDPWD")).collect();
        assert_eq!(names, ["HOME", "LANG", "LOGNAME", "MAIL", "PATH", "SHELL", "SSH_CLIENT", "USER"]);
    });
}

fn own_file() {
    if !is_root() {
        // One's own home is left alone.
        return;
    }
    let made = Made::new("e");
    let home = format!("/home/{}", made.0);
    let account = nix::unistd::User::from_name(&made.0).unwrap().unwrap();
    std::fs::create_dir(format!("{home}/.ssh")).unwrap();
    let file = format!("{home}/.ssh/environment");
    let text = "# mine\nPATH=/opt/mine:/usr/bin:/bin\nLANG=de_DE.UTF-8\nGPU=0\nLD_PRELOAD=/tmp/x.so\nSSH_TTY=/dev/null\n";
    std::fs::write(&file, text).unwrap();
    nix::unistd::chown(file.as_str(), Some(account.uid), Some(account.gid)).unwrap();
    let ask = "echo $PATH $LANG $GPU [$LD_PRELOAD] [$SSH_TTY] $HOME";
    let with = |own_env: bool, expected: String, told: &'static [&'static str]| {
        let (login, orders) = (made.login(), Orders { own_env, ..Orders::default() });
        run_with(&orders, Some(proof::public(&proof::ca(1))), |spawner| async move {
            let account = spawner.lookup(proof::good(&login), None).await.unwrap();
            let (out, err, exit) = run(&account, ask, &[("LANG", "C.UTF-8")]).await;
            assert_eq!((out, exit), (expected, Exit::Code(0)), "{err}");
            assert_eq!(err.lines().map(str::trim).collect::<Vec<_>>(), told);
        });
    };

    let usual = format!("/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games C.UTF-8 [] [] {home}\n");
    with(false, usual.clone(), &[]);
    // What the client asked for counts more.
    with(
        true,
        format!("/opt/mine:/usr/bin:/bin C.UTF-8 0 [] [] {home}\n"),
        &[
            "~/.ssh/environment line 5: the host does not let this variable be set here",
            "~/.ssh/environment line 6: the host does not let this variable be set here",
        ],
    );
    // It is read with the account's rights: a file that only root may read is none of theirs.
    nix::unistd::chown(file.as_str(), Some(nix::unistd::Uid::from_raw(0)), None).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, mode).unwrap();
    with(true, usual, &["~/.ssh/environment is not taken: Permission denied (os error 13)"]);
}

fn no_descriptor_leaks() {
    with_spawner(|spawner| async move {
        let account = spawner.lookup(proof::good(&me()), None).await.unwrap();

        let (out, err, _) = run(&account, "ls /proc/$$/fd | tr '\\n' ' '; umask; ulimit -n", &[]).await;
        let (signals, _, _) = run(&account, "exec grep -E 'Sig(Blk|Ign)' /proc/self/status", &[]).await;

        let files: u64 = out.lines().last().unwrap().parse().unwrap();
        assert!(out.starts_with("0 1 2 ") && out.contains("0022"), "{out}{err}");
        assert!(files <= 1024, "{out}");
        for line in signals.lines() {
            let bits = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
            // 32 and 33 are the C library's own; it lets nobody touch them.
            assert_eq!(bits & !(0b11 << 31), 0, "{signals}");
        }
    });
}

/// A system account that exists for the length of a test.
pub(crate) struct Made(pub(crate) String);

impl Made {
    /// Its name is this run's own: another may be going on.
    pub(crate) fn new(word: &str) -> Self {
        let name = format!("gate{word}{}", std::process::id());
        let _ = Command::new("userdel").args(["-rf", &name]).output();
        let made =
            Command::new("useradd").args(["-m", "-s", "/bin/bash", "-G", "games", &name]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self(name)
    }

    pub(crate) fn login(&self) -> Login {
        self.0.parse().unwrap()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["-rf", &self.0]).output();
    }
}

fn another_account() {
    if !is_root() {
        with_spawner(|spawner| async move {
            assert_eq!(spawner.only_login(), Some(&me()));
            let refused = spawner.lookup(proof::good(&"root".parse().unwrap()), None).await.unwrap_err();
            assert!(refused.to_string().contains("does not run as root"), "{refused}");
        });
        return;
    }
    let made = Made::new("a");
    let (login, name) = (made.login(), made.0.clone());
    with_spawner(|spawner| async move {
        assert_eq!(spawner.only_login(), None);
        let account = spawner.lookup(proof::good(&login), None).await.unwrap();
        let user = nix::unistd::User::from_name(&name).unwrap().unwrap();

        let (out, err, _) = run(
            &account,
            "id -un; id -u; id -Gn; pwd; echo $HOME $SHELL $USER; grep Uid /proc/self/status; \
             cat /etc/shadow 2>&1 | head -1; ulimit -n",
            &[],
        )
        .await;

        let lines: Vec<&str> = out.lines().collect();
        let uid = user.uid.to_string();
        assert_eq!(lines[0], name, "{out}{err}");
        assert_eq!(lines[1], uid);
        assert_eq!(lines[2], format!("{name} games"));
        let home = format!("/home/{name}");
        assert_eq!(lines[3], home);
        assert_eq!(lines[4], format!("{home} /bin/bash {name}"));
        assert_eq!(lines[5], format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}"));
        assert!(lines[6].contains("Permission denied"), "{out}");

        let pty = account.open_pty(Size::default()).await.unwrap();
        let meta = std::fs::metadata(&pty.path).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (user.uid.as_raw(), 0o620));
        drop(pty);

        // A home that is gone does not keep a person out.
        std::fs::remove_dir_all(&home).unwrap();
        let (out, err, _) = run(&account, "pwd", &[]).await;
        assert_eq!(out, "/\n");
        assert!(err.contains(&format!("could not enter home directory {home}")), "{err}");
    });
    let expired = Command::new("chage").args(["-E", "1", &made.0]).status().unwrap();
    assert!(expired.success());
    let login = made.login();
    with_spawner(|spawner| async move {
        let refused = spawner.lookup(proof::good(&login), None).await.unwrap_err();
        assert!(refused.to_string().contains("expired"), "{refused}");
    });
}

fn agent_socket() {
    let made = is_root().then(|| Made::new("b"));
    let login = made.as_ref().map_or_else(me, Made::login);
    with_spawner(|spawner| async move {
        let account = spawner.lookup(proof::good(&login), None).await.unwrap();
        let bound = account.agent_socket().await.unwrap();
        let path = bound.path.clone();

        let socket = std::fs::symlink_metadata(&path).unwrap();
        let directory = std::fs::metadata(path.parent().unwrap()).unwrap();
        assert!(socket.file_type().is_socket());
        assert_eq!((socket.uid(), socket.mode() & 0o777), (account.uid(), 0o600));
        assert_eq!((directory.uid(), directory.mode() & 0o777), (account.uid(), 0o700));

        drop(bound);
        // Questions are answered in order, so this one comes back after the socket was given back.
        tokio::task::yield_now().await;
        drop(spawner.lookup(proof::good(&login), None).await.unwrap());
        assert!(!path.exists() && !path.parent().unwrap().exists());
    });
    drop(made);
}

fn sockets_with_rights() {
    let made = is_root().then(|| Made::new("c"));
    let login = made.as_ref().map_or_else(me, Made::login);
    with_spawner(|spawner| async move {
        let account = spawner.lookup(proof::good(&login), None).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("s");

        if is_root() {
            // The directory is root's alone.
            let refused = account.bind(closed.to_str().unwrap().as_bytes()).await.unwrap_err();
            assert!(refused.to_string().contains("ermission"), "{refused}");
            let mine = std::os::unix::net::UnixListener::bind(&closed).unwrap();
            let refused = account.connect(closed.to_str().unwrap().as_bytes()).await.unwrap_err();
            assert!(refused.to_string().contains("ermission"), "{refused}");
            drop(mine);
        }
        let name = format!("gatetest-{}.sock", std::process::id());
        let bound = account.bind(name.as_bytes()).await.unwrap();
        assert_eq!(bound.path, account.home().join(&name));
        assert_eq!(std::fs::metadata(&bound.path).unwrap().uid(), account.uid());
        assert!(account.bind(name.as_bytes()).await.is_err(), "what is there stays");

        let mut there = account.connect(name.as_bytes()).await.unwrap();
        let (mut here, _) = bound.socket.accept().unwrap();
        here.write_all(b"hi").unwrap();
        let mut got = [0; 2];
        there.set_nonblocking(false).unwrap();
        there.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hi");
    });
    drop(made);
}
