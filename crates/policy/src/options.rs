//! Options of several roles become one: each key has its own way of merging, and none of them depends on order.
//!
//! | key | merge | without any opinion |
//! |---|---|---|
//! | `max_session_ttl` | smallest | 30 h |
//! | `forward_agent`, `permit_x11_forwarding`, `pin_source_ip` | one yes is enough | no |
//! | `port_forwarding` | one yes is enough | yes |
//! | `ssh_file_copy` | one no is enough | yes |
//! | `client_idle_timeout` | smallest, the cluster's too | none |
//! | `disconnect_expired_cert` | one yes is enough, the cluster's too | no |
//! | `max_sessions`, `max_connections` | smallest | no limit |
//! | `record_session.default`, `ssh` | strictest | best effort |
//! | `record_session.mode` | most careful: node-sync, node, off | the cluster's |
//! | `record_session.keystrokes` | one yes is enough | no |
//! | `record_session.notice` | loudest: consent, banner, silent | silent |
//!
//! A role that says no mode keeps to the cluster's, so that nothing is recorded only of those whose every role wants that.
//!
//! The loudest notice wins because a notice is somebody's duty: a role that asks for one cannot be undone by another
//! role, and no role can make others silent. Where nothing is recorded nobody is told that anything is.

use std::time::Duration;

use model::Timestamp;
use model::resource::{ClusterConfig, Notice, RecordingMode, RoleOptions, RoleRecording, Strictness};
use model::time::Span;

/// How long a certificate may live when no role says.
const MAX_SESSION_TTL: Duration = Duration::from_secs(30 * 3600);

/// What a person may open beside shells and commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// `-L`, `-R`, `-D`, Unix sockets.
    pub port_forwarding: bool,
    /// The SSH agent.
    pub agent_forwarding: bool,
    /// X11.
    pub x11_forwarding: bool,
    /// sftp and scp.
    pub file_copy: bool,
}

/// How a session is to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Where, or not at all.
    pub mode: RecordingMode,
    /// What happens when it cannot go on.
    pub strictness: Strictness,
    /// What is typed too.
    pub keystrokes: bool,
    /// What the person is told.
    pub notice: Notice,
}

/// Options of all roles somebody holds, merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Longest life of a certificate.
    pub max_session_ttl: Duration,
    /// Certificates are good from the login's address only.
    pub pin_source_ip: bool,
    /// What may be opened.
    pub channels: Channels,
    /// End a session that has been quiet this long.
    pub idle_limit: Option<Duration>,
    /// End sessions with the certificate.
    pub disconnect_expired_cert: bool,
    /// Most sessions over one connection.
    pub max_sessions: Option<u32>,
    /// Most connections at a time.
    pub max_connections: Option<u32>,
    /// Recording.
    pub recording: Recording,
}

/// What comes with a yes: the session must keep to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obligations {
    /// How it is recorded.
    pub recording: Recording,
    /// End it when quiet this long.
    pub idle_limit: Option<Duration>,
    /// End it then, whatever happens: the certificate's end, where the rules want that.
    pub ends_at: Option<Timestamp>,
    /// When the certificate ends; no new session starts on it afterwards.
    pub certificate_ends_at: Timestamp,
    /// Most sessions over one connection.
    pub max_sessions: Option<u32>,
    /// Most connections at a time.
    pub max_connections: Option<u32>,
    /// What may be opened beside it. Each opening is asked about by itself too.
    pub channels: Channels,
}

impl Options {
    /// Merges.
    pub(crate) fn merge<'a>(
        roles: impl Iterator<Item = &'a RoleOptions> + Clone,
        cluster: &ClusterConfig,
    ) -> Self {
        let any = |pick: fn(&RoleOptions) -> Option<bool>, without: bool| {
            roles.clone().filter_map(pick).reduce(|a, b| a || b).unwrap_or(without)
        };
        let least = |pick: fn(&RoleOptions) -> Option<u32>| roles.clone().filter_map(pick).min();
        let shortest = |pick: fn(&RoleOptions) -> Option<Span>| {
            roles.clone().filter_map(pick).map(|s| s.0).filter(|d| !d.is_zero()).min()
        };
        let cluster_idle = cluster.client_idle_timeout.map(|s| s.0).filter(|d| !d.is_zero());
        Self {
            max_session_ttl: shortest(|o| o.max_session_ttl).unwrap_or(MAX_SESSION_TTL),
            pin_source_ip: any(|o| o.pin_source_ip, false),
            channels: Channels {
                port_forwarding: any(|o| o.port_forwarding, true),
                agent_forwarding: any(|o| o.forward_agent, false),
                x11_forwarding: any(|o| o.permit_x11_forwarding, false),
                file_copy: roles.clone().all(|o| o.ssh_file_copy != Some(false)),
            },
            idle_limit: shortest(|o| o.client_idle_timeout).into_iter().chain(cluster_idle).min(),
            disconnect_expired_cert: cluster.disconnect_expired_cert
                || any(|o| o.disconnect_expired_cert, false),
            max_sessions: least(|o| o.max_sessions),
            max_connections: least(|o| o.max_connections),
            recording: merge_recording(roles, cluster.session_recording),
        }
    }
}

fn merge_recording<'a>(
    roles: impl Iterator<Item = &'a RoleOptions> + Clone,
    cluster: RecordingMode,
) -> Recording {
    let usual = RoleRecording::from(cluster);
    let wanted = |o: &RoleOptions| o.record_session.as_ref().and_then(|r| r.mode).unwrap_or(usual);
    let careful = roles.clone().map(wanted).max().unwrap_or(usual);
    let mode = if careful == usual { cluster } else { careful.into() };
    let said = roles.filter_map(|o| o.record_session.as_ref());
    let loudest = said.clone().filter_map(|r| r.notice).max().unwrap_or_default();
    Recording {
        mode,
        strictness: said.clone().filter_map(|r| r.ssh.or(r.default)).max().unwrap_or(Strictness::BestEffort),
        keystrokes: said.clone().any(|r| r.keystrokes == Some(true)),
        notice: if mode == RecordingMode::Off { Notice::Silent } else { loudest },
    }
}
