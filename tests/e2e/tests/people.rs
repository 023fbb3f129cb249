//! Invites, second factors, lock-out, and what people see of the gate.

use std::os::unix::fs::MetadataExt;
use std::process::Child;

use anyhow::Result;
use e2e::gate::{Gate, NODE, Options};
use e2e::http;
use e2e::person::{PASSWORD, Person, target};
use e2e::run::{LIMIT, run, run_with};
use e2e::terminal::Terminal;
use serde_json::{Value, json};

#[test]
fn ping_has_the_shape_that_scripts_know() {
    let gate = Gate::start().unwrap();

    let ran = http::get(&gate.url("/webapi/ping")).unwrap().ok().unwrap();
    let ping: Value = serde_json::from_slice(&ran.stdout).unwrap();

    assert_eq!(ping.pointer("/cluster_name").and_then(Value::as_str), Some("main"));
    assert_eq!(ping.pointer("/proxy/tls_routing_enabled").and_then(Value::as_bool), Some(true));
    let listen = ping.pointer("/proxy/ssh/web_listen_addr").and_then(Value::as_str);
    assert_eq!(listen, Some(format!("127.0.0.1:{}", gate.port).as_str()));
    assert!(ping.pointer("/proxy/kube").is_some() && ping.pointer("/proxy/db").is_some());
}

#[test]
fn what_is_to_be_read_is_shown_before_anybody_signs_in() {
    let message = "  message_of_the_day: |\n    Work here is recorded.\n    Mind the step.\n";
    let gate = Gate::start_with(Options { auth_lines: message.into(), ..Options::default() }).unwrap();
    let ann = gate.invited("ann", "access", "root").unwrap();
    let shown = "Work here is recorded.\nMind the step.\n\nSigning in to ";

    // By a pin, and by the web.
    let pinned = ann.login_with("wrong\n000000\n").unwrap();
    let mut command = ann.command("msh");
    command.args(["login", "--insecure", "--user=ann", &format!("--proxy=127.0.0.1:{}", gate.port)]);
    let web = run_with(&mut command, b"wrong\n000000\n", LIMIT).unwrap();

    assert!(pinned.stderr.contains(shown) && web.stderr.contains(shown), "{}{}", pinned.stderr, web.stderr);
    ann.login().unwrap();
}

/// Somebody at a terminal whom `msh login` has just asked for the password.
fn asked(gate: &Gate) -> Result<(Person, Terminal, Child)> {
    let ann = gate.invited("ann", "access", "root")?;
    let terminal = Terminal::open()?;
    let login = terminal.seat(&mut ann.login_command())?.spawn()?;
    terminal.shows("Password: ")?;
    Ok((ann, terminal, login))
}

#[test]
fn a_password_answered_at_once_is_neither_shown_nor_lost() {
    let gate = Gate::start().unwrap();
    let (ann, terminal, mut login) = asked(&gate).unwrap();

    terminal.types(&format!("{PASSWORD}\n")).unwrap();
    terminal.shows("One-time code: ").unwrap();
    terminal.types(&format!("{}\n", ann.code().unwrap())).unwrap();

    assert!(login.wait().unwrap().success(), "{}", terminal.said());
    assert!(!terminal.said().contains(PASSWORD), "{}", terminal.said());
}

#[test]
fn who_gives_up_at_the_password_has_a_terminal_that_echoes() {
    let gate = Gate::start().unwrap();
    let (_ann, terminal, mut login) = asked(&gate).unwrap();
    assert!(!terminal.echoes().unwrap());

    terminal.types("half of it\u{3}").unwrap();

    // By the signal, or by itself where whoever started the tests ignores that.
    assert!(!login.wait().unwrap().success());
    assert!(terminal.echoes().unwrap());
    assert!(!terminal.said().contains("half"), "{}", terminal.said());
}

#[test]
fn an_invite_is_good_once() {
    let gate = Gate::start().unwrap();
    let link = gate.mctl_json(&["users", "add", "ann", "--roles=access", "--format=json"]).unwrap();
    let secret = link.get("secret").and_then(Value::as_str).unwrap();
    Person::enrol(&gate, "ann", secret).unwrap();

    let again = Person::enrol(&gate, "ann", secret);

    assert!(again.is_err());
}

#[test]
fn the_invite_page_is_served() {
    let gate = Gate::start().unwrap();
    let link = gate.mctl_json(&["users", "add", "ann", "--roles=access", "--format=json"]).unwrap();
    let url = link.get("url").and_then(Value::as_str).unwrap();

    let page = http::get(url).unwrap().ok().unwrap().text();

    assert!(page.contains("<html"), "{page}");
}

#[test]
fn a_code_is_good_once() {
    let gate = Gate::start().unwrap();
    let ann = gate.invited("ann", "access", "root").unwrap();
    let code = ann.code().unwrap();
    let answers = format!("correct horse battery staple\n{code}\n");

    let first = ann.login_with(&answers).unwrap();
    let second = ann.login_with(&answers).unwrap();

    assert_eq!(first.code, 0, "{}", first.stderr);
    assert_ne!(second.code, 0);
}

#[test]
fn five_wrong_tries_lock_the_account_for_everyone_alike() {
    let gate = Gate::start().unwrap();
    let ann = gate.invited("ann", "access", "root").unwrap();
    for _ in 0..5 {
        assert_ne!(ann.login_with("wrong\n000000\n").unwrap().code, 0);
    }

    let right = format!("correct horse battery staple\n{}\n", ann.code().unwrap());
    let ran = ann.login_with(&right).unwrap();

    assert_ne!(ran.code, 0, "{}", ran.text());
    let users = gate.mctl_json(&["users", "ls", "--format=json"]).unwrap();
    assert!(users.to_string().contains("locked_until"), "{users}");
}

#[test]
fn status_and_lists_show_who_and_where() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();

    let status = ann.msh(&["status"]).unwrap().ok().unwrap().text();
    let nodes = ann.msh(&["ls"]).unwrap().ok().unwrap().text();

    for words in ["Logged in as:       ann", "Cluster:            main", "Roles:              access"] {
        assert!(status.contains(words), "{status}");
    }
    assert!(nodes.contains(NODE) && nodes.contains("env=test"), "{nodes}");
}

#[test]
fn who_logs_in_again_need_not_say_who_and_whom() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let answers = format!("{PASSWORD}\n{}\n", ann.code().unwrap());

    let again = run_with(ann.command("msh").arg("login"), answers.as_bytes(), LIMIT).unwrap().ok().unwrap();
    let elsewhere = format!("--home={}", ann.home().join("elsewhere").display());
    let proxy = format!("--proxy=127.0.0.1:{}", gate.port);
    let stranger = ann.msh(&["login", &elsewhere, &proxy]).unwrap();

    assert!(again.stderr.contains(" as ann\n"), "{}", again.stderr);
    assert!(again.text().contains("Logged in as:       ann"), "{}", again.text());
    assert!(stranger.code == 1 && stranger.stderr.contains("--insecure"), "{}", stranger.stderr);
}

#[test]
fn who_logs_out_leaves_nothing_in_the_agent() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap().with_agent().unwrap();
    let held = || run(ann.program("ssh-add").arg("-L")).unwrap().text().matches("ssh-ed25519").count();
    ann.login().unwrap();
    assert_ne!(held(), 0);

    let text = ann.msh(&["config"]).unwrap().ok().unwrap().text();
    let block = ann.msh_json(&["config", "--format=json"]).unwrap();
    let done = ann.msh_json(&["logout", "--format=json"]).unwrap();
    let nobody = ann.msh_json(&["logout", "--format=json"]).unwrap();

    let gone = json!([{"profile_url": block["profile_url"], "user": "ann", "cluster": block["cluster"]}]);
    assert_eq!((&block["block"], done, nobody), (&json!(text), gone, json!([])));
    assert_eq!(held(), 0);
    assert!(!ann.home().join(".msh/keys/127.0.0.1").exists());
}

#[test]
fn a_vendor_cannot_learn_that_recordings_exist() {
    let gate = Gate::start().unwrap();
    let eve = gate.person("eve", "vendor", "root").unwrap();
    eve.on("root", NODE, "echo recorded").unwrap().ok().unwrap();

    let list = eve.msh(&["recordings", "ls", "--format=json"]).unwrap();

    assert!(list.code != 0 || list.text().trim() == "[]", "{}", list.text());
}

#[test]
fn a_lock_ends_the_open_session() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let mut shell = ann.ssh(&[&e2e::person::root(), "echo in; exec sleep 600"]);
    let mut child = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut first = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();

    gate.mctl(&["lock", "--user=ann", "--message=gone"]).unwrap().ok().unwrap();

    let ended = e2e::wait::until("the session to end", e2e::run::LIMIT, || child.try_wait().ok().flatten());
    child.kill().ok();
    assert!(!ended.unwrap().success());
}

#[test]
fn unknown_routes_and_odd_bodies_are_answered_in_kind() {
    let gate = Gate::start().unwrap();

    let missing = http::get(&gate.url("/webapi/nothing")).unwrap().ok().unwrap();
    let refused = http::post(&gate.url("/webapi/invite"), &json!({"secret": "no-such-link"}));

    assert!(!missing.text().contains("panicked"));
    assert!(refused.unwrap_err().to_string().contains("404"));
}

#[test]
fn without_root_sessions_run_as_whoever_started_the_node() {
    const NOBODY: u32 = 65534;
    let gate = Gate::start_with(Options { user: Some(NOBODY), ..Options::default() }).unwrap();
    let ann = gate.person("ann", "access", "nobody,root").unwrap();
    std::fs::write(ann.home().join("file"), b"content").unwrap();
    let there = gate.dir().join("there");
    let batch = format!("put file {}\n", there.display());

    let mut sftp = ann.program("sftp");
    sftp.args(["-b", "-", "-F"]).arg(ann.ssh_config()).arg(target("nobody", NODE));
    run_with(&mut sftp, batch.as_bytes(), LIMIT).unwrap().ok().unwrap();
    let as_root = ann.on("root", NODE, "true").unwrap();

    assert_eq!(std::fs::metadata(there).unwrap().uid(), NOBODY);
    assert_ne!(as_root.code, 0);
}

#[test]
fn what_was_made_before_a_refused_document_is_told() {
    let gate = Gate::start().unwrap();
    let role = |name: &str, logins: &str| {
        format!(
            "kind: role\nversion: v7\nmetadata: {{name: {name}}}\nspec: {{allow: {{logins: {logins}}}}}\n"
        )
    };
    let user = "kind: user\nversion: v2\nmetadata: {name: bob}\nspec: {roles: [dev]}\n";
    let text = [role("dev", "[root]").as_str(), user, &role("bad", "7"), &role("late", "[]")].join("---\n");
    let file = gate.dir().join("all.yaml");
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();

    let ran = gate.mctl(&["create", &file, "--format=json"]).unwrap();

    assert_eq!(ran.code, 1);
    let made: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let told = |n: usize, field: &str| made.pointer(&format!("/{n}/{field}")).and_then(Value::as_str);
    assert_eq!((told(0, "kind"), told(0, "name")), (Some("role"), Some("dev")));
    assert_eq!((told(1, "name"), told(1, "done")), (Some("bob"), Some("created")));
    assert!(told(1, "link/url").is_some_and(|url| url.starts_with("https://")), "{made}");
    assert_eq!(made.as_array().map(Vec::len), Some(2));
    assert!(ran.stderr.contains("document 3 (role/bad), line 11"), "{}", ran.stderr);
    assert_ne!(gate.mctl(&["get", "role/late"]).unwrap().code, 0);
}

#[test]
fn an_admins_changes_touch_what_they_name() {
    let gate = Gate::start().unwrap();
    let file = gate.dir().join("bob.yaml");
    let traits = "{logins: [root], team: [gpu]}";
    std::fs::write(
        &file,
        format!("kind: user\nmetadata: {{name: bob}}\nspec: {{roles: [access], traits: {traits}}}\n"),
    )
    .unwrap();
    gate.mctl(&["create", &file.display().to_string()]).unwrap().ok().unwrap();

    let nothing = gate.mctl(&["users", "update", "bob"]).unwrap();
    gate.mctl(&["users", "update", "bob", "--set-logins=bob"]).unwrap().ok().unwrap();
    let bob = gate.mctl_json(&["get", "user/bob", "--format=json"]).unwrap();
    let removed = gate.mctl(&["users", "rm", "bob,nobody", "--format=json"]).unwrap();
    let wrong = gate.mctl(&["nodes", "rm", "web-9"]).unwrap();
    gate.mctl(&["lock", &format!("--node={NODE}")]).unwrap().ok().unwrap();
    let gates_own = gate.mctl(&["nodes", "rm", NODE]).unwrap();

    assert!(
        nothing.code == 1 && nothing.stderr.contains("--set-roles or --set-logins"),
        "{}",
        nothing.stderr
    );
    assert_eq!(bob.pointer("/0/spec/traits"), Some(&json!({ "logins": ["bob"], "team": ["gpu"] })));
    assert!(removed.code == 1 && removed.stderr.contains("cannot remove user nobody"), "{}", removed.stderr);
    assert!(removed.text().contains("\"name\": \"bob\""), "{}", removed.text());
    assert!(wrong.stderr.contains("neither a node's id nor its name"), "{}", wrong.stderr);
    assert!(
        gates_own.code == 1 && gates_own.stderr.contains("is a proxy of the cluster too"),
        "{}",
        gates_own.stderr
    );
}
