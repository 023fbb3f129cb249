//! What `mctl` says before it has asked anybody.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn mctl(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moongate"));
    command.arg("mctl").args(args).env_clear().env("HOME", home).current_dir(home);
    command
}

/// Each of these ends with `code` and says so on standard error.
fn each_says(home: &Path, code: i32, table: &[(&[&str], &str)]) {
    for (args, expected) in table {
        let Output { status, stderr, .. } = mctl(home, args).output().unwrap();
        let said = String::from_utf8_lossy(&stderr);

        assert_eq!(status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn mistakes_on_the_command_line_are_told_by_the_flag() {
    let dir = tempfile::tempdir().unwrap();
    let table: &[(&[&str], &str)] = &[
        (
            &["users", "add", "ann", "--roles=access", "--ttl=soon"],
            "'--ttl <TTL>': `soon` is not a length of time",
        ),
        (&["audit", "ls", "--last=yesterday"], "'--last <LAST>'"),
        (&["lock", "--user=ann", "--ttl=1"], "'--ttl <TTL>'"),
        (&["users", "rm"], "<NAMES>"),
        (&["recordings", "search"], "<TEXT>"),
        (&["get"], "<RESOURCE>"),
    ];

    each_says(dir.path(), 2, table);
}

#[test]
fn who_is_nobody_here_is_told_how_to_be_somebody() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("node.yaml"),
        "auth_service: {enabled: no}\nproxy_service: {enabled: no}\n",
    )
    .unwrap();
    std::fs::write(dir.path().join("x.mgr"), "").unwrap();
    let table: &[(&[&str], &str)] = &[
        (&["users", "ls"], "run `msh login"),
        (&["users", "ls", "--proxy=gate"], "not logged in to gate:3080: run `msh login --proxy=gate:3080`"),
        (&["users", "ls", "--proxy="], "`` is not a host or host:port"),
        (&["users", "ls", "--proxy=gate:web"], "`gate:web` has a port that is not a number"),
        (
            &["users", "ls", "--proxy=gate", "--auth-server=x"],
            "--auth-server is for the authority's own host",
        ),
        (&["users", "ls", "-c", "node.yaml"], "node.yaml runs no auth_service"),
        (&["recordings", "verify", "x.mgr"], "give it with --key"),
    ];

    each_says(dir.path(), 1, table);
}

#[test]
fn a_reader_who_stops_reading_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);

    let output =
        mctl(dir.path(), &["completion", "bash"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
}
