//! What `msh` says when there is no gate.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::process::Command;

#[test]
fn a_gate_that_cannot_be_reached_is_named_once() {
    let home = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (pin, what) in [(None, ""), (Some("--ca-pin=sha256:00"), "cannot check the CA pin: ")] {
        let mut login = Command::new(env!("CARGO_BIN_EXE_moongate"));
        login.args(["msh", "login", "--user=ann"]).arg(format!("--proxy={nobody}")).args(pin);

        let output = login.env_clear().env("HOME", home.path()).output().unwrap();

        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.matches(&nobody.to_string()).count(), 1, "{said}");
        assert!(said.contains("Connection refused") && said.contains(what), "{said}");
    }
}
