//! The audit log: events in, search and proof out. Events are flat JSON objects in Teleport's shape; `audit`
//! knows their fields.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verb::{Asker, Call, Endpoint, verb};
use crate::Timestamp;
use crate::resource::{Kind, Verb};

/// An event as flat JSON: `event`, `code`, `time`, `uid` and the fields of its family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AuditEvent(pub serde_json::Map<String, serde_json::Value>);

/// Emits events of the calling host. Answered when they are durable. The same `uid` twice is kept once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EmitEvents {
    /// In order; at most 1,000, each at most 64 KiB.
    pub events: Vec<AuditEvent>,
}

/// How far the log reaches.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EmitReceipt {
    /// Index of the last event written.
    pub index: u64,
}

/// Searches the log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SearchEvents {
    /// Not before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Not after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only these types, separated by commas.
    #[serde(default)]
    pub types: String,
    /// Only events about this user.
    #[serde(default)]
    pub user: String,
    /// Only events of this session.
    #[serde(default)]
    pub session: String,
    /// At most this many. Default 100, at most 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Oldest first instead of newest first.
    #[serde(default)]
    pub ascending: bool,
    /// Continue after this.
    #[serde(default)]
    pub start: String,
}

/// Follows the log from now on (or from an index).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TailEvents {
    /// Start after this index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// One link of the chain as kept: what a verifier needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainedEvent {
    /// Its index, from 0.
    pub index: u64,
    /// Hex SHA-256 of the link before it.
    pub prev: String,
    /// Hex SHA-256 of this link.
    pub hash: String,
    /// The event, byte for byte as hashed.
    pub event: String,
}

/// A signed statement that the chain had reached a hash at an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoint {
    /// Index of the last link covered.
    pub index: u64,
    /// Its hash, hex.
    pub hash: String,
    /// When it was signed.
    pub time: Timestamp,
    /// Ed25519 signature, base64, over the canonical text of the above (see docs/formats/audit-log.md).
    pub signature: String,
}

/// Exports the chain for verification.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ExportChain {
    /// From this index.
    #[serde(default)]
    pub from: u64,
    /// At most this many links. Default 1,000, at most 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A piece of the chain.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChainPiece {
    /// Links, in order.
    pub links: Vec<ChainedEvent>,
    /// Checkpoints that fall in this piece, in order.
    pub checkpoints: Vec<Checkpoint>,
    /// How many links there are in all.
    pub total: u64,
}

verb!(EmitEvents, Post "/v1/events", Asker::Host, Json => EmitReceipt, "Writes events of the calling host, durably and in order.");
verb!(SearchEvents, Get "/v1/events", Asker::Granted(Kind::Event, Verb::List), Json => super::Page<AuditEvent>, "Searches the audit log.");
verb!(TailEvents, Get "/v1/events/tail", Asker::Granted(Kind::Event, Verb::List), Stream => AuditEvent, "Follows the audit log.");
verb!(ExportChain, Get "/v1/events/chain", Asker::Granted(Kind::Event, Verb::Read), Json => ChainPiece, "The audit log's links and signed checkpoints, for verification.");

/// The verbs of this noun.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    vec![EmitEvents::endpoint(), SearchEvents::endpoint(), TailEvents::endpoint(), ExportChain::endpoint()]
}
