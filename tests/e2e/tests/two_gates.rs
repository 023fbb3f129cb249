//! One person at two gates of one host: profiles, stock clients and authorities side by side.

use anyhow::Result;
use e2e::gate::{Gate, NODE, Options};
use e2e::person::{PASSWORD, Person};
use e2e::run::{LIMIT, Ran, run, run_with};

const FIXED: &str = "\nHost *\n    StrictHostKeyChecking yes\n    BatchMode yes\n    ControlPath none\n";

fn gate(cluster: &'static str) -> Result<Gate> {
    Gate::start_with(Options { cluster, ..Options::default() })
}

/// Signs `visitor`, who has a home elsewhere, in from the home of `host`.
fn visit(visitor: &Person, host: &Person) -> Result<Ran> {
    let answers = format!("{PASSWORD}\n{}\n", visitor.code()?);
    let mut command = visitor.login_command();
    command.arg("--home").arg(host.home().join(".msh"));
    run_with(&mut command, answers.as_bytes(), LIMIT)?.ok()
}

fn msh(person: &Person, gate: &Gate, arguments: &[&str]) -> Result<Ran> {
    let proxy = format!("--proxy=127.0.0.1:{}", gate.port);
    run(person.command("msh").arg(proxy).args(arguments))
}

#[test]
fn two_gates_of_one_host_stand_side_by_side() {
    let (one, two) = (gate("main").unwrap(), gate("lab").unwrap());
    let ann = one.person("ann", "access", "root").unwrap();
    visit(&two.invited("ann", "access", "root").unwrap(), &ann).unwrap();

    let status = ann.msh(&["status"]).unwrap().ok().unwrap().text();
    let picked = msh(&ann, &one, &["status"]).unwrap().ok().unwrap().text();
    let blocks: String =
        [&one, &two].map(|g| msh(&ann, g, &["config"]).unwrap().ok().unwrap().text()).concat();
    std::fs::write(ann.ssh_config(), blocks + FIXED).unwrap();
    let said = |gate: &Gate, cluster: &str| {
        let (jump, target) = (format!("ann@127.0.0.1:{}", gate.port), format!("root@{NODE}.{cluster}"));
        let straight = run(&mut ann.ssh(&[&target, "echo straight"])).unwrap().ok().unwrap().text();
        straight + &run(&mut ann.ssh(&["-J", &jump, &target, "echo jumped"])).unwrap().ok().unwrap().text()
    };

    assert!(status.contains(&format!("> Profile URL:        https://127.0.0.1:{}", two.port)), "{status}");
    assert!(status.contains(&format!("  Profile URL:        https://127.0.0.1:{}", one.port)), "{status}");
    assert!(!picked.contains(&format!(":{}", two.port)), "{picked}");
    assert_eq!(said(&one, "main"), "straight\njumped\n");
    assert_eq!(said(&two, "lab"), "straight\njumped\n");

    msh(&ann, &two, &["logout"]).unwrap().ok().unwrap();

    assert!(msh(&ann, &one, &["ls"]).unwrap().ok().unwrap().text().contains(NODE));
    assert!(msh(&ann, &two, &["ls"]).unwrap().stderr.contains("not logged in to 127.0.0.1"));
}

#[test]
fn clusters_of_one_name_do_not_vouch_for_each_other() {
    let (one, two) = (gate("main").unwrap(), gate("main").unwrap());
    let ann = one.person("ann", "access", "root").unwrap();
    visit(&two.invited("ann", "access", "root").unwrap(), &ann).unwrap();
    let target = format!("root@{NODE}.main");

    let refused = msh(&ann, &two, &["config"]).unwrap();
    let alone = ann.home().join("alone");
    let block = msh(&ann, &two, &["config", "--alone"]).unwrap().ok().unwrap().text();
    std::fs::write(&alone, block + FIXED).unwrap();
    let block = msh(&ann, &one, &["config"]).unwrap().ok().unwrap().text();
    std::fs::write(ann.ssh_config(), block + FIXED).unwrap();
    let first = run(&mut ann.ssh(&[&target, "echo first"])).unwrap();
    let second = run(ann.program("ssh").arg("-F").arg(&alone).args([&target, "echo second"])).unwrap();
    let wrong = format!(
        "UserKnownHostsFile={}",
        ann.home().join(".msh/keys/127.0.0.1/cas/main.known_hosts").display()
    );
    let crossed =
        run(ann.program("ssh").arg("-F").arg(&alone).args(["-o", &wrong, &target, "true"])).unwrap();

    assert_ne!(refused.code, 0);
    assert!(refused.text().lines().all(|line| line.starts_with('#')), "{}", refused.text());
    assert!(refused.stderr.contains("--alone"), "{}", refused.stderr);
    assert_eq!(first.ok().unwrap().text(), "first\n");
    assert_eq!(second.ok().unwrap().text(), "second\n");
    assert!(crossed.stderr.contains("Host key verification failed"), "{}", crossed.stderr);
}
