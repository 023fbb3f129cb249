//! Stock OpenSSH: commands, terminals, forwards and jumps through the one port to a node without one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use e2e::account::Account;
use e2e::gate::{Gate, NODE, Options};
use e2e::helper::echo;
use e2e::person::root;
use e2e::ports::free;
use e2e::process::Process;
use e2e::run::{LIMIT, run, run_with};
use e2e::terminal::Terminal;
use e2e::wait::until;

#[test]
fn a_command_runs_with_its_streams_and_its_exit_code() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();

    let ran = ann.on("root", NODE, "echo out; echo err >&2; exit 7").unwrap();
    let upper = run_with(&mut ann.ssh(&[&root(), "tr a-z A-Z"]), b"shout", LIMIT).unwrap();

    assert_eq!((ran.code, ran.text().as_str(), ran.stderr.trim()), (7, "out\n", "err"));
    assert_eq!(upper.text(), "SHOUT");
}

#[test]
fn a_command_runs_by_our_own_client_too() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();

    let ran = ann.msh(&["ssh", &format!("root@{NODE}"), "echo", "hello; exit 3"]).unwrap();

    assert_eq!((ran.code, ran.text().as_str()), (3, "hello\n"), "{}", ran.stderr);
}

#[test]
fn a_login_that_no_role_grants_is_refused() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "nobody").unwrap();

    let ran = ann.on("root", NODE, "true").unwrap();

    assert_eq!(ran.code, 255, "{}", ran.stderr);
}

#[test]
fn an_accounts_own_environment_is_read_where_the_file_permits_it() {
    let Some(account) = Account::new("env").unwrap() else {
        eprintln!("no right to make an account here");
        return;
    };
    std::fs::create_dir(account.home().join(".msh")).unwrap();
    let said = "GPU=7\nPATH=/opt/mine:/usr/bin:/bin\nLD_PRELOAD=/tmp/x.so\nSSH_CONNECTION=forged\n";
    std::fs::write(account.home().join(".msh/environment"), said).unwrap();
    run(Command::new("chown").args(["-R", account.name()]).arg(account.home())).unwrap().ok().unwrap();
    let ask = "echo $GPU; echo $PATH; echo [$LD_PRELOAD]; echo $SSH_CONNECTION";
    let with = |node_lines: &str| {
        let gate = Gate::start_with(Options { node_lines: node_lines.into(), ..Options::default() })?;
        gate.person("ann", "access", account.name())?.on(account.name(), NODE, ask)?.ok()
    };

    let permitted = with("  permit_user_env: yes\n").unwrap();
    let usual = with("").unwrap();

    let lines: Vec<String> = permitted.text().lines().map(str::to_owned).collect();
    assert_eq!(lines[..3], ["7", "/opt/mine:/usr/bin:/bin", "[]"], "{}", permitted.stderr);
    assert!(!lines[3].contains("forged"), "{lines:?}");
    assert!(permitted.stderr.contains("~/.msh/environment line 3"), "{}", permitted.stderr);
    assert!(usual.text().starts_with('\n') && !usual.text().contains("/opt/mine"), "{}", usual.text());
    assert_eq!(usual.stderr, "");
}

#[test]
fn a_terminal_is_a_terminal() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let mut command = ann.ssh(&["-tt", &root()]);
    command.env("TERM", "xterm-256color");

    let ran = run_with(&mut command, b"tty; echo term=$TERM; exit 5\n", LIMIT).unwrap();

    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.text().contains("/dev/pts/"), "{}", ran.text());
    assert!(ran.text().contains("term=xterm-256color"), "{}", ran.text());
}

#[test]
fn a_shell_at_a_terminal_ends_with_its_status_and_can_be_left() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let shell = |ends: &str, last: &str| {
        let terminal = Terminal::open().unwrap();
        let mut command = ann.command("msh");
        let mut msh = terminal.seat(command.args(["ssh", &format!("root@{NODE}")])).unwrap().spawn().unwrap();
        terminal.types("echo in-$((40 + 2))\n").unwrap();
        terminal.shows("in-42").unwrap();
        terminal.types(ends).unwrap();
        let end = until("the end", LIMIT, || msh.try_wait().unwrap()).unwrap();
        terminal.shows(last).unwrap();
        assert!(terminal.echoes().unwrap());
        end.code()
    };

    assert_eq!(shell("exit 3\r", "exit 3"), Some(3));
    assert_eq!(shell("sleep 1000\r~.", &format!("msh: the session on {NODE} was left\r\n")), Some(255));
}

#[test]
fn a_shell_that_is_told_to_end_leaves_a_terminal_that_echoes() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    for (signal, status) in [("-TERM", 143), ("-HUP", 129)] {
        let terminal = Terminal::open().unwrap();
        let mut command = ann.command("msh");
        let mut msh = terminal.seat(command.args(["ssh", &format!("root@{NODE}")])).unwrap().spawn().unwrap();
        terminal.types("echo in-$((40 + 2))\n").unwrap();
        terminal.shows("in-42").unwrap();
        assert!(!terminal.echoes().unwrap());

        run(Command::new("kill").arg(signal).arg(msh.id().to_string())).unwrap().ok().unwrap();

        let end = until("the end", LIMIT, || msh.try_wait().unwrap()).unwrap();
        assert_eq!(end.code(), Some(status), "{signal}");
        assert!(terminal.echoes().unwrap(), "{signal}");
    }
}

#[test]
fn a_forward_ends_with_its_connection() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let (target, local) = (echo().unwrap(), free().unwrap());
    let mut command = ann.command("msh");
    let forward = format!("{local}:127.0.0.1:{target}");
    command.args(["ssh", "-N", "-L", &forward, &format!("root@{NODE}")]).stderr(Stdio::piped());
    let mut msh = command.spawn().unwrap();
    assert_eq!(said_back(local).unwrap(), b"ping");

    gate.mctl(&["lock", "--user=ann"]).unwrap().ok().unwrap();

    let end = until("the end", LIMIT, || msh.try_wait().unwrap());
    msh.kill().ok();
    let mut said = String::new();
    msh.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(end.unwrap().code(), Some(1), "{said}");
    assert!(said.contains("msh: the connection broke: ") || said.contains("hung up"), "{said}");
}

#[test]
fn a_silent_client_gets_an_ssh_banner() {
    let gate = Gate::start().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();

    let mut banner = [0; 8];
    stream.read_exact(&mut banner).unwrap();

    assert_eq!(&banner, b"SSH-2.0-");
}

#[test]
fn a_local_and_a_remote_forward_carry_bytes() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let (target, local, remote) = (echo().unwrap(), free().unwrap(), free().unwrap());
    let forward = |from: u16| format!("127.0.0.1:{from}:127.0.0.1:{target}");
    let mut command = ann.ssh(&["-N", "-o", "ExitOnForwardFailure=yes", "-L", &forward(local), "-R"]);
    command.args([&forward(remote), &root()]);
    let _ssh = Process::start("forwards", &mut command, ann.home()).unwrap();

    for port in [local, remote] {
        assert_eq!(said_back(port).unwrap(), b"ping", "port {port}");
    }
}

#[test]
fn a_forward_out_of_descriptors_says_so_and_goes_on() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let (target, local) = (echo().unwrap(), free().unwrap());
    let mut command = ann.program("sh");
    command.args(["-c", "ulimit -n 32; exec \"$0\" msh \"$@\""]).arg(e2e::gate::executable().unwrap());
    command.args(["ssh", "-N", "-L", &format!("{local}:127.0.0.1:{target}"), &format!("root@{NODE}")]);
    let msh = Process::start("few", &mut command, ann.home()).unwrap();
    let said = |what: &str| until(what, LIMIT, || msh.log().contains(what).then_some(()));

    let connect = || TcpStream::connect(("127.0.0.1", local)).ok();
    let first = until("the forward", LIMIT, connect).unwrap();
    let many: Vec<TcpStream> = (0..48).filter_map(|_| connect()).collect();
    said("cannot accept a connection").unwrap();
    drop((first, many));

    assert_eq!(said_back(local).unwrap(), b"ping");
    said("connections are accepted again").unwrap();
}

#[test]
fn a_dynamic_forward_is_a_socks_proxy() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let socks = free().unwrap();
    let at = format!("127.0.0.1:{socks}");
    let _ssh = Process::start("socks", &mut ann.ssh(&["-N", "-D", &at, &root()]), ann.home()).unwrap();

    let url = gate.url("/webapi/ping");
    let answer = until("an answer through the forward", LIMIT, || {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--socks5-hostname", &at, &url]);
        run(&mut curl).ok()?.ok().ok()
    });

    assert!(answer.unwrap().text().contains("cluster_name"));
}

#[test]
fn a_unix_socket_is_forwarded() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let target = echo().unwrap();
    let socket = ann.home().join("local.sock");
    let spec = format!("{}:127.0.0.1:{target}", socket.display());
    let _ssh = Process::start("socket", &mut ann.ssh(&["-N", "-L", &spec, &root()]), ann.home()).unwrap();

    let mut stream = until("the socket", LIMIT, || UnixStream::connect(&socket).ok()).unwrap();
    stream.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();

    assert_eq!(&answer, b"ping");
}

#[test]
fn msh_forwards_unix_sockets_and_takes_the_place_of_one_left_behind() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let target = echo().unwrap();
    let at = |name: &str| ann.home().join(name).display().to_string();
    let (near, back) = (at("near.sock"), at("back.sock"));
    let start = |far: &str| {
        let mut command = ann.command("msh");
        // From a socket here to one over there, where a forward from over there to a port here listens.
        command.args([
            "ssh",
            "-N",
            "-R",
            &format!("{far}:127.0.0.1:{target}"),
            "-L",
            &format!("{near}:{far}"),
        ]);
        command.args(["-L", &format!("{back}:127.0.0.1:{target}"), &root()]);
        Process::start("sockets", &mut command, ann.home()).unwrap()
    };
    let answers = |socket: &str| {
        until("an answer", LIMIT, || {
            let mut stream = UnixStream::connect(socket).ok()?;
            stream.set_read_timeout(Some(LIMIT)).ok()?;
            stream.write_all(b"ping").ok()?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).ok()?;
            Some(answer)
        })
        .unwrap()
    };

    // Killed, it leaves its sockets behind; the next one starts all the same.
    for far in ["far-1.sock", "far-2.sock"] {
        let mut msh = start(&at(far));
        assert_eq!((&answers(&near), &answers(&back)), (b"ping", b"ping"), "{}", msh.log());
        let mode = std::fs::metadata(&near).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the socket is its owner's alone");
        msh.kill();
    }

    let _listening = UnixListener::bind(at("taken.sock")).unwrap();
    let mut command = ann.command("msh");
    command.args(["ssh", "-N", "-L", &format!("{}:127.0.0.1:{target}", at("taken.sock")), &root()]);
    let refused = run(&mut command).unwrap();
    assert!(refused.stderr.contains("cannot listen on"), "{}", refused.stderr);
    assert!(Path::new(&at("taken.sock")).exists(), "somebody listens there");
}

#[test]
fn a_long_stream_arrives_whole_and_takes_no_memory() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    ann.on("root", NODE, "true").unwrap().ok().unwrap();
    let before = gate.auth.own_rss_kib();
    let bytes = 256 << 20;

    let mut ssh = ann.ssh(&[&root(), &format!("head -c {bytes} /dev/zero")]);
    let mut child = ssh.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut count = 0;
    let mut peak = 0;
    let mut buffer = vec![0; 1 << 20];
    let mut output = child.stdout.take().unwrap();
    loop {
        match output.read(&mut buffer).unwrap() {
            0 => break,
            n => count += n,
        }
        peak = peak.max(gate.auth.own_rss_kib());
    }

    assert!(child.wait().unwrap().success());
    assert_eq!(count, bytes);
    assert!(peak < before + 48 * 1024, "{before} KiB grew to {peak} KiB");
}

#[test]
fn a_stuck_reader_does_not_stop_its_neighbours() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let socket = ann.home().join("mux");
    let mux = format!("ControlPath={}", socket.display());
    let _master =
        Process::start("master", &mut ann.ssh(&["-M", "-N", "-o", &mux, &root()]), ann.home()).unwrap();
    until("the master", LIMIT, || run(&mut ann.ssh(&["-o", &mux, "-O", "check", &root()])).ok()?.ok().ok())
        .unwrap();
    let mut stuck = ann.ssh(&["-o", &mux, &root(), "cat /dev/zero"]).stdout(Stdio::piped()).spawn().unwrap();

    let answered = (0..5).filter(|_| {
        let ran = run_with(&mut ann.ssh(&["-o", &mux, &root(), "true"]), b"", LIMIT);
        ran.is_ok_and(|r| r.code == 0)
    });
    let answered = answered.count();
    stuck.kill().unwrap();
    stuck.wait().unwrap();

    assert_eq!(answered, 5);
}

/// The helper that `-J` starts sees its pipes end and nothing else; the gate has to let its channel go.
#[test]
fn a_jump_whose_client_was_killed_leaves_nothing_behind() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap().with_agent().unwrap();
    let jump = format!("ann@127.0.0.1:{}", gate.port);
    // A shell, a copy in its middle, and one that is over.
    for (command, read) in [
        ("echo here; exec sleep 1000", 5),
        ("exec cat /dev/zero", 1 << 20),
        ("head -c 64M /dev/zero; exec sleep 1000", 64 << 20),
    ] {
        let mut ssh = ann.ssh(&["-J", &jump, &root(), command]);
        let mut ssh = ssh.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = ssh.stdout.take().unwrap();
        assert_eq!(std::io::copy(&mut output.take(read), &mut std::io::sink()).unwrap(), read, "{command}");
        let helper = child_of(ssh.id()).unwrap();

        ssh.kill().unwrap();
        ssh.wait().unwrap();

        // One that ended and was not collected has no command line either.
        let words = || std::fs::read(format!("/proc/{helper}/cmdline")).unwrap_or_default();
        let gone = || words().is_empty().then_some(());
        until(&format!("the end of ssh -W after {command:?}"), Duration::from_secs(20), gone).unwrap();
    }
}

/// The one child of a process.
fn child_of(parent: u32) -> Result<u32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    Ok(children.trim().parse()?)
}

#[test]
fn a_jump_through_the_one_port_needs_nothing_but_an_agent() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap().with_agent().unwrap();
    let known = format!("UserKnownHostsFile={}", ann.home().join(".msh/known_hosts").display());
    let jump = format!("ann@127.0.0.1:{}", gate.port);
    let config = ann.home().join("bare");
    std::fs::write(&config, format!("Host *\n {}\n BatchMode yes\n", known.replace('=', " "))).unwrap();

    let ran =
        run(ann.program("ssh").arg("-F").arg(&config).args(["-J", &jump, &root(), "echo jumped"])).unwrap();

    assert_eq!(ran.ok().unwrap().text(), "jumped\n");
}

#[test]
fn nodes_have_bare_names_where_a_person_says_so() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let block = ann.msh(&["config", "--names=web-1,node-*"]).unwrap().ok().unwrap().text();
    let fixed = "\nHost *\n    StrictHostKeyChecking yes\n    BatchMode yes\n    ControlPath none\n";
    std::fs::write(ann.ssh_config(), block + fixed).unwrap();
    let jump = format!("ann@127.0.0.1:{}", gate.port);
    let bare = format!("root@{NODE}");

    let straight = run(&mut ann.ssh(&[&bare, "echo straight"])).unwrap();
    let jumped = run(&mut ann.ssh(&["-J", &jump, &bare, "echo jumped"])).unwrap();
    let elsewhere = run(&mut ann.ssh(&["-G", "root@node-1.example.com"])).unwrap();

    assert_eq!(straight.ok().unwrap().text(), "straight\n");
    assert_eq!(jumped.ok().unwrap().text(), "jumped\n");
    let elsewhere = elsewhere.ok().unwrap().text();
    assert!(elsewhere.contains("hostname node-1.example.com\n"), "{elsewhere}");
    assert!(!elsewhere.contains(".msh"), "{elsewhere}");
}

#[test]
fn an_agent_is_forwarded_on_request_only() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap().with_agent().unwrap();

    let with = run(&mut ann.ssh(&["-A", &root(), "ssh-add -l"])).unwrap();
    let without = run(&mut ann.ssh(&["-a", &root(), "ssh-add -l"])).unwrap();

    assert!(with.ok().unwrap().text().contains("ED25519"));
    assert_ne!(without.code, 0);
}

fn said_back(port: u16) -> Result<Vec<u8>> {
    let mut stream = until("a listener", LIMIT, || TcpStream::connect(("127.0.0.1", port)).ok())?;
    stream.write_all(b"ping")?;
    let mut answer = vec![0; 4];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
