//! The web side of a gate over in-memory streams, before an authority made of a few answers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failure is a failed test")]

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use web::Settings;

mod world;

use world::{gate, gate_with, settings};

#[tokio::test]
async fn ping_says_what_the_gate_is_in_the_known_shape() {
    let gate = gate();

    let ping = gate.get("/webapi/ping").await.json();

    assert_eq!(
        ping["proxy"],
        json!({
            "kube": {"enabled": false, "listen_addr": "0.0.0.0:3080"},
            "ssh": {
                "listen_addr": "0.0.0.0:3080", "tunnel_listen_addr": "0.0.0.0:3080",
                "web_listen_addr": "0.0.0.0:3080", "public_addr": "gate.example.com:443",
                "dial_timeout": 30_000_000_000u64,
            },
            "db": {"postgres_listen_addr": "0.0.0.0:3080", "mysql_listen_addr": "0.0.0.0:3080"},
            "tls_routing_enabled": true,
        })
    );
    assert_eq!(ping["cluster_name"], "gate");
    assert_eq!(ping["server_version"], model::VERSION);
    assert!(ping["min_client_version"].is_string());
    assert_eq!(ping["auth"]["type"], "local");
    assert_eq!(ping["auth"]["second_factor"], "otp");
}

#[tokio::test]
async fn ping_says_of_signing_in_what_is_configured() {
    let told = async |terms: serde_json::Value| {
        let gate = gate();
        *gate.authority.sign_in.lock().unwrap() = terms;
        gate.get("/webapi/ping").await.json()["auth"].clone()
    };
    let table = [
        (json!({"second_factor": "otp", "default_ttl": "12h0m0s"}), ["otp", "otp", "12h0m0s"], None),
        (
            json!({"second_factor": "on", "default_ttl": "30m0s", "passkey_name": "example.com"}),
            ["on", "otp", "30m0s"],
            Some("example.com"),
        ),
        (json!({"second_factor": "optional", "default_ttl": "8h"}), ["optional", "otp", "8h0m0s"], None),
        (json!({"second_factor": "off", "default_ttl": "8h"}), ["off", "", "8h0m0s"], None),
    ];
    for (terms, [factor, preferred, ttl], passkeys) in table {
        let auth = told(terms.clone()).await;

        assert_eq!(auth["second_factor"], factor, "{terms}");
        assert_eq!(auth["preferred_local_mfa"], preferred, "{terms}");
        assert_eq!(auth["default_session_ttl"], ttl, "{terms}");
        assert_eq!(auth["allow_passwordless"], passkeys.is_some(), "{terms}");
        assert_eq!(auth["webauthn"]["rp_id"].as_str(), passkeys, "{terms}");
    }

    let older = told(json!(null)).await;
    assert_eq!((&older["type"], older.get("second_factor")), (&json!("local"), None), "nothing is claimed");
}

#[tokio::test]
async fn what_is_to_be_read_before_signing_in_is_told_to_anyone() {
    let gate = gate();

    assert_eq!(gate.get("/webapi/ping").await.json()["auth"]["has_motd"], true);
    assert_eq!(gate.get("/webapi/motd").await.json(), json!({"Text": "Mind the step."}));
}

#[tokio::test]
async fn find_says_how_to_dial_and_no_more() {
    let gate = gate();

    let find = gate.get("/v1/webapi/find").await.json();

    assert_eq!(find["proxy"]["tls_routing_enabled"], true);
    assert!(find.get("auth").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_the_cluster_is_outlives_the_authority() {
    let gate = gate();
    assert_eq!(gate.get("/webapi/ping").await.status, 200);
    assert_eq!(gate.get("/webapi/ping").await.status, 200);
    assert_eq!(gate.asked().len(), 1, "asked once for both");

    *gate.authority.away.lock().unwrap() = true;
    gate.client.hang_up().await;
    tokio::time::advance(Duration::from_secs(60)).await;

    assert_eq!(gate.get("/webapi/ping").await.json()["cluster_name"], "gate");
    let trust = gate.get("/webapi/trust").await;
    assert_eq!((trust.status, trust.json()["fault"].as_str().unwrap()), (503, "unavailable"));
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_never_knew_its_cluster_is_not_ready() {
    let gate = gate();
    *gate.authority.away.lock().unwrap() = true;

    assert_eq!(gate.get("/webapi/ping").await.status, 503);

    *gate.authority.away.lock().unwrap() = false;
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(gate.get("/webapi/ping").await.status, 200);
}

#[tokio::test]
async fn signing_in_carries_the_address_the_person_came_from() {
    let gate = gate();
    let ask = json!({"user": "ann", "password": "right", "otp": "123456", "ssh_key": "k", "tls_key_pem": "p",
                     "client_addr": "198.51.100.1"});

    let answer = gate.post("/webapi/sign-in", &ask).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["cluster"], "gate");
    assert_eq!(gate.asked()[0].1["client_addr"], "192.0.2.7", "what the person claims is not believed");
    let wrong = gate
        .post("/webapi/sign-in", &json!({"user": "ann", "password": "x", "ssh_key": "", "tls_key_pem": ""}))
        .await;
    assert_eq!((wrong.status, wrong.json()), (401, json!({"fault": "unauthenticated", "message": "wrong"})));
}

#[tokio::test]
async fn a_front_is_believed_about_addresses_only_when_told_so() {
    let ask = json!({"user": "a", "password": "right", "ssh_key": "", "tls_key_pem": ""}).to_string();
    let post = |trusted: bool, headers: &'static str| {
        let ask = ask.clone();
        async move {
            let gate = gate_with(Settings { trust_forwarded_for: trusted, ..settings() });
            let headers = format!("Content-Type: application/json\r\n{headers}");
            let status = gate.post_with("/webapi/sign-in", &headers, &ask).await.status;
            (status, gate.asked().first().map(|(_, body)| body["client_addr"].as_str().unwrap().to_owned()))
        }
    };

    let peer = Some("192.0.2.7".to_owned());
    assert_eq!(post(false, "X-Forwarded-For: 203.0.113.9\r\n").await, (200, peer.clone()));
    assert_eq!(post(true, "").await, (200, peer));
    let told = Some("203.0.113.9".to_owned());
    assert_eq!(post(true, "X-Forwarded-For: 203.0.113.9\r\n").await, (200, told.clone()));
    assert_eq!(post(true, "X-Forwarded-For: ::ffff:203.0.113.9\r\n").await, (200, told));
    for bad in [
        "X-Forwarded-For: 203.0.113.9, 10.0.0.1\r\n",
        "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 10.0.0.1\r\n",
        "X-Forwarded-For: unknown\r\n",
        "X-Forwarded-For:\r\n",
    ] {
        assert_eq!(post(true, bad).await, (400, None), "{bad}");
    }
}

#[tokio::test]
async fn links_are_looked_at_and_used() {
    let gate = gate();

    let invite = gate.post("/webapi/invite", &json!({"secret": "good"})).await;
    let gone = gate.post("/webapi/invite", &json!({"secret": "bad"})).await;
    let done = gate
        .post(
            "/webapi/invite/accept",
            &json!({"secret": "good", "password": "correct horse battery", "otp": "123456"}),
        )
        .await;

    assert_eq!(invite.json()["user"], "ann");
    assert_eq!((gone.status, gone.json()["fault"].as_str().unwrap()), (404, "not_found"));
    assert_eq!(done.status, 200);
    assert_eq!(gate.asked()[2].1["client_addr"], "192.0.2.7");
}

#[tokio::test]
async fn bodies_are_bounded_and_must_say_what_they_are() {
    let gate = gate();
    let json = "Content-Type: application/json\r\n";

    let form =
        gate.post_with("/webapi/invite", "Content-Type: text/plain\r\n", "{\"secret\":\"good\"}").await;
    let none = gate.post_with("/webapi/invite", "", "{\"secret\":\"good\"}").await;
    let nonsense = gate.post_with("/webapi/invite", json, "{\"secret\":").await;
    let huge = gate
        .post_with("/webapi/invite", json, &format!("{{\"secret\":\"{}\"}}", "x".repeat(web::MAX_BODY)))
        .await;

    assert_eq!([form.status, none.status, nonsense.status, huge.status], [400, 400, 400, 413]);
    assert!(!nonsense.body.contains("secret"), "what was sent is not repeated");
    assert!(gate.asked().is_empty());
}

#[tokio::test]
async fn pages_are_careful_and_speak_the_visitors_language() {
    let gate = gate();

    // The front page is the browser app's where that was built in.
    let home = gate.get("/").await.body;
    let pages = [("/web/invite/abc", "invite"), ("/web/reset/abc", "reset"), ("/", "home")];
    for (path, page) in pages.into_iter().filter(|(path, _)| *path != "/" || !is_app(&home)) {
        let english = gate.get(path).await;
        let chinese = gate.get_with(path, "Accept-Language: zh-CN,zh;q=0.9\r\n").await;

        assert_eq!((english.status, english.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(
            english.body.contains(&format!("<html lang=\"en\" data-page=\"{page}\">")),
            "{}",
            english.body
        );
        assert!(chinese.body.contains("lang=\"zh-CN\""));
        assert!(!english.body.contains("{{"));
        assert_eq!(english.header("cache-control"), Some("no-store"));
    }
    let page = gate.get("/web/invite/abc").await;
    assert_eq!(
        page.header("content-security-policy"),
        Some(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
        )
    );
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(gate.asked().is_empty(), "a page needs no authority");
}

fn is_app(page: &str) -> bool {
    page.contains("<div id=\"app\">")
}

#[tokio::test]
async fn every_file_a_page_names_is_there() {
    let gate = gate();
    for (path, base) in [("/web/invite/abc", "/web/"), ("/", "/")] {
        let page = gate.get(path).await.body;
        let names: Vec<&str> = page
            .split(['"'])
            .filter(|word| word.contains("assets/"))
            .map(|word| word.trim_start_matches("../").trim_start_matches("./"))
            .collect();
        assert!(names.len() >= if is_app(&page) { 2 } else { 4 }, "{names:?}");
        for name in names {
            let file = gate.get(&format!("{base}{name}")).await;
            assert_eq!(file.status, 200, "{base}{name}");
            assert!(file.header("cache-control").unwrap().starts_with("max-age"));
        }
    }
}

#[tokio::test]
async fn what_is_not_there_looks_the_same_everywhere() {
    let gate = gate();
    let mut seen = Vec::new();
    for path in [
        "/nothing",
        "/webapi/nothing",
        "/web/assets/nothing.js",
        "/web/invite/",
        "/webapi/sign-in",
        "/index.php",
    ] {
        let answer = gate.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        seen.push(answer.body);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
}

#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_are_refused() {
    let gate = gate();
    for path in ["//webapi/ping", "/webapi/%70ing", "/webapi/ping;x", "/web/../webapi/ping", "/a\\b"] {
        assert_eq!(gate.get(path).await.status, 400, "{path}");
    }
    assert_eq!(gate.get_with("/webapi/ping", "Host: other\r\n").await.status, 400);
    assert_eq!(gate.get("http://elsewhere/webapi/ping").await.status, 400);
    let smuggled = gate
        .raw(
            "POST /webapi/invite HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        )
        .await;
    assert_eq!(smuggled.status, 400);
}

const UPGRADE: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: moongate\r\n";

#[tokio::test]
async fn an_upgrade_hands_the_connection_over() {
    let gate = gate();
    let mut stream = gate.open();

    stream
        .write_all(format!("GET /webapi/connectionupgrade HTTP/1.1\r\nHost: g\r\nConnection: keep-alive, Upgrade\r\n{UPGRADE}\r\nearly").as_bytes())
        .await
        .unwrap();

    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.ends_with("early") {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    let seen = seen.to_lowercase();
    assert!(seen.starts_with("http/1.1 101"), "{seen}");
    // The example of RFC 6455 section 1.3.
    assert!(seen.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{seen}");
    assert!(seen.contains("sec-websocket-protocol: moongate"), "{seen}");
    assert_eq!(gate.echo.0.lock().unwrap()[0].to_string(), "192.0.2.7:5000");
}

#[tokio::test]
async fn a_real_websocket_client_is_content() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let gate = gate();
    let mut request = "wss://gate/webapi/connectionupgrade".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "moongate".parse().unwrap());

    let (_, response) = tokio_tungstenite::client_async(request, gate.open()).await.unwrap();

    assert_eq!(response.status(), 101);
}

#[tokio::test]
async fn what_a_front_broke_is_named() {
    let gate = gate();
    let ask = |version: &str, headers: &str| {
        format!("GET /webapi/connectionupgrade {version}\r\nHost: g\r\n{headers}\r\n")
    };
    for (request, missing) in [
        (ask("HTTP/1.0", &format!("Connection: Upgrade\r\n{UPGRADE}")), "HTTP/1.0"),
        (ask("HTTP/1.1", "Connection: close\r\n"), "Upgrade: websocket"),
        (ask("HTTP/1.1", &format!("Connection: close\r\n{UPGRADE}")), "Connection: Upgrade"),
        (ask("HTTP/1.1", "Connection: close, upgrade\r\nUpgrade: websocket\r\n"), "Sec-WebSocket-Version"),
    ] {
        let answer = gate.raw(&request).await;
        assert_eq!(answer.status, 426, "{missing}: {}", answer.head);
        assert!(answer.body.contains(missing) && answer.body.contains("proxy_set_header"), "{}", answer.body);
    }
}

#[tokio::test(start_paused = true)]
async fn silent_peers_are_let_go() {
    let gate = gate();
    for said in [
        "",
        "GET /webapi/pi",
        "POST /webapi/invite HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{",
    ] {
        let mut stream = gate.open();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(90), stream.read_to_end(&mut all)).await;
        assert!(ended.is_ok(), "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_idles_is_let_go() {
    let gate = gate();
    let mut stream = gate.open();
    stream.write_all(b"GET /web/assets/moon.svg HTTP/1.1\r\nHost: g\r\n\r\n").await.unwrap();
    let mut all = Vec::new();

    let ended = tokio::time::timeout(Duration::from_secs(90), stream.read_to_end(&mut all)).await;

    assert!(ended.is_ok());
    assert!(String::from_utf8_lossy(&all).starts_with("HTTP/1.1 200"));
}
