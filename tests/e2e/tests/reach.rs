//! Nodes from behind things: an HTTP proxy, an nginx that ends TLS, wrong pins, cut links; and what they do when proxies
//! have several addresses, when they are called otherwise, or were removed.

use anyhow::{Result, ensure};
use e2e::gate::{Gate, NODE, Options, TOKEN};
use e2e::helper::{ConnectProxy, nginx};
use e2e::http::get;
use e2e::person::{Person, target};
use e2e::run::{LIMIT, run_with};
use e2e::wait::until;
use serde_json::Value;

/// Exactly the directives people have in front of such a gate.
fn front(port: u16) -> String {
    format!(
        "proxy_pass https://127.0.0.1:{port};\nproxy_ssl_verify off;\nproxy_http_version 1.1;\n\
         proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \"upgrade\";"
    )
}

/// More than a stream carries inside its tunnel and TLS, both ways at once, into a program and back.
fn copies_pass_whole(person: &Person, node: &str) -> Result<()> {
    let said: Vec<u8> = (0..8u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let mut command = person.ssh(&[&target("root", node), "cat"]);
    let heard = run_with(&mut command, &said, LIMIT)?.ok()?.stdout;
    ensure!(heard == said, "{} of {} bytes came back", heard.len(), said.len());
    Ok(())
}

#[test]
fn a_node_joins_through_an_http_proxy_that_alone_knows_the_gates_name() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let proxy = ConnectProxy::start(Some("dXNlcjpwYXNz")).unwrap();
    let url = format!("http://user:pass@127.0.0.1:{}", proxy.port);
    let options = Options { environment: vec![("HTTPS_PROXY".to_owned(), url)], ..Options::default() };

    gate.start_node_with("behind", &format!("gate.inside.test:{}", gate.port), &options).unwrap();
    gate.online("behind").unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let ran = ann.on("root", "behind", "echo through").unwrap();

    assert_eq!(ran.ok().unwrap().text(), "through\n");
    assert!(proxy.served() > 0);
    copies_pass_whole(&ann, "behind").unwrap();
}

#[test]
fn of_two_nodes_of_one_name_the_one_that_came_last_is_reached_where_that_is_wanted() {
    let auth_lines = "  routing_strategy: most_recent\n  ssh_dial_timeout: 45s\n".to_owned();
    let mut gate = Gate::start_with(Options { auth_lines, ..Options::default() }).unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    // Whose child the command is: the privileged half is told where its node's pins are.
    let ask = "tr '\\0' ' ' < /proc/$PPID/cmdline";
    let which = || ann.on("root", NODE, ask).ok()?.ok().ok().map(|ran| ran.text());
    let first = until("the first node", LIMIT, which).unwrap();

    gate.start_node(NODE, "").unwrap();
    let last = until("the second node", LIMIT, || which().filter(|id| *id != first)).unwrap();
    gate.node(NODE).unwrap().kill();
    let again = until("the first node again", LIMIT, || which().filter(|id| *id != last)).unwrap();

    assert_eq!(again, first);
    let told: Value = serde_json::from_slice(&get(&gate.url("/webapi/find")).unwrap().stdout).unwrap();
    assert_eq!(told.pointer("/proxy/ssh/dial_timeout"), Some(&45_000_000_000_u64.into()));
}

#[test]
fn an_http_proxy_is_not_asked_for_loopback() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let environment = vec![("HTTPS_PROXY".to_owned(), "http://127.0.0.1:9".to_owned())];

    gate.start_node_with("beside", "", &Options { environment, ..Options::default() }).unwrap();

    gate.online("beside").unwrap();
}

#[test]
fn node_and_person_pass_an_nginx_that_ends_tls() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (_nginx, port) = nginx(dir.path(), &front(gate.port)).unwrap();
    let via = format!("127.0.0.1:{port}");

    gate.start_node("fronted", &via).unwrap();
    gate.online("fronted").unwrap();
    let ann = gate.invited("ann", "access", "root").unwrap().through(&via);
    ann.login().unwrap();
    let ran = ann.on("root", "fronted", "echo fronted").unwrap();
    let status = ann.msh(&["status"]).unwrap().ok().unwrap().text();

    assert_eq!(ran.ok().unwrap().text(), "fronted\n");
    assert!(status.contains("websocket"), "{status}");
    // Nobody finds out twice within minutes, and who knows nothing finds out.
    let finds_out = || {
        let ran = ann.msh(&["--debug", "ls"]).unwrap().ok().unwrap();
        ran.stderr.contains("straight TLS does not get through")
    };
    assert!(!finds_out());
    let profile = ann.home().join(".msh/127.0.0.1.yaml");
    let text = std::fs::read_to_string(&profile).unwrap();
    let (known, _) = text.split_once("websocket:\n").unwrap();
    std::fs::write(&profile, known).unwrap();
    assert!(finds_out());
    assert!(!finds_out());
    copies_pass_whole(&ann, "fronted").unwrap();
}

#[test]
fn a_wrong_pin_keeps_a_node_out() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let config = gate.data("stranger.yaml");
    let text = std::fs::read_to_string(gate.data(&format!("{NODE}.yaml"))).unwrap();
    let pin = gate.pin().unwrap();
    let wrong = format!("sha256:{}", "0".repeat(64));
    let text = text.replace(&pin, &wrong).replace(NODE, "stranger");
    std::fs::write(&config, text).unwrap();

    let mut command = gate.command("moongate");
    let process =
        e2e::process::Process::start("stranger", command.args(["start", "-c"]).arg(&config), gate.dir())
            .unwrap();

    e2e::wait::until("a word about the pin", LIMIT, || {
        process.log().to_lowercase().contains("pin").then_some(())
    })
    .unwrap();
    let nodes = gate.mctl_json(&["nodes", "ls", "--format=json"]).unwrap();
    assert!(!nodes.to_string().contains("stranger"), "{nodes}");
    gate.node(NODE).unwrap();
}

#[test]
fn a_cut_node_is_offline_until_it_is_back() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();

    gate.node(NODE).unwrap().kill();
    gate.node_is(NODE, "offline").unwrap();

    gate.start_node(NODE, "").unwrap();
    gate.online(NODE).unwrap();
}

#[test]
fn a_join_command_printed_for_a_node_works() {
    let gate = Gate::start_apart(Options::default()).unwrap();
    let ran = gate.mctl(&["tokens", "add", "--type=node", "--format=json"]).unwrap().ok().unwrap();
    let token: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let secret = ["token", "secret", "value"].iter().find_map(|k| token.get(k)?.as_str()).unwrap().to_owned();
    let data = gate.data("joined");
    let mut command = gate.command("moongate");
    command.args(["start", "--roles=node", "--nodename=joined"]);
    command.arg(format!("--token={secret}"));
    command.arg(format!("--ca-pin={}", gate.pin().unwrap()));
    command.arg(format!("--auth-server=https://127.0.0.1:{}", gate.port));
    command.arg("--labels=env=joined").env("MOONGATE_DATA_DIR", &data);
    let config = gate.data("joined.yaml");
    std::fs::write(&config, format!("version: v2\nmoongate:\n  data_dir: {}\n", data.display())).unwrap();
    command.arg("-c").arg(&config);
    let _node = e2e::process::Process::start("joined", &mut command, gate.dir()).unwrap();

    gate.online("joined").unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();

    assert_eq!(ann.on("root", "joined", "echo joined").unwrap().ok().unwrap().text(), "joined\n");
}

/// The configuration without its token.
fn without_token(text: &str) -> String {
    text.replace(&format!("  auth_token: {TOKEN}\n"), "")
}

#[test]
fn a_node_that_knows_only_the_authority_keeps_one_tunnel_to_a_proxy_of_several_addresses() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let (own, port) = (format!("\"127.0.0.1:{}\"", gate.port), gate.port);
    let (all, authority) = (format!("localhost:{port}, 127.0.0.1:{port}"), gate.auth_port);
    gate.proxy.as_mut().unwrap().kill();
    let more = |text: &str| {
        let public = format!("  public_addr: 127.0.0.1:{port}\n");
        text.replace(&public, &format!("{public}  tunnel_public_addr: [{all}]\n"))
    };
    gate.proxy = Some(gate.start_edited("proxy", "proxy", more).unwrap());
    gate.answers().unwrap();

    let lonely = gate.start_edited(NODE, "lonely", |text| {
        let server = format!("proxy_server: {own}");
        text.replace(NODE, "lonely").replace(&server, &format!("auth_server: \"127.0.0.1:{authority}\""))
    });
    let lonely = lonely.unwrap();
    gate.online("lonely").unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let ran = ann.on("root", "lonely", "echo here").unwrap();

    assert_eq!(ran.ok().unwrap().text(), "here\n");
    let log = lonely.log();
    let ups: Vec<&str> = log.lines().filter(|line| line.contains("tunnel up")).collect();
    assert!(ups.len() == 1 && ups[0].contains(&format!("localhost:{port}")), "{ups:?}");
}

#[test]
fn a_node_that_is_called_otherwise_joins_again_or_goes_on_as_it_was() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let called =
        |name: &str, text: &str| text.replace(&format!("nodename: {NODE}"), &format!("nodename: {name}"));
    let works = || until("a session", LIMIT, || ann.on("root", "web-7", "echo here").ok()?.ok().ok());
    gate.node(NODE).unwrap().kill();

    let mut renamed = gate.start_edited(NODE, "renamed", |text| called("web-7", text)).unwrap();
    gate.online("web-7").unwrap();
    works().unwrap();
    let nodes = gate.mctl_json(&["nodes", "ls", "--format=json"]).unwrap().to_string();
    renamed.kill();
    let kept = gate.start_edited(NODE, "kept", |text| without_token(&called("web-8", text))).unwrap();
    works().unwrap();

    assert!(!nodes.contains(NODE), "{nodes}");
    let log = kept.log();
    assert!(log.contains("this host goes on as `web-7`") && log.contains("--token"), "{log}");
}

#[test]
fn a_removed_node_says_so_and_is_back_once_it_is_started_with_a_token() {
    let mut gate = Gate::start_apart(Options::default()).unwrap();
    gate.mctl(&["nodes", "rm", NODE]).unwrap().ok().unwrap();
    gate.node(NODE).unwrap().kill();

    let mut without = gate.start_edited(NODE, "without", without_token).unwrap();
    until("what happened", LIMIT, || without.log().contains("it was removed (mctl nodes rm)").then_some(()))
        .unwrap();
    without.kill();
    let nodes = gate.mctl_json(&["nodes", "ls", "--format=json"]).unwrap().to_string();
    gate.start_node(NODE, "").unwrap();

    assert!(!nodes.contains(NODE), "{nodes}");
    gate.online(NODE).unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    assert_eq!(ann.on("root", NODE, "echo back").unwrap().ok().unwrap().text(), "back\n");
}
