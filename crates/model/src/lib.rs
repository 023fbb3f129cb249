//! The nouns of Moongate and the verbs of its API, as data.
//!
//! Every room may use this one; it uses nothing but serde and its schema companion. There is no I/O here, no
//! clock and no decision: what a noun *means* is `policy`'s work, how it is kept is `store`'s.
#![forbid(unsafe_code)]

pub mod api;
pub mod id;
pub mod identity;
pub mod label;
pub mod name;
pub mod resource;
pub mod secret;
pub mod settings;
pub mod time;

pub use id::{NodeId, RequestId, SessionId};
pub use identity::{Identity, Subject, SystemRole};
pub use label::Labels;
pub use name::{ClusterName, Login, NodeName, RoleName, UserName};
pub use secret::Secret;
pub use time::Timestamp;

/// The version of this build, as printed by every `version` command and in `/webapi/ping`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The peer protocol level of this build.
///
/// | level | since | meaning |
/// |---|---|---|
/// | 1 | 0.1.0 | first level: mux v1, recording v1, API v1 |
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Level(pub u16);

impl Level {
    /// What this build speaks.
    pub const CURRENT: Level = Level(1);
}
