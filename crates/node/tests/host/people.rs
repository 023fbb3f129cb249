//! People with OpenSSH's client, at a whole service.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use node::serve::Settings;

use super::gate::Gate;
use super::start::me;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_command_runs_and_its_end_is_told", a_command_runs_and_its_end_is_told),
    ("both_streams_and_stdin_pass", both_streams_and_stdin_pass),
    ("a_shell_on_a_terminal_sees_its_size_and_its_person", a_shell_on_a_terminal),
    ("a_resize_reaches_the_program", a_resize_reaches_the_program),
    ("a_login_the_certificate_lacks_is_refused_and_on_record", a_login_the_certificate_lacks),
    ("who_must_agree_is_asked", who_must_agree),
    ("a_service_that_stops_says_so", a_service_that_stops),
    ("a_key_without_a_certificate_is_refused", a_key_without_a_certificate),
    ("sftp_and_scp_work_and_are_on_record", sftp_and_scp),
    ("sftp_on_a_terminal_is_on_record_too", sftp_on_a_terminal),
    ("rsync_works", rsync_works),
    ("file_copies_are_refused_where_rules_say_so", file_copies_refused),
    ("a_lock_ends_an_open_session", a_lock_ends_an_open_session),
    ("a_quiet_session_ends_with_the_clusters_own_words", quiet_session),
    ("silent_rules_leave_no_trace_of_us", silent_rules),
    ("a_role_that_records_nothing_asks_nothing", trusted),
    ("what_was_typed_too_early_and_too_late_does_no_harm", odd_requests),
];

pub(crate) fn gate() -> Gate {
    Gate::new(me().as_str())
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn a_command_runs_and_its_end_is_told() {
    let gate = gate();

    let out = gate.run("echo hello; exit 42");

    assert_eq!(
        (out.status.code(), text(&out.stdout).as_str()),
        (Some(42), "hello\n"),
        "{}",
        text(&out.stderr)
    );
    let exec = gate.event("exec", |event| event["command"] == "echo hello; exit 42");
    assert_eq!((exec["code"].as_str(), exec["exitCode"].as_str()), (Some("T3002E"), Some("42")));
    assert_eq!(exec["streams"]["stdout"]["bytes"], 6);
    assert_eq!(
        exec["streams"]["stdout"]["sha256"],
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    );
    let start = gate.event("session.start", |event| event["sid"] == exec["sid"]);
    assert_eq!((start["user"].as_str(), start["login"].as_str()), (Some("ann"), Some(me().as_str())));
    gate.event("session.end", |event| event["sid"] == exec["sid"]);

    // A signal's name reaches the client, which tells it as 255 and in words.
    let out = gate.run("kill -TERM $$");
    assert_eq!(out.status.code(), Some(255));
    gate.event("exec", |event| event["exitError"] == "signal TERM");
}

fn both_streams_and_stdin_pass() {
    let gate = gate();
    let mut client = gate.ssh(&["-v"], &["tr a-z A-Z; echo err >&2"]);
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());

    let mut client = client.spawn().unwrap();
    client.stdin.take().unwrap().write_all(b"typed").unwrap();
    let out = client.wait_with_output().unwrap();

    assert_eq!(text(&out.stdout), "TYPED");
    assert!(text(&out.stderr).contains("err\n"), "{}", text(&out.stderr));
    assert!(out.status.success());
}

fn a_shell_on_a_terminal() {
    let gate = gate();
    let mut client = gate.ssh(&["-tt", "-oSendEnv=LANG"], &[]);
    client.env("LANG", "C.UTF-8").env("TERM", "xterm-256color");
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());

    let mut client = client.spawn().unwrap();
    let typed = b"echo t=$TERM l=$LANG s=$SSH_TTY c=${SSH_CONNECTION%% *}; exit 5\n";
    client.stdin.take().unwrap().write_all(typed).unwrap();
    let out = client.wait_with_output().unwrap();

    let screen = text(&out.stdout);
    assert!(screen.contains("t=xterm-256color l=C.UTF-8 s=/dev/pts/"), "{screen}{}", text(&out.stderr));
    assert!(screen.contains("c=127.0.0.1"), "{screen}");
    assert_eq!(out.status.code(), Some(5));
    let start = gate.event("session.start", |event| event["interactive"] == true);
    assert!(start["size"].is_string());
}

fn a_resize_reaches_the_program() {
    // `script` gives the client a terminal of its own, whose size changes under it.
    let gate = gate();
    let options = gate.options().join(" ");
    let there = gate.path("there").display().to_string();
    let words =
        format!("trap 'stty size; exit 9' WINCH; stty size; touch {there}; while :; do sleep 0.05; done");
    let resize = format!("until [ -e {there} ]; do sleep 0.05; done; stty rows 50 cols 140 < /proc/$$/fd/0");
    let inner = format!(
        "stty rows 30 cols 100; ({resize}) & exec ssh {options} -tt {} \"{words}\"",
        gate.destination()
    );

    let out =
        Command::new("script").args(["-qefc", &inner, "/dev/null"]).stdin(Stdio::null()).output().unwrap();

    let screen = text(&out.stdout);
    assert!(screen.contains("30 100") && screen.contains("50 140"), "{screen}");
    gate.event("resize", |event| event["size"] == "140:50");
}

fn a_login_the_certificate_lacks() {
    let gate = gate();
    gate.certify(&["somebody-else"], Duration::from_secs(60));

    let out = gate.run("true");

    assert_eq!(out.status.code(), Some(255));
    assert!(text(&out.stderr).contains("Permission denied"), "{}", text(&out.stderr));
    let event = gate.event("auth", |_| true);
    assert_eq!((event["code"].as_str(), event["user"].as_str()), (Some("T3007W"), Some("ann")));
}

fn a_key_without_a_certificate() {
    let gate = gate();
    std::fs::remove_file(gate.path("id-cert.pub")).unwrap();

    let out = gate.run("true");

    assert!(text(&out.stderr).contains("Permission denied"), "{}", text(&out.stderr));
    assert!(gate.events("session.start").is_empty());
}

pub(crate) fn transfer(gate: &Gate, program: &str, words: &[&str], input: &str) -> (bool, String) {
    let mut client = Command::new(program);
    client
        .args(gate.options())
        .args(words)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", gate.dir.path());
    let mut client =
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    client.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = client.wait_with_output().unwrap();
    (out.status.success(), text(&out.stdout) + &text(&out.stderr))
}

/// Over a terminal set to change nothing the bytes would pass, and nobody would see what was done to which file.
fn sftp_on_a_terminal() {
    let gate = gate();
    let here = gate.path("here");
    std::fs::write(&here, b"x").unwrap();
    let there = gate.path("there");
    let batch = format!("put {} {}\n", here.display(), there.display());

    let (ok, said) = transfer(&gate, "sftp", &["-oRequestTTY=force", "-b", "-", &gate.destination()], &batch);

    assert!(ok && there.exists(), "{said}");
    gate.event("sftp", |event| event["action"] == "open" && event["path"].as_str() == there.to_str());
    gate.event("sftp_summary", |event| event["files"][0]["written"] == 1);
}

fn sftp_and_scp() {
    let gate = gate();
    let (here, there, back) = (gate.path("here"), gate.path("there"), gate.path("back"));
    std::fs::write(&here, vec![b'x'; 3_000_000]).unwrap();
    let to = |path: &std::path::Path| format!("{}:{}", gate.destination(), path.display());
    let there_word = to(&there);
    let here_word = here.to_str().unwrap();

    let batch = format!("put {here_word} {}\nrm {}\n", there.display(), gate.path("nothing").display());
    let (_, said) = transfer(&gate, "sftp", &["-b", "-", &gate.destination()], &batch);
    assert_eq!(std::fs::read(&there).unwrap().len(), 3_000_000, "{said}");
    let opened = gate.event("sftp", |event| event["action"] == "open");
    assert_eq!((opened["code"].as_str(), opened["path"].as_str()), (Some("TS001I"), there.to_str()));
    let refused = gate.event("sftp", |event| event["action"] == "remove");
    assert_eq!(refused["code"], "TS011E");
    let summary = gate.event("sftp_summary", |event| !event["files"].as_array().unwrap().is_empty());
    assert_eq!(summary["files"][0]["written"], 3_000_000);
    assert_eq!(summary["files"][0]["written_sha256"].as_str().map(str::len), Some(64));

    for legacy in [&[][..], &["-O"]] {
        let words = [legacy, &["-p", here_word, &there_word]].concat();
        std::fs::remove_file(&there).unwrap();
        let (ok, said) = transfer(&gate, "scp", &words, "");
        assert!(ok && std::fs::read(&there).unwrap().len() == 3_000_000, "{said}");
        let words = [legacy, &[&there_word, back.to_str().unwrap()]].concat();
        let (ok, said) = transfer(&gate, "scp", &words, "");
        assert!(ok && std::fs::read(&back).unwrap().len() == 3_000_000, "{said}");
        std::fs::remove_file(&back).unwrap();
    }
    gate.event("scp", |event| event["code"] == "T3005I" && event["path"] == there.to_str().unwrap());
    gate.event("scp", |event| event["code"] == "T3004I");
}

fn rsync_works() {
    let gate = gate();
    let tree = gate.path("tree");
    std::fs::create_dir_all(tree.join("deep")).unwrap();
    std::fs::write(tree.join("deep/leaf"), "leaf").unwrap();
    let copy = gate.path("copy");

    let out = Command::new("rsync")
        .args(["-a", "-e", &format!("ssh {}", gate.options().join(" "))])
        .arg(format!("{}/", tree.display()))
        .arg(format!("{}:{}", gate.destination(), copy.display()))
        .output()
        .unwrap();

    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(std::fs::read_to_string(copy.join("deep/leaf")).unwrap(), "leaf");
}

fn file_copies_refused() {
    let mut role = policy::presets::access();
    role.spec.options.ssh_file_copy = Some(false);
    let gate = Gate::with(me().as_str(), vec![role], Settings::default());
    let here = gate.path("id.pub");
    let to = format!("{}:{}", gate.destination(), gate.path("there").display());

    let (ok, said) = transfer(&gate, "sftp", &["-b", "-", &gate.destination()], "pwd\n");
    assert!(!ok && said.contains("access denied"), "{said}");
    gate.event("subsystem", |event| event["code"] == "T3001E");
    let (ok, said) = transfer(&gate, "scp", &["-O", here.to_str().unwrap(), &to], "");
    assert!(!ok && said.contains("access denied"), "{said}");
    gate.event("scp", |event| event["code"] == "T3010E");
    assert!(!gate.path("there").exists());
    assert_eq!(text(&gate.run("echo still").stdout), "still\n");
}

fn a_lock_ends_an_open_session() {
    let gate = gate();
    let mut client = gate.ssh(&["-tt"], &["echo ready; sleep 600"]);
    client.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    gate.event("session.start", |_| true);
    let mut stdout = client.stdout.take().unwrap();
    let mut line = [0; 5];
    stdout.read_exact(&mut line).unwrap();

    let lock = model::resource::Lock {
        id: model::RequestId::from_random([8; 16]),
        target: model::resource::LockTarget { user: Some("ann".parse().unwrap()), ..Default::default() },
        message: "away".into(),
        expires: None,
        created_at: model::Timestamp::from_secs(1),
        created_by: "root".into(),
    };
    gate.rule(&[policy::presets::access()], &[lock]);

    let out = client.wait_with_output().unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(!out.status.success());
    let said = rest + &text(&out.stderr);
    assert!(said.contains("access is no longer granted"), "{said}");
    assert!(!said.contains("lock"), "{said}");
    gate.event("client.disconnect", |_| true);
    gate.event("session.end", |_| true);
    let out = gate.run("true");
    assert!(text(&out.stderr).contains("Permission denied"));
}

fn silent_rules() {
    let gate = Gate::with(me().as_str(), vec![policy::presets::vendor()], Settings::default());
    let out = gate.ssh(&["-tt"], &["env"]).output().unwrap();
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(out.status.success(), "{said}");
    for word in ["MOONGATE", "SESSION_ID", "record"] {
        assert!(!said.to_lowercase().contains(&word.to_lowercase()), "{word} in {said}");
    }

    let mut role = policy::presets::access();
    let record = model::resource::RecordSession {
        notice: Some(model::resource::Notice::Banner),
        ..model::resource::RecordSession::default()
    };
    role.spec.options.record_session = Some(record);
    let gate = Gate::with(me().as_str(), vec![role], Settings::default());
    let out = gate.ssh(&["-tt"], &["env"]).output().unwrap();
    let said = text(&out.stdout);
    assert!(said.contains("This session is recorded.") && said.contains("SSH_MOONGATE_USER=ann"), "{said}");
    // Without a terminal it is said aside.
    let out = gate.run("echo data");
    assert_eq!(
        (text(&out.stdout).as_str(), text(&out.stderr).as_str()),
        ("data\n", "This session is recorded.\r\n")
    );
    gate.event("session.start", |event| event["notice"] == "banner");
    assert_eq!(gate.event("session.start", |_| true)["session_recording"], "node");
}

fn trusted() {
    let mut role = policy::presets::access();
    let record = model::resource::RecordSession {
        mode: Some(model::resource::RoleRecording::Off),
        default: Some(model::resource::Strictness::Strict),
        notice: Some(model::resource::Notice::Consent),
        ..model::resource::RecordSession::default()
    };
    role.spec.options.record_session = Some(record);
    let gate = Gate::with(me().as_str(), vec![role], Settings::default());

    // Nobody agrees to what does not happen.
    let out = gate.run("echo data");

    assert_eq!((text(&out.stdout).as_str(), text(&out.stderr).as_str()), ("data\n", ""));
    assert_eq!(gate.event("session.start", |_| true)["session_recording"], "off");
    gate.event("session.end", |_| true);
    assert!(gate.events("session.consent").is_empty());
}

fn odd_requests() {
    let gate = gate();
    // The end of input before the program, an empty command, a terminal for a command that ends at once.
    assert!(gate.ssh(&["-n"], &["cat"]).output().unwrap().status.success());
    assert!(gate.run(":").status.success());
    for _ in 0..20 {
        let out = gate.ssh(&["-tt"], &["echo last words"]).output().unwrap();
        assert!(text(&out.stdout).contains("last words"), "{:?}", text(&out.stdout));
    }
    // A command longer than the system takes is refused in words.
    let long = "x".repeat(120_000);
    let out = gate.ssh(&[], &["true", &long]).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
}

fn who_must_agree() {
    let mut role = policy::presets::access();
    let record = model::resource::RecordSession {
        notice: Some(model::resource::Notice::Consent),
        ..model::resource::RecordSession::default()
    };
    role.spec.options.record_session = Some(record);
    let gate = Gate::with(me().as_str(), vec![role], Settings::default());
    let answer = |typed: &str| {
        let mut client = gate.ssh(&["-tt"], &["echo st''arted"]);
        let mut client =
            client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        client.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let out = client.wait_with_output().unwrap();
        (out.status.success(), text(&out.stdout) + &text(&out.stderr))
    };

    let (ok, said) = answer("yes\r");
    assert!(
        ok && said.contains("Type `yes`") && said.contains("MOONGATE_AGREE") && said.contains("started"),
        "{said}"
    );
    for no in ["no\r", "\r", "\x03"] {
        let (ok, said) = answer(no);
        assert!(!ok && said.contains("did not agree") && !said.contains("started"), "{said}");
    }
    let out = gate.run("echo st''arted");
    assert!(text(&out.stdout).is_empty() && text(&out.stderr).contains("agreement"), "{}", text(&out.stderr));

    // Who agrees beforehand is not asked, and the program does not learn of it.
    let agree = ["-o", "SetEnv=MOONGATE_AGREE=yes"];
    let out = gate.ssh(&agree, &["echo st''arted; env"]).stdin(Stdio::null()).output().unwrap();
    let said = text(&out.stdout);
    assert!(out.status.success() && said.contains("started") && !said.contains("AGREE"), "{said}");
    let out = gate.ssh(&[&agree[..], &["-tt"]].concat(), &["echo st''arted"]).output().unwrap();
    let said = text(&out.stdout);
    assert!(said.contains("started") && !said.contains("Type `yes`"), "{said}");
    let unsure =
        gate.ssh(&["-o", "SetEnv=MOONGATE_AGREE=maybe"], &["true"]).stdin(Stdio::null()).output().unwrap();
    assert!(text(&unsure.stderr).contains("agreement"), "{}", text(&unsure.stderr));
    for (how, ok) in [("terminal", true), ("terminal", false), ("client", true), ("client", false)] {
        gate.event("session.consent", |event| event["how"] == how && event["success"] == ok);
    }
}

fn a_service_that_stops() {
    let gate = gate();
    let mut client = gate.ssh(&["-tt"], &["echo ready; sleep 600"]);
    let mut client = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = client.stdout.take().unwrap();
    let mut line = [0; 5];
    stdout.read_exact(&mut line).unwrap();

    drop(gate);

    let out = client.wait_with_output().unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let said = rest + &text(&out.stderr);
    assert!(!out.status.success() && said.contains("the service is stopping"), "{said}");
}

fn quiet_session() {
    let gate = gate();
    let limit = Some(model::time::Span(Duration::from_millis(300)));
    let ends = |message: &str| {
        gate.configure(model::resource::ClusterConfig {
            client_idle_timeout: limit,
            client_idle_timeout_message: message.to_owned(),
            ..model::resource::ClusterConfig::default()
        });
        let out = gate.ssh(&["-tt"], &["sleep 60"]).output().unwrap();
        assert!(!out.status.success());
        text(&out.stdout) + &text(&out.stderr)
    };

    assert!(ends("").contains("idle timeout"));
    let said = ends("Nobody is here.\nCome back soon.");
    assert!(said.contains("Nobody is here.\r\nCome back soon.") && !said.contains("idle timeout"), "{said}");
    gate.event("client.disconnect", |event| event["reason"].as_str().unwrap().contains("idle timeout"));
}
