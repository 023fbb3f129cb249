//! Browsers that are left alone: locked, unlocked, signed out.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use model::Timestamp;
use serde_json::{Value, json};
use ssh::{Received, RequestKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use web::IdleLimits;
use web::terminal::DETACHED;
use web::terminal::frame::FromPage;

use crate::terminal::{Socket, back, begun, message, open, output, say, shell};
use crate::world::{Answer, Gate, IDLE, Page};

const LOCK: Duration = IDLE.lock.unwrap();

async fn get(gate: &Gate, page: &Page, path: &str) -> Answer {
    gate.send("GET", path, &page.all(), &Value::Null).await
}

async fn post(gate: &Gate, page: &Page, path: &str, body: &Value) -> Answer {
    gate.send("POST", path, &page.all(), body).await
}

async fn lock(gate: &Gate, page: &Page) {
    assert_eq!(post(gate, page, "/webapi/session/lock", &json!({})).await.status, 200);
}

async fn unlock(gate: &Gate, page: &Page) -> Answer {
    post(gate, page, "/webapi/session/unlock", &json!({"password": "right", "otp": "123456"})).await
}

async fn is_locked(gate: &Gate, page: &Page) -> bool {
    let answer = get(gate, page, "/v1/nodes").await;
    assert_eq!(answer.status == 401, answer.body["code"] == "locked", "{answer:?}");
    answer.status == 401
}

#[tokio::test]
async fn what_a_page_asks_is_no_sign_of_a_person_and_what_they_do_is() {
    let gate = Gate::new();
    let (alone, there) = (gate.sign_in().await, gate.sign_in().await);

    for _ in 0..3 {
        gate.world.clock.advance(LOCK / 2);
        for path in ["/webapi/session", "/v1/nodes", "/webapi/terminals"] {
            get(&gate, &alone, path).await;
        }
        assert_eq!(post(&gate, &there, "/webapi/session/alive", &json!({})).await.status, 200);
    }

    assert!(is_locked(&gate, &alone).await);
    assert!(!is_locked(&gate, &there).await);
    let told = get(&gate, &there, "/webapi/session").await.body;
    assert_eq!((&told["lock_seconds"], &told["scrollback"]), (&900.into(), &700.into()));
}

#[tokio::test]
async fn while_it_is_locked_every_path_says_so_and_no_more() {
    let gate = Gate::new();
    let (page, other) = (gate.sign_in().await, gate.sign_in().await);
    lock(&gate, &page).await;

    let mut seen = Vec::new();
    for (method, path) in [
        ("GET", "/v1/nodes"),
        ("GET", "/v1/nothing"),
        ("POST", "/v1/locks"),
        ("GET", "/webapi/sessions"),
        ("DELETE", "/webapi/sessions/others"),
        ("GET", "/webapi/terminals"),
        ("GET", "/webapi/terminal"),
        ("POST", "/webapi/terminal/tickets"),
        ("POST", "/webapi/terminal/line"),
        ("POST", "/webapi/terminal/frames"),
        ("POST", "/webapi/files/list"),
        ("POST", "/webapi/files/uploads"),
        ("POST", "/webapi/files/tickets"),
        ("POST", "/webapi/session/alive"),
        ("POST", "/webapi/session/agree"),
        ("POST", "/webapi/session/lock"),
    ] {
        let answer = gate.send(method, path, &page.all(), &json!({})).await;
        seen.push((answer.status, answer.text));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert_eq!(seen[0].0, 401);
    assert!(seen[0].1.contains(r#""code":"locked""#), "{}", seen[0].1);

    // A page that is loaded anew hears whose it is, and what it needs to open it.
    let told = get(&gate, &page, "/webapi/session").await;
    assert_eq!((told.status, &told.body["code"], &told.body["user"]), (401, &json!("locked"), &json!("ann")));
    assert!(page.csrf.contains(told.body["csrf"].as_str().unwrap()));
    assert!(!is_locked(&gate, &other).await, "it is this browser that is locked");
}

#[tokio::test]
async fn only_its_person_unlocks_it_and_gains_no_time() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let before = get(&gate, &page, "/webapi/session").await.body["expires"].clone();
    gate.world.clock.advance(LOCK);
    assert!(is_locked(&gate, &page).await);
    let path = "/webapi/session/unlock";

    for (ask, status) in [
        (json!({"password": "wrong", "otp": "123456"}), 401),
        (json!({"user": "ann", "password": "wrong"}), 401),
        (json!({"user": "bob", "password": "right"}), 400),
    ] {
        let answer = post(&gate, &page, path, &ask).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (status, None), "{ask}");
        assert_ne!(answer.body["code"], "locked");
    }
    let foreign = format!("{}Sec-Fetch-Site: cross-site\r\n", page.cookie);
    assert_eq!(gate.send("POST", path, &foreign, &json!({"password": "right"})).await.status, 400);
    assert!(is_locked(&gate, &page).await);

    let opened = unlock(&gate, &page).await;

    assert_eq!((opened.status, &opened.body["user"]), (200, &json!("ann")));
    assert_eq!(opened.body["expires"], before, "it ends when it would have ended");
    assert!(!is_locked(&gate, &page).await);
    gate.world.clock.advance(LOCK);
    assert!(is_locked(&gate, &page).await, "and it falls again");
}

#[tokio::test]
async fn a_locked_browser_signs_out() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    lock(&gate, &page).await;

    assert_eq!(gate.send("DELETE", "/webapi/sessions/web", &page.all(), &Value::Null).await.status, 200);

    assert_eq!((gate.sessions.count(), get(&gate, &page, "/webapi/session").await.status), (0, 401));
    assert_eq!(unlock(&gate, &page).await.status, 401, "there is nothing to unlock");
}

/// Reads until the gate shuts the line.
async fn shut(mut socket: Socket) {
    let closed = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(Duration::from_secs(120), closed).await.unwrap();
}

#[tokio::test]
async fn a_terminal_goes_on_behind_the_lock_and_nothing_passes_it() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (mut socket, id, shell) = begun(&gate, &page).await;

    // Nobody was there; whatever is asked notices it, and so do the terminals.
    gate.world.clock.advance(LOCK);
    assert!(is_locked(&gate, &page).await);
    // The gate may have shut the line already.
    drop(socket.send(Message::Binary(FromPage::Input(b"rm").encode().into())).await);
    shut(socket).await;
    shell.write_all(b"meanwhile").await.unwrap();

    assert_eq!(unlock(&gate, &page).await.status, 200);
    let mut socket = back(&gate, &page, &id).await;
    assert_eq!(output(&mut socket, 9).await, (7, b"meanwhile".to_vec()));
    say(&mut socket, FromPage::Input(b"ls")).await;
    loop {
        match shell.recv().await.unwrap() {
            Received::Data(bytes) => {
                assert_eq!(bytes[..], b"ls"[..], "what was typed at the lock went nowhere");
                break;
            }
            Received::Request(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shell_waits_while_nobody_can_come_and_not_much_longer() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (socket, _) = open(&gate, &page).await;
    let shells =
        async || get(&gate, &page, "/webapi/terminals").await.body["items"].as_array().unwrap().len();
    lock(&gate, &page).await;
    shut(socket).await;

    tokio::time::sleep(4 * DETACHED).await;
    assert_eq!(unlock(&gate, &page).await.status, 200);
    assert_eq!(shells().await, 1);
    tokio::time::sleep(DETACHED - Duration::from_secs(1)).await;
    assert_eq!(shells().await, 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(shells().await, 0);
}

#[tokio::test]
async fn what_is_being_told_stops() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let mut stream = gate.open();
    let head =
        format!("GET /v1/events/tail HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n{}\r\n", page.all());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"{}\n\r\n") {
        assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "{}", String::from_utf8_lossy(&heard));
    }

    lock(&gate, &page).await;

    let rest = tokio::time::timeout(Duration::from_secs(120), stream.read_to_end(&mut heard)).await;
    rest.unwrap().unwrap();
    assert!(heard.ends_with(b"{}\n\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&heard));
}

/// What comes to a shell until it is closed: whether that was a hang-up.
async fn hung_up(shell: &ssh::Channel) -> bool {
    let mut told = false;
    loop {
        match tokio::time::timeout(Duration::from_secs(120), shell.recv()).await.unwrap() {
            Ok(Received::Request(request)) => {
                told |= matches!(&request.kind, RequestKind::Signal { name } if name == "HUP");
            }
            Ok(Received::Closed) | Err(_) => return told,
            Ok(_) => {}
        }
    }
}

#[tokio::test]
async fn who_is_away_for_too_long_is_signed_out_and_their_shells_end() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (_socket, _) = open(&gate, &page).await;
    let left = shell(&gate);

    gate.world.clock.advance(IDLE.end.unwrap());
    let answer = get(&gate, &page, "/v1/nodes").await;

    assert_eq!((answer.status, &answer.body["code"]), (401, &Value::Null), "signed out, not locked");
    assert_eq!(gate.sessions.count(), 0);
    assert!(hung_up(&left).await, "its node is told not to keep it");
}

#[tokio::test]
async fn a_session_ends_with_its_certificates_and_its_shells_may_be_kept() {
    let gate = Gate::new();
    *gate.world.idle.lock().unwrap() = IdleLimits::default();
    let page = gate.sign_in().await;
    let (_socket, _) = open(&gate, &page).await;
    let left = shell(&gate);
    let expires = get(&gate, &page, "/webapi/session").await.body;
    assert_eq!(expires.get("lock_seconds"), None, "it is never locked");
    let expires: Timestamp = serde_json::from_value(expires["expires"].clone()).unwrap();

    gate.world.clock.advance(expires.since(gate.world.clock.now()) - Duration::from_secs(1));
    assert!(!is_locked(&gate, &page).await);
    gate.world.clock.advance(Duration::from_secs(1));

    assert_eq!(get(&gate, &page, "/v1/nodes").await.body["code"], Value::Null);
    assert!(!hung_up(&left).await, "who signs in anew may come back to it");
}

#[tokio::test]
async fn a_banner_of_a_shell_is_told_before_the_lock_and_no_frame_after_it() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let (mut socket, _) = open(&gate, &page).await;
    let shell = shell(&gate);
    shell.write_all(b"seen").await.unwrap();
    assert_eq!(message(&mut socket).await[9..], b"seen"[..]);

    lock(&gate, &page).await;
    shell.write_all(b"unseen").await.unwrap();
    while let Some(Ok(said)) = socket.next().await {
        assert!(!said.is_binary(), "{said:?}");
    }
}
