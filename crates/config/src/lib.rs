//! `moongate.yaml`: text in, a [`Config`] that cannot be wrong or every [`Finding`] out, all together.
//!
//! Pure: no files, no environment, no clock. The keys are data ([`schema::keys`]): the loader, the suggestions, the
//! reference page and the file `moongate configure` writes all derive from that one table. Input is bounded
//! ([`tree::MAX_BYTES`], [`tree::MAX_DEPTH`], [`tree::MAX_NODES`]); a decoder that meets more says so and stops.
//!
//! It does not know what any setting *does*: whether a path exists, a port is free or a certificate is good is found
//! out by whoever builds the service.
#![forbid(unsafe_code)]

pub mod address;
mod build;
mod check;
pub mod compose;
mod config;
mod finding;
mod flags;
#[doc(hidden)]
pub mod fuzz;
mod join;
mod nearest;
mod raw;
pub mod reference;
mod scalar;
pub mod schema;
mod text;
pub mod tree;
mod unfit;
pub mod yaml;

pub use address::Address;
pub use config::{
    Algorithms, Auth, Authentication, CommandLabel, Config, Instance, KeyPair, Limits, Log, LogFormat,
    LogOutput, Proxy, ProxyProtocol, Rate, SecondFactor, Severity, Ssh, Storage, Upstream, Version,
};
pub use finding::{Finding, Findings, Weight};
pub use flags::Flags;
pub use join::{CaPin, SecretSource, StaticToken};
pub use text::{NotText, text_of};
pub use unfit::Unfit;

/// What loading gave: the configuration, and what is worth saying about it at start.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, whole and consistent.
    pub config: Config,
    /// Keys that are accepted and have no effect yet, and other things that are not errors; sorted by line.
    pub notes: Vec<Finding>,
}

/// Reads a configuration file and the command line's overrides.
///
/// `file` names the file in findings. No text at all is a good configuration: every service of a gate on its
/// defaults.
///
/// # Errors
/// Everything that is wrong, sorted by place: syntax, unknown and repeated keys, wrong types, contradictions.
pub fn load(file: &str, text: &str, flags: &Flags) -> Result<Loaded, Findings> {
    let mut findings = Vec::new();
    let tree = tree::parse_one(text, file, &mut findings);
    let raw = check::check(file, tree, &mut findings);
    let config = build::build(&raw, flags, &mut findings);
    findings.sort();
    findings.dedup();
    match config {
        Some(config) if findings.iter().all(|f| f.weight != Weight::Error) => {
            Ok(Loaded { config, notes: findings })
        }
        _ => Err(Findings(findings)),
    }
}
