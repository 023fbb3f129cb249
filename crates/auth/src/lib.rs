//! The authority: who may sign in, join, connect and look; what happened, and the proof of it.
//!
//! Implements every verb of `model::api` over mutual TLS. Knows no session, no tunnel and no target: others report
//! those. Private authority keys are touched through `pki::Signer` only.
#![forbid(unsafe_code)]

pub mod settings;

pub use settings::Settings;
