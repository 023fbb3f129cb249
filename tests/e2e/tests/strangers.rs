//! Who comes to the one port without a certificate: thousands that say nothing or nonsense, and balancers that say for
//! whom they come.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use e2e::gate::{Gate, NODE, Options};
use e2e::http;
use e2e::run::LIMIT;
use e2e::wait::until;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::Value;

/// Each of our ends needs a descriptor.
fn raise_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.current.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX)
}

/// What a half-open connection of one of five kinds has said: nothing, half a TLS hello, an SSH greeting and half a
/// packet, half a request, and half a PROXY header.
fn half_a_word(kind: usize) -> &'static [u8] {
    match kind {
        0 => b"",
        1 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        2 => b"SSH-2.0-x\r\n\x00\x00\x04\x00\x05\x14",
        3 => b"GET / HTTP/1.1\r\nHost:",
        _ => b"PROXY TCP4 203.0.113.9",
    }
}

#[test]
fn ten_thousand_half_open_connections_keep_nobody_out() {
    let room = raise_limit();
    let count = 10_000.min(room.saturating_sub(500));
    let mut gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let mut idle = Vec::with_capacity(count);
    for n in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
        stream.write_all(half_a_word(n % 5)).ok();
        if n % 7 == 0 {
            stream.shutdown(Shutdown::Write).ok();
        }
        idle.push(stream);
    }

    let ping = http::get(&gate.url("/webapi/ping")).unwrap();
    let session = ann.on("root", NODE, "echo in").unwrap();

    assert!(ping.text().contains("cluster_name"), "{}", ping.stderr);
    assert_eq!(session.ok().unwrap().text(), "in\n");
    assert!(gate.auth.is_alive());
    drop(idle);
}

/// A balancer in front of `port` that opens each connection with `header`. Its port.
fn balancer(port: u16, header: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (client, mut gate) = (stream.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
            gate.write_all(header).ok();
            let ends = [(client.try_clone().unwrap(), gate.try_clone().unwrap()), (gate, client)];
            for (mut from, mut to) in ends {
                thread::spawn(move || {
                    std::io::copy(&mut from, &mut to).ok();
                    to.shutdown(Shutdown::Both).ok();
                });
            }
        }
    });
    own
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.1 5555 3080\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x0a\xc0\0\x02\x01\x15\xb3\x0c\x08";

/// Where the newest sign-in came from, by the audit log.
fn last_login_from(gate: &Gate, user: &str) -> Option<String> {
    let events = gate.mctl_json(&["audit", "ls", "--format=json"]).ok()?;
    let of_user = |e: &&Value| {
        e.get("event").and_then(Value::as_str) == Some("user.login")
            && e.get("user").and_then(Value::as_str) == Some(user)
    };
    let login = events.as_array()?.iter().find(of_user)?;
    login.get("addr.remote").and_then(Value::as_str).map(str::to_owned)
}

#[test]
fn a_trusted_balancer_says_for_whom_it_comes_and_the_authority_hears_it() {
    // Apart: the proxy has to hand the address on.
    let gate = Gate::start_apart(Options::default()).unwrap();

    for (name, header, address) in [("ann", V1, "203.0.113.9"), ("bob", V2, "203.0.113.10")] {
        let via = format!("127.0.0.1:{}", balancer(gate.port, header));
        let person = gate.invited(name, "access", "root").unwrap().through(&via);
        person.login().unwrap();

        let from = until("the login in the log", LIMIT, || last_login_from(&gate, name)).unwrap();

        assert!(from.starts_with(address), "{name}: {from}");
    }
}

#[test]
fn nobody_else_is_believed_about_an_address() {
    let lines = "  trusted_fronts: [\"192.0.2.0/24\"]\n".to_owned();
    let gate = Gate::start_with(Options { proxy_lines: lines, ..Options::default() }).unwrap();

    for header in [V1, V2] {
        let port = balancer(gate.port, header);
        let through = http::get(&format!("https://127.0.0.1:{port}/webapi/ping")).unwrap();
        assert_ne!(through.code, 0, "{}", through.text());
    }

    assert!(http::get(&gate.url("/webapi/ping")).unwrap().text().contains("cluster_name"));
}
