//! What people are told, word for word.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use config::{Flags, SecondFactor, Severity, Upstream, Version, load};

fn errors(text: &str) -> String {
    errors_with(text, &Flags::default())
}

fn errors_with(text: &str, flags: &Flags) -> String {
    load("moongate.yaml", text, flags).map(|_| ()).unwrap_err().to_string()
}

fn loaded(text: &str) -> config::Loaded {
    load("moongate.yaml", text, &Flags::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn everything_wrong_is_said_together_in_order() {
    let text = r#"
version: v2
moongate:
  data_dri: /srv
  auth_token: abc
  join_params: {method: token, token_name: abc}
  auth_server: gate:3025
  ca_pin: md5:00
  advertise_ip: 127.0.0.1
  log: {severity: LOUD}
auth_service:
  enabled: perhaps
  tokens: ["knot:hunter2", "node"]
  keep_alive_interval: 5
  session_recording: nod
  tokens: []
proxy_service:
  https_keypairs:
  - key_file: /k.pem
  web_listen_addr: gate:port
  mysql_public_addr: db.example.com
ssh_service:
  labels: [a, b]
  commands:
  - name: arch
  x11: {display_offset: 20, max_display: 10}
  listen_adr: 0.0.0.0:22
web_listen_addr: 0.0.0.0:443
"#;
    let said = errors(text);
    assert!(!said.contains("hunter2"));
    insta::assert_snapshot!(said);
}

#[test]
fn the_versions_differ_in_how_the_authority_is_named() {
    insta::assert_snapshot!(errors("version: v3\nteleport:\n  auth_servers: [a]\n"));
    insta::assert_snapshot!(errors("teleport:\n  proxy_server: a\n"));
    insta::assert_snapshot!(errors("version: v4\n"));
    insta::assert_snapshot!(errors(
        "version: v3\nteleport: {proxy_server: a, auth_server: b}\nproxy_service: {enabled: yes}\n"
    ));
    let v3 = loaded("version: v3\nteleport: {proxy_server: gate}\n").config;
    assert_eq!(v3.version, Version::V3);
    assert!(v3.auth.is_none() && v3.proxy.is_none() && v3.ssh.is_some());
    let Upstream::Proxy(address) = v3.upstream else { panic!() };
    assert_eq!(address.to_string(), "gate:3080");
}

#[test]
fn side_ports_belong_to_the_first_version_alone() {
    let side = |text: &str| loaded(text).config.proxy.unwrap().also_listen.len();

    assert_eq!(side(""), 2);
    assert_eq!(
        side("auth_service: {proxy_listener_mode: multiplex}\nproxy_service: {listen_addr: 0.0.0.0:3023}"),
        0
    );
    assert_eq!(side("version: v2"), 0);
    assert_eq!(side("version: v2\nauth_service: {proxy_listener_mode: separate}"), 2);
    assert_eq!(side("proxy_service: {tunnel_listen_addr: 0.0.0.0:3080, listen_addr: 0.0.0.0:3080}"), 0);
}

#[test]
fn old_and_new_name_of_the_first_section_are_one() {
    insta::assert_snapshot!(errors("teleport: {nodename: a}\nmoongate: {nodename: b}\n"));
    assert_eq!(loaded("moongate: {nodename: a}").config.instance.nodename.unwrap().as_str(), "a");
}

#[test]
fn truths_are_read_in_every_spelling() {
    for (word, expected) in
        [("yes", true), ("'on'", true), ("True", true), ("no", false), ("OFF", false), ("0", false)]
    {
        let text = format!("ssh_service: {{permit_user_env: {word}}}");
        assert_eq!(loaded(&text).config.ssh.unwrap().permit_user_env, expected, "{word}");
    }
}

#[test]
fn the_command_line_wins_and_is_checked_with_the_file() {
    let flags = Flags {
        roles: Some("node".into()),
        auth_servers: vec!["https://teleport.example.com:443".into()],
        token: Some("xyz".into()),
        labels: Some("env=demo".into()),
        nodename: Some("d".into()),
        ..Flags::default()
    };
    let config = load("", "ssh_service: {labels: {env: prod, rack: '7'}}", &flags).unwrap().config;
    assert!(config.auth.is_none() && config.proxy.is_none());
    let labels = config.ssh.unwrap().labels;
    assert_eq!(model::label::to_text(&labels), "env=demo,rack=7");
    let Upstream::Auth(servers) = config.upstream else { panic!() };
    assert_eq!(servers[0].to_string(), "teleport.example.com:443");

    let wrong = Flags {
        roles: Some("node,knot".into()),
        auth_servers: vec!["a b".into()],
        ca_pins: vec!["sha256:00".into()],
        labels: Some("nonsense".into()),
        advertise_ip: Some("0.0.0.0".into()),
        diag_addr: Some("x:y".into()),
        ..Flags::default()
    };
    insta::assert_snapshot!(errors_with("proxi_service: {}", &wrong));
}

#[test]
fn flags_and_sections_of_later_days_are_accepted_and_named() {
    let flags = Flags { roles: Some("app".into()), later: vec!["--app-name".into()], ..Flags::default() };
    let loaded = load("f", "db_service:\n  enabled: yes\nokta_service:\n  enabled: no\n", &flags).unwrap();
    let notes: Vec<String> = loaded.notes.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(notes.join("\n"));
}

#[test]
fn fronts_left_out_are_not_fronts_that_are_none() {
    let fronts = |text: &str| loaded(text).config.proxy.unwrap().trusted_fronts;

    assert_eq!(fronts(""), None);
    assert_eq!(fronts("proxy_service: {proxy_protocol: on}"), None);
    assert_eq!(fronts("proxy_service: {trusted_fronts: []}"), Some(vec![]));
    assert_eq!(
        fronts("proxy_service: {proxy_protocol: on, trusted_fronts: 10.0.0.5}"),
        Some(vec!["10.0.0.5".into()])
    );
    let refused = errors("proxy_service: {proxy_protocol: on, trusted_fronts: []}");
    assert!(refused.contains("proxy_service.trusted_fronts: nobody"), "{refused}");
}

#[test]
fn second_factors_nobody_is_asked_for_are_said() {
    for (list, noted, factor) in [
        ("[otp]", &[][..], SecondFactor::Otp),
        ("[otp, webauthn]", &[], SecondFactor::On),
        ("[webauthn]", &["`webauthn` without `otp`"], SecondFactor::Webauthn),
        ("[otp, SSO]", &["`sso`"], SecondFactor::Otp),
        ("[sso, webauthn]", &["`sso`", "`webauthn` without `otp`"], SecondFactor::Webauthn),
    ] {
        let loaded = loaded(&format!("auth_service: {{authentication: {{second_factors: {list}}}}}"));

        let said: Vec<String> = loaded.notes.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), noted.len(), "{list}: {said:?}");
        for (said, noted) in said.iter().zip(noted) {
            assert!(said.contains(noted) && said.contains("not in effect yet"), "{list}: {said}");
        }
        assert_eq!(loaded.config.auth.unwrap().authentication.second_factor, factor, "{list}");
    }
    let refused = errors("auth_service: {authentication: {second_factors: []}}");
    assert!(refused.contains("second_factors: none; expected `otp`"), "{refused}");
}

#[test]
fn two_services_cannot_share_a_port() {
    insta::assert_snapshot!(errors("auth_service: {listen_addr: '0.0.0.0:3080'}\n"));
}

#[test]
fn every_pair_of_listeners_that_cannot_both_be_is_found() {
    let proxy = "proxy_service: {web_listen_addr: '0.0.0.0:3080'}\n";
    for (text, wrong) in [
        ("ssh_service: {enabled: yes, listen_addr: '0.0.0.0:3080'}\n", "ssh_service.listen_addr"),
        ("ssh_service: {enabled: yes, listen_addr: '127.0.0.1:3080'}\n", "ssh_service.listen_addr"),
        ("auth_service: {listen_addr: '127.0.0.1:3080'}\n", "auth_service.listen_addr"),
        ("moongate: {diag_addr: '127.0.0.1:3080'}\n", "moongate.diag_addr"),
        ("moongate: {diag_addr: '127.0.0.1:3025'}\n", "moongate.diag_addr"),
        (
            "ssh_service: {enabled: yes, listen_addr: '[::]:3022'}\nmoongate: {diag_addr: '[::1]:3022'}\n",
            "moongate.diag_addr",
        ),
        // Of another family, or on a port of its own.
        ("ssh_service: {enabled: yes, listen_addr: '[::1]:3080'}\n", ""),
        ("moongate: {diag_addr: '127.0.0.1:3000'}\nssh_service: {listen_addr: '0.0.0.0:3022'}\n", ""),
    ] {
        let text = format!("{proxy}{text}");
        if wrong.is_empty() {
            loaded(&text);
            continue;
        }
        let said = errors(&text);
        assert!(said.contains(wrong) && said.contains("a port of its own"), "{text}{said}");
    }
}

#[test]
fn any_port_is_nobodys_and_not_the_one_port() {
    let any = "127.0.0.1:0";
    loaded(&format!("auth_service: {{listen_addr: '{any}'}}\nproxy_service: {{listen_addr: '{any}'}}\n"));

    let refused = errors(&format!(
        "auth_service: {{listen_addr: '{any}'}}\nproxy_service: {{web_listen_addr: '{any}'}}\n"
    ));

    assert!(refused.contains("proxy_service.web_listen_addr: port 0; expected a port"), "{refused}");
    assert!(!refused.contains("auth_service"), "{refused}");
}

#[test]
fn a_misspelt_algorithm_is_answered_with_the_nearest() {
    let said = errors(
        "moongate:\n  ciphersuites: [tls-ecdhe-rsa-with-aes-128-gcm-sha265]\n  ciphers: aes256-gcm@openssh.com\n  \
         mac_algos: [hmac-md5]\n",
    );
    assert!(said.contains("`tls-ecdhe-rsa-with-aes-128-gcm-sha256`"), "{said}");
    assert!(said.contains("hmac-md5") && said.contains("hmac-sha2-256-etm@openssh.com"), "{said}");

    let suites = ["TLS-ECDHE-RSA-with-AES-128-GCM-SHA256", "tls-ecdhe-rsa-with-chacha20-poly1305"];
    let good = loaded(&format!("moongate: {{ciphersuites: [{}]}}", suites.join(", "))).config;
    assert_eq!(good.instance.algorithms.tls_suites, suites.map(str::to_ascii_lowercase));
}

#[test]
fn limits_are_read_whole() {
    let limits =
        |text: &str| loaded(&format!("moongate: {{connection_limits: {{{text}}}}}")).config.instance.limits;

    assert_eq!(limits("max_users: 0").max_users, None);
    assert_eq!(limits("max_users: 250").max_users, Some(250));
    let rates = limits("rates: [{period: 1m, average: 100, burst: 200}, {period: 1h}]").rates;
    assert_eq!(rates.iter().map(|r| (r.average, r.burst)).collect::<Vec<_>>(), [(100, 200), (20, 40)]);
    assert_eq!(rates.iter().map(|r| r.period.0.as_secs()).collect::<Vec<_>>(), [60, 3600]);
}

#[test]
fn passkeys_are_made_for_a_name_that_pages_are_under() {
    let file = |name: &str, address: &str| {
        format!(
            "auth_service: {{authentication: {{webauthn: {{rp_id: {name}}}}}}}\n\
             proxy_service: {{public_addr: {address}}}\n"
        )
    };

    let config = loaded(&file("Example.com", "gate.example.com:443")).config;
    assert_eq!(config.auth.unwrap().authentication.passkey_name.as_deref(), Some("example.com"));
    for (name, address, why) in [
        ("https://example.com", "example.com", "not a name"),
        ("192.0.2.1", "192.0.2.1", "not a name"),
        ("example.com", "gate.elsewhere.net", "no `proxy_service.public_addr` is `example.com` or under it"),
    ] {
        let said = errors(&file(name, address));
        assert!(said.contains(why) && said.contains("moongate.yaml:1:"), "{said}");
    }
}

#[test]
fn an_empty_file_is_a_gate_with_everything() {
    let config = loaded("# nothing\n").config;
    assert!(config.auth.is_some() && config.proxy.is_some() && config.ssh.is_some());
    assert_eq!(config.instance.log.severity, Severity::Info);
    assert_eq!(config.instance.data_dir, std::path::Path::new("/var/lib/moongate"));
}

#[test]
fn odd_files_load_where_they_mean_something() {
    for text in [
        "\u{feff}version: v2\n",
        "version: v2\r\nssh_service:\r\n  enabled: no\r\n",
        "---\nversion: v2\n---\n",
        "version: v2\n...\n---\n# nothing\n",
        "{\"version\": \"v2\", \"ssh_service\": {\"enabled\": true}}",
        "version: V2\nmoongate:\n",
    ] {
        assert_eq!(loaded(text).config.version, Version::V2, "{text:?}");
    }
    let named = loaded("version: V3\nmoongate: {auth_server: gate}\n").config;
    assert_eq!(named.version, Version::V3);
    for (grace, seconds) in [("0s", 0), ("never", 0), ("1m", 60)] {
        let ssh = loaded(&format!("ssh_service: {{session_grace: {grace}}}")).config.ssh.unwrap();
        assert_eq!(ssh.session_grace.0.as_secs(), seconds, "{grace}");
    }
}

#[test]
fn what_is_odd_is_told_in_words_and_with_its_place() {
    let tokens = "auth_service:\n  tokens: ";
    for (text, said) in [
        (
            format!("{tokens}\"node:hunter2\"\n"),
            ":2:11: auth_service.tokens: a text; expected a list of static tokens",
        ),
        (
            "moongate:\n  auth_token:hunter2\n".into(),
            ":2:3: moongate: a text; expected keys of its own (a mapping), each with a space behind its `:`",
        ),
        (
            "moongate: {auth_token:hunter2}\n".into(),
            ":1:12: moongate.auth_token: no space behind the `:`; expected `auth_token: …`",
        ),
        ("ssh_service: yes\n".into(), ":1:14: ssh_service: a text; expected keys of its own (a mapping)"),
        (
            "x: &x {enabled: no}\nssh_service:\n  <<: *x\n".into(),
            ":3:3: ssh_service.<<: merging of mappings is not read; expected the keys themselves",
        ),
        ("\"\\e[2J\\nred\\u00a0\": 1\n".into(), ":1:1: \\u{1b}[2J\\nred\\u{a0}: unknown key"),
        ("\"\": 1\n".into(), ":1:1: ``: unknown key"),
        (format!("? {}\n: 1\n", "k".repeat(5000)), "kkk…: unknown key"),
        (
            "ssh_service: {commands: [{name: \"a\\eb\", command: x}, {name: \"a\\eb\", command: x}]}".into(),
            "`a\\u{1b}b` given twice",
        ),
        (
            "auth_service: {keep_alive_interval: 876001h}\n".into(),
            "`876001h`, more than 100 years; expected a length of time",
        ),
        ("auth_service: {client_idle_timeout: 36501d}\n".into(), "`36501d`, more than 100 years; expected"),
        (
            "moongate: {advertise_ip: 256.1.1.1}\n".into(),
            ":1:26: moongate.advertise_ip: `256.1.1.1`; expected an address",
        ),
        (
            "proxy_service: {public_addr: [gate.example.com, 'gate.example.com:0']}\n".into(),
            "public_addr[1]: `gate.example.com:0`; expected an address",
        ),
        (
            "ssh_service: {labels: {' ': x}}\n".into(),
            ":1:24: ssh_service.labels: a label without a name; expected one with a name",
        ),
        ("moongate:\n\tnodename: a\n".into(), ":2:2: not YAML: tabs"),
        ("version: v2\0\n".into(), ":1:12: not YAML"),
        ("version: v2\n---\n---\nversion: v3\n".into(), ":4:1: a second document; expected one document"),
        ("moongate: &a [*a]\n".into(), ":1:15: an alias of something that is not finished"),
    ] {
        let told = errors(&text);
        assert!(told.contains(said), "{text:?}: {told}");
        assert!(!told.contains("hunter2") && !told.chars().any(|c| c.is_control() && c != '\n'), "{told}");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// A file made of the schema's own words, right and wrong.
    fn any_file() -> impl Strategy<Value = String> {
        let words: Vec<String> = config::schema::keys().map(|k| k.name().to_owned()).collect();
        let value = prop_oneof![
            "[ -~]{0,20}",
            Just("yes".to_owned()),
            Just("5m".to_owned()),
            Just("[a, b]".to_owned()),
            Just("{a: b}".to_owned()),
            Just("0.0.0.0:3025".to_owned()),
            Just("&a [*a]".to_owned()),
        ];
        let line = (0usize..4, prop::sample::select(words), value)
            .prop_map(|(depth, key, value)| format!("{}{key}: {value}\n", "  ".repeat(depth)));
        let line = prop_oneof![9 => line, 1 => "\\PC{0,30}\n"];
        prop::collection::vec(line, 0..30).prop_map(|lines| lines.concat())
    }

    proptest! {
        #[test]
        fn no_file_makes_the_loader_panic(text in any_file()) {
            config::fuzz::configuration(text.as_bytes());
            config::fuzz::resources(text.as_bytes());
        }

        #[test]
        fn no_bytes_make_the_loader_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            config::fuzz::configuration(&data);
            config::fuzz::resources(&data);
        }

        #[test]
        fn findings_are_in_order(text in any_file()) {
            if let Err(findings) = load("f", &text, &Flags::default()) {
                let places: Vec<_> = findings.errors().map(|f| f.at).collect();
                prop_assert!(places.is_sorted());
            }
        }
    }
}
