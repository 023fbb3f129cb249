//! The configuration as a type that cannot be wrong: every value is parsed, every contradiction is gone.
//!
//! Made only by [`crate::load`]. Fields are public because there is nothing left to protect: a `Config` is data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::resource::{RecordingMode, RoutingStrategy};
use model::time::Span;
use model::{ClusterName, Labels, NodeName};

use crate::{Address, CaPin, SecretSource, StaticToken};

/// The `version:` of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Separate side listeners (3023, 3024) unless `proxy_listener_mode: multiplex`; `auth_servers`.
    V1,
    /// One port; `auth_servers`.
    V2,
    /// One port; `auth_server` or `proxy_server`.
    V3,
}

/// Everything the daemon needs to know before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The version the file was written for.
    pub version: Version,
    /// What concerns the whole process.
    pub instance: Instance,
    /// Where the authority is.
    pub upstream: Upstream,
    /// The authority, when it runs here.
    pub auth: Option<Auth>,
    /// The proxy, when it runs here.
    pub proxy: Option<Proxy>,
    /// The SSH service, when it runs here.
    pub ssh: Option<Ssh>,
}

/// Where the authority is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// In this process, at [`Auth::listen`].
    Here,
    /// At one of these addresses (default port 3025): each is tried as an authority, then as a proxy.
    Auth(Vec<Address>),
    /// Behind this proxy (default port 3080).
    Proxy(Address),
}

/// What concerns the whole process: the section `moongate:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// What people call this host; the host's name when `None`.
    pub nodename: Option<NodeName>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where the process id is written.
    pub pid_file: Option<PathBuf>,
    /// The token to join with, needed on the first start only.
    pub token: Option<SecretSource>,
    /// Fingerprints of the authorities that may be joined; paths are read by the daemon.
    pub ca_pins: Vec<CaPin>,
    /// The address others are told to reach this host at.
    pub advertise: Option<Address>,
    /// Join without verifying whom (only for a first try on loopback).
    pub insecure: bool,
    /// Bounds on what strangers can hold open.
    pub limits: Limits,
    /// Where and how much to log.
    pub log: Log,
    /// Where `/healthz`, `/readyz` and `/metrics` are served, in the clear.
    pub diag: Option<Address>,
    /// How long sessions may go on after SIGTERM.
    pub shutdown_grace: Span,
    /// SSH and TLS algorithms, in order of preference; empty lists mean the built-in choice.
    pub algorithms: Algorithms,
    /// Where state and events are kept.
    pub storage: Storage,
}

/// Bounds on what strangers can hold open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time from one address.
    pub max_connections: u32,
    /// People connected to nodes at a time; `None` for no bound.
    pub max_users: Option<u32>,
    /// Connections over time from one address: each of these holds.
    pub rates: Vec<Rate>,
}

/// How many in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How long.
    pub period: Span,
    /// How many in that time, in the long run.
    pub average: u32,
    /// How many at once after a quiet while.
    pub burst: u32,
}

/// Logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where to.
    pub output: LogOutput,
    /// How much.
    pub severity: Severity,
    /// In which form.
    pub format: LogFormat,
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// The system log, `/dev/log`.
    Syslog,
    /// A file, appended to.
    File(PathBuf),
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Everything.
    Trace,
    /// What a developer wants.
    Debug,
    /// What an operator wants.
    Info,
    /// What looks wrong.
    Warn,
    /// What is wrong.
    Error,
}

impl Severity {
    /// The level's name for a log filter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Trace => "trace",
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Error => "error",
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Algorithms by name, most wanted first; an empty list means the built-in choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Algorithms {
    /// SSH ciphers.
    pub ciphers: Vec<String>,
    /// SSH key exchanges.
    pub kex: Vec<String>,
    /// SSH message authentication codes.
    pub macs: Vec<String>,
    /// TLS 1.2 cipher suites, in lower case (TLS 1.3 has no choice to make).
    pub tls_suites: Vec<String>,
}

/// Where state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// SQLite and files under this directory.
    Embedded(PathBuf),
}

/// The authority: the section `auth_service:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Where the API listens; mTLS, default 127.0.0.1:3025.
    pub listen: Address,
    /// Names agents may verify the API's certificate by.
    pub public_addrs: Vec<Address>,
    /// The cluster's name; made from the host's name on first start when `None`.
    pub cluster_name: Option<ClusterName>,
    /// Tokens of the file.
    pub tokens: Vec<StaticToken>,
    /// How people prove who they are.
    pub authentication: Authentication,
    /// Where sessions are recorded.
    pub session_recording: RecordingMode,
    /// End a session that has been quiet this long.
    pub client_idle_timeout: Option<Span>,
    /// What is said then, at most 4096 bytes; empty for the usual words.
    pub client_idle_timeout_message: String,
    /// Sign browsers out whose person did nothing for this long; `None` never.
    pub web_idle_timeout: Option<Span>,
    /// Lock browsers whose person did nothing for this long; `None` never.
    pub web_lock_timeout: Option<Span>,
    /// End sessions when the certificate expires.
    pub disconnect_expired_cert: bool,
    /// How often an idle connection is probed.
    pub keep_alive_interval: Span,
    /// How many probes may go unanswered.
    pub keep_alive_count_max: u32,
    /// How long a proxy waits for the first word of a node.
    pub ssh_dial_timeout: Span,
    /// What to do when several nodes have the name asked for.
    pub routing_strategy: RoutingStrategy,
    /// Shown before people sign in, at most 16384 bytes; empty for nothing.
    pub message_of_the_day: String,
}

/// How people prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Passwords kept here are good.
    pub local: bool,
    /// What is asked for beside the password.
    pub second_factor: SecondFactor,
    /// The name passkeys are made for; derived from the proxies' addresses when `None`.
    pub passkey_name: Option<String>,
    /// How long a certificate lasts when nothing else says.
    pub default_session_ttl: Span,
}

/// What is asked for beside the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondFactor {
    /// Nothing.
    Off,
    /// Whatever the person has enrolled.
    Optional,
    /// A code from an authenticator.
    Otp,
    /// A security key.
    Webauthn,
    /// A code or a security key.
    On,
}

/// Whether a PROXY header may, must or must not come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Must.
    On,
    /// Must not.
    Off,
    /// May, from trusted addresses.
    #[default]
    Unspecified,
}

/// The proxy: the section `proxy_service:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The one port.
    pub listen: Address,
    /// More listeners that serve the same as the one port (the separate SSH and tunnel ports of version v1).
    pub also_listen: Vec<Address>,
    /// The addresses clients are told.
    pub public_addrs: Vec<Address>,
    /// The address of the SSH side listener clients are told, when there is one.
    pub ssh_public_addrs: Vec<Address>,
    /// The address of the tunnel side listener agents are told, when there is one.
    pub tunnel_public_addrs: Vec<Address>,
    /// Certificates for browsers; a self-signed one is made when empty.
    pub keypairs: Vec<KeyPair>,
    /// How often the key pairs are read again; `None` only on SIGHUP.
    pub reload_interval: Option<Span>,
    /// PROXY headers.
    pub proxy_protocol: ProxyProtocol,
    /// Believe `X-Forwarded-For` (with exactly one address) from trusted fronts.
    pub trust_x_forwarded_for: bool,
    /// Networks of the fronts that may send PROXY headers and `X-Forwarded-For`; when `None`, loopback, or anybody where
    /// PROXY headers are demanded.
    pub trusted_fronts: Option<Vec<String>>,
    /// Lines above the screen that a terminal in the browser keeps, at most a million.
    pub scrollback_lines: u32,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The private key, PEM.
    pub key: PathBuf,
    /// The certificate and its chain, PEM.
    pub cert: PathBuf,
}

/// The SSH service: the section `ssh_service:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// Where to listen, only when the file says so; a node needs no port.
    pub listen: Option<Address>,
    /// More names for the node.
    pub public_addrs: Vec<Address>,
    /// Labels.
    pub labels: Labels,
    /// Labels whose values a command prints, by name.
    pub commands: BTreeMap<String, CommandLabel>,
    /// Read `~/.msh/environment` of the target user.
    pub permit_user_env: bool,
    /// May ports be forwarded.
    pub port_forwarding: bool,
    /// May files be copied.
    pub file_copy: bool,
    /// How long a browser's shell waits for its page; zero keeps none.
    pub session_grace: Span,
}

/// A label whose value a command prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLabel {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How often it is run; never less than a second.
    pub period: Span,
}
