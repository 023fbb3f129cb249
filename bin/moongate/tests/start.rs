//! How the daemon refuses to start: at once, with everything it has to say, and nothing half done.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn moongate(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moongate"));
    command
        .args(args)
        .current_dir(dir)
        .env_remove("MOONGATE_CONFIG")
        .env_remove("MOONGATE_CONFIG_FILE")
        .env_remove("MOONGATE_LOG");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_mistake_of_the_file_and_the_command_line_is_shown_together() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("gate.yaml"), "auth_servic: {}\nssh_service: {enabled: perhaps}\n")
        .unwrap();

    let output = moongate(dir.path(), &["start", "-c", "gate.yaml", "--ca-pin=md5:1"]);

    assert_eq!(output.status.code(), Some(78), "EX_CONFIG: nothing to try again");
    let said = said(&output);
    for expected in [
        "gate.yaml:1:1: auth_servic: unknown key; did you mean `auth_service`?",
        "gate.yaml:2:24",
        "--ca-pin",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    assert!(!dir.path().join("host_id").exists());
}

#[test]
fn a_file_that_is_no_text_need_not_be_tried_again_and_one_that_is_not_there_may_be() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("gate.yaml"), b"moongate: {nodename: \xff}\n").unwrap();

    for (file, code) in [("gate.yaml", 78), ("later.yaml", 1)] {
        let output = moongate(dir.path(), &["start", "-c", file]);

        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(file));
    }
}

#[test]
fn services_to_come_are_named_and_alone_are_nothing_to_run() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("gate.yaml"), "teleport: {log: {severity: ERROR}}\n").unwrap();
    let args = [
        "start",
        "-c",
        "gate.yaml",
        "--roles=app",
        "--token=xyz",
        "--auth-server=proxy.example.com:3080",
        "--app-name=example-app",
        "--app-uri=http://localhost:8080",
        "--labels=group:dev",
    ];

    let output = moongate(dir.path(), &args);

    assert_eq!(output.status.code(), Some(78));
    let said = said(&output);
    for expected in ["not in effect yet: --app-name", "not in effect yet: --roles=app", "nothing to run"] {
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn an_algorithm_this_build_does_not_have_is_answered_with_those_it_has() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("gate.yaml"), "moongate: {data_dir: ./d, ciphers: [3des-cbc]}\n").unwrap();

    let output = moongate(dir.path(), &["start", "-c", "gate.yaml"]);

    assert_eq!(output.status.code(), Some(78));
    let said = said(&output);
    assert!(said.contains("3des-cbc") && said.contains("aes256-gcm@openssh.com"), "{said}");
}

#[test]
fn a_variable_that_is_no_text_is_nobodys_business() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("gate.yaml"), "moongate: {data_dir: ./d}\n").unwrap();
    let start = ["start", "-c", "gate.yaml", "--roles=node", "--auth-server=127.0.0.1:1"];

    let output = command(dir.path(), &start)
        .env("GREETING", std::ffi::OsStr::from_bytes(b"caf\xe9"))
        .env(std::ffi::OsStr::from_bytes(b"caf\xe9"), "1")
        .output()
        .unwrap();

    // Without a token the start ends once the environment was looked at.
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("this host needs a token"), "{}", said(&output));
}

#[test]
fn the_algorithms_of_files_in_the_field_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let text = "moongate:\n  data_dir: ./d\n  \
        ciphers: [aes128-ctr, aes192-ctr, aes256-ctr, aes128-gcm@openssh.com, chacha20-poly1305@openssh.com]\n  \
        kex_algos: [curve25519-sha256@libssh.org, ecdh-sha2-nistp256, ecdh-sha2-nistp384, ecdh-sha2-nistp521]\n  \
        mac_algos: [hmac-sha2-256-etm@openssh.com, hmac-sha2-256]\n";
    std::fs::write(dir.path().join("gate.yaml"), text).unwrap();

    // Without a token the start ends right after the algorithms were looked at.
    let output =
        moongate(dir.path(), &["start", "-c", "gate.yaml", "--roles=node", "--auth-server=127.0.0.1:1"]);

    let said = said(&output);
    assert!(said.contains("this host needs a token, because it has not joined yet"), "{said}");
}

/// Not the nodes alone: what strangers reach first is a proxy.
#[test]
fn whatever_runs_gives_up_root() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    for role in ["proxy", "node"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(dir.path().join("gate.yaml"), "moongate: {data_dir: ./d}\n").unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        if root {
            std::os::unix::fs::chown(dir.path().join("d"), Some(65_534), Some(65_534)).unwrap();
        }

        // Without a token the start ends before anything is listened on.
        let roles = format!("--roles={role}");
        let output = moongate(dir.path(), &["start", "-c", "gate.yaml", &roles, "--auth-server=127.0.0.1:1"]);

        let said = said(&output);
        assert_eq!(said.contains("giving up root"), root, "{role}: {said}");
        let owner = std::fs::metadata(dir.path().join("d/host_id")).unwrap().uid();
        assert_eq!(owner == 65_534, root, "{role}: {owner}");
    }
}

/// The account's directory is where whoever took it over leaves links for root.
#[test]
fn root_writes_to_nothing_that_the_account_could_have_put_there() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    for (trap, target) in [("lock", "secret"), ("log", "secret"), ("pid", "secret"), ("store", "")] {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let paths = "pid_file: d/pid, log: {output: d/log}, storage: {path: d/store}";
        std::fs::write(at("gate.yaml"), format!("moongate: {{data_dir: d, {paths}}}\n")).unwrap();
        std::fs::create_dir(at("roots")).unwrap();
        std::fs::write(at("roots/secret"), "kept").unwrap();
        std::fs::set_permissions(at("roots/secret"), PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::create_dir(at("d")).unwrap();
        symlink(at("roots").join(target), at("d").join(trap)).unwrap();
        chown(at("d"), Some(65_534), Some(65_534)).unwrap();

        let args = ["start", "-c", "gate.yaml", "--roles=node", "--auth-server=127.0.0.1:1"];
        let output = moongate(dir.path(), &args);

        assert_eq!(output.status.code(), Some(1), "{trap}: {}", said(&output));
        assert_eq!(std::fs::read_to_string(at("roots/secret")).unwrap(), "kept", "{trap}");
        for name in ["roots", "roots/secret"] {
            assert_eq!(std::fs::metadata(at(name)).unwrap().uid(), 0, "{trap}: {name}");
        }
    }
}

#[test]
fn a_log_inside_the_data_directory_is_made_with_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let text = "moongate: {data_dir: d, log: {output: d/log/moongate.log}}\n";
    std::fs::write(dir.path().join("gate.yaml"), text).unwrap();

    let output =
        moongate(dir.path(), &["start", "-c", "gate.yaml", "--roles=node", "--auth-server=127.0.0.1:1"]);

    assert!(said(&output).contains("this host needs a token"), "{}", said(&output));
    assert!(dir.path().join("d/log/moongate.log").exists());
    let mode = std::fs::metadata(dir.path().join("d")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// A daemon that is told something once it said something else, and the rest of what it said until it ended.
fn told(dir: &Path, roles: &str, when: &str, signals: &[Signal]) -> (ExitStatus, String) {
    let args = ["start", "-c", "gate.yaml", &format!("--roles={roles}")];
    let mut daemon = command(dir, &args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines().map(Result::unwrap);
    let before: Vec<String> = lines.by_ref().take_while(|line| !line.contains(when)).collect();
    let pid = Pid::from_raw(daemon.id().try_into().unwrap());
    for signal in signals {
        kill(pid, *signal).unwrap_or_else(|error| panic!("{error}: {before:#?}"));
    }
    let rest: Vec<String> = lines.collect();
    (daemon.wait().unwrap(), rest.join("\n"))
}

#[test]
fn sighup_does_not_end_a_start_that_still_waits_for_its_authority() {
    let dir = tempfile::tempdir().unwrap();
    let text = "moongate: {data_dir: d, auth_token: t, auth_servers: ['127.0.0.1:1']}\n";
    std::fs::write(dir.path().join("gate.yaml"), text).unwrap();

    let (status, said) = told(dir.path(), "node", "cannot join yet", &[Signal::SIGHUP, Signal::SIGTERM]);

    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("stopping before everything was up"), "{said}");
}

#[test]
fn a_node_without_a_proxy_serves_its_own_port_and_lets_its_sessions_end() {
    let dir = tempfile::tempdir().unwrap();
    let text = "moongate: {data_dir: d, nodename: a}\nauth_service: {listen_addr: '127.0.0.1:0'}\n\
        ssh_service: {listen_addr: '127.0.0.1:0'}\n";
    std::fs::write(dir.path().join("gate.yaml"), text).unwrap();

    let (status, said) = told(dir.path(), "auth,node", "knows no proxy", &[Signal::SIGTERM]);

    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("waiting for sessions to end"), "{said}");
}

#[test]
fn a_file_is_written_tested_and_good() {
    let dir = tempfile::tempdir().unwrap();

    let written = moongate(dir.path(), &["configure", "--cluster-name", "demo-cluster", "-o", "tele.yaml"]);
    assert!(written.status.success(), "{}", said(&written));
    let tested = moongate(dir.path(), &["configure", "--test", "tele.yaml"]);
    assert!(tested.status.success() && said(&tested).contains("good"), "{}", said(&tested));
    let contradiction = moongate(dir.path(), &["configure", "--acme", "--key-file", "k"]);
    assert_eq!(contradiction.status.code(), Some(1));
    for expected in ["--acme needs --cluster-name", "--key-file needs --cert-file"] {
        assert!(said(&contradiction).contains(expected), "{}", said(&contradiction));
    }
}

#[test]
fn a_command_that_is_none_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(moongate(dir.path(), &["begin"]).status.code(), Some(2));
    let version = moongate(dir.path(), &["version"]);
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("moongate "));
}
