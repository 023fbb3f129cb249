//! What is measured on: two `sshd`s, a gate of three processes, one client home, and one SSH configuration.

use std::cell::{RefCell, RefMut};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::gate::{CLUSTER, Gate, NODE, Options};
use e2e::person::Person;
use e2e::ports::free;
use e2e::process::Process;
use e2e::run::run;
use e2e::wait::until;

/// A way to the target.
pub(crate) struct Way {
    /// In the table.
    pub(crate) name: &'static str,
    /// In the SSH configuration.
    pub(crate) host: &'static str,
}

/// The ways compared; the first is what ratios are taken against.
pub(crate) const WAYS: [Way; 4] = [
    Way { name: "direct", host: "direct" },
    Way { name: "jump", host: "jump" },
    Way { name: "gate", host: "node-1.main" },
    Way { name: "gate -J", host: "gatejump" },
];

/// How much work each measure does.
pub(crate) struct Effort {
    /// Rounds over all ways.
    pub(crate) rounds: usize,
    /// Commands run for one latency figure, in all rounds.
    pub(crate) commands: usize,
    /// How long a rate is taken for, each way and round.
    pub(crate) window: Duration,
    /// Bytes sent one way.
    pub(crate) bytes: u64,
    /// Keystrokes for one figure.
    pub(crate) keys: usize,
    /// Idle interactive sessions.
    pub(crate) idle: usize,
    /// Short sessions between two looks at memory.
    pub(crate) short: usize,
}

impl Effort {
    /// What the page is made with.
    pub(crate) const FULL: Self = Self {
        rounds: 3,
        commands: 60,
        window: Duration::from_secs(8),
        bytes: 1 << 30,
        keys: 300,
        idle: 1000,
        short: 100_000,
    };
    /// The same on a machine that is needed for other things too.
    pub(crate) const SHORT: Self = Self {
        rounds: 3,
        commands: 30,
        window: Duration::from_secs(4),
        bytes: 1 << 28,
        keys: 150,
        idle: 200,
        short: 6000,
    };
    /// For trying the harness.
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        commands: 6,
        window: Duration::from_secs(2),
        bytes: 1 << 26,
        keys: 40,
        idle: 40,
        short: 100,
    };
}

/// What the connections agree on.
#[derive(Clone, Copy)]
pub(crate) enum Agreed {
    /// One key exchange and one cipher for all ways: what a stock client of Debian 12 takes first that both servers know.
    Fixed,
    /// What a stock client and either server come to by themselves, with what `msh config` says for the gate.
    ByThemselves,
}

impl Agreed {
    fn lines(self) -> &'static str {
        match self {
            Agreed::Fixed => "KexAlgorithms curve25519-sha256\nCiphers chacha20-poly1305@openssh.com\n",
            Agreed::ByThemselves => "",
        }
    }
}

/// Everything that runs while measuring.
pub(crate) struct Bed {
    /// The target's `sshd`.
    pub(crate) sshd: Process,
    /// The jump host's `sshd`.
    pub(crate) bastion: Process,
    /// The ports of both.
    pub(crate) ports: (u16, u16),
    gate: Option<RefCell<Gate>>,
    person: Option<Person>,
    account: Account,
    dir: tempfile::TempDir,
}

/// A local account with a plain shell and no start-up files, so that the shell is not what is measured.
struct Account(String);

impl Account {
    fn make() -> Result<Self> {
        let name = format!("gatebench{}", std::process::id());
        run(Command::new("useradd").args(["-M", "-d", "/tmp", "-s", "/bin/sh", "-p", "*", &name]))?.ok()?;
        Ok(Self(name))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        run(Command::new("userdel").args(["-f", &self.0])).ok();
    }
}

impl Bed {
    /// Starts everything and proves each way once; a baseline has no gate.
    pub(crate) fn make(baseline: bool) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        // The account's own keys are read with its rights.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        keygen(&dir.path().join("user"))?;
        let (port, jump_port) = (free()?, free()?);
        let account = Account::make()?;
        let sshd = sshd(dir.path(), "target", port)?;
        let bastion = sshd_bastion(dir.path(), jump_port)?;
        let gate = if baseline { None } else { Some(Gate::start_apart(Options::default())?) };
        let person =
            gate.as_ref().map(|g| g.person("bench", "access", &account.0)?.with_agent()).transpose()?;
        let ports = (port, jump_port);
        let bed = Self { ports, account, dir, sshd, bastion, gate: gate.map(RefCell::new), person };
        bed.agree(Agreed::Fixed)?;
        for way in bed.ways() {
            let probe = || run(bed.ssh().args([way.host, "true"])).ok()?.ok().ok();
            until(&format!("`ssh {} true`", way.host), Duration::from_secs(30), probe).with_context(
                || run(bed.ssh().args([way.host, "true"])).map(|r| r.stderr).unwrap_or_default(),
            )?;
        }
        Ok(bed)
    }

    /// From now on connections agree on their algorithms so.
    pub(crate) fn agree(&self, agreed: Agreed) -> Result<()> {
        let (port, jump_port) = self.ports;
        let dir = self.dir.path();
        let public = std::fs::read_to_string(dir.join("host.pub"))?;
        let known = dir.join("known_hosts");
        std::fs::write(&known, format!("[127.0.0.1]:{port} {public}[127.0.0.1]:{jump_port} {public}"))?;
        let own = match &self.person {
            Some(person) => std::fs::read_to_string(person.ssh_config())?,
            None => "Host *\n    StrictHostKeyChecking yes\n    BatchMode yes\n".to_owned(),
        };
        let key = dir.join("user");
        let plain = format!(
            "    HostName 127.0.0.1\n    User {}\n    IdentityFile {}\n    IdentitiesOnly yes\n    UserKnownHostsFile {}\n",
            self.account.0,
            key.display(),
            known.display()
        );
        let gates = self.gate().map(|gate| gates(&own, gate.port, &self.account.0)).unwrap_or_default();
        let text = format!(
            "{}Host direct\n{plain}    Port {port}\n\
             Host bastion\n{plain}    Port {jump_port}\n\
             Host jump\n{plain}    Port {port}\n    ProxyJump bastion\n{gates}{own}",
            agreed.lines()
        );
        std::fs::write(self.config(), text)?;
        Ok(())
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("ssh_config")
    }

    /// A fresh path in the bed's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `ssh -F <the bed's configuration>`.
    pub(crate) fn ssh(&self) -> Command {
        let mut command = match &self.person {
            Some(person) => person.program("ssh"),
            None => Command::new("ssh"),
        };
        command.arg("-F").arg(self.config());
        command
    }

    /// The account on the target.
    pub(crate) fn account(&self) -> &str {
        &self.account.0
    }

    /// Where the person's certificates are.
    pub(crate) fn person_home(&self) -> Option<&Path> {
        self.person.as_ref().map(Person::home)
    }

    /// The gate.
    pub(crate) fn gate(&self) -> Result<RefMut<'_, Gate>> {
        Ok(self.gate.as_ref().context("a baseline has no gate")?.borrow_mut())
    }

    /// The ways there are.
    pub(crate) fn ways(&self) -> &'static [Way] {
        let (baseline, _) = WAYS.split_at(2);
        if self.gate.is_some() { &WAYS } else { baseline }
    }

    /// CPU seconds so far: of what serves this way's sessions, and of what stands between.
    pub(crate) fn cpu(&self, way: &Way) -> (f64, f64) {
        match way.host {
            "direct" => (self.sshd.cpu_seconds(), 0.0),
            "jump" => (self.sshd.cpu_seconds(), self.bastion.cpu_seconds()),
            _ => {
                let Ok(mut gate) = self.gate() else { return (0.0, 0.0) };
                let proxy = gate.proxy.as_ref().map_or(0.0, Process::cpu_seconds);
                (gate.node(NODE).map_or(0.0, |n| n.cpu_seconds()), proxy)
            }
        }
    }

    /// Resident KiB of what stands between client and target.
    pub(crate) fn between_kib(&self, way: &Way) -> u64 {
        match way.host {
            "direct" => 0,
            "jump" => self.bastion.rss_kib(),
            _ => self.gate().map_or(0, |g| g.proxy.as_ref().map_or(0, Process::rss_kib)),
        }
    }
}

/// The two ways through the gate: as `msh config` says, and by jumping with the stock client alone.
fn gates(own: &str, port: u16, user: &str) -> String {
    let same = [
        "UserKnownHostsFile",
        "IdentityFile",
        "CertificateFile",
        "IdentitiesOnly",
        "HostKeyAlgorithms",
        "Ciphers",
    ];
    let lines: Vec<&str> =
        own.lines().filter(|l| same.iter().any(|k| l.trim_start().starts_with(k))).take(6).collect();
    let name = format!("{NODE}.{CLUSTER}");
    format!(
        "Host {name}\n    User {user}\n\
         Host gatejump\n    HostName {name}\n    User {user}\n    ProxyJump bench@127.0.0.1:{port}\n{}\n",
        lines.join("\n")
    )
}

fn keygen(path: &Path) -> Result<()> {
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"]).arg(path))?
        .ok()?;
    Ok(())
}

fn sshd_bastion(dir: &Path, port: u16) -> Result<Process> {
    sshd(dir, "bastion", port)
}

fn sshd(dir: &Path, name: &str, port: u16) -> Result<Process> {
    let key = dir.join("host");
    if !key.exists() {
        keygen(&key)?;
    }
    std::fs::create_dir_all("/run/sshd").ok();
    let config = dir.join(format!("{name}.conf"));
    let text = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPasswordAuthentication no\n\
         UsePAM no\nStrictModes no\nPidFile none\nPermitRootLogin yes\nMaxStartups 2000\nMaxSessions 2000\n\
         LogLevel ERROR\nUseDNS no\nPrintMotd no\nPrintLastLog no\nSubsystem sftp internal-sftp\n",
        key.display(),
        dir.join("user.pub").display()
    );
    std::fs::write(&config, text)?;
    let mut process =
        Process::start(name, Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(&config), dir)?;
    until(&format!("{name} to listen"), Duration::from_secs(10), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    })
    .with_context(|| process.log())?;
    anyhow::ensure!(process.is_alive(), "{name} ended: {}", process.log());
    Ok(process)
}
