//! What the authority is told at start. A plain value: `bin` maps it from the configuration file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

pub use model::api::cluster::SecondFactor;
use model::resource::ClusterConfig;
use model::{ClusterName, NodeId, NodeName, Secret, SystemRole};

/// Everything the authority is told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster's name. It cannot change once the cluster exists: every certificate carries it.
    pub cluster_name: ClusterName,
    /// This host's id (`<data_dir>/host_id`).
    pub host_id: NodeId,
    /// What people call this host.
    pub host_name: NodeName,
    /// Where `auth.key` and `log/events/` live.
    pub data_dir: PathBuf,
    /// Join tokens of the configuration file.
    pub static_tokens: Vec<StaticToken>,
    /// Whether people need a one-time code.
    pub second_factor: SecondFactor,
    /// The name passkeys are made for; the first name among the proxies' addresses when `None`.
    pub passkey_name: Option<String>,
    /// Further names and addresses the server's certificate carries.
    pub public_names: Vec<String>,
    /// Public addresses of proxies, `host:port`, told until a proxy reports its own.
    pub proxy_addrs: Vec<String>,
    /// What people read before they sign in; empty for nothing.
    pub message_of_the_day: String,
    /// Settings agents obey.
    pub cluster: ClusterConfig,
    /// How long things live and wait.
    pub times: Times,
}

/// A join token of the configuration file.
#[derive(Clone, Debug)]
pub struct StaticToken {
    /// What may join with it.
    pub roles: BTreeSet<SystemRole>,
    /// The secret, or where it is read from at start.
    pub value: TokenValue,
}

/// Where a static token's secret is.
#[derive(Clone, Debug)]
pub enum TokenValue {
    /// In the configuration itself.
    Plain(Secret),
    /// In a file, whose ends are trimmed.
    File(PathBuf),
}

/// The longest life of a person's certificate, whatever roles say.
pub const LONGEST_USER_CERT: Duration = Duration::from_secs(30 * 3_600);

/// How a connection on which nothing comes any more is told from one on which nothing is said.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// After so much silence the peer is asked for a sign of life.
    pub after: Duration,
    /// Without one for so long the connection is over.
    pub answer: Duration,
}

/// How long things live and wait. Tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A person's certificates, unless they ask for less or policy gives less.
    pub user_cert: Duration,
    /// A host's certificates.
    pub host_cert: Duration,
    /// A proxy that has not reported for this long has no tunnels.
    pub tunnel_report: Duration,
    /// The same for a proxy whose connection has ended: long enough to be heard over another one.
    pub tunnel_lost: Duration,
    /// How a proxy's connection that went silent is found to have ended.
    pub proxy_probe: Probe,
    /// A live session not announced for this long is gone.
    pub live_session: Duration,
    /// A recording without a live session and without a new segment for this long is abandoned.
    pub abandoned: Duration,
    /// How often background jobs look.
    pub housekeeping: Duration,
    /// How often the audit chain is signed at the latest.
    pub checkpoint: Duration,
    /// How often a quiet stream says that it lives.
    pub heartbeat: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            user_cert: minute * 60 * 12,
            host_cert: minute * 60 * 24 * 7,
            tunnel_report: Duration::from_secs(30),
            tunnel_lost: Duration::from_secs(4),
            proxy_probe: Probe { after: Duration::from_secs(3), answer: Duration::from_secs(5) },
            live_session: Duration::from_secs(90),
            abandoned: minute * 60,
            housekeeping: Duration::from_secs(5),
            checkpoint: minute,
            heartbeat: Duration::from_secs(10),
        }
    }
}
