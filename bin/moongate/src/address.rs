//! Addresses of gates as people write and paste them.

use client::proxy_env::{BadAddress, HostPort};

/// The gate's port unless one is given.
pub(crate) const PORT: u16 = 3080;

/// An address without its scheme and path.
fn bare(addr: &str) -> &str {
    let bare = addr.trim_start_matches("https://").trim_start_matches("http://");
    bare.split('/').next().unwrap_or(bare)
}

/// `host` or `host:port`, with the default port added; a scheme and a path are dropped.
///
/// # Errors
/// It is no address.
pub(crate) fn parse(addr: &str) -> Result<HostPort, BadAddress> {
    HostPort::parse(bare(addr), PORT)
}

/// The same as text; what is no address stays as it is.
pub(crate) fn with_port(addr: &str) -> String {
    match parse(addr) {
        Ok(at) => at.to_string(),
        Err(_) => bare(addr).to_owned(),
    }
}

/// The same in two parts, the host without brackets.
pub(crate) fn host_and_port(addr: &str) -> (String, u16) {
    match parse(addr) {
        Ok(at) => (at.host, at.port),
        Err(_) => (bare(addr).to_owned(), PORT),
    }
}

/// True when the address says which port.
pub(crate) fn names_port(addr: &str) -> bool {
    HostPort::parse(bare(addr), 0).is_ok_and(|at| at.port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_default_port_and_lose_the_scheme() {
        assert_eq!(with_port("gate.example.com"), "gate.example.com:3080");
        assert_eq!(with_port("https://gate.example.com:443/web"), "gate.example.com:443");
        assert_eq!(host_and_port("[::1]:443"), ("::1".to_owned(), 443));
        assert!(names_port("https://gate.example.com:3080/web"));
        assert!(!names_port("gate.example.com"));
    }
}
