//! Nodes and the tunnels that reach them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verb::{Asker, Call, Done, Endpoint, Page, verb};
use crate::resource::{Kind, Node, Verb};
use crate::{Labels, Login, NodeId, NodeName};

/// Lists the nodes the caller may connect to (or may list by rule).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ListNodes {
    /// Only nodes with all of these labels, as `key=value,key=value`.
    #[serde(default)]
    pub labels: String,
    /// Only nodes whose name, id or a label contains each of these words.
    #[serde(default)]
    pub search: String,
}

/// A node as one caller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeView {
    /// The node.
    #[serde(flatten)]
    pub node: Node,
    /// Local accounts the caller may use there.
    pub logins: Vec<String>,
}

/// Reports what a node is: sent by the node, every minute and when something changes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReportNode {
    /// The caller's own id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where it listens, if it does.
    #[serde(default)]
    pub address: String,
    /// Static and command labels.
    #[serde(default)]
    pub labels: Labels,
    /// Its build.
    pub version: String,
    /// The user its sessions run as when it cannot become others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_login: Option<Login>,
    /// Ed25519 public key (32 bytes, base64) that seals its recordings.
    pub seal_key: String,
}

/// One tunnel's state as its proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TunnelState {
    /// The agent.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// How it came: `tls`, `websocket`, `connect` (through an HTTP proxy), `direct`.
    pub carrier: String,
}

/// Reports every tunnel a proxy has: whole, on each change and every 10 s. What is missing is down; a proxy that
/// has not reported for 30 s has none.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReportTunnels {
    /// The tunnels.
    pub tunnels: Vec<TunnelState>,
}

/// Forgets a node and frees its id: it must join again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeleteNode {
    /// Which.
    pub id: NodeId,
}

verb!(ListNodes, Get "/v1/nodes", Asker::Granted(Kind::Own, Verb::List), Json => Page<NodeView>, "Nodes the caller may see, with the logins they may use.");
verb!(ReportNode, Put "/v1/nodes/{id}", Asker::Host, Json => Done, "Reports what the calling node is.");
verb!(ReportTunnels, Put "/v1/tunnels", Asker::Proxy, Json => Done, "Reports every tunnel the calling proxy has.");
verb!(DeleteNode, Delete "/v1/nodes/{id}", Asker::Granted(Kind::Node, Verb::Delete), Json => Done, "Forgets a node and frees its id: it must join again.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![ListNodes::endpoint(), ReportNode::endpoint(), ReportTunnels::endpoint(), DeleteNode::endpoint()]
}
