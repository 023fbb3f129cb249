//! People with OpenSSH's client, at a whole service.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use node::serve::Settings;

use super::gate::{Gate, wait};
use super::start::me;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_command_runs_and_its_end_is_told", a_command_runs_and_its_end_is_told),
    ("both_streams_and_stdin_pass", both_streams_and_stdin_pass),
    ("a_shell_on_a_terminal_sees_its_size_and_its_person", a_shell_on_a_terminal),
    ("a_resize_reaches_the_program", a_resize_reaches_the_program),
    ("a_login_the_certificate_lacks_is_refused_and_on_record", a_login_the_certificate_lacks),
    ("a_key_without_a_certificate_is_refused", a_key_without_a_certificate),
    ("streams_of_256_mib_pass_both_ways_in_flat_memory", big_streams),
    ("sftp_and_scp_work_and_are_on_record", sftp_and_scp),
    ("rsync_works", rsync_works),
    ("file_copies_are_refused_where_rules_say_so", file_copies_refused),
    ("forwards_work_in_every_direction", forwards),
    ("forwards_are_refused_where_rules_say_so", forwards_refused),
    ("an_agent_is_in_reach", an_agent_is_in_reach),
    ("a_lock_ends_an_open_session", a_lock_ends_an_open_session),
    ("silent_rules_leave_no_trace_of_us", silent_rules),
    ("hanging_up_ends_the_program", hanging_up),
    ("another_account_is_entered_over_ssh", another_account),
    ("many_sessions_at_a_time", many_sessions),
    ("a_service_without_privileges_still_opens_every_account", service_without_privileges),
    ("a_signal_is_heard_while_the_program_does_not_read", signal_while_stuck),
    ("a_reader_that_is_stuck_holds_up_nobody", stuck_reader),
    ("idle_sessions_are_small", idle_sessions),
    ("what_was_typed_too_early_and_too_late_does_no_harm", odd_requests),
];

fn gate() -> Gate {
    Gate::new(me().as_str())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn a_command_runs_and_its_end_is_told() {
    let gate = gate();

    let out = gate.run("echo hello; exit 42");

    assert_eq!(
        (out.status.code(), text(&out.stdout).as_str()),
        (Some(42), "hello\n"),
        "{}",
        text(&out.stderr)
    );
    let exec = gate.event("exec", |event| event["command"] == "echo hello; exit 42");
    assert_eq!((exec["code"].as_str(), exec["exitCode"].as_str()), (Some("T3002E"), Some("42")));
    assert_eq!(exec["streams"]["stdout"]["bytes"], 6);
    assert_eq!(
        exec["streams"]["stdout"]["sha256"],
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    );
    let start = gate.event("session.start", |event| event["sid"] == exec["sid"]);
    assert_eq!((start["user"].as_str(), start["login"].as_str()), (Some("ann"), Some(me().as_str())));
    gate.event("session.end", |event| event["sid"] == exec["sid"]);

    // A signal's name reaches the client, which tells it as 255 and in words.
    let out = gate.run("kill -TERM $$");
    assert_eq!(out.status.code(), Some(255));
    gate.event("exec", |event| event["exitError"] == "signal TERM");
}

fn both_streams_and_stdin_pass() {
    let gate = gate();
    let mut client = gate.ssh(&["-v"], &["tr a-z A-Z; echo err >&2"]);
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());

    let mut client = client.spawn().unwrap();
    client.stdin.take().unwrap().write_all(b"typed").unwrap();
    let out = client.wait_with_output().unwrap();

    assert_eq!(text(&out.stdout), "TYPED");
    assert!(text(&out.stderr).contains("err\n"), "{}", text(&out.stderr));
    assert!(out.status.success());
}

fn a_shell_on_a_terminal() {
    let gate = gate();
    let mut client = gate.ssh(&["-tt", "-oSendEnv=LANG"], &[]);
    client.env("LANG", "C.UTF-8").env("TERM", "xterm-256color");
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());

    let mut client = client.spawn().unwrap();
    let typed = b"echo t=$TERM l=$LANG s=$SSH_TTY c=${SSH_CONNECTION%% *}; exit 5\n";
    client.stdin.take().unwrap().write_all(typed).unwrap();
    let out = client.wait_with_output().unwrap();

    let screen = text(&out.stdout);
    assert!(screen.contains("t=xterm-256color l=C.UTF-8 s=/dev/pts/"), "{screen}{}", text(&out.stderr));
    assert!(screen.contains("c=127.0.0.1"), "{screen}");
    assert_eq!(out.status.code(), Some(5));
    let start = gate.event("session.start", |event| event["interactive"] == true);
    assert!(start["size"].is_string());
}

fn a_resize_reaches_the_program() {
    // `script` gives the client a terminal of its own, whose size changes under it.
    let gate = gate();
    let options = gate.options().join(" ");
    let words = "trap 'stty size; exit 9' WINCH; stty size; while :; do sleep 0.05; done";
    let inner = format!(
        "stty rows 30 cols 100; (sleep 1; stty rows 50 cols 140 < /proc/$$/fd/0) & exec ssh {options} -tt {} \"{words}\"",
        gate.destination()
    );

    let out =
        Command::new("script").args(["-qefc", &inner, "/dev/null"]).stdin(Stdio::null()).output().unwrap();

    let screen = text(&out.stdout);
    assert!(screen.contains("30 100") && screen.contains("50 140"), "{screen}");
    gate.event("resize", |event| event["size"] == "140:50");
}

fn a_login_the_certificate_lacks() {
    let gate = gate();
    gate.certify(&["somebody-else"], Duration::from_secs(60));

    let out = gate.run("true");

    assert_eq!(out.status.code(), Some(255));
    assert!(text(&out.stderr).contains("Permission denied"), "{}", text(&out.stderr));
    let event = gate.event("auth", |_| true);
    assert_eq!((event["code"].as_str(), event["user"].as_str()), (Some("T3007W"), Some("ann")));
}

fn a_key_without_a_certificate() {
    let gate = gate();
    std::fs::remove_file(gate.path("id-cert.pub")).unwrap();

    let out = gate.run("true");

    assert!(text(&out.stderr).contains("Permission denied"), "{}", text(&out.stderr));
    assert!(gate.events("session.start").is_empty());
}

fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn big_streams() {
    let gate = gate();
    let mib = 256;
    let warm = gate.run("head -c 33554432 /dev/zero");
    assert_eq!(warm.stdout.len(), 33_554_432);
    drop(warm);
    let before = rss_kib();

    let mut down =
        gate.ssh(&[], &[&format!("head -c {}M /dev/zero", mib)]).stdout(Stdio::piped()).spawn().unwrap();
    let mut buffer = vec![0; 1 << 20];
    let (mut total, mut stdout) = (0, down.stdout.take().unwrap());
    loop {
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            n => total += n,
        }
    }
    assert!(down.wait().unwrap().success());
    assert_eq!(total, mib << 20);

    let mut up = gate.ssh(&[], &["wc -c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = up.stdin.take().unwrap();
    for _ in 0..mib {
        stdin.write_all(&buffer).unwrap();
    }
    drop(stdin);
    let out = up.wait_with_output().unwrap();
    assert_eq!(text(&out.stdout).trim(), (mib << 20).to_string());

    let grown = rss_kib().saturating_sub(before);
    println!("  memory grew by {grown} KiB over {} MiB", 2 * mib);
    assert!(grown < 24 * 1024, "{grown} KiB");
}

fn transfer(gate: &Gate, program: &str, words: &[&str], input: &str) -> (bool, String) {
    let mut client = Command::new(program);
    client
        .args(gate.options())
        .args(words)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", gate.dir.path());
    let mut client =
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    client.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = client.wait_with_output().unwrap();
    (out.status.success(), text(&out.stdout) + &text(&out.stderr))
}

fn sftp_and_scp() {
    let gate = gate();
    let (here, there, back) = (gate.path("here"), gate.path("there"), gate.path("back"));
    std::fs::write(&here, vec![b'x'; 3_000_000]).unwrap();
    let to = |path: &std::path::Path| format!("{}:{}", gate.destination(), path.display());
    let there_word = to(&there);
    let here_word = here.to_str().unwrap();

    let batch = format!("put {here_word} {}\nrm {}\n", there.display(), gate.path("nothing").display());
    let (_, said) = transfer(&gate, "sftp", &["-b", "-", &gate.destination()], &batch);
    assert_eq!(std::fs::read(&there).unwrap().len(), 3_000_000, "{said}");
    let opened = gate.event("sftp", |event| event["action"] == "open");
    assert_eq!((opened["code"].as_str(), opened["path"].as_str()), (Some("TS001I"), there.to_str()));
    let refused = gate.event("sftp", |event| event["action"] == "remove");
    assert_eq!(refused["code"], "TS011E");
    let summary = gate.event("sftp_summary", |event| !event["files"].as_array().unwrap().is_empty());
    assert_eq!(summary["files"][0]["written"], 3_000_000);
    assert_eq!(summary["files"][0]["written_sha256"].as_str().map(str::len), Some(64));

    for legacy in [&[][..], &["-O"]] {
        let words = [legacy, &["-p", here_word, &there_word]].concat();
        std::fs::remove_file(&there).unwrap();
        let (ok, said) = transfer(&gate, "scp", &words, "");
        assert!(ok && std::fs::read(&there).unwrap().len() == 3_000_000, "{said}");
        let words = [legacy, &[&there_word, back.to_str().unwrap()]].concat();
        let (ok, said) = transfer(&gate, "scp", &words, "");
        assert!(ok && std::fs::read(&back).unwrap().len() == 3_000_000, "{said}");
        std::fs::remove_file(&back).unwrap();
    }
    gate.event("scp", |event| event["code"] == "T3005I" && event["path"] == there.to_str().unwrap());
    gate.event("scp", |event| event["code"] == "T3004I");
}

fn rsync_works() {
    let gate = gate();
    let tree = gate.path("tree");
    std::fs::create_dir_all(tree.join("deep")).unwrap();
    std::fs::write(tree.join("deep/leaf"), "leaf").unwrap();
    let copy = gate.path("copy");

    let out = Command::new("rsync")
        .args(["-a", "-e", &format!("ssh {}", gate.options().join(" "))])
        .arg(format!("{}/", tree.display()))
        .arg(format!("{}:{}", gate.destination(), copy.display()))
        .output()
        .unwrap();

    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(std::fs::read_to_string(copy.join("deep/leaf")).unwrap(), "leaf");
}

fn file_copies_refused() {
    let mut role = policy::presets::access();
    role.spec.options.ssh_file_copy = Some(false);
    let gate = Gate::with(me().as_str(), vec![role], Settings::default());
    let here = gate.path("id.pub");
    let to = format!("{}:{}", gate.destination(), gate.path("there").display());

    let (ok, said) = transfer(&gate, "sftp", &["-b", "-", &gate.destination()], "pwd\n");
    assert!(!ok && said.contains("access denied"), "{said}");
    gate.event("subsystem", |event| event["code"] == "T3001E");
    let (ok, said) = transfer(&gate, "scp", &["-O", here.to_str().unwrap(), &to], "");
    assert!(!ok && said.contains("access denied"), "{said}");
    gate.event("scp", |event| event["code"] == "T3010E");
    assert!(!gate.path("there").exists());
    assert_eq!(text(&gate.run("echo still").stdout), "still\n");
}

/// An HTTP-like service that says one word to each caller.
fn word_service(word: &'static str) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 3];
            if stream.read_exact(&mut asked).is_ok() {
                let _ = stream.write_all(word.as_bytes());
            }
        }
    });
    port
}

fn ask_port(port: u16) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.write_all(b"hey").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn forwards() {
    let gate = gate();
    let service = word_service("word");
    let (local, remote, dynamic) = (free_port(), free_port(), free_port());
    let socket = gate.path("service.sock");
    let far_socket = gate.path("far.sock");
    let unix = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in unix.incoming() {
            stream.unwrap().write_all(b"unix").unwrap();
        }
    });
    let unix_port = free_port();
    let mut client = gate
        .ssh(
            &[
                "-N",
                "-oExitOnForwardFailure=yes",
                &format!("-L{local}:127.0.0.1:{service}"),
                &format!("-R{remote}:127.0.0.1:{service}"),
                &format!("-D{dynamic}"),
                &format!("-L{unix_port}:{}", socket.display()),
                &format!("-R{}:127.0.0.1:{service}", far_socket.display()),
            ],
            &[],
        )
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();

    assert_eq!(wait(|| ask_port(local)).as_deref(), Some("word"));
    assert_eq!(wait(|| ask_port(remote)).as_deref(), Some("word"));
    let socks = Command::new("curl")
        .args(["-s", "--socks5-hostname", &format!("127.0.0.1:{dynamic}"), "--http0.9"])
        .arg(format!("http://localhost:{service}/"))
        .output();
    if let Ok(socks) = socks {
        assert_eq!(text(&socks.stdout), "word", "{}", text(&socks.stderr));
    }
    let mut over_unix = String::new();
    std::net::TcpStream::connect(("127.0.0.1", unix_port)).unwrap().read_to_string(&mut over_unix).unwrap();
    assert_eq!(over_unix, "unix");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&far_socket).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let mut far = std::os::unix::net::UnixStream::connect(&far_socket).unwrap();
    far.write_all(b"hey").unwrap();
    let mut answer = String::new();
    far.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "word");

    let address = format!("127.0.0.1:{service}");
    gate.event("port", |event| event["code"] == "T3003I" && event["addr"] == address.as_str());
    gate.event("port", |event| event["code"] == "T3003S" && event["addr"] == address.as_str());
    gate.event("port", |event| event["direction"] == "remote" && event["code"] == "T3003I");
    client.kill().unwrap();
    client.wait().unwrap();
    assert!(wait(|| (!far_socket.exists()).then_some(())).is_some(), "the socket goes with its connection");
    gate.event("port", |event| event["direction"] == "remote" && event["code"] == "T3003S");
}

fn forwards_refused() {
    let mut role = policy::presets::access();
    role.spec.options.port_forwarding = Some(false);
    let gate = Gate::with(me().as_str(), vec![role], Settings::default());
    let service = word_service("word");

    let out = gate
        .ssh(&["-oExitOnForwardFailure=yes", &format!("-R0:127.0.0.1:{service}")], &["true"])
        .output()
        .unwrap();
    assert!(!out.status.success());
    gate.event("port", |event| event["code"] == "T3003E" && event["direction"] == "remote");

    let out = gate.ssh(&[&format!("-W127.0.0.1:{service}")], &[]).output().unwrap();
    assert!(!out.status.success() && text(&out.stderr).contains("access denied"), "{}", text(&out.stderr));
    gate.event("port", |event| event["code"] == "T3003E" && event["direction"] == "local");

    let out = gate.ssh(&["-W169.254.169.254:80"], &[]).output().unwrap();
    assert!(!out.status.success());
}

fn an_agent_is_in_reach() {
    let gate = gate();
    let agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(gate.path("agent.sock"))
        .stdout(Stdio::null())
        .spawn();
    let mut agent = agent.unwrap();
    let socket = gate.path("agent.sock");
    assert!(wait(|| socket.exists().then_some(())).is_some());
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(gate.path("id"))
        .env("SSH_AUTH_SOCK", &socket)
        .output()
        .unwrap();
    assert!(added.status.success(), "{}", text(&added.stderr));

    let options = ["-A", "-oIdentityAgent=SSH_AUTH_SOCK", "-oForwardAgent=yes"];
    let mut words = Command::new("ssh");
    words.args(options).args(gate.options().iter().filter(|o| !o.contains("IdentityAgent")));
    words
        .arg(gate.destination())
        .arg("ssh-add -l; stat -c %a $SSH_AUTH_SOCK; stat -c %a $(dirname $SSH_AUTH_SOCK)");
    let out = words.env("SSH_AUTH_SOCK", &socket).output().unwrap();

    let said = text(&out.stdout);
    assert!(said.contains("ED25519") && said.contains("600\n700\n"), "{said}{}", text(&out.stderr));
    agent.kill().unwrap();
    agent.wait().unwrap();
}

fn a_lock_ends_an_open_session() {
    let gate = gate();
    let mut client = gate.ssh(&["-tt"], &["echo ready; sleep 600"]);
    client.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    gate.event("session.start", |_| true);
    let mut stdout = client.stdout.take().unwrap();
    let mut line = [0; 5];
    stdout.read_exact(&mut line).unwrap();

    let lock = model::resource::Lock {
        id: model::RequestId::from_random([8; 16]),
        target: model::resource::LockTarget { user: Some("ann".parse().unwrap()), ..Default::default() },
        message: "away".into(),
        expires: None,
        created_at: model::Timestamp::from_secs(1),
        created_by: "root".into(),
    };
    gate.rule(&[policy::presets::access()], &[lock]);

    let out = client.wait_with_output().unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(!out.status.success());
    let said = rest + &text(&out.stderr);
    assert!(said.contains("access is no longer granted"), "{said}");
    assert!(!said.contains("lock"), "{said}");
    gate.event("client.disconnect", |_| true);
    gate.event("session.end", |_| true);
    let out = gate.run("true");
    assert!(text(&out.stderr).contains("Permission denied"));
}

fn silent_rules() {
    let gate = Gate::with(me().as_str(), vec![policy::presets::vendor()], Settings::default());
    let out = gate.ssh(&["-tt"], &["env"]).output().unwrap();
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(out.status.success(), "{said}");
    for word in ["MOONGATE", "SESSION_ID", "record"] {
        assert!(!said.to_lowercase().contains(&word.to_lowercase()), "{word} in {said}");
    }

    let mut role = policy::presets::access();
    let record = model::resource::RecordSession {
        notice: Some(model::resource::Notice::Banner),
        ..model::resource::RecordSession::default()
    };
    role.spec.options.record_session = Some(record);
    let gate = Gate::with(me().as_str(), vec![role], Settings::default());
    let out = gate.ssh(&["-tt"], &["env"]).output().unwrap();
    let said = text(&out.stdout);
    assert!(said.contains("This session is recorded.") && said.contains("SSH_MOONGATE_USER=ann"), "{said}");
}

fn hanging_up() {
    let gate = gate();
    let mark = gate.path("mark");
    let words = format!("trap 'echo hup > {}; exit' HUP; echo ready; sleep 600 & wait", mark.display());
    let mut client = gate.ssh(&[], &[&words]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 6];
    client.stdout.take().unwrap().read_exact(&mut line).unwrap();

    client.kill().unwrap();
    client.wait().unwrap();

    let told = wait(|| std::fs::read_to_string(&mark).ok().filter(|said| said.contains("hup")));
    assert!(told.is_some());
    gate.event("session.end", |event| event["reason"] == "the client went away");
}

fn another_account() {
    if !nix::unistd::Uid::effective().is_root() {
        let gate = Gate::new("root");
        let out = gate.run("true");
        assert!(text(&out.stderr).contains("does not run as root"), "{}", text(&out.stderr));
        return;
    }
    let made = super::start::Made::new("gatetest4");
    let gate = Gate::new("gatetest4");

    let out = gate.run("id -un; pwd; echo $HOME");
    assert_eq!(text(&out.stdout), "gatetest4\n/home/gatetest4\n/home/gatetest4\n", "{}", text(&out.stderr));
    let (ok, said) =
        transfer(&gate, "sftp", &["-b", "-", &gate.destination()], "mkdir mine\nget /etc/shadow\n");
    assert!(!ok && said.contains("ermission denied"), "{said}");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/home/gatetest4/mine").unwrap());
    assert_ne!(owner, 0);
    drop(made);

    let out = gate.run("true");
    assert!(text(&out.stderr).contains("no account `gatetest4`"), "{}", text(&out.stderr));
}

fn many_sessions() {
    let gate = gate();
    let clients: Vec<_> = (0..8)
        .map(|i| gate.ssh(&[], &[&format!("echo {i}; sleep 0.2")]).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    for (i, client) in clients.into_iter().enumerate() {
        let out = client.wait_with_output().unwrap();
        assert_eq!(text(&out.stdout), format!("{i}\n"));
    }
}

/// Run in a process of its own: root is given up for good.
pub(crate) fn without_privileges() {
    let launched = node::spawner::launch(&std::env::current_exe().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let plan = node::privilege::Plan::Become {
        name: nobody.name,
        uid: nobody.uid.as_raw(),
        gid: nobody.gid.as_raw(),
    };
    node::privilege::give_data_dir(&dir.path().join("data"), &plan).unwrap();
    node::privilege::drop_to(&plan).unwrap();

    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(field("Uid:").iter().chain(&field("Gid:")).all(|id| *id == nobody.uid.to_string()), "{status}");
    assert!(matches!(field("CapEff:")[0].as_str(), "0000000000000400" | "0000000000000000"), "{status}");
    assert_eq!(field("CapInh:"), ["0000000000000000"]);
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    assert!(std::fs::read("/etc/shadow").is_err());
    assert!(std::fs::write(dir.path().join("data/x"), "mine").is_ok());

    let gate = Gate::on(launched, "root", vec![policy::presets::access()], Settings::default());
    let out =
        gate.ssh(&["-tt"], &["id -un; stty size; head -c1 /etc/shadow >/dev/null && echo read"]).output();
    let screen = text(&out.unwrap().stdout);
    assert!(screen.contains("root") && screen.contains("read"), "{screen}");
    let out = gate.run("id -u; cat /proc/self/status | grep NoNewPrivs");
    assert!(
        text(&out.stdout).starts_with("0\n") && text(&out.stdout).ends_with("0\n"),
        "{}",
        text(&out.stdout)
    );
    gate.certify(&["nobody", "root"], Duration::from_secs(60));
    let (ok, said) =
        transfer(&gate, "sftp", &["-b", "-", &gate.destination()], "stat /etc/shadow\nls /root\n");
    let _ = (ok, said);
}

fn service_without_privileges() {
    if !nix::unistd::Uid::effective().is_root() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(node::privilege::plan(dir.path()).unwrap(), node::privilege::Plan::Already);
        return;
    }
    let out = Command::new(std::env::current_exe().unwrap()).arg("without-privileges").output().unwrap();
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
}

fn signal_while_stuck() {
    let gate = gate();
    let key = std::fs::read_to_string(gate.path("id")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let scope = runtime::Scope::root("client");
        let stream = tokio::net::TcpStream::connect(gate.address).await.unwrap();
        let user = std::sync::Arc::new(ssh::PrivateKey::from_openssh(&key).unwrap());
        let line = std::fs::read_to_string(gate.path("id-cert.pub")).unwrap();
        let certificate = ssh::PublicKey::from_openssh(&line).unwrap();
        let ways = [ssh::client::Credential { key: certificate, signer: user }];
        let anyone = |_: &ssh::PublicKey| Ok(());
        let joined = ssh::client::connect(stream, Default::default(), &anyone, &gate.login, &ways);
        let joined = joined.await.unwrap();
        scope.spawn("driver", joined.driver);
        let channel = joined.connection.open_session().await.unwrap();
        channel.exec("echo ready; exec sleep 600").await.unwrap();
        assert!(matches!(channel.recv().await.unwrap(), ssh::Received::Data(_)));

        // More than pipe and window hold: the program never reads.
        let flood = async { while channel.write(&[b'x'; 32_768]).await.is_ok() {} };
        let end = async {
            channel.signal("TERM").unwrap();
            loop {
                match channel.recv().await.unwrap() {
                    ssh::Received::Exit(ssh::RequestKind::ExitSignal { name, .. }) => return name,
                    ssh::Received::Closed => panic!("no signal was told"),
                    _ => {}
                }
            }
        };
        let name = tokio::select! {
            () = flood => panic!("the flood ended"),
            name = end => name,
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("not in time"),
        };
        assert_eq!(name, "TERM");
        scope.drain(Duration::from_secs(5)).await;
    });
}

fn stuck_reader() {
    let gate = gate();
    let socket = gate.path("mux");
    let control = format!("-oControlPath={}", socket.display());
    let mut master = gate.ssh(&["-M", "-N", &control], &[]).spawn().unwrap();
    assert!(wait(|| socket.exists().then_some(())).is_some());

    // Nobody reads what this one says.
    let stuck = gate.ssh(&[&control], &["cat /dev/zero"]).stdout(Stdio::piped()).spawn();
    let mut stuck = stuck.unwrap();
    gate.event("session.start", |event| event["initial_command"][0] == "cat /dev/zero");
    for _ in 0..5 {
        let out = gate.ssh(&[&control], &["echo here"]).output().unwrap();
        assert_eq!(text(&out.stdout), "here\n");
    }

    for client in [&mut stuck, &mut master] {
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

fn idle_sessions() {
    let gate = gate();
    let open = |count: usize| -> Vec<std::process::Child> {
        (0..count)
            .map(|_| {
                let mut client = gate.ssh(&["-tt"], &["echo up; exec sleep 600"]);
                let mut client = client.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
                let mut line = [0; 2];
                client.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
                client
            })
            .collect()
    };
    let warm = open(4);
    let before = rss_kib();
    let many = open(40);
    let each = rss_kib().saturating_sub(before) / 40;
    println!("  an idle session costs {each} KiB here");
    for mut client in warm.into_iter().chain(many) {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    assert!(each <= 256, "{each} KiB");
}

fn odd_requests() {
    let gate = gate();
    // The end of input before the program, an empty command, a terminal for a command that ends at once.
    assert!(gate.ssh(&["-n"], &["cat"]).output().unwrap().status.success());
    assert!(gate.run(":").status.success());
    for _ in 0..20 {
        let out = gate.ssh(&["-tt"], &["echo last words"]).output().unwrap();
        assert!(text(&out.stdout).contains("last words"), "{:?}", text(&out.stdout));
    }
    // A command longer than the system takes is refused in words.
    let long = "x".repeat(120_000);
    let out = gate.ssh(&[], &["true", &long]).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
}
