//! A whole gate on loopback with fresh data, for a newcomer to try.
//!
//! This process becomes the gate itself, so that Ctrl-C reaches it and it drains; a second one waits until the gate
//! answers, makes the first admin and prints the tour. Nothing here needs root, and nothing outside the directory
//! is written.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::{cargo, output, run, target_dir};
use crate::{packages, ui};

/// How long the gate may take to answer.
const READY: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);
const PORTS: [u16; 2] = [3080, 3025];
const CLUSTER: &str = "demo";
const NODE: &str = "garden";
const ADMIN: &str = "admin";

/// Builds, prepares and becomes the gate.
pub(crate) fn run_demo(arguments: &[String]) -> Result<()> {
    packages::ensure(packages::BUILD)?;
    if let Err(error) = packages::ensure(packages::TOUR) {
        eprintln!("some commands of the tour are not there: {error:#}");
    }
    if let Err(error) = ui::built_once() {
        eprintln!("without the browser app: {error:#}");
    }
    run(cargo().args(["build", "--locked", "--package", "moongate"]))?;
    let dir = directory(arguments)?;
    let [port, auth_port] = ports()?;
    let program = target_dir().join("debug/moongate");
    link_names(&dir, &program)?;
    let config = dir.join("moongate.yaml");
    std::fs::write(&config, text(&dir, port, auth_port)).with_context(|| config.display().to_string())?;
    tell_when_ready(&dir, port)?;
    println!("starting the gate; its log is {}", dir.join("moongate.log").display());
    let error = Command::new(dir.join("bin/moongate")).args(["start", "-c"]).arg(&config).exec();
    Err(error).context("cannot start the gate")
}

/// `--dir PATH`, or a fresh one that stays for a look afterwards.
fn directory(arguments: &[String]) -> Result<PathBuf> {
    let dir = match arguments {
        [flag, path] if flag == "--dir" => std::path::absolute(path)?,
        [] => tempfile::Builder::new().prefix("moongate-demo-").tempdir()?.keep(),
        _ => bail!("usage: cargo xtask demo [--dir PATH]"),
    };
    std::fs::create_dir_all(dir.join("bin"))?;
    Ok(dir)
}

/// The ports people expect, or free ones when those are taken.
fn ports() -> Result<[u16; 2]> {
    let mut found = PORTS;
    for port in &mut found {
        let at = |port: u16| TcpListener::bind(("127.0.0.1", port)).and_then(|l| l.local_addr());
        *port = at(*port).or_else(|_| at(0))?.port();
    }
    Ok(found)
}

fn link_names(dir: &Path, program: &Path) -> Result<()> {
    for name in ["moongate", "msh", "mctl"] {
        let link = dir.join("bin").join(name);
        std::fs::remove_file(&link).ok();
        std::os::unix::fs::symlink(program, &link).with_context(|| link.display().to_string())?;
    }
    Ok(())
}

fn text(dir: &Path, port: u16, auth_port: u16) -> String {
    let dir = dir.display();
    format!(
        "version: v2\n\
         moongate:\n  nodename: {NODE}\n  data_dir: \"{dir}/data\"\n  log:\n    output: \"{dir}/moongate.log\"\n    severity: INFO\n\
         auth_service:\n  enabled: yes\n  cluster_name: {CLUSTER}\n  listen_addr: 127.0.0.1:{auth_port}\n\
         proxy_service:\n  enabled: yes\n  web_listen_addr: 127.0.0.1:{port}\n  public_addr: 127.0.0.1:{port}\n\
         ssh_service:\n  enabled: yes\n  labels:\n    env: demo\n"
    )
}

/// Starts the second process apart from this one, which is about to become the gate.
fn tell_when_ready(dir: &Path, port: u16) -> Result<()> {
    let own = std::env::current_exe()?;
    let status = Command::new("sh")
        .args(["-c", "\"$0\" demo-tour \"$1\" \"$2\" \"$3\" &"])
        .arg(own)
        .arg(dir)
        .arg(port.to_string())
        .arg(std::process::id().to_string())
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("cannot start the tour");
    }
    Ok(())
}

/// The second process: waits for the gate, makes an admin, prints what to try.
pub(crate) fn tour(arguments: &[String]) -> Result<()> {
    let [dir, port, gate] = arguments else { bail!("started by `cargo xtask demo` only") };
    let dir = PathBuf::from(dir);
    let pin = wait(&dir, gate)?;
    let login = String::from_utf8(output(Command::new("id").arg("-un"))?)?.trim().to_owned();
    println!("{}", page(&dir, port, &pin, &login, &admin(&dir, &login)?));
    Ok(())
}

/// The first admin's invite link; in a directory that had a gate before, how to come in again.
fn admin(dir: &Path, login: &str) -> Result<String> {
    let users = output(mctl(dir).args(["users", "ls", "--format=json"]))?;
    let users: Vec<Value> = serde_json::from_slice(&users).context("`mctl users ls` told no list")?;
    if users.iter().any(|user| user.get("name").is_some_and(|name| name == ADMIN)) {
        return Ok(format!(
            "User \"{ADMIN}\" is there from before: sign in as then. For a new link (and a new password):\n\
             \x20 {dir}/bin/mctl -c {dir}/moongate.yaml users reset {ADMIN}\n",
            dir = dir.display()
        ));
    }
    let logins = format!("--logins={login}");
    let invite =
        output(mctl(dir).args(["users", "add", ADMIN, "--roles=access,editor,auditor"]).arg(logins))?;
    Ok(String::from_utf8_lossy(&invite).into_owned())
}

fn mctl(dir: &Path) -> Command {
    let mut command = Command::new(dir.join("bin/mctl"));
    command.arg("-c").arg(dir.join("moongate.yaml"));
    command
}

/// Waits until the authority answers and the node is online; returns the CA pin.
fn wait(dir: &Path, gate: &str) -> Result<String> {
    let start = Instant::now();
    while start.elapsed() < READY {
        if !Path::new("/proc").join(gate).exists() {
            bail!("the gate ended; see {}", dir.join("moongate.log").display());
        }
        if let Some(pin) = ready(dir) {
            return Ok(pin);
        }
        std::thread::sleep(PAUSE);
    }
    bail!("the gate does not answer; see {}", dir.join("moongate.log").display())
}

fn ready(dir: &Path) -> Option<String> {
    let json = |arguments: &[&str]| {
        let out = mctl(dir).args(arguments).stderr(Stdio::null()).output().ok()?;
        serde_json::from_slice::<Value>(&out.stdout).ok()
    };
    let nodes = json(&["nodes", "ls", "--format=json"])?;
    nodes.to_string().contains("online").then_some(())?;
    let status = json(&["status", "--format=json"])?;
    Some(status.pointer("/cluster/ca_pins/0")?.as_str()?.to_owned())
}

fn page(dir: &Path, port: &str, pin: &str, login: &str, invite: &str) -> String {
    let bin = dir.join("bin");
    let rights = if packages::is_root() {
        "The node runs as root: roles decide which local accounts may be used."
    } else {
        "The node runs without root: sessions run as you and as nobody else."
    };
    format!(
        "\nA gate is running: an authority, a proxy on https://127.0.0.1:{port} and the node \"{NODE}\".\n\
         {rights}\nData, log and configuration are in {dir}.\n\n{invite}\n\
         Try, in another terminal:\n\n\
         \x20 export PATH={bin}:$PATH\n\
         \x20 curl -sk https://127.0.0.1:{port}/webapi/ping\n\
         \x20 # open the link above in a browser, set a password, scan the code; sign in there, or here:\n\
         \x20 msh login --proxy=127.0.0.1:{port} --user={ADMIN} --ca-pin={pin}\n\
         \x20 msh ls\n\
         \x20 msh ssh {login}@{NODE}\n\
         \x20 msh config > moongate.ssh && ssh -F moongate.ssh {login}@{NODE}.{CLUSTER}\n\
         \x20 scp -F moongate.ssh README.md {login}@{NODE}.{CLUSTER}:/tmp/\n\
         \x20 msh recordings ls\n\
         \x20 msh play SESSION\n\
         \x20 mctl -c {dir}/moongate.yaml recordings verify SESSION\n\
         \x20 mctl -c {dir}/moongate.yaml audit ls\n\n\
         Ctrl-C stops everything.\n",
        dir = dir.display(),
        bin = bin.display(),
    )
}
