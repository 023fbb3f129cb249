//! The authority from outside: every verb over TLS and HTTP, as its callers see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod abandoned;
#[path = "../../../pki/tests/common/authenticator.rs"]
mod authenticator;
mod conditions;
mod coverage;
mod held;
mod joining;
mod lasting;
mod links;
mod log;
mod passkeys;
mod proxies;
mod recordings;
mod relayed;
mod resources;
mod sign_in;
mod tape;
mod told;
mod world;
