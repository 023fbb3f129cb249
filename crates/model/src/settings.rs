//! Settings of the whole cluster: told by the authority's configuration, obeyed by everyone.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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

/// What a role may say of the same, from the least to the most careful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoleRecording {
    /// Not at all; audit events are still written.
    Off,
    /// Uploaded while the session runs.
    Node,
    /// Each segment is acknowledged before the session goes on.
    NodeSync,
}

/// YAML 1.1, in which configuration is written, reads a bare `off` as false.
impl<'de> Deserialize<'de> for RoleRecording {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = RoleRecording;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("node, node-sync or off")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<RoleRecording, E> {
                match word {
                    "off" => Ok(RoleRecording::Off),
                    "node" => Ok(RoleRecording::Node),
                    "node-sync" => Ok(RoleRecording::NodeSync),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<RoleRecording, E> {
                if on { Err(E::invalid_value(Unexpected::Bool(on), &self)) } else { Ok(RoleRecording::Off) }
            }
        }
        deserializer.deserialize_any(Word)
    }
}

impl From<RecordingMode> for RoleRecording {
    fn from(mode: RecordingMode) -> Self {
        match mode {
            RecordingMode::Off => RoleRecording::Off,
            RecordingMode::Node | RecordingMode::Proxy => RoleRecording::Node,
            RecordingMode::NodeSync | RecordingMode::ProxySync => RoleRecording::NodeSync,
        }
    }
}

impl From<RoleRecording> for RecordingMode {
    fn from(said: RoleRecording) -> Self {
        match said {
            RoleRecording::Off => RecordingMode::Off,
            RoleRecording::Node => RecordingMode::Node,
            RoleRecording::NodeSync => RecordingMode::NodeSync,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_says_off_as_a_word_or_as_yaml_1_1_reads_it() {
        let read = |said: serde_json::Value| serde_json::from_value::<RoleRecording>(said);
        for (said, wanted) in [
            ("off".into(), RoleRecording::Off),
            (serde_json::Value::Bool(false), RoleRecording::Off),
            ("node".into(), RoleRecording::Node),
            ("node-sync".into(), RoleRecording::NodeSync),
        ] {
            assert_eq!(read(said).unwrap(), wanted);
            assert_eq!(read(serde_json::to_value(wanted).unwrap()).unwrap(), wanted);
        }
        for wrong in ["proxy".into(), "on".into(), true.into(), 1.into(), serde_json::json!({})] {
            let told = read(wrong).unwrap_err().to_string();
            assert!(told.contains("expected node, node-sync or off"), "{told}");
        }
    }
}
