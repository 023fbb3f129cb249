//! Much at a time, stuck ends, ended ends, and a service without privileges.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use node::serve::Settings;

use super::gate::{Gate, wait};
use super::people::{gate, text, transfer};
use super::stay::Client;

pub(crate) const TESTS: &[crate::Test] = &[
    ("streams_of_256_mib_pass_both_ways_in_flat_memory", big_streams),
    ("hanging_up_ends_the_program", hanging_up),
    ("another_account_is_entered_over_ssh", another_account),
    ("many_sessions_at_a_time", many_sessions),
    ("a_service_without_privileges_still_opens_every_account", service_without_privileges),
    ("a_signal_is_heard_while_the_program_does_not_read", signal_while_stuck),
    ("a_reader_that_is_stuck_holds_up_nobody", stuck_reader),
    ("a_signal_to_the_whole_group_leaves_the_spawner_at_work", told_with_the_group),
    ("idle_sessions_are_small", idle_sessions),
    ("silent_strangers_at_one_address_keep_nobody_else_out", silent_strangers),
];

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
    let made = super::start::Made::new("d");
    let gate = Gate::new(&made.0);

    let out = gate.run("id -un; pwd; echo $HOME");
    let (name, home) = (made.0.clone(), format!("/home/{}", made.0));
    assert_eq!(text(&out.stdout), format!("{name}\n{home}\n{home}\n"), "{}", text(&out.stderr));
    let (ok, said) =
        transfer(&gate, "sftp", &["-b", "-", &gate.destination()], "mkdir mine\nget /etc/shadow\n");
    assert!(!ok && said.contains("ermission denied"), "{said}");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("{home}/mine")).unwrap());
    assert_ne!(owner, 0);
    drop(made);

    let out = gate.run("true");
    assert!(text(&out.stderr).contains(&format!("no account `{name}`")), "{}", text(&out.stderr));
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
    let launched =
        node::spawner::launch(&std::env::current_exe().unwrap(), &node::spawner::Orders::default()).unwrap();
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
    let mut itself = Command::new(std::env::current_exe().unwrap());
    // Whoever it becomes makes directories, too, and a caller's own place for them may be the caller's alone.
    let out = itself.arg("without-privileges").env("TMPDIR", "/tmp").output().unwrap();
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
}

fn signal_while_stuck() {
    let gate = gate();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&gate).await;
        let channel = client.connection.open_session().await.unwrap();
        channel.exec("echo ready; exec sleep 600").await.unwrap();
        assert!(matches!(channel.recv().await.unwrap(), ssh::Received::Data(_)));

        // More than pipe and window hold: the program never reads.
        let flood = async {
            while channel.write(&[b'x'; 32_768]).await.is_ok() {}
            std::future::pending::<()>().await;
        };
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
            () = tokio::time::sleep(super::gate::PATIENCE) => panic!("not in time"),
        };
        assert_eq!(name, "TERM");
        client.cut();
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

fn told_with_the_group() {
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let launched =
        node::spawner::launch(&std::env::current_exe().unwrap(), &node::spawner::Orders::default()).unwrap();
    let spawner = nix::unistd::Pid::from_raw(i32::try_from(launched.pid()).unwrap());
    let gate =
        Gate::on(launched, super::start::me().as_str(), vec![policy::presets::access()], Settings::default());
    assert_eq!(text(&gate.run("echo before").stdout), "before\n");

    for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
        nix::sys::signal::kill(spawner, signal).unwrap();
    }

    // And a program is still ended by them.
    assert_eq!(text(&gate.run("echo after; sh -c 'kill -TERM $$'; echo $?").stdout), "after\n143\n");
}

fn silent_strangers() {
    let settings = Settings { handshakes: 6, handshakes_each: 3, ..Settings::default() };
    let gate = Gate::with(super::start::me().as_str(), vec![policy::presets::access()], settings);
    let call = || {
        let mut stream = std::net::TcpStream::connect(gate.address).unwrap();
        stream.set_read_timeout(Some(super::gate::PATIENCE)).unwrap();
        let mut first = [0; 4];
        (stream.read_exact(&mut first).is_ok() && &first == b"SSH-").then_some(stream)
    };

    let mut held: Vec<_> = (0..3).map(|_| call().expect("greeted")).collect();
    assert!(call().is_none(), "a fourth from there is let go at once");
    let out = gate.ssh(&["-oBindAddress=127.0.0.2"], &["echo in"]).output().unwrap();
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));

    drop(held.pop());
    wait(call).expect("a place is free again");
}
