//! Browsers: signing in, what other sites cannot do, and terminals, over in-memory streams.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failure is a failed test")]

mod files;
mod lock;
mod terminal;
mod world;

use std::time::Duration;

use serde_json::{Value, json};
use world::{Gate, OURS};

#[tokio::test]
async fn a_person_signs_in_works_and_signs_out() {
    let gate = Gate::new();
    let page = gate.sign_in().await;

    let session = gate.send("GET", "/webapi/session", &page.cookie, &Value::Null).await;
    assert_eq!(session.body["user"], "ann");
    assert_eq!(session.body["cluster"], "gate");
    assert!(page.csrf.contains(session.body["csrf"].as_str().unwrap()));
    let nodes = gate.send("GET", "/v1/nodes?search=gpu", &page.all(), &Value::Null).await;
    assert_eq!((nodes.status, &nodes.body), (200, &json!({"items": []})));
    assert_eq!(nodes.header("cache-control"), Some("no-store"));
    assert!(gate.world.asked.lock().unwrap().contains(&"GET /v1/nodes?search=gpu".to_owned()));

    let out = gate.send("DELETE", "/webapi/sessions/web", &page.all(), &Value::Null).await;
    assert_eq!(out.status, 200);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(gate.send("GET", "/webapi/session", &page.cookie, &Value::Null).await.status, 401);
    assert_eq!(gate.sessions.count(), 0);
}

#[tokio::test]
async fn a_wrong_password_opens_nothing() {
    let gate = Gate::new();
    let ask = json!({"user": "ann", "password": "wrong", "otp": ""});

    let answer = gate.send("POST", "/webapi/sessions/web", OURS, &ask).await;

    assert_eq!((answer.status, answer.header("set-cookie")), (401, None));
    assert_eq!(gate.sessions.count(), 0);
}

#[tokio::test]
async fn a_browser_bound_to_its_address_is_nobodys_from_another() {
    let gate = Gate::new();
    let free = gate.sign_in().await;
    *gate.world.pins.lock().unwrap() = true;
    let bound = gate.sign_in().await;
    gate.world.asked.lock().unwrap().clear();
    let comes_from = |peer: &str| *gate.world.peer.lock().unwrap() = peer.parse().unwrap();
    comes_from("198.51.100.9:5000");

    let mut seen = Vec::new();
    for (method, path) in [
        ("GET", "/v1/nodes"),
        ("GET", "/v1/nothing"),
        ("POST", "/v1/locks"),
        ("GET", "/webapi/session"),
        ("GET", "/webapi/sessions"),
        ("DELETE", "/webapi/sessions/others"),
        ("DELETE", "/webapi/sessions/web"),
        ("GET", "/webapi/terminals"),
        ("GET", "/webapi/terminal"),
        ("POST", "/webapi/terminal/tickets"),
        ("POST", "/webapi/terminal/line"),
        ("POST", "/webapi/terminal/frames"),
        ("POST", "/webapi/files/list"),
        ("GET", "/webapi/files/uploads/ab12"),
        ("GET", "/webapi/files/downloads"),
        ("POST", "/webapi/session/alive"),
        ("POST", "/webapi/session/agree"),
        ("POST", "/webapi/session/lock"),
        ("POST", "/webapi/session/unlock"),
    ] {
        let body = if method == "GET" { Value::Null } else { json!({"password": "right"}) };
        let answer = gate.send(method, path, &bound.all(), &body).await;
        seen.push((answer.status, answer.text));
    }

    let nobody = gate.send("GET", "/v1/nodes", OURS, &Value::Null).await;
    seen.push((nobody.status, nobody.text));
    seen.dedup();
    assert_eq!((seen.len(), seen[0].0), (1, 401), "{seen:#?}");
    assert!(gate.world.asked.lock().unwrap().is_empty());
    assert_eq!(gate.send("GET", "/v1/nodes", &free.all(), &Value::Null).await.status, 200, "bound to none");
    for home in ["192.0.2.7:5001", "[::ffff:192.0.2.7]:5000"] {
        comes_from(home);
        assert_eq!(gate.send("GET", "/v1/nodes", &bound.all(), &Value::Null).await.status, 200, "{home}");
    }
}

#[tokio::test]
async fn other_sites_change_nothing() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let lock = json!({"target": {"user": "bob"}});
    let (cookie, csrf) = (&page.cookie, &page.csrf);
    for (headers, why) in [
        (cookie.clone(), "neither origin nor token"),
        (format!("{OURS}{cookie}"), "no token"),
        (format!("{OURS}{cookie}X-CSRF-Token: {}\r\n", "0".repeat(64)), "another token"),
        (format!("{cookie}{csrf}Sec-Fetch-Site: cross-site\r\nOrigin: https://gate\r\n"), "another site"),
        (format!("{cookie}{csrf}Sec-Fetch-Site: same-site\r\n"), "a neighbour"),
        (format!("{cookie}{csrf}Origin: https://evil.example\r\n"), "another origin"),
    ] {
        for (method, path) in
            [("POST", "/v1/locks"), ("DELETE", "/webapi/sessions/web"), ("POST", "/webapi/terminal/tickets")]
        {
            let answer = gate.send(method, path, &headers, &lock).await;
            assert_eq!(answer.status, 400, "{method} {path} with {why}");
        }
    }
    let read = format!("{cookie}Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(gate.send("GET", "/v1/nodes", &read, &Value::Null).await.status, 400);
    let sign_in = "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n";
    let ask = json!({"user": "ann", "password": "right"});
    assert_eq!(gate.send("POST", "/webapi/sessions/web", sign_in, &ask).await.status, 400);
    assert_eq!(gate.send("POST", "/v1/locks", &page.all(), &lock).await.status, 200);
}

#[tokio::test]
async fn without_a_session_every_path_of_the_api_looks_alike() {
    let gate = Gate::new();
    let mut seen = Vec::new();
    for path in ["/v1/nodes", "/v1/recordings", "/v1/nothing", "/webapi/session", "/webapi/terminals"] {
        let answer = gate.send("GET", path, "", &Value::Null).await;
        seen.push((answer.status, answer.body.to_string()));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].0, 401);
}

#[tokio::test]
async fn what_a_vendor_may_not_see_looks_like_what_is_not_there() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let mut seen = Vec::new();
    for path in [
        "/v1/nothing",
        "/v1/recordings",
        "/v1/recordings/0d4e0000-0000-4000-8000-000000000000",
        "/v1/recordings/0d4e0000-0000-4000-8000-000000000000/segments/0",
        "/v1/events",
        "/v1/live",
        "/v1/policy/watch",
        "/v1/join",
        "/more/index.js",
        "/more/nothing.js",
        "/told/index.js",
        "/nothing.js",
    ] {
        let answer = gate.send("GET", path, &page.all(), &Value::Null).await;
        let head: Vec<String> = answer
            .head
            .lines()
            .filter(|l| !l.to_lowercase().starts_with("date:"))
            .map(|l| l.replace("transfer-encoding: chunked", "").to_lowercase())
            .filter(|l| !l.is_empty() && !l.starts_with("content-length"))
            .collect();
        seen.push((head, answer.body.to_string()));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert!(seen[0].0[0].contains("404"));
}

#[tokio::test]
async fn one_person_has_a_bounded_number_of_sessions() {
    let gate = Gate::new();
    let first = gate.sign_in().await;
    for _ in 0..web::session::MAX_PER_USER {
        gate.world.clock.advance(Duration::from_secs(1));
        gate.sign_in().await;
    }

    assert_eq!(gate.sessions.count(), web::session::MAX_PER_USER);
    let gone = gate.send("GET", "/webapi/session", &first.cookie, &Value::Null).await;
    assert_eq!(gone.status, 401, "the oldest made room");
}

#[tokio::test]
async fn people_see_where_they_are_signed_in_and_end_the_others() {
    let gate = Gate::new();
    let here = gate.sign_in().await;
    gate.world.clock.advance(Duration::from_secs(60));
    let ask = json!({"user": "ann", "password": "right"});
    let named = format!("{OURS}User-Agent: Firefox/130 \u{7}on Linux\r\n");
    let there = gate.send("POST", "/webapi/sessions/web", &named.replace('\u{7}', ""), &ask).await;
    let there = format!("Cookie: {}\r\n", there.header("set-cookie").unwrap().split(';').next().unwrap());
    let ask = json!({"user": "bob", "password": "right"});
    let bob = gate.send("POST", "/webapi/sessions/web", OURS, &ask).await;
    let bob = format!("Cookie: {}\r\n", bob.header("set-cookie").unwrap().split(';').next().unwrap());
    let alive =
        async |cookie: &str| gate.send("GET", "/webapi/session", cookie, &Value::Null).await.status == 200;

    let list = gate.send("GET", "/webapi/sessions", &here.cookie, &Value::Null).await.body;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "nobody else's: {list}");
    assert_eq!((&items[0]["this"], &items[1]["this"]), (&json!(false), &json!(true)), "newest first");
    assert_eq!(items[0]["agent"], "Firefox/130 on Linux");
    assert_eq!(items[0]["from"], "192.0.2.7");
    let id = |n: usize| items[n]["id"].as_str().unwrap();

    let bare = format!("{OURS}{}", here.cookie);
    let other = format!("/webapi/sessions/{}", id(0));
    assert_eq!(gate.send("DELETE", &other, &bare, &Value::Null).await.status, 400, "without the token");
    let own = format!("/webapi/sessions/{}", id(1));
    assert_eq!(gate.send("DELETE", &own, &here.all(), &Value::Null).await.status, 404, "one's own signs out");
    assert!(alive(&there).await && alive(&bob).await);

    assert_eq!(gate.send("DELETE", &other, &here.all(), &Value::Null).await.status, 200);
    assert!(!alive(&there).await && alive(&bob).await && alive(&here.cookie).await);
    assert_eq!(gate.send("DELETE", &other, &here.all(), &Value::Null).await.status, 404);

    let again = gate.sign_in().await;
    let ended = gate.send("DELETE", "/webapi/sessions/others", &again.all(), &Value::Null).await;
    assert_eq!(ended.body["ended"], 1);
    assert!(!alive(&here.cookie).await && alive(&again.cookie).await && alive(&bob).await);
}

#[tokio::test]
async fn what_is_not_for_a_vendor_costs_what_is_not_there_costs() {
    let gate = Gate::new();
    let page = gate.sign_in().await;
    let known = "0d4e0000-0000-4000-8000-000000000000";
    let recording = format!("/v1/recordings/{known}");
    for (method, path) in [
        ("GET", "/v1/no-such-thing"),
        ("POST", "/v1/no-such-thing"),
        ("GET", "/v1/recordings"),
        ("GET", recording.as_str()),
        ("GET", "/v1/recordings/ffffffff-ffff-4fff-bfff-ffffffffffff"),
        ("PUT", recording.as_str()),
        ("GET", "/v1/events"),
        ("GET", "/v1/policy/watch"),
        ("POST", "/v1/live/x/end"),
        ("POST", "/v1/sign-in"),
    ] {
        gate.world.asked.lock().unwrap().clear();
        let body = if method == "GET" { Value::Null } else { json!({}) };
        let answer = gate.send(method, path, &page.all(), &body).await;
        let asked = gate.world.asked.lock().unwrap().clone();
        assert_eq!((answer.status, asked.len()), (404, 1), "{method} {path}: {asked:?}");
        let reached = path == "/v1/events"
            || path.starts_with("/v1/recordings") && method == "GET"
            || path.ends_with("/end");
        assert_eq!(asked[0] == "GET /v1/nobodys", !reached, "{method} {path}: {asked:?}");
        // A body that is none is refused alike, before anybody is asked.
        if method != "GET" {
            let odd = gate
                .send_bytes(method, path, &format!("{}Content-Type: text/plain\r\n", page.all()), b"x")
                .await;
            assert_eq!(odd.status, 400, "{method} {path}");
        }
    }
}
