//! Files and trees through the one port: scp, sftp, rsync, git, and our own copy.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use e2e::gate::{Gate, NODE};
use e2e::person::root;
use e2e::run::{LIMIT, run, run_with};

#[test]
fn both_protocols_of_scp_carry_a_file_both_ways() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let data: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(ann.home().join("file"), &data).unwrap();
    let there = gate.dir().join("there");

    for protocol in ["-O", "-s"] {
        let remote = format!("{}:{}", root(), there.display());
        let scp = |from: &str, to: &str| {
            run(ann.program("scp").args([protocol, "-q", "-F"]).arg(ann.ssh_config()).args([from, to]))
        };
        scp("file", &remote).unwrap().ok().unwrap();
        scp(&remote, "back").unwrap().ok().unwrap();

        assert_eq!(std::fs::read(ann.home().join("back")).unwrap(), data, "{protocol}");
    }
}

#[test]
fn our_own_copy_keeps_to_the_mask_and_takes_files_alone() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let there = gate.dir().join("open");
    std::fs::write(&there, b"content").unwrap();
    std::fs::set_permissions(&there, Permissions::from_mode(0o666)).unwrap();
    std::fs::write(ann.home().join("kept"), b"before").unwrap();
    std::fs::set_permissions(ann.home().join("kept"), Permissions::from_mode(0o600)).unwrap();
    let remote = format!("root@{NODE}:{}", there.display());
    let mode = |name: &str| std::fs::metadata(ann.home().join(name)).unwrap().permissions().mode() & 0o7777;
    let copy = |words: &str| {
        let program = ann.command("msh").get_program().to_owned();
        let mut shell = ann.command("msh");
        shell.env("MSH", program).env("REMOTE", &remote);
        let mut masked = ann.program("sh");
        masked.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run(masked.args(["-c", &format!("umask 027; exec \"$MSH\" msh scp -q {words}")])).unwrap()
    };

    copy("\"$REMOTE\" new").ok().unwrap();
    copy("\"$REMOTE\" kept").ok().unwrap();
    let told = copy("--format=json -p \"$REMOTE\" same").ok().unwrap().text();
    let queue = copy("/dev/zero \"$REMOTE\"");
    let zeros = copy(&format!("root@{NODE}:/dev/zero zeros"));

    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, serde_json::json!({"files": 1, "bytes": 7}));
    assert_eq!((mode("new"), mode("kept"), mode("same")), (0o640, 0o600, 0o666));
    assert_eq!(std::fs::read(ann.home().join("kept")).unwrap(), b"content");
    for refused in [queue, zeros] {
        assert!(refused.code != 0 && refused.stderr.contains("not a regular file"), "{}", refused.stderr);
    }
    assert_eq!(std::fs::read(&there).unwrap(), b"content");
}

#[test]
fn sftp_puts_renames_lists_and_gets() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    std::fs::write(ann.home().join("file"), b"content").unwrap();
    let dir = gate.dir().join("dir");
    let at = dir.display();
    let batch = format!(
        "mkdir {at}\nput file {at}/a\nrename {at}/a {at}/b\nls -1 {at}\nget {at}/b back\nrm {at}/b\n"
    );

    let ran = run_with(
        ann.program("sftp").args(["-b", "-", "-F"]).arg(ann.ssh_config()).arg(root()),
        batch.as_bytes(),
        LIMIT,
    )
    .unwrap()
    .ok()
    .unwrap();

    assert!(ran.text().contains("dir/b"), "{}", ran.text());
    assert_eq!(std::fs::read(ann.home().join("back")).unwrap(), b"content");
    assert!(std::fs::read_dir(dir).unwrap().next().is_none());
}

#[test]
fn rsync_copies_a_tree() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let tree = ann.home().join("tree/deep");
    std::fs::create_dir_all(&tree).unwrap();
    for n in 0..40 {
        std::fs::write(tree.join(n.to_string()), n.to_string().repeat(1000)).unwrap();
    }
    let there = gate.dir().join("copy");
    let shell = format!("ssh -F {}", ann.ssh_config().display());

    let target = format!("{}:{}", root(), there.display());
    run(ann.program("rsync").args(["-a", "-e", &shell, "tree/", &target])).unwrap().ok().unwrap();

    assert_eq!(std::fs::read_dir(there.join("deep")).unwrap().count(), 40);
}

#[test]
fn git_pushes_and_clones() {
    let gate = Gate::start().unwrap();
    let ann = gate.person("ann", "access", "root").unwrap();
    let bare = gate.dir().join("repo.git");
    run(Command::new("git").args(["init", "-q", "--bare", "-b", "main"]).arg(&bare)).unwrap().ok().unwrap();
    let url = format!("ssh://{}{}", root(), bare.display());
    let git = |arguments: &[&str]| {
        let mut command = ann.program("git");
        command.env("GIT_SSH_COMMAND", format!("ssh -F {}", ann.ssh_config().display()));
        command.args(["-c", "user.name=ann", "-c", "user.email=ann@localhost"]).args(arguments);
        run(&mut command).unwrap().ok().unwrap()
    };

    git(&["init", "-q", "-b", "main", "one"]);
    git(&["-C", "one", "commit", "-q", "--allow-empty", "-m", "first"]);
    git(&["-C", "one", "push", "-q", &url, "main"]);
    git(&["clone", "-q", &url, "two"]);

    assert_eq!(git(&["-C", "two", "log", "--format=%s"]).text(), "first\n");
}
