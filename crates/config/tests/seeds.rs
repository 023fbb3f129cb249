//! The files people already have: every YAML block of the five articles Moongate was asked for, as printed there.
//!
//! Blocks of other programs (compose, nginx, yum, V2Ray) are kept beside them; only that they are not ours is checked.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use config::{Flags, Loaded, Upstream, load};

fn block(name: &str) -> String {
    let path = format!("{}/testdata/seeds/{name}", env!("CARGO_MANIFEST_DIR"));
    #[allow(clippy::disallowed_methods)]
    std::fs::read_to_string(path).unwrap()
}

fn loads(name: &str) -> Loaded {
    load(name, &block(name), &Flags::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn notes(loaded: &Loaded) -> String {
    loaded.notes.iter().map(|n| format!("{n}\n")).collect()
}

#[test]
fn one_line_puts_everything_on_one_port() {
    for name in ["000-1-multiplex.yaml", "001-1-multiplex.yaml"] {
        let loaded = loads(name);
        let proxy = loaded.config.proxy.unwrap();
        assert_eq!(proxy.listen.to_string(), "0.0.0.0:3080");
        assert!(proxy.also_listen.is_empty(), "{:?}", proxy.also_listen);
        assert!(loaded.config.auth.is_some() && loaded.config.ssh.is_some());
        assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    }
}

#[test]
fn public_addresses_may_be_a_list() {
    for name in ["000-5-public-addr.yaml", "001-5-public-addr.yaml"] {
        let addresses: Vec<String> =
            loads(name).config.proxy.unwrap().public_addrs.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["teleport.example.com:443", "100.64.0.x:3080"]);
    }
}

#[test]
fn the_all_in_one_file_loads() {
    let loaded = loads("002-1-demo.yaml");
    let config = &loaded.config;

    assert_eq!(config.instance.data_dir, std::path::Path::new("./teleport"));
    assert_eq!(config.instance.advertise.as_ref().unwrap().host(), "192.168.1.2");
    let auth = config.auth.as_ref().unwrap();
    assert_eq!(auth.cluster_name.as_ref().unwrap().as_str(), "teleport");
    assert_eq!(auth.tokens.len(), 1);
    let side: Vec<String> =
        config.proxy.as_ref().unwrap().also_listen.iter().map(ToString::to_string).collect();
    assert_eq!(side, ["0.0.0.0:3023", "0.0.0.0:3024"]);
    assert_eq!(config.upstream, Upstream::Here);
    assert_eq!(notes(&loaded), "not in effect yet: app_service (line 14)\n");
}

#[test]
fn the_node_file_loads_and_its_token_is_the_value_alone() {
    let loaded = loads("002-2-node.yaml");
    let config = &loaded.config;

    assert!(config.auth.is_none() && config.proxy.is_none());
    assert_eq!(config.ssh.as_ref().unwrap().listen.as_ref().unwrap().to_string(), "0.0.0.0:3022");
    let Upstream::Auth(servers) = &config.upstream else { panic!("{:?}", config.upstream) };
    assert_eq!(servers[0].to_string(), "192.168.1.2:3025");
    let Some(config::SecretSource::Literal(token)) = &config.instance.token else { panic!() };
    assert_eq!(token.expose(), "f7adb7ccdf04037bcd2b52ec6010fd6f0caec94ba190b765");
    assert_eq!(notes(&loaded), "");
}

/// The long reference block ends in text that is no YAML (a list inside a mapping, under `kubernetes_service.labels`):
/// exactly that is found, by line, and everything before it is checked and good.
#[test]
fn the_reference_block_has_one_flaw_and_its_line_is_named() {
    let name = "002-3-reference.yaml";
    let error = load(name, &block(name), &Flags::default()).unwrap_err();
    let text: Vec<String> = error.errors().map(ToString::to_string).collect();

    assert_eq!(text.len(), 1, "{error}");
    assert_eq!(error.errors().next().unwrap().at.unwrap().line, FLAWED_LINE, "{error}");
    insta::assert_snapshot!(text.join("\n"));
}

/// Line of `- name: "os"` below `env: "prod"`.
const FLAWED_LINE: usize = 236;

#[test]
fn the_reference_block_without_that_list_loads() {
    let name = "002-3-reference.yaml";
    let text = block(name);
    let repaired: String = text.lines().take(FLAWED_LINE - 1).map(|l| format!("{l}\n")).collect();
    let loaded = load(name, &repaired, &Flags::default()).unwrap_or_else(|e| panic!("{e}"));
    let config = &loaded.config;

    assert_eq!(config.instance.nodename.as_ref().unwrap().as_str(), "graviton");
    assert_eq!(config.instance.algorithms.ciphers.len(), 5);
    assert_eq!(config.auth.as_ref().unwrap().tokens.len(), 1);
    assert_eq!(config.proxy.as_ref().unwrap().keypairs.len(), 2);
    let ssh = config.ssh.as_ref().unwrap();
    assert_eq!(ssh.labels.get("role").map(String::as_str), Some("leader"));
    assert_eq!(ssh.commands.get("arch").unwrap().period.to_string(), "1h0m0s");
    insta::assert_snapshot!(notes(&loaded));
}

/// A single line of an article: it is the value of a key every service has.
#[test]
fn the_public_addresses_of_any_service_may_be_a_list() {
    let line = block("003-1-public-addr.yaml");
    for service in ["proxy_service", "auth_service", "ssh_service", "kubernetes_service"] {
        let text = format!("{service}:\n  {line}");
        load(service, &text, &Flags::default()).unwrap_or_else(|e| panic!("{e}"));
    }
    let alone = load("alone", &line, &Flags::default()).unwrap_err().to_string();
    assert_eq!(alone, "alone:1:1: public_addr: unknown key; did you mean `auth_service.public_addr`?");
}

#[test]
fn blocks_of_other_programs_are_not_taken_for_ours() {
    for name in [
        "000-2-yum.repo",
        "000-3-nginx.conf",
        "000-4-docker-compose.yml",
        "001-2-yum.repo",
        "001-3-nginx.conf",
        "001-4-docker-compose.yml",
        "003-2-ping.json",
        "004-1-v2ray-bridge.json",
        "004-2-v2ray-portal.json",
    ] {
        assert!(load(name, &block(name), &Flags::default()).is_err(), "{name}");
    }
    let compose = config::yaml::read(&block("000-4-docker-compose.yml")).unwrap();
    assert_eq!(compose[0].value["services"]["teleport"]["ports"][1], "127.0.0.1:3025:3025");
    let ping = config::yaml::read(&block("003-2-ping.json")).unwrap();
    assert_eq!(ping[0].value["tls_routing_enabled"], true);
}
