//! Forwards and agents, tried with OpenSSH's client.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use model::resource::ClusterConfig;
use node::serve::Settings;

use super::gate::{Gate, wait};
use super::people::{gate, text};
use super::start::me;

pub(crate) const TESTS: &[crate::Test] = &[
    ("forwards_work_in_every_direction", forwards),
    ("who_connects_and_opens_nothing_is_on_record", connects),
    ("forwards_are_refused_where_rules_say_so", forwards_refused),
    ("a_forward_cut_with_its_connection_has_stopped_on_record", forward_cut),
    ("a_forward_that_is_cancelled_keeps_what_came_in", forward_cancelled),
    ("a_port_that_is_somebody_elses_is_not_listened_on", port_taken),
    ("a_connection_nothing_goes_through_ends_at_the_idle_limit", idle_forward),
    ("an_agent_is_in_reach", an_agent_is_in_reach),
];

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

fn idle_forward() {
    let gate = gate();
    let limit = Some(model::time::Span(std::time::Duration::from_secs(2)));
    gate.configure(ClusterConfig { client_idle_timeout: limit, ..ClusterConfig::default() });
    let service = word_service("word");
    let port = free_port();
    let forward = format!("-L{port}:127.0.0.1:{service}");
    let began = std::time::Instant::now();
    let client = gate.ssh(&["-N", &forward], &[]).stderr(Stdio::piped()).spawn().unwrap();
    // For as long as something goes through, it stays.
    assert_eq!(wait(|| ask_port(port)).as_deref(), Some("word"));
    while began.elapsed() < std::time::Duration::from_secs(5) {
        assert_eq!(ask_port(port).as_deref(), Some("word"));
        std::thread::park_timeout(std::time::Duration::from_millis(300));
    }

    let out = client.wait_with_output().unwrap();
    let said = text(&out.stderr);
    assert!(said.contains("client exceeded idle timeout of 2s"), "{said}");
    gate.event("client.disconnect", |event| event["reason"].as_str().unwrap().contains("idle timeout of 2s"));
    gate.event("port", |event| event["code"] == "T3003S");
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

fn connects() {
    let gate = gate();
    let master = format!("-oControlPath={}", gate.path("control").display());
    let mut client = gate.ssh(&["-M", "-N", &master], &[]).spawn().unwrap();

    let event = gate.event("session.connect", |event| event["code"] == "T2010I");

    assert_eq!((&event["user"], &event["login"]), (&"ann".into(), &gate.login.as_str().into()));
    assert_eq!((&event["server_hostname"], &event["proto"]), (&"web-1".into(), &"ssh".into()));
    assert_eq!(event["server_labels"]["env"], "test");
    assert!(event["addr.remote"].as_str().unwrap().starts_with("127.0.0.1:"), "{event}");
    // What is done over it is no further connection.
    assert!(gate.ssh(&[&master], &["true"]).output().unwrap().status.success());
    gate.event("session.end", |_| true);
    assert_eq!(gate.events("session.connect").len(), 1);
    client.kill().unwrap();
    client.wait().unwrap();
}

fn forward_cut() {
    let gate = gate();
    let (service, local) = (word_service("word"), free_port());
    let mut client = gate.ssh(&["-N", &format!("-L{local}:127.0.0.1:{service}")], &[]).spawn().unwrap();
    // Held open: the service waits for more.
    let held = wait(|| std::net::TcpStream::connect(("127.0.0.1", local)).ok()).unwrap();
    let address = format!("127.0.0.1:{service}");
    gate.event("port", |event| event["code"] == "T3003I" && event["addr"] == address.as_str());

    client.kill().unwrap();
    client.wait().unwrap();

    gate.event("port", |event| event["code"] == "T3003S" && event["addr"] == address.as_str());
    drop(held);
}

/// As with sshd: to listen no more cuts nobody off.
fn forward_cancelled() {
    let gate = gate();
    let service = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, remote, control) = (service.local_addr().unwrap().port(), free_port(), gate.path("control"));
    let forward = format!("-R{remote}:127.0.0.1:{port}");
    let master = format!("-oControlPath={}", control.display());
    let mut client = gate.ssh(&["-M", "-N", &master, &forward], &[]).spawn().unwrap();
    let mut far = wait(|| std::net::TcpStream::connect(("127.0.0.1", remote)).ok()).unwrap();
    let (mut near, _) = service.accept().unwrap();

    let out = gate.ssh(&["-O", "cancel", &master, &forward], &[]).output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    gate.event("port", |event| event["direction"] == "remote" && event["code"] == "T3003S");
    assert!(std::net::TcpStream::connect(("127.0.0.1", remote)).is_err());

    near.write_all(b"still").unwrap();
    drop(near);
    let mut heard = String::new();
    far.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "still");
    client.kill().unwrap();
    client.wait().unwrap();
}

fn port_taken() {
    let gate = gate();
    // On IPv4 alone: whoever connects to localhost there comes to us.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();

    let forward = format!("-R{port}:127.0.0.1:1");
    let out = gate.ssh(&["-oExitOnForwardFailure=yes", &forward], &["true"]).output().unwrap();

    assert!(!out.status.success(), "{}", text(&out.stderr));
    gate.event("port", |event| event["code"] == "T3003E" && event["direction"] == "remote");
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
