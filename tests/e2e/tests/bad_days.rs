//! kill -9 of each part, a full disk, an authority that is away, and strangers at the port.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use e2e::gate::{Gate, NODE, Options};
use e2e::helper::certificate;
use e2e::person::{Person, root, target};
use e2e::process::Process;
use e2e::run::{LIMIT, run, run_with};
use e2e::wait::until;
use rustix::process::Signal;
use serde_json::Value;

/// Something that goes on writing, read all the time.
struct Stream {
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    fn from(ann: &Person, node: &str) -> Result<Self> {
        let mut copy = ann.ssh(&[&target("root", node), "cat /dev/zero"]);
        let mut child = copy.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut out = child.stdout.take().context("no stdout")?;
        out.read_exact(&mut [0; 1 << 20]).with_context(|| format!("nothing comes from {node}"))?;
        let reader = std::thread::spawn(move || drop(std::io::copy(&mut out, &mut std::io::sink())));
        Ok(Self { child, reader: Some(reader) })
    }

    /// Waits for the client to end by itself, and says whether it was content.
    fn end(&mut self) -> Result<bool> {
        let status = until("the client to end", LIMIT, || self.child.try_wait().ok()?)?;
        if let Some(reader) = self.reader.take() {
            ensure!(reader.join().is_ok(), "the reader failed");
        }
        Ok(status.success())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Both fail where it has ended, which is well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_proxy_killed_under_load_has_all_its_agents_back() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let others = ["gpu-2", "gpu-3", "gpu-4", "gpu-5", "gpu-6"];
    for name in others {
        gate.start_node(name, "").unwrap();
    }
    let nodes: Vec<&str> = others.into_iter().chain([NODE]).collect();
    for name in &nodes {
        gate.online(name).unwrap();
    }
    let ann = gate.person("ann", "access", "root").unwrap();
    let mut load: Vec<_> = nodes.iter().map(|name| Stream::from(&ann, name).unwrap()).collect();

    gate.proxy.as_mut().unwrap().kill();
    for stream in &mut load {
        assert!(!stream.end().unwrap(), "a stream that was cut is no success");
    }
    // That a silent proxy would be believed for longer is shown where the clock is turned: `auth`.
    for name in &nodes {
        gate.node_is(name, "offline").unwrap();
    }
    gate.start_proxy().unwrap();
    gate.answers().unwrap();

    // That it takes ten seconds at most is shown where time is simulated: `tunnel`.
    for name in &nodes {
        let ran = until(&format!("a session on {name}"), LIMIT, || {
            ann.on("root", name, "echo back").ok()?.ok().ok()
        });
        assert_eq!(ran.unwrap().text(), "back\n", "{name}");
    }
}

#[test]
fn a_killed_node_leaves_a_recording_that_verifies() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let mut shell = ann.ssh(&["-tt", &root(), "echo before-the-cut; exec sleep 600"]);
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut seen = vec![0; 14];
    child.stdout.as_mut().unwrap().read_exact(&mut seen).unwrap();
    let spool = gate.data(NODE).join("spool");
    until("the frame to be on disk", LIMIT, || holds(&spool, b"before-the-cut").then_some(())).unwrap();

    gate.node(NODE).unwrap().kill();
    child.kill().unwrap();
    child.wait().unwrap();
    gate.start_node(NODE, "").unwrap();
    gate.online(NODE).unwrap();
    let id = until("the recording to be closed", LIMIT, || {
        let list = gate.mctl_json(&["recordings", "ls", "--format=json"]).ok()?;
        let newest = list.as_array()?.first()?.clone();
        let state = newest.get("state").and_then(Value::as_str)?;
        (state != "live").then(|| newest.get("id").and_then(Value::as_str).map(str::to_owned)).flatten()
    })
    .unwrap();
    let verify = gate.mctl(&["recordings", "verify", &id]).unwrap();

    assert_eq!(verify.code, 0, "{}", verify.stderr);
}

#[test]
fn with_the_authority_away_certificates_still_open_sessions() {
    let mut gate = Gate::start_apart(Options { recording: "node", ..Options::default() }).unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    ann.on("root", NODE, "true").unwrap().ok().unwrap();

    gate.auth.kill();
    let away = ann.on("root", NODE, "echo still").unwrap();
    gate.restart_auth().unwrap();
    gate.answers().unwrap();

    assert_eq!(away.ok().unwrap().text(), "still\n");
    until("its events to arrive", LIMIT, || {
        let log = gate.mctl_json(&["audit", "ls", "--format=json"]).ok()?.to_string();
        log.contains("echo still").then_some(())
    })
    .unwrap();
}

#[test]
fn a_killed_authority_keeps_everything_it_acknowledged() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    gate.invited("ann", "access", "root").unwrap();

    gate.auth.kill();
    gate.restart_auth().unwrap();

    let users = until("the authority", LIMIT, || gate.mctl_json(&["users", "ls", "--format=json"]).ok());
    assert!(users.unwrap().to_string().contains("ann"));
    assert_eq!(gate.mctl(&["audit", "verify"]).unwrap().code, 0);
}

#[test]
fn a_copy_that_is_cut_says_so_and_is_no_success() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let (here, there) = (ann.home().join("large"), gate.dir().join("large"));
    // Takes no room there, and longer to copy than to look.
    std::fs::File::create(&there).unwrap().set_len(1 << 32).unwrap();
    let mut copy = ann.command("msh");
    copy.args(["scp", "-q"]).arg(format!("root@{NODE}:{}", there.display())).arg("large");
    let copy = copy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("some of it to arrive", LIMIT, || (std::fs::metadata(&here).ok()?.len() > 0).then_some(()))
        .unwrap();

    gate.proxy.as_mut().unwrap().kill();
    let ended = copy.wait_with_output().unwrap();

    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.starts_with(&format!("msh: cannot copy {}: ", there.display())), "{said}");
}

/// Starts once more with the configuration `name`, which must come to nothing; what it says.
fn refused(gate: &Gate, name: &str) -> Result<String> {
    let config = gate.dir().join(format!("{name}.yaml"));
    let ran = run(gate.command("moongate").args(["start", "-c"]).arg(config))?;
    ensure!(ran.code == 1, "it ended with {}: {}", ran.code, ran.stderr);
    Ok(ran.stderr)
}

#[test]
fn a_directory_is_one_process_s_until_it_is_gone() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let sharer = "moongate: {data_dir: 'DIR/other', storage: {path: 'DIR/auth'}}\nauth_service: {enabled: yes, listen_addr: '127.0.0.1:1'}\n";
    let sharer = sharer.replace("DIR", &gate.dir().display().to_string())
        + "proxy_service: {enabled: no}\nssh_service: {enabled: no}\n";
    std::fs::write(gate.dir().join("sharer.yaml"), sharer).unwrap();

    let holders = [
        ("auth", "auth", gate.auth.id()),
        ("proxy", "proxy", gate.proxy.as_ref().unwrap().id()),
        (NODE, NODE, gate.node(NODE).unwrap().id()),
        ("sharer", "auth", gate.auth.id()),
    ];
    for (second, directory, holder) in holders {
        let said = refused(&gate, second).unwrap();
        let expected = [
            gate.data(directory).display().to_string(),
            "in use by another moongate".to_owned(),
            format!("process {holder} on "),
        ];
        assert!(expected.iter().all(|e| said.contains(e)), "{second}: {said}");
    }
    ann.on("root", NODE, "true").unwrap().ok().unwrap();

    // A program of the dead node's lives on; it must not hold what was the node's.
    let mut shell = ann.ssh(&["-tt", &root(), "trap '' HUP; echo $$; exec sleep 600"]);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    gate.node(NODE).unwrap().kill();
    gate.auth.kill();
    gate.restart_auth().unwrap();
    gate.answers().unwrap();
    gate.start_node(NODE, "").unwrap();
    until("the node", LIMIT, || ann.on("root", NODE, "true").ok()?.ok().ok()).unwrap();
    let survivor = run(Command::new("kill").args(["-KILL", line.trim()])).unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();

    assert_eq!(survivor.code, 0, "{}", survivor.stderr);
}

#[test]
fn without_room_for_the_record_a_strict_session_ends_and_another_goes_on() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let spool = gate.data(NODE).join("spool");
    gate.node(NODE).unwrap().kill();
    std::fs::create_dir_all(&spool).unwrap();
    let Ok(small) = SmallDisk::mount(&spool) else {
        eprintln!("no right to mount a small disk here");
        return;
    };
    gate.start_node(NODE, "").unwrap();
    gate.online(NODE).unwrap();
    let strict = gate.person("eve", "vendor", "root").unwrap();
    let relaxed = gate.person("ann", "access", "root").unwrap();
    small.fill();

    let much = "head -c 8000000 /dev/urandom | base64; echo end-of-it";
    let ended = run_with(&mut strict.ssh(&["-tt", &root(), much]), b"", LIMIT).unwrap();
    let went_on = run_with(&mut relaxed.ssh(&["-tt", &root(), much]), b"", LIMIT).unwrap();

    assert_ne!(ended.code, 0);
    assert!(!ended.text().contains("end-of-it"));
    assert!(went_on.text().contains("end-of-it"), "{}", went_on.stderr);
    assert!(gate.node(NODE).unwrap().is_alive());
}

/// A disk of two megabytes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Result<Self> {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(at))?.ok()?;
        Ok(Self(at.to_owned()))
    }

    fn fill(&self) {
        // It fails when the disk is full, which is what is wanted.
        std::fs::write(self.0.join("filler"), vec![0; 2 << 20]).ok();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.0)).ok();
    }
}

/// Whether some file below holds these bytes.
fn holds(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        let found = |data: Vec<u8>| data.windows(bytes.len()).any(|w| w == bytes);
        if path.is_dir() { holds(&path, bytes) } else { std::fs::read(&path).is_ok_and(found) }
    })
}

#[test]
fn sighup_takes_up_labels_tokens_and_certificates_and_names_what_waits_for_a_restart() {
    let files = tempfile::tempdir().unwrap();
    let (key, cert) = certificate(files.path(), "web").unwrap();
    let (key_file, cert_file) = (key.display(), cert.display());
    let proxy_lines = format!(
        "  https_keypairs_reload_interval: never\n  https_keypairs:\n    - key_file: {key_file}\n      cert_file: {cert_file}\n"
    );
    let gate = Gate::start_with(Options { proxy_lines, ..Options::default() }).unwrap();
    let fresh = "e2e-fresh-token-77c0d1e9a2b4";
    let port = gate.port;
    // Whoever trusts this certificate alone gets an answer where it is shown.
    let shown = || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--noproxy", "*", "--max-time", "60", "--cacert"]).arg(&cert);
        run(curl.arg(gate.url("/webapi/ping"))).is_ok_and(|ran| ran.code == 0)
    };
    assert!(shown());
    certificate(files.path(), "web").unwrap();
    assert!(!shown());
    let text = std::fs::read_to_string(gate.config()).unwrap();
    let text = text
        .replace("env: test", "env: staging")
        .replace("  tokens:\n", &format!("  tokens:\n    - \"node:{fresh}\"\n"))
        .replace(&format!("web_listen_addr: 127.0.0.1:{port}"), "web_listen_addr: 127.0.0.1:1");
    std::fs::write(gate.config(), text).unwrap();

    gate.auth.signal(Signal::HUP).unwrap();

    let waits = |line: &str| line.contains("takes effect after a restart") && line.contains("proxy_service");
    until("a word about the port", LIMIT, || gate.auth.log().lines().any(waits).then_some(())).unwrap();
    assert!(shown());
    until("the label", LIMIT, || {
        let nodes = gate.mctl_json(&["nodes", "ls", "--format=json"]).ok()?;
        (nodes.pointer("/0/node/labels/env").or(nodes.pointer("/0/labels/env"))? == "staging").then_some(())
    })
    .unwrap();
    let mut command = gate.command("moongate");
    command.args(["start", "--roles=node", "--nodename=late", &format!("--token={fresh}")]);
    command.arg(format!("--ca-pin={}", gate.pin().unwrap()));
    command.arg(format!("--auth-server=127.0.0.1:{port}"));
    let (data, config) = (gate.data("late"), gate.data("late.yaml"));
    std::fs::write(&config, format!("moongate:\n  data_dir: {}\n", data.display())).unwrap();
    let _late = Process::start("late", command.arg("-c").arg(&config), gate.dir()).unwrap();
    gate.online("late").unwrap();
}

#[test]
fn sigterm_drains_and_ends() {
    let mut gate = Gate::start().unwrap();

    let status = gate.auth.terminate(LIMIT).unwrap();

    assert!(status.success(), "{status}: {}", gate.auth.log());
}

/// Somebody at a terminal on the node: a shell whose prompt is silent, and what it has shown.
struct AtWork {
    child: Child,
    shown: BufReader<std::process::ChildStdout>,
}

impl AtWork {
    fn begin(person: &e2e::person::Person) -> Result<Self> {
        let mut shell =
            person.ssh(&["-tt", &root(), "stty -echo; echo at-work; exec sh -c 'PS1=; exec cat'"]);
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let shown = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut work = Self { child, shown };
        work.sees("at-work")?;
        Ok(work)
    }

    /// Reads until a line has `words` in it.
    fn sees(&mut self, words: &str) -> Result<()> {
        let mut line = Vec::new();
        while !String::from_utf8_lossy(&line).contains(words) {
            line.clear();
            ensure!(self.shown.read_until(b'\n', &mut line)? > 0, "the end came before {words:?}");
        }
        Ok(())
    }

    fn types(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("no stdin")?;
        stdin.write_all(bytes)?;
        Ok(stdin.flush()?)
    }
}

#[test]
fn after_sigterm_nobody_comes_in_and_who_is_at_work_may_finish() {
    let options = Options { instance_lines: "  shutdown_grace: 10m\n".into(), ..Options::default() };
    let mut gate = Gate::start_with(options).unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let mut work = AtWork::begin(&ann).unwrap();

    gate.auth.signal(Signal::TERM).unwrap();
    work.sees("This node is stopping: the session ends within 10m").unwrap();
    let newcomer = ann.on("root", NODE, "true").unwrap();
    work.types(b"still here\n").unwrap();
    work.sees("still here").unwrap();
    work.types(b"\x04").unwrap();
    let status = until("the gate to end", LIMIT, || gate.auth.ended()).unwrap();

    assert_ne!(newcomer.code, 0);
    assert!(work.child.wait().unwrap().success());
    assert!(status.success(), "{status}: {}", gate.auth.log());
}

#[test]
fn a_second_sigterm_waits_for_nobody() {
    let options = Options { instance_lines: "  shutdown_grace: 10h\n".into(), ..Options::default() };
    let mut gate = Gate::start_with(options).unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let mut work = AtWork::begin(&ann).unwrap();
    gate.auth.signal(Signal::TERM).unwrap();
    work.sees("This node is stopping").unwrap();

    gate.auth.signal(Signal::TERM).unwrap();

    let status = until("the gate to end", LIMIT, || gate.auth.ended()).unwrap();
    assert!(status.success(), "{status}: {}", gate.auth.log());
    work.child.kill().unwrap();
    work.child.wait().unwrap();
}

/// What makes a program see another time; `None` where it is not installed.
fn clock_off(by: &str) -> Option<Vec<(String, String)>> {
    let out = Command::new("faketime").args(["-f", by, "printenv", "LD_PRELOAD"]).output().ok()?;
    let library = String::from_utf8(out.stdout).ok()?.trim().to_owned();
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Some(vec![
        set("LD_PRELOAD", &library),
        set("FAKETIME", by),
        set("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        set("FAKETIME_DONT_RESET", "1"),
    ])
}

#[test]
fn a_node_whose_clock_is_off_by_minutes_works_and_one_that_is_off_by_hours_says_so() {
    let Some(slow) = clock_off("-4m") else {
        eprintln!("no faketime here");
        return;
    };
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let with = |environment| Options { environment, ..Options::default() };
    gate.start_node_with("slow", "", &with(slow)).unwrap();
    gate.start_node_with("fast", "", &with(clock_off("+4m").unwrap())).unwrap();
    gate.start_node_with("lost", "", &with(clock_off("-2h").unwrap())).unwrap();

    for node in ["slow", "fast"] {
        gate.online(node).unwrap();
        let ran = ann.on("root", node, "echo here").unwrap();
        assert_eq!(ran.ok().unwrap().text(), "here\n", "{node}");
    }
    let lost = gate.node("lost").unwrap();
    until("the clock to be named", LIMIT, || lost.log().contains("clock").then_some(())).unwrap();
}
