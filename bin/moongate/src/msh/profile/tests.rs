//! Profiles that come, change and go, several at once, and what is then in the directory.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

fn home() -> (tempfile::TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(Some(dir.path())).unwrap();
    (dir, home)
}

/// As `msh login` does.
fn sign_in(home: &Home, addr: &str, cluster: &str) -> Profile {
    let profile = home.admit(addr.into(), "ann".into(), cluster.into(), false);
    write_private(&home.keys(&profile).ssh_key(), addr.as_bytes()).unwrap();
    home.keep(&profile).unwrap();
    profile
}

#[test]
fn a_profile_is_kept_found_and_forgotten() {
    let (_dir, home) = home();
    let profile = sign_in(&home, "gate.example.com:3080", "main");

    assert_eq!(home.profile(None).unwrap(), profile);
    assert_eq!(home.profile(Some("gate.example.com:3080")).unwrap(), profile);
    let mode = fs::metadata(home.keys(&profile).ssh_key()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    home.forget(&profile).unwrap();
    assert!(home.profile(None).is_err());
    assert!(!home.root().join("keys/gate.example.com").exists());
}

#[test]
fn what_is_noted_late_is_of_whom_it_is_about_or_of_nobody() {
    let (_dir, home) = home();
    let used = sign_in(&home, "gate:3080", "main");

    let changed = Profile { turn: 7, insecure: true, ..used.clone() };
    home.keep(&changed).unwrap();
    home.note_carrier(&used, "tls".into(), None).unwrap();
    assert_eq!(home.profile(None).unwrap(), Profile { carrier: "tls".into(), ..changed });

    let bob = Profile { user: "bob".into(), ..used.clone() };
    home.keep(&bob).unwrap();
    home.note_carrier(&used, "websocket".into(), None).unwrap();
    assert_eq!(home.profile(None).unwrap(), bob);

    home.forget(&bob).unwrap();
    home.note_carrier(&used, "websocket".into(), None).unwrap();
    assert!(home.all().is_empty());
}

#[test]
fn what_is_noted_of_another_gate_leaves_the_active_one() {
    let (_dir, home) = home();
    let other = sign_in(&home, "other.example.com:443", "main");
    let active = sign_in(&home, "gate.example.com:3080", "main");

    home.note_carrier(&other, "websocket".into(), None).unwrap();

    assert_eq!(home.profile(None).unwrap(), active);
    assert_eq!(home.profile(Some(&other.web_proxy_addr)).unwrap().carrier, "websocket");
}

#[test]
fn a_command_goes_on_from_what_the_one_before_found_out_of_the_way() {
    let (_dir, home) = home();
    let first = sign_in(&home, "gate:3080", "main");
    let clock = Clock::manual(Timestamp::from_secs(1_000));
    let remembered = || home.memory(&home.profile(None).unwrap(), clock.clone()).websocket;
    let finds = |used: &Profile, kind, asked| {
        let carrier = Carrier { kind, proxy: None, why: "so it is".to_owned(), asked };
        (home.memory(used, clock.clone()).note)(&carrier);
    };
    assert_eq!(remembered(), None);

    finds(&first, CarrierKind::WebSocket, false);
    clock.advance(Duration::from_secs(60));
    assert_eq!(remembered(), Some(("so it is".to_owned(), Duration::from_secs(60))));
    assert_eq!(home.profile(None).unwrap().carrier, "websocket (so it is)");

    // By another clock, this has not happened yet.
    let behind = Clock::manual(Timestamp::from_secs(999));
    assert_eq!(home.memory(&home.profile(None).unwrap(), behind).websocket, None);

    for (kind, asked, carrier) in [
        (CarrierKind::Tls, false, "tls (so it is)"),
        // What somebody asked for says nothing about the way.
        (CarrierKind::WebSocket, true, "websocket (so it is)"),
    ] {
        finds(&first, CarrierKind::WebSocket, false);
        finds(&home.profile(None).unwrap(), kind, asked);
        assert_eq!(remembered(), None);
        assert_eq!(home.profile(None).unwrap().carrier, carrier);
    }
}

#[test]
fn gates_on_one_host_live_side_by_side() {
    let (_dir, home) = home();
    let one = sign_in(&home, "127.0.0.1:3080", "main");
    let two = sign_in(&home, "127.0.0.1:4080", "main");
    let key = |p: &Profile| fs::read_to_string(home.keys(p).ssh_key()).unwrap();

    assert_eq!((one.place.as_str(), two.place.as_str()), ("127.0.0.1", "127.0.0.1-4080"));
    assert_eq!((key(&one).as_str(), key(&two).as_str()), ("127.0.0.1:3080", "127.0.0.1:4080"));
    assert_eq!((one.title().as_str(), two.title().as_str()), ("127.0.0.1", "127.0.0.1:4080"));
    assert_eq!(home.all(), [two.clone(), one.clone()]);
    assert_eq!(home.profile(Some("127.0.0.1:3080")).unwrap(), one);
    assert_eq!(home.profile(Some("127.0.0.1:4080")).unwrap(), two);

    home.forget(&two).unwrap();

    assert_eq!(home.all(), std::slice::from_ref(&one));
    assert_eq!(key(&one), "127.0.0.1:3080");
    let error = home.profile(None).unwrap_err().to_string();
    assert!(error.ends_with("give --proxy=127.0.0.1:3080"), "{error}");
}

#[test]
fn a_gate_keeps_its_place_and_leaves_others_theirs() {
    let (_dir, home) = home();
    let namesake = sign_in(&home, "gate-4080:3080", "main");
    let first = sign_in(&home, "gate:3080", "main");
    let second = sign_in(&home, "gate:4080", "main");
    home.forget(&first).unwrap();

    let again = sign_in(&home, "gate:4080", "main");
    let third = sign_in(&home, "gate:5080", "main");

    assert_eq!(namesake.place, "gate-4080");
    assert_eq!((second.place.as_str(), again.place.as_str()), ("gate-4080-2", "gate-4080-2"));
    assert_eq!(third.place, "gate");
    assert_eq!(home.profile(Some("gate-4080")).unwrap(), namesake);
    assert_eq!(sign_in(&home, "[::1]:3080", "main").place, "__1");
}

#[test]
fn a_host_without_a_port_is_its_one_gate() {
    let (_dir, home) = home();
    let one = sign_in(&home, "gate:443", "main");

    assert_eq!(home.profile(Some("gate")).unwrap(), one);
    assert_eq!(home.profile(Some("https://gate:443/web")).unwrap(), one);
    let wrong_port = home.profile(Some("gate:444")).unwrap_err().to_string();
    assert_eq!(wrong_port, "not logged in to gate:444: run `msh login --proxy=gate:444`");

    sign_in(&home, "gate:8443", "main");

    let several = home.profile(Some("gate")).unwrap_err().to_string();
    assert!(several.ends_with("give --proxy=gate:8443 or --proxy=gate:443"), "{several}");
    let usual = sign_in(&home, "gate:3080", "main");
    assert_eq!(home.profile(Some("gate")).unwrap(), usual);
}

#[test]
fn what_earlier_versions_kept_is_found_where_it_is() {
    let (dir, home) = home();
    let text = "web_proxy_addr: gate:4080\nuser: ann\ncluster: main\ninsecure: false\ncarrier: tls\n";
    fs::write(dir.path().join("gate.yaml"), text).unwrap();
    fs::write(dir.path().join("current-profile"), "gate\n").unwrap();

    let found = home.profile(None).unwrap();
    let second = sign_in(&home, "gate:3080", "main");

    assert_eq!((found.place.as_str(), found.turn), ("gate", 0));
    assert_eq!(home.profile(Some("gate:4080")).unwrap(), found);
    assert_eq!(home.keys(&found).ssh_key(), dir.path().join("keys/gate/ann"));
    assert_eq!(second.place, "gate-3080");
}

#[test]
fn a_clusters_name_stays_with_who_had_it_first() {
    let (_dir, home) = home();
    let first = sign_in(&home, "b:3080", "main");
    let second = sign_in(&home, "a:3080", "main");
    let other = sign_in(&home, "c:3080", "other");

    assert_eq!(home.namesake(&first), None);
    assert_eq!(home.namesake(&second), Some(first.clone()));
    assert_eq!(home.namesake(&other), None);
    assert_eq!(sign_in(&home, "a:3080", "main").turn, second.turn);

    home.forget(&first).unwrap();
    let back = sign_in(&home, "b:3080", "main");

    assert_eq!(home.namesake(&second), None);
    assert_eq!(home.namesake(&back), Some(second));
}
