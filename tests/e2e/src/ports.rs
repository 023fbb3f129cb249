//! Free ports on loopback.
//!
//! A port is found by binding and letting go; nothing hands one out twice within a process.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;

use anyhow::{Result, bail};

static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port nobody listens on.
///
/// # Errors
/// There is none.
pub fn free() -> Result<u16> {
    for _ in 0..100 {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if taken.insert(port) {
            return Ok(port);
        }
    }
    bail!("no free port on loopback")
}
