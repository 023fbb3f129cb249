//! Free ports on loopback.
//!
//! A port is found by binding and letting go; nothing hands one out twice within a process. It lies below those that
//! Linux gives to connections that go out (from 32768 on): one of these could take it while it is free, as it is until
//! its gate listens or while that is started anew.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::TcpListener;
use std::sync::Mutex;

use anyhow::{Result, bail};

/// The ports to choose from.
const FIRST: u16 = 11_000;
const COUNT: u64 = 20_000;

static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port nobody listens on.
///
/// # Errors
/// There is none.
pub fn free() -> Result<u16> {
    for _ in 0..1000 {
        let port = FIRST + u16::try_from(RandomState::new().hash_one(()) % COUNT)?;
        let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if taken.insert(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on loopback")
}
