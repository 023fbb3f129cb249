//! Settings of the whole cluster: told by the authority's configuration, obeyed by everyone.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Span;

/// Where sessions are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingMode {
    /// On the node, uploaded while the session runs.
    #[default]
    Node,
    /// On the node; each segment is acknowledged before the session goes on.
    NodeSync,
    /// In a service in front of hosts without an agent.
    Proxy,
    /// The same, acknowledged.
    ProxySync,
    /// Not at all; audit events are still written.
    Off,
}

impl RecordingMode {
    /// The name in configuration and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RecordingMode::Node => "node",
            RecordingMode::NodeSync => "node-sync",
            RecordingMode::Proxy => "proxy",
            RecordingMode::ProxySync => "proxy-sync",
            RecordingMode::Off => "off",
        }
    }
}

/// What a proxy does when several connected nodes have the name it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoutingStrategy {
    /// Refuses and names their ids.
    #[default]
    UnambiguousMatch,
    /// Takes the one whose tunnel to it began last: a host that was made anew under its old name.
    MostRecent,
}

/// Settings of the whole cluster that agents obey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterConfig {
    /// Where sessions are recorded.
    pub session_recording: RecordingMode,
    /// End a session that has been quiet this long; `None` never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_idle_timeout: Option<Span>,
    /// What is said when a session ends for that; empty for the usual words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_idle_timeout_message: String,
    /// Sign browsers out whose person did nothing for this long; `None` never.
    #[serde(default = "web_idle_timeout")]
    pub web_idle_timeout: Option<Span>,
    /// Lock browsers whose person did nothing for this long, until they prove who they are; `None` never.
    #[serde(default = "web_lock_timeout")]
    pub web_lock_timeout: Option<Span>,
    /// End sessions when the certificate expires.
    #[serde(default)]
    pub disconnect_expired_cert: bool,
    /// How often an idle connection is probed.
    pub keep_alive_interval: Span,
    /// How many probes may go unanswered.
    pub keep_alive_count_max: u32,
    /// How long a proxy waits for the first word of a node.
    #[serde(default = "ssh_dial_timeout")]
    pub ssh_dial_timeout: Span,
    /// What a proxy does when several nodes have the name it is asked for.
    #[serde(default)]
    pub routing_strategy: RoutingStrategy,
}

fn ssh_dial_timeout() -> Span {
    Span(Duration::from_secs(30))
}

fn web_idle_timeout() -> Option<Span> {
    Some(Span(Duration::from_secs(2 * 3600)))
}

fn web_lock_timeout() -> Option<Span> {
    Some(Span(Duration::from_secs(15 * 60)))
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            session_recording: RecordingMode::Node,
            client_idle_timeout: None,
            client_idle_timeout_message: String::new(),
            web_idle_timeout: web_idle_timeout(),
            web_lock_timeout: web_lock_timeout(),
            disconnect_expired_cert: false,
            keep_alive_interval: Span(Duration::from_secs(300)),
            keep_alive_count_max: 3,
            ssh_dial_timeout: ssh_dial_timeout(),
            routing_strategy: RoutingStrategy::default(),
        }
    }
}
