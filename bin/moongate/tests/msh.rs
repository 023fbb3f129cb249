//! What `msh` says when there is no gate, or nothing of use is left of a login.
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

#[test]
fn a_profile_that_is_of_no_use_hides_none_of_the_others() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join(".msh");
    std::fs::create_dir(&dir).unwrap();
    let good = "user: ann\ncluster: main\n";
    std::fs::write(dir.join("gone.yaml"), format!("web_proxy_addr: gone:3080\n{good}")).unwrap();
    std::fs::write(dir.join("odd.yaml"), "user: ann\n").unwrap();
    std::fs::write(dir.join("torn.yaml"), format!("web_proxy_addr: torn:3080\n{good}")).unwrap();
    let cert = dir.join("keys/torn/ann-ssh/main-cert.pub");
    std::fs::create_dir_all(cert.parent().unwrap()).unwrap();
    std::fs::write(cert, "ssh-ed25519-cert-v01@openssh.com AAAA\n").unwrap();
    let mut status = Command::new(env!("CARGO_BIN_EXE_moongate"));

    let output = status.args(["msh", "status"]).env_clear().env("HOME", home.path()).output().unwrap();

    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for what in [
        "the certificate for gone:3080 is gone",
        "odd.yaml is not a profile",
        "the certificate for torn:3080",
    ] {
        assert_eq!(said.matches(what).count(), 1, "{said}");
    }
}
