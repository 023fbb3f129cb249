//! Checked file and command line → [`Config`], with every contradiction found on the way.

mod auth;
mod contradictions;
mod proxy;
mod ssh;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use model::SystemRole;
use model::time::Span;

use crate::join::parse_roles;
use crate::raw::{Part, RawConfig};
use crate::{
    Address, Algorithms, CaPin, Config, Finding, Flags, Instance, Limits, Log, LogFormat, LogOutput, Rate,
    SecretSource, Severity, Storage, Unfit, Upstream, Version, Weight,
};

/// The file name findings about flags carry.
const FLAGS: &str = "command line";

/// Builds the configuration; `None` only when what is missing has no default.
pub(crate) fn build(raw: &RawConfig, flags: &Flags, findings: &mut Vec<Finding>) -> Option<Config> {
    let mut make = Make { raw, file: raw.whole(), flags, findings };
    let roles = make.roles();
    let elsewhere = make.upstream();
    let enabled = |section: &str, role: SystemRole, absent: bool| match &roles {
        Some(roles) => roles.contains(&role),
        None => raw.whole().truth(&format!("{section}.enabled")).unwrap_or(absent),
    };
    let away = elsewhere.is_some();
    let auth = enabled("auth_service", SystemRole::Auth, !away);
    let proxy = enabled("proxy_service", SystemRole::Proxy, !away || make.file.has("proxy_service"));
    let ssh = enabled("ssh_service", SystemRole::Node, true);
    make.contradictions(&roles, proxy);
    make.later_flags();
    let config = Config {
        version: raw.version,
        instance: make.instance()?,
        upstream: match (auth, elsewhere) {
            (true, _) => Upstream::Here,
            (false, Some(upstream)) => upstream,
            (false, None) => Upstream::Auth(vec![Address::new("127.0.0.1", 3025).ok()?]),
        },
        auth: if auth { Some(make.auth()?) } else { None },
        proxy: if proxy { Some(make.proxy()?) } else { None },
        ssh: if ssh { Some(make.ssh()?) } else { None },
    };
    make.one_listener_each(&config);
    Some(config)
}

struct Make<'a> {
    raw: &'a RawConfig,
    file: Part<'a>,
    flags: &'a Flags,
    findings: &'a mut Vec<Finding>,
}

impl Make<'_> {
    /// An error about a key of the file.
    fn wrong(&mut self, path: &str, message: &str, expected: &str) {
        self.findings.push(self.raw.error(path, message, expected));
    }

    /// A key of the file whose value (not the key itself) has no effect so far.
    fn not_yet(&mut self, path: &str) {
        let finding = self.raw.error(path, "not in effect yet", "").weighing(Weight::NotYet);
        self.findings.push(Finding {
            key: format!("{}: {}", finding.key, self.file.text(path).unwrap_or("…")),
            ..finding
        });
    }

    /// The value of a flag, or a finding that names the flag.
    fn flag<T>(&mut self, flag: &str, parsed: Result<T, Unfit>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                let finding = Finding::error(FLAGS, None, flag, format!("`{}`", error.text));
                self.findings.push(finding.expected(error.expected));
                None
            }
        }
    }

    fn roles(&mut self) -> Option<BTreeSet<SystemRole>> {
        let roles = self.flag("--roles", parse_roles(self.flags.roles.as_deref()?))?;
        for role in roles.iter().filter(|r| matches!(r, SystemRole::App | SystemRole::Db | SystemRole::Kube))
        {
            let finding = Finding::error(FLAGS, None, &format!("--roles={role}"), "not in effect yet");
            self.findings.push(finding.weighing(Weight::NotYet));
        }
        if roles.contains(&SystemRole::Bot) {
            let finding = Finding::error(FLAGS, None, "--roles", "`bot`");
            self.findings.push(finding.expected("a role the daemon runs; a robot is run by `mbot`"));
        }
        Some(roles)
    }

    fn later_flags(&mut self) {
        for flag in &self.flags.later {
            let finding = Finding::error(FLAGS, None, flag, "not in effect yet").weighing(Weight::NotYet);
            self.findings.push(finding);
        }
    }

    /// The authority named by the command line or the file, if any.
    fn upstream(&mut self) -> Option<Upstream> {
        let named: Vec<String> =
            self.flags.auth_servers.iter().flat_map(|t| t.split(',')).map(str::to_owned).collect();
        if !named.is_empty() {
            let parsed: Vec<Option<Address>> =
                named.iter().map(|t| self.flag("--auth-server", Address::reachable(t, 3025))).collect();
            return Some(Upstream::Auth(parsed.into_iter().flatten().collect()));
        }
        if self.raw.version == Version::V3 {
            let proxy = self.file.address("moongate.proxy_server").map(Upstream::Proxy);
            return proxy
                .or_else(|| self.file.address("moongate.auth_server").map(|a| Upstream::Auth(vec![a])));
        }
        let servers = self.file.addresses("moongate.auth_servers");
        (!servers.is_empty()).then_some(Upstream::Auth(servers))
    }

    fn instance(&mut self) -> Option<Instance> {
        let (file, flags) = (self.file, self.flags);
        let token = match flags.token.as_deref() {
            Some(text) => self.flag("--token", SecretSource::join_token(text)),
            None => self.file_token(),
        };
        let mut ca_pins: Vec<CaPin> =
            file.texts("moongate.ca_pin").iter().filter_map(|(t, _)| CaPin::parse(t).ok()).collect();
        if !flags.ca_pins.is_empty() {
            let texts = flags.ca_pins.iter().flat_map(|t| t.split(','));
            ca_pins = texts.filter_map(|t| self.flag("--ca-pin", CaPin::parse(t))).collect();
        }
        let nodename = match flags.nodename.as_deref() {
            Some(text) => self.flag(
                "--nodename",
                text.parse().map_err(|_| Unfit::new(text, "a node name (letters, digits, `.`, `-`, `_`)")),
            ),
            None => file.text("moongate.nodename").and_then(|t| t.parse().ok()),
        };
        let diag = match flags.diag_addr.as_deref() {
            Some(text) => self.flag("--diag-addr", Address::parse(text, 3000)),
            None => file.address("moongate.diag_addr"),
        };
        let data_dir = flags.data_dir.as_ref().map(PathBuf::from).or_else(|| file.path("moongate.data_dir"));
        let data_dir = data_dir.unwrap_or_else(|| PathBuf::from("/var/lib/moongate"));
        Some(Instance {
            nodename,
            pid_file: flags.pid_file.as_ref().map(PathBuf::from).or_else(|| file.path("moongate.pid_file")),
            token,
            ca_pins,
            advertise: self.advertise(),
            insecure: flags.insecure,
            limits: self.limits(),
            log: self.log(),
            diag,
            shutdown_grace: file.span("moongate.shutdown_grace").unwrap_or(Span(Duration::from_secs(30))),
            algorithms: Algorithms {
                ciphers: self.names("moongate.ciphers"),
                kex: self.names("moongate.kex_algos"),
                macs: self.names("moongate.mac_algos"),
                tls_suites: self.names("moongate.ciphersuites"),
            },
            storage: self.storage(&data_dir),
            data_dir,
        })
    }

    fn names(&self, path: &str) -> Vec<String> {
        self.file.texts(path).into_iter().map(|(t, _)| t.to_ascii_lowercase()).collect()
    }

    fn file_token(&mut self) -> Option<SecretSource> {
        if self.file.word("moongate.join_params.method").is_some_and(|m| m != "token") {
            self.not_yet("moongate.join_params.method");
        }
        let path = ["moongate.auth_token", "moongate.join_params.token_name"];
        path.iter().find_map(|p| SecretSource::join_token(self.file.text(p)?).ok())
    }

    fn advertise(&mut self) -> Option<Address> {
        let expected = "an address others can reach";
        let (address, flag) = match self.flags.advertise_ip.as_deref() {
            Some(text) => (self.flag("--advertise-ip", Address::reachable(text, 3022))?, true),
            None => (self.file.address("moongate.advertise_ip")?, false),
        };
        if address.is_loopback() || address.is_unspecified() {
            let message = format!("`{}` is reachable from this host only", address.host());
            if flag {
                self.findings.push(Finding::error(FLAGS, None, "--advertise-ip", message).expected(expected));
            } else {
                self.wrong("moongate.advertise_ip", &message, expected);
            }
        }
        Some(address)
    }

    fn limits(&self) -> Limits {
        let rate = |part: &Part<'_>| Rate {
            period: part.span("period").unwrap_or(Span(Duration::from_secs(60))),
            average: part.whole("average").unwrap_or(20),
            burst: part.whole("burst").unwrap_or(40),
        };
        let section = "moongate.connection_limits";
        Limits {
            max_connections: self.file.whole(&format!("{section}.max_connections")).unwrap_or(15_000),
            max_users: self.file.whole(&format!("{section}.max_users")).filter(|most| *most > 0),
            rates: self.file.sections("moongate.connection_limits.rates[]").iter().map(rate).collect(),
        }
    }

    fn log(&mut self) -> Log {
        let output = match self.file.text("moongate.log.output") {
            None | Some("stderr" | "") => LogOutput::Stderr,
            Some("stdout") => LogOutput::Stdout,
            Some("syslog") => LogOutput::Syslog,
            Some(path) => LogOutput::File(PathBuf::from(path)),
        };
        let severity = match self.file.word("moongate.log.severity").as_deref() {
            Some("trace") => Severity::Trace,
            Some("debug") => Severity::Debug,
            Some("warn" | "warning") => Severity::Warn,
            Some("error" | "err") => Severity::Error,
            _ => Severity::Info,
        };
        let format = match self.file.word("moongate.log.format.output").as_deref() {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        };
        Log { output, severity, format }
    }

    fn storage(&mut self, data_dir: &std::path::Path) -> Storage {
        match self.file.word("moongate.storage.type").as_deref() {
            None | Some("dir" | "sqlite") => {}
            Some(_) => {
                // Starting on another store than the one asked for would lose data later, so it is an error.
                let expected = "`sqlite` (or `dir`): no other store is built yet";
                self.wrong("moongate.storage.type", "not a store of this build", expected);
            }
        }
        Storage::Embedded(self.file.path("moongate.storage.path").unwrap_or_else(|| data_dir.to_owned()))
    }
}
