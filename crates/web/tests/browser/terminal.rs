//! Terminals: tickets, flow control, coming back, signing out.

use std::time::Duration;

use client::BoxStream;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use ssh::{Received, RequestKind};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use web::terminal::WINDOW;
use web::terminal::frame::FromPage;

use crate::world::{Gate, OURS, Page};

pub(crate) type Socket = WebSocketStream<BoxStream>;

pub(crate) async fn ticket(gate: &Gate, page: &Page, ask: &Value) -> String {
    let answer = gate.send("POST", "/webapi/terminal/tickets", &page.all(), ask).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body["ticket"].as_str().unwrap().to_owned()
}

pub(crate) async fn connect(gate: &Gate, page: &Page, origin: &str, first: &Value) -> Socket {
    let mut request = "wss://gate/webapi/terminal".into_client_request().unwrap();
    let cookie = page.cookie.trim().trim_start_matches("Cookie: ");
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    request.headers_mut().insert("origin", origin.parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, gate.open()).await.unwrap();
    socket.send(Message::Text(first.to_string().into())).await.unwrap();
    socket
}

pub(crate) async fn open(gate: &Gate, page: &Page) -> (Socket, String) {
    let ticket = ticket(gate, page, &json!({"node": gate.world.node, "login": "ubuntu"})).await;
    let mut socket =
        connect(gate, page, "https://gate", &json!({"ticket": ticket, "cols": 80, "rows": 24})).await;
    assert_eq!(news(&mut socket).await["state"], "dialing");
    let opened = news(&mut socket).await;
    assert_eq!(opened["state"], "open", "{opened}");
    (socket, opened["terminal"].as_str().unwrap().to_owned())
}

pub(crate) async fn message(socket: &mut Socket) -> Vec<u8> {
    loop {
        match tokio::time::timeout(Duration::from_secs(120), socket.next()).await.unwrap() {
            Some(Ok(Message::Binary(bytes))) => return bytes.to_vec(),
            Some(Ok(Message::Close(_))) | None => panic!("closed"),
            Some(Ok(_)) => {}
            Some(Err(error)) => panic!("{error}"),
        }
    }
}

async fn news(socket: &mut Socket) -> Value {
    loop {
        let bytes = message(socket).await;
        if bytes[0] == 1 {
            return serde_json::from_slice(&bytes[1..]).unwrap();
        }
    }
}

/// Output until there are `wanted` bytes of it: the first offset, and the bytes.
pub(crate) async fn output(socket: &mut Socket, wanted: usize) -> (u64, Vec<u8>) {
    let (mut at, mut all) = (None, Vec::new());
    while all.len() < wanted {
        let bytes = message(socket).await;
        if bytes[0] == 0 {
            at.get_or_insert(u64::from_be_bytes(bytes[1..9].try_into().unwrap()));
            all.extend_from_slice(&bytes[9..]);
        }
    }
    (at.unwrap_or_default(), all)
}

pub(crate) async fn say(socket: &mut Socket, frame: FromPage<'_>) {
    socket.send(Message::Binary(frame.encode().into())).await.unwrap();
}

pub(crate) fn shell(gate: &Gate) -> ssh::Channel {
    gate.world.shells.lock().unwrap().last().unwrap().clone()
}

/// A terminal whose page has seen the seven bytes its shell began with.
pub(crate) async fn begun(gate: &Gate, page: &Page) -> (Socket, String, ssh::Channel) {
    let (mut socket, id) = open(gate, page).await;
    let shell = shell(gate);
    shell.write_all(b"before ").await.unwrap();
    output(&mut socket, 7).await;
    (socket, id, shell)
}

/// Its page comes back, and says what it has seen.
pub(crate) async fn back(gate: &Gate, page: &Page, id: &str) -> Socket {
    let ticket = ticket(gate, page, &json!({"terminal": id})).await;
    let first = json!({"ticket": ticket, "cols": 80, "rows": 24, "seen": 7});
    connect(gate, page, "https://gate", &first).await
}

/// Waits until no page can come back to it.
async fn forgotten(gate: &Gate, page: &Page, id: &str) {
    let again = json!({"terminal": id});
    let gone = async {
        while gate.send("POST", "/webapi/terminal/tickets", &page.all(), &again).await.status != 404 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), gone).await.unwrap();
}

#[tokio::test]
async fn bytes_go_both_ways_and_the_end_is_told() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (mut socket, id) = open(&gate, &page).await;
    let shell = shell(&gate);

    shell.write_all("你好 $ ".as_bytes()).await.unwrap();
    assert_eq!(output(&mut socket, 9).await, (0, "你好 $ ".as_bytes().to_vec()));
    say(&mut socket, FromPage::Input(b"ls\r")).await;
    say(&mut socket, FromPage::Resize { cols: 120, rows: 40 }).await;
    let (mut typed, mut resized) = (Vec::new(), false);
    while typed.len() < 3 || !resized {
        match shell.recv().await.unwrap() {
            Received::Data(bytes) => typed.extend_from_slice(&bytes),
            Received::Request(request) => {
                resized |= matches!(&request.kind, RequestKind::WindowChange(s) if s.columns == 120);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(typed, b"ls\r");
    say(&mut socket, FromPage::Ping(*b"12345678")).await;
    loop {
        let bytes = message(&mut socket).await;
        if bytes[0] == 3 {
            assert_eq!(&bytes[1..], b"12345678");
            break;
        }
    }
    shell.exit_status(3);
    shell.close();
    assert_eq!(news(&mut socket).await, json!({"state": "ended", "status": 3}));

    // The page has it, and nobody needs to be told again.
    while socket.next().await.is_some_and(|said| said.is_ok()) {}
    forgotten(&gate, &page, &id).await;
}

/// The shell's last words, and how it ends.
async fn says_goodbye(shell: &ssh::Channel) {
    shell.write_all(b"bye").await.unwrap();
    shell.exit_status(3);
    shell.close();
}

/// A page that has drawn what the shell began with is sent the rest.
async fn hears_the_end(socket: &mut Socket) {
    assert_eq!(output(socket, 3).await, (7, b"bye".to_vec()));
    assert_eq!(news(socket).await, json!({"state": "ended", "status": 3}));
}

#[tokio::test]
async fn a_page_that_did_not_hear_the_end_comes_back_for_it() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (mut lost, id, shell) = begun(&gate, &page).await;
    says_goodbye(&shell).await;
    // All of it was sent. Whether it came is not known: the way breaks before the page says goodbye.
    while news(&mut lost).await["state"] != "ended" {}
    drop(lost);

    hears_the_end(&mut back(&gate, &page, &id).await).await;
}

#[tokio::test]
async fn a_page_that_left_its_line_is_not_one_that_heard_the_end() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (mut left, id, shell) = begun(&gate, &page).await;
    // Its goodbye and the end of the shell pass each other.
    says_goodbye(&shell).await;
    left.close(None).await.unwrap();
    while left.next().await.is_some_and(|said| said.is_ok()) {}

    hears_the_end(&mut back(&gate, &page, &id).await).await;
}

#[tokio::test]
async fn a_terminal_that_ended_since_its_ticket_was_given_is_lost_and_not_refused() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (mut socket, id, shell) = begun(&gate, &page).await;
    let late = ticket(&gate, &page, &json!({"terminal": id})).await;
    shell.close();
    while socket.next().await.is_some_and(|said| said.is_ok()) {}
    forgotten(&gate, &page, &id).await;

    let first = json!({"ticket": late, "cols": 80, "rows": 24, "seen": 7});
    let mut socket = connect(&gate, &page, "https://gate", &first).await;

    assert_eq!(news(&mut socket).await, json!({"state": "lost", "why": "that terminal is over"}));
}

#[tokio::test]
async fn a_flood_waits_for_the_page() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (mut socket, _) = open(&gate, &page).await;
    let shell = shell(&gate);
    let total: usize = 16 * 1024 * 1024;
    let flood = shell.clone();
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = written.clone();
    gate.world.scope.spawn("flood", async move {
        let block = [b'y'; 32 * 1024];
        for _ in 0..total / block.len() {
            flood.write_all(&block).await.unwrap();
            count.fetch_add(block.len(), std::sync::atomic::Ordering::Relaxed);
        }
        flood.exit_status(0);
        flood.close();
    });

    let (_, first) = output(&mut socket, WINDOW).await;
    let more = tokio::time::timeout(Duration::from_millis(300), output(&mut socket, 256 * 1024)).await;
    assert!(more.is_err(), "beyond the window nothing comes before an acknowledgement");
    let sent = written.load(std::sync::atomic::Ordering::Relaxed);
    assert!(sent < total / 2, "the shell was held back after {sent} bytes");

    let mut seen = first.len() as u64;
    say(&mut socket, FromPage::Ack(seen)).await;
    loop {
        let bytes = message(&mut socket).await;
        match bytes[0] {
            0 => {
                let at = u64::from_be_bytes(bytes[1..9].try_into().unwrap());
                seen = at + bytes.len() as u64 - 9;
                say(&mut socket, FromPage::Ack(seen)).await;
            }
            1 => break,
            _ => {}
        }
    }
    assert_eq!(seen, total as u64, "and every byte came");
}

#[tokio::test]
async fn a_page_that_comes_back_gets_what_it_missed() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (socket, id, shell) = begun(&gate, &page).await;
    drop(socket);
    shell.write_all(b"meanwhile").await.unwrap();

    let list = gate.send("GET", "/webapi/terminals", &page.cookie, &Value::Null).await;
    assert_eq!(list.body["items"][0]["id"], id.as_str());
    let mut socket = back(&gate, &page, &id).await;

    assert_eq!(output(&mut socket, 9).await, (7, b"meanwhile".to_vec()));
}

#[tokio::test]
async fn what_is_typed_at_a_shell_that_has_ended_does_not_hide_how() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (socket, id, shell) = begun(&gate, &page).await;
    drop(socket);
    says_goodbye(&shell).await;
    let over = async {
        let none = json!([]);
        while gate.send("GET", "/webapi/terminals", &page.cookie, &Value::Null).await.body["items"] != none {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), over).await.unwrap();

    let mut socket = back(&gate, &page, &id).await;
    say(&mut socket, FromPage::Input(b"ls\r")).await;

    hears_the_end(&mut socket).await;
}

/// What a shell is given next, `wanted` bytes of it or more.
async fn typed(shell: &ssh::Channel, wanted: usize) -> String {
    let mut all = Vec::new();
    while all.len() < wanted {
        if let Received::Data(bytes) = shell.recv().await.unwrap() {
            all.extend_from_slice(&bytes);
        }
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn a_page_that_comes_back_hears_what_arrived_of_its_input_and_its_old_line_adds_nothing() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (mut old, id, shell) = begun(&gate, &page).await;
    say(&mut old, FromPage::Input(b"echo ")).await;
    assert_eq!(typed(&shell, 5).await, "echo ");

    let mut socket = back(&gate, &page, &id).await;
    let opened = news(&mut socket).await;
    assert_eq!((opened["state"].as_str(), opened["had"].as_u64()), (Some("open"), Some(5)));
    // What was still on its way by the line before.
    old.send(Message::Binary(FromPage::Input(b"too late").encode().into())).await.ok();
    assert_eq!(news(&mut old).await["state"], "refused");

    say(&mut socket, FromPage::Input(b"hi\r")).await;
    assert_eq!(typed(&shell, 3).await, "hi\r");
    say(&mut socket, FromPage::Ping(*b"12345678")).await;
    let told = loop {
        let bytes = message(&mut socket).await;
        if bytes[0] == 2 {
            break u64::from_be_bytes(bytes[1..].try_into().unwrap());
        }
    };
    assert_eq!(told, 8, "counted from the terminal's beginning");
}

#[tokio::test]
async fn a_page_comes_back_to_a_shell_that_its_node_has_kept() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let key = "0123456789abcdef".repeat(4);
    let ask = json!({"node": gate.world.node, "login": "ubuntu", "keep": key, "resume": true});
    let ticket = ticket(&gate, &page, &ask).await;
    let first = json!({"ticket": ticket, "cols": 80, "rows": 24, "seen": 1000});
    let mut socket = connect(&gate, &page, "https://gate", &first).await;
    assert_eq!(news(&mut socket).await["state"], "dialing");
    let node = loop {
        let found = gate.world.shells.lock().unwrap().last().cloned();
        match found {
            Some(shell) => break shell,
            None => tokio::task::yield_now().await,
        }
    };

    // Where its output goes on, in two pieces, and what the page missed.
    node.write_all(&1000_u64.to_be_bytes()[..3]).await.unwrap();
    node.write_all(&1000_u64.to_be_bytes()[3..]).await.unwrap();
    node.write_all(b"missed").await.unwrap();

    assert_eq!(news(&mut socket).await["state"], "open");
    assert_eq!(output(&mut socket, 6).await, (1000, b"missed".to_vec()));
    let variables = gate.world.variables.lock().unwrap().clone();
    assert_eq!(variables, [format!("MOONGATE_KEEP={key}"), "MOONGATE_SEEN=1000".to_owned()]);

    // Signing out is a hang-up, not a break.
    gate.send("DELETE", "/webapi/sessions/web", &page.all(), &json!({})).await;
    loop {
        match node.recv().await.unwrap() {
            Received::Request(request) if matches!(&request.kind, RequestKind::Signal { name } if name == "HUP") =>
            {
                break;
            }
            Received::Closed => panic!("closed without a word"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_key_that_is_none_opens_nothing() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    for ask in [
        json!({"node": gate.world.node, "login": "ubuntu", "keep": "short"}),
        json!({"node": gate.world.node, "login": "ubuntu", "keep": "Z".repeat(64)}),
        json!({"node": gate.world.node, "login": "ubuntu", "resume": true}),
    ] {
        let answer = gate.send("POST", "/webapi/terminal/tickets", &page.all(), &ask).await;
        assert_eq!(answer.status, 400, "{answer:?}");
    }
}

#[tokio::test]
async fn a_ticket_opens_once_from_its_own_page_and_not_for_long() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let ask = json!({"node": gate.world.node, "login": "ubuntu"});
    let is_lost = |ticket: String, origin: &'static str, page: Page| {
        let gate = &gate;
        async move {
            let first = json!({"ticket": ticket, "cols": 80, "rows": 24});
            let mut socket = connect(gate, &page, origin, &first).await;
            news(&mut socket).await["state"] == "lost"
        }
    };
    let same = || Page { cookie: page.cookie.clone(), csrf: page.csrf.clone() };

    let used = ticket(&gate, &page, &ask).await;
    let first = json!({"ticket": used, "cols": 80, "rows": 24});
    let mut socket = connect(&gate, &page, "https://gate", &first).await;
    assert_eq!(news(&mut socket).await["state"], "dialing");
    assert!(is_lost(used, "https://gate", same()).await, "used up");

    let foreign = ticket(&gate, &page, &ask).await;
    assert!(is_lost(foreign.clone(), "https://evil.example", same()).await, "another page");
    assert!(is_lost(foreign, "https://gate", same()).await, "tried counts as used");

    let other = gate.sign_in().await;
    let theirs = ticket(&gate, &page, &ask).await;
    assert!(is_lost(theirs, "https://gate", other).await, "another session");

    let old = ticket(&gate, &page, &ask).await;
    gate.world.clock.advance(Duration::from_secs(31));
    assert!(is_lost(old, "https://gate", same()).await, "too old");
}

#[tokio::test]
async fn a_refusal_says_why_and_signing_out_ends_terminals() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let root = ticket(&gate, &page, &json!({"node": gate.world.node, "login": "root"})).await;
    let first = json!({"ticket": root, "cols": 80, "rows": 24});
    let mut socket = connect(&gate, &page, "https://gate", &first).await;
    news(&mut socket).await;
    let said = news(&mut socket).await;
    assert_eq!(said, json!({"state": "refused", "why": "you may not log in as root there"}));

    let (mut socket, _) = open(&gate, &page).await;
    gate.send("DELETE", "/webapi/sessions/web", &page.all(), &Value::Null).await;
    assert_eq!(news(&mut socket).await, json!({"state": "refused", "why": "this browser was signed out"}));
    let shell = shell(&gate);
    let closed = async { while !matches!(shell.recv().await, Ok(Received::Closed) | Err(_)) {} };
    tokio::time::timeout(Duration::from_secs(120), closed).await.unwrap();
}

#[tokio::test]
async fn who_agreed_says_so_to_nodes_and_who_is_told_nothing_has_nothing_to_agree_to() {
    let gate = Gate::new();
    let agree =
        async |page: &Page| gate.send("POST", "/webapi/session/agree", &page.all(), &Value::Null).await;
    let silent = gate.sign_in().await;
    let unknown = gate.send("POST", "/webapi/session/nothing", &silent.all(), &Value::Null).await;
    let answer = agree(&silent).await;
    assert_eq!((answer.status, &answer.text), (404, &unknown.text));
    let said = gate.send("GET", "/webapi/session", &silent.cookie, &Value::Null).await;
    assert!(!said.text.contains("notice") && !said.text.contains("agreed"), "{}", said.text);

    *gate.world.notice.lock().unwrap() = json!({"mode": "consent", "keystrokes": false});
    let page = gate.sign_in().await;
    let session = async || gate.send("GET", "/webapi/session", &page.cookie, &Value::Null).await.body;
    assert_eq!(session().await["agreed"], false);
    let (_before, _) = open(&gate, &page).await;
    assert!(!gate.world.variables.lock().unwrap().iter().any(|v| v.contains("AGREE")));
    let bare = format!("{OURS}{}", page.cookie);
    assert_eq!(gate.send("POST", "/webapi/session/agree", &bare, &Value::Null).await.status, 400);

    assert_eq!(agree(&page).await.status, 200);

    assert_eq!(session().await["agreed"], true);
    let (_after, _) = open(&gate, &page).await;
    assert!(gate.world.variables.lock().unwrap().contains(&"MOONGATE_AGREE=yes".to_owned()));
    let other = gate.sign_in().await;
    let theirs = gate.send("GET", "/webapi/session", &other.cookie, &Value::Null).await.body;
    assert_eq!(theirs["agreed"], false, "it is this browser that agreed");
}
