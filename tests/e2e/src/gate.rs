//! A running gate in a temporary directory: all in one process, or authority, proxy and nodes apart.
//!
//! Listens on loopback only. Uses nothing of the rooms: the executable, its configuration file and its commands.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::http;
use crate::person::Person;
use crate::ports::free;
use crate::process::Process;
use crate::run::{Ran, run};
use crate::wait::until;

/// The static join token of every test gate.
pub const TOKEN: &str = "e2e-token-5f2d9c0b7a1e4d38";
/// The cluster's name, unless a test wants another.
pub const CLUSTER: &str = "main";
/// The node that an all-in-one gate brings along.
pub const NODE: &str = "node-1";
/// How long a gate may take to be ready, on a busy machine.
const READY: Duration = Duration::from_secs(240);

/// What may differ between gates.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's name.
    pub cluster: &'static str,
    /// `session_recording`.
    pub recording: &'static str,
    /// Lines under `proxy_service`, each with two spaces in front.
    pub proxy_lines: String,
    /// The same under `auth_service`.
    pub auth_lines: String,
    /// The same under `moongate`, for the process with the authority.
    pub instance_lines: String,
    /// The same under `ssh_service`.
    pub node_lines: String,
    /// Further environment of every process.
    pub environment: Vec<(String, String)>,
    /// Start as this user instead of the test's own; needs root.
    pub user: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cluster: CLUSTER,
            recording: "node",
            proxy_lines: String::new(),
            auth_lines: String::new(),
            instance_lines: String::new(),
            node_lines: String::new(),
            environment: Vec::new(),
            user: None,
        }
    }
}

/// A running gate.
pub struct Gate {
    options: Options,
    /// The authority's port.
    pub auth_port: u16,
    /// The one port.
    pub port: u16,
    /// The process with the authority; with everything when all in one.
    pub auth: Process,
    /// The proxy's process, when apart.
    pub proxy: Option<Process>,
    /// The nodes' processes, when apart, by name.
    pub nodes: Vec<(String, Process)>,
    // Last, so that logs are still there when the processes above have their last words.
    dir: TempDir,
}

impl Gate {
    /// Starts everything in one process and waits until its node can be reached.
    ///
    /// # Errors
    /// It does not start, or is not ready in time.
    pub fn start() -> Result<Self> {
        Self::start_with(Options::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// It does not start, or is not ready in time.
    pub fn start_with(options: Options) -> Result<Self> {
        let (dir, auth_port, port) = (tempfile::tempdir()?, free()?, free()?);
        let text = instance("auth", &dir.path().join("auth"), NODE, &options.instance_lines)
            + &auth_section(auth_port, &options)
            + &proxy_section(port, &options.proxy_lines)
            + NODE_SECTION
            + &options.node_lines;
        let config = write(dir.path(), "auth", &text)?;
        let auth = start("auth", &config, dir.path(), &options)?;
        let mut gate = Self { dir, options, auth_port, port, auth, proxy: None, nodes: Vec::new() };
        gate.answers()?;
        gate.online(NODE)?;
        Ok(gate)
    }

    /// Starts an authority, a proxy and one node as three processes.
    ///
    /// # Errors
    /// One does not start, or is not ready in time.
    pub fn start_apart(options: Options) -> Result<Self> {
        let (dir, auth_port, port) = (tempfile::tempdir()?, free()?, free()?);
        let text = instance("auth", &dir.path().join("auth"), "auth-1", &options.instance_lines)
            + &auth_section(auth_port, &options)
            + PROXY_OFF
            + NODE_OFF;
        let config = write(dir.path(), "auth", &text)?;
        let auth = start("auth", &config, dir.path(), &options)?;
        let mut gate = Self { dir, options, auth_port, port, auth, proxy: None, nodes: Vec::new() };
        gate.start_proxy()?;
        gate.answers()?;
        gate.start_node(NODE, "")?;
        gate.online(NODE)?;
        Ok(gate)
    }

    /// Starts the proxy (again) in its own process.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_proxy(&mut self) -> Result<()> {
        let pin = self.pin()?;
        let join = format!(
            "  auth_token: {TOKEN}\n  ca_pin: \"{pin}\"\n  auth_servers: [\"127.0.0.1:{}\"]\n",
            self.auth_port
        );
        let text = instance("proxy", &self.dir.path().join("proxy"), "proxy-1", &join)
            + AUTH_OFF
            + &proxy_section(self.port, &self.options.proxy_lines)
            + NODE_OFF;
        let config = write(self.dir.path(), "proxy", &text)?;
        self.proxy = Some(start("proxy", &config, self.dir.path(), &self.options)?);
        Ok(())
    }

    /// Starts a node that dials the one port, or `via` when that is given.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_node(&mut self, name: &str, via: &str) -> Result<()> {
        let options = self.options.clone();
        self.start_node_with(name, via, &options)
    }

    /// The same with its own environment.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_node_with(&mut self, name: &str, via: &str, options: &Options) -> Result<()> {
        let pin = self.pin()?;
        let own = format!("127.0.0.1:{}", self.port);
        let server = if via.is_empty() { &own } else { via };
        let join = format!("  auth_token: {TOKEN}\n  ca_pin: \"{pin}\"\n  proxy_server: \"{server}\"\n");
        let text = instance("node", &self.dir.path().join(name), name, &join)
            + AUTH_OFF
            + PROXY_OFF
            + NODE_SECTION
            + &options.node_lines;
        let config = write(self.dir.path(), name, &text.replace("version: v2", "version: v3"))?;
        let process = start(name, &config, self.dir.path(), options)?;
        self.nodes.retain(|(n, _)| n != name);
        self.nodes.push((name.to_owned(), process));
        Ok(())
    }

    /// Starts a process as `name` with the configuration of `from`, edited.
    ///
    /// # Errors
    /// There is no such configuration, or it cannot be started.
    pub fn start_edited(&self, from: &str, name: &str, edit: impl FnOnce(&str) -> String) -> Result<Process> {
        let text = std::fs::read_to_string(self.dir.path().join(format!("{from}.yaml")))?;
        let config = write(self.dir.path(), name, &edit(&text))?;
        start(name, &config, self.dir.path(), &self.options)
    }

    /// Starts the authority again, after it was ended.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn restart_auth(&mut self) -> Result<()> {
        let config = self.dir.path().join("auth.yaml");
        self.auth = start("auth", &config, self.dir.path(), &self.options)?;
        Ok(())
    }

    /// The process of a node that runs apart.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn node(&mut self, name: &str) -> Result<&mut Process> {
        self.nodes.iter_mut().find(|(n, _)| n == name).map(|(_, p)| p).context("no such node")
    }

    /// Waits until the one port answers.
    ///
    /// # Errors
    /// It does not, or the process ended.
    pub fn answers(&mut self) -> Result<()> {
        let url = self.url("/webapi/ping");
        for _ in 0..READY.as_secs() {
            if !self.auth.is_alive() {
                bail!("the gate ended:\n{}", self.auth.log());
            }
            let probe = || http::get(&url).ok().filter(|r| r.code == 0 && r.text().contains("cluster_name"));
            if until("an answer", Duration::from_secs(1), probe).is_ok() {
                return Ok(());
            }
        }
        bail!("no answer from {url}:\n{}", self.auth.log())
    }

    /// Waits until a node's tunnel is up.
    ///
    /// # Errors
    /// It is not, in time.
    pub fn online(&self, name: &str) -> Result<()> {
        self.node_is(name, "online")
    }

    /// Waits until a node has this status: `online` or `offline`.
    ///
    /// # Errors
    /// It has not, in time.
    pub fn node_is(&self, name: &str, status: &str) -> Result<()> {
        until(&format!("{name} to be {status}"), READY, || {
            let nodes = self.mctl_json(&["nodes", "ls", "--format=json"]).ok()?;
            let node = nodes.as_array()?.iter().find(|n| has(n, "name", name))?;
            has(node, "liveness", status).then_some(())
        })
        .with_context(|| self.auth.log())
    }

    /// An address on the one port.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// The temporary directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory of `auth`, `proxy` or a node by name.
    #[must_use]
    pub fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration of the process with the authority.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("auth.yaml")
    }

    /// Runs `mctl` on the authority's host.
    ///
    /// # Errors
    /// It cannot be started or does not end.
    pub fn mctl(&self, arguments: &[&str]) -> Result<Ran> {
        run(self.command("mctl").arg("-c").arg(self.config()).args(arguments))
    }

    /// The same, insisting on success and JSON.
    ///
    /// # Errors
    /// It fails, or prints something else.
    pub fn mctl_json(&self, arguments: &[&str]) -> Result<Value> {
        let ran = self.mctl(arguments)?.ok()?;
        serde_json::from_slice(&ran.stdout).with_context(|| ran.text())
    }

    /// One of the executable's names, away from the caller's own environment.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        command(name, self.dir.path())
    }

    /// The pin of the host authority.
    ///
    /// # Errors
    /// The authority does not answer in time.
    pub fn pin(&self) -> Result<String> {
        let find = || {
            let status = self.mctl_json(&["status", "--format=json"]).ok()?;
            Some(status.pointer("/cluster/ca_pins/0")?.as_str()?.to_owned())
        };
        until("the CA pin", READY, find).with_context(|| self.auth.log())
    }

    /// Makes a user, accepts the invite with a second factor, and signs in.
    ///
    /// # Errors
    /// Any of that fails.
    pub fn person(&self, name: &str, roles: &str, logins: &str) -> Result<Person> {
        let person = self.invited(name, roles, logins)?;
        person.login()?;
        Ok(person)
    }

    /// Makes a user who has accepted the invite and not signed in.
    ///
    /// # Errors
    /// Any of that fails.
    pub fn invited(&self, name: &str, roles: &str, logins: &str) -> Result<Person> {
        let arguments = [
            "users",
            "add",
            name,
            &format!("--roles={roles}"),
            &format!("--logins={logins}"),
            "--format=json",
        ];
        let link = self.mctl_json(&arguments)?;
        let secret = link.get("secret").and_then(Value::as_str).context("no secret in the link")?;
        Person::enrol(self, name, secret)
    }
}

fn has(value: &Value, key: &str, text: &str) -> bool {
    let plain = value.get(key).and_then(Value::as_str);
    let nested = value.pointer(&format!("/node/{key}")).and_then(Value::as_str);
    plain == Some(text) || nested == Some(text)
}

/// Where the built executable is: `MOONGATE_BIN`, or beside this test.
///
/// # Errors
/// It was not built.
pub fn executable() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MOONGATE_BIN") {
        return Ok(PathBuf::from(path));
    }
    let here = std::env::current_exe()?;
    let found = here.ancestors().skip(1).map(|d| d.join("moongate")).find(|p| p.is_file());
    found.context("no executable beside the test: run `cargo build --workspace --bins`")
}

/// One of the executable's names with a bare environment and `home` as its home.
#[must_use]
pub fn command(name: &str, home: &Path) -> Command {
    let program = executable().unwrap_or_else(|_| PathBuf::from("moongate"));
    let mut command = Command::new(program);
    if name != "moongate" {
        command.arg(name);
    }
    command.env_clear().env("HOME", home).env("PATH", path()).env("LANG", "C.UTF-8");
    command
}

/// The search path of everything started here.
#[must_use]
pub fn path() -> String {
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
}

fn start(name: &str, config: &Path, dir: &Path, options: &Options) -> Result<Process> {
    executable()?;
    let mut command = command("moongate", dir);
    command.args(["start", "-c"]).arg(config);
    if let Some(user) = options.user {
        let id = user.to_string();
        run(Command::new("chown").arg("-R").arg(&id).arg(dir))?.ok()?;
        command.uid(user).gid(user);
    }
    command.envs(options.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    Process::start(name, &mut command, dir)
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(format!("{name}.yaml"));
    std::fs::write(&path, text)?;
    Ok(path)
}

fn instance(name: &str, data: &Path, nodename: &str, join: &str) -> String {
    format!(
        "# {name}\nversion: v2\nmoongate:\n  nodename: {nodename}\n  data_dir: {}\n  log:\n    output: stderr\n    severity: INFO\n{join}",
        data.display()
    )
}

fn auth_section(port: u16, options: &Options) -> String {
    let (cluster, recording, lines) = (options.cluster, options.recording, &options.auth_lines);
    let mut text = String::new();
    let _ = write!(
        text,
        "auth_service:\n  enabled: yes\n  cluster_name: {cluster}\n  listen_addr: 127.0.0.1:{port}\n  session_recording: {recording}\n  tokens:\n    - \"node,proxy:{TOKEN}\"\n{lines}"
    );
    text
}

fn proxy_section(port: u16, lines: &str) -> String {
    format!(
        "proxy_service:\n  enabled: yes\n  web_listen_addr: 127.0.0.1:{port}\n  public_addr: 127.0.0.1:{port}\n{lines}"
    )
}

const AUTH_OFF: &str = "auth_service:\n  enabled: no\n";
const PROXY_OFF: &str = "proxy_service:\n  enabled: no\n";
const NODE_OFF: &str = "ssh_service:\n  enabled: no\n";
const NODE_SECTION: &str = "ssh_service:\n  enabled: yes\n  labels:\n    env: test\n";
