//! Somebody with a password, an authenticator, a home, and stock clients.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::gate::{CLUSTER, Gate, NODE, command, path};
use crate::http;
use crate::process::Process;
use crate::run::{LIMIT, Ran, run, run_with};
use crate::totp;
use crate::wait::until;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";
const STEP: u64 = 30;

/// A person.
pub struct Person {
    name: String,
    proxy: String,
    pin: String,
    secret: Vec<u8>,
    last_step: Cell<u64>,
    agent: Option<Process>,
    home: TempDir,
}

impl Person {
    /// Accepts an invite: sets a password and a second factor, as the page would.
    ///
    /// # Errors
    /// The gate refuses.
    pub fn enrol(gate: &Gate, name: &str, link: &str) -> Result<Self> {
        let invite = http::post(&gate.url("/webapi/invite"), &json!({"secret": link}))?;
        let uri = invite.get("otp_uri").and_then(Value::as_str).context("no second factor offered")?;
        let person = Self {
            home: tempfile::tempdir()?,
            name: name.to_owned(),
            proxy: format!("127.0.0.1:{}", gate.port),
            pin: gate.pin()?,
            secret: totp::secret(uri)?,
            last_step: Cell::new(0),
            agent: None,
        };
        let answer = json!({"secret": link, "password": PASSWORD, "otp": person.code()?});
        http::post(&gate.url("/webapi/invite/accept"), &answer)?;
        Ok(person)
    }

    /// The same person, coming by another address than the gate's own.
    #[must_use]
    pub fn through(mut self, proxy: &str) -> Self {
        proxy.clone_into(&mut self.proxy);
        self
    }

    /// A code that was not used before: the next one, when this one was. Servers allow one step of skew.
    ///
    /// # Errors
    /// The clock stands still.
    pub fn code(&self) -> Result<String> {
        let wanted = self.last_step.get() + 1;
        let step = until("an unused code", Duration::from_secs(2 * STEP), || {
            let now = since_epoch().as_secs() / STEP;
            (wanted <= now + 1).then_some(wanted.max(now))
        })?;
        self.last_step.set(step);
        Ok(totp::code(&self.secret, Duration::from_secs(step * STEP)))
    }

    /// Signs in, and writes an SSH configuration as a person would.
    ///
    /// # Errors
    /// The gate refuses.
    pub fn login(&self) -> Result<()> {
        let answers = format!("{PASSWORD}\n{}\n", self.code()?);
        self.login_with(&answers)?.ok()?;
        let block = self.msh(&["config"])?.ok()?;
        std::fs::create_dir_all(self.home().join(".ssh"))?;
        let fixed = "\nHost *\n    StrictHostKeyChecking yes\n    BatchMode yes\n    ControlPath none\n";
        std::fs::write(self.ssh_config(), block.text() + fixed)?;
        Ok(())
    }

    /// `msh login` with these lines on its stdin.
    ///
    /// # Errors
    /// It cannot be started or does not end.
    pub fn login_with(&self, answers: &str) -> Result<Ran> {
        run_with(&mut self.login_command(), answers.as_bytes(), LIMIT)
    }

    /// `msh login`, not yet started.
    #[must_use]
    pub fn login_command(&self) -> Command {
        let mut command = self.command("msh");
        command.args(["login", "--proxy", &self.proxy, "--user", &self.name, "--ca-pin", &self.pin]);
        command
    }

    /// `msh …`.
    ///
    /// # Errors
    /// It cannot be started or does not end.
    pub fn msh(&self, arguments: &[&str]) -> Result<Ran> {
        run(self.command("msh").args(arguments))
    }

    /// The same of a command that prints JSON.
    ///
    /// # Errors
    /// It cannot be run, fails, or prints something else.
    pub fn msh_json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_slice(&self.msh(arguments)?.ok()?.stdout)?)
    }

    /// A program of the system in this person's home, with their SSH agent if they have one.
    #[must_use]
    pub fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home()).env("PATH", path()).env("LANG", "C.UTF-8");
        command.current_dir(self.home());
        if self.agent.is_some() {
            command.env("SSH_AUTH_SOCK", self.agent_socket());
        }
        command
    }

    /// One of our names in this person's home.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = command(name, self.home());
        command.current_dir(self.home());
        if self.agent.is_some() {
            command.env("SSH_AUTH_SOCK", self.agent_socket());
        }
        command
    }

    /// `ssh -F <their configuration>`, to be completed.
    #[must_use]
    pub fn ssh(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("ssh");
        command.arg("-F").arg(self.ssh_config()).args(arguments);
        command
    }

    /// Runs a command on a node as `login` with the stock client.
    ///
    /// # Errors
    /// It cannot be started or does not end.
    pub fn on(&self, login: &str, node: &str, remote: &str) -> Result<Ran> {
        run(&mut self.ssh(&[&target(login, node), remote]))
    }

    /// Starts an SSH agent of their own and signs in again, so that it holds the certificate.
    ///
    /// # Errors
    /// There is no agent, or the gate refuses.
    pub fn with_agent(mut self) -> Result<Self> {
        let socket = self.agent_socket();
        let mut command = self.program("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket);
        self.agent = Some(Process::start("ssh-agent", &mut command, self.home.path())?);
        until("the agent's socket", LIMIT, || socket.exists().then_some(()))?;
        self.login()?;
        Ok(self)
    }

    /// Their home directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Their SSH configuration.
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        self.home().join(".ssh/config")
    }

    /// Their name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn agent_socket(&self) -> PathBuf {
        self.home().join("agent.sock")
    }
}

/// `login@node.cluster`.
#[must_use]
pub fn target(login: &str, node: &str) -> String {
    format!("{login}@{node}.{CLUSTER}")
}

/// The bundled node, as root.
#[must_use]
pub fn root() -> String {
    target("root", NODE)
}

#[expect(clippy::disallowed_methods, reason = "an authenticator has a clock")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
