//! `host:port` as people write it: IPv4, `[IPv6]`, a name; with `https://` in front or without; the port may be left
//! out where a default exists.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::Unfit;

/// A host and a port. The host is an IP address or a name; nothing is resolved here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Parses `text`; `default_port` stands in for a missing port.
    ///
    /// # Errors
    /// No host, a host with characters no host has, a port that is no port, a scheme other than `http(s)` or `tcp`.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, Unfit> {
        let bad = || {
            Unfit::new(text, format!("an address (host or host:port, e.g. gate.example.com:{default_port})"))
        };
        let trimmed = text.trim();
        let (bare, default_port) = match trimmed.split_once("://") {
            None => (trimmed, default_port),
            Some(("https", rest)) => (rest, 443),
            Some(("http" | "tcp", rest)) => (rest, default_port),
            Some(_) => return Err(bad()),
        };
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let (host, port) = split(bare).ok_or_else(bad)?;
        let port = match port {
            None => default_port,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| bad())?
            }
            Some(_) => return Err(bad()),
        };
        if !is_host(host) {
            return Err(bad());
        }
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }

    /// Parses an address that somebody connects to: [`Address::parse`], but for port 0, which means any that is free
    /// to who listens and nothing to who connects.
    ///
    /// # Errors
    /// As there, and port 0.
    pub fn reachable(text: &str, default_port: u16) -> Result<Self, Unfit> {
        let address = Self::parse(text, default_port)?;
        if address.port == 0 {
            let expected = format!("an address with a port from 1 (e.g. gate.example.com:{default_port})");
            return Err(Unfit::new(text, expected));
        }
        Ok(address)
    }

    /// An address from its parts.
    ///
    /// # Errors
    /// The host has characters no host has.
    pub fn new(host: &str, port: u16) -> Result<Self, Unfit> {
        if is_host(host) {
            Ok(Self { host: host.to_ascii_lowercase(), port })
        } else {
            Err(Unfit::new(host, "a host name or IP address"))
        }
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, when it is an IP address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The socket address, when the host is an IP address.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        self.ip().map(|ip| SocketAddr::new(ip, self.port))
    }

    /// Listens on every interface (`0.0.0.0` or `::`).
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_unspecified())
    }

    /// Reachable from this host only.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// How this process reaches what listens here: loopback for an unspecified host, else the address itself.
    #[must_use]
    pub fn local(&self) -> Address {
        match self.ip() {
            Some(IpAddr::V4(ip)) if ip.is_unspecified() => Self { host: "127.0.0.1".into(), port: self.port },
            Some(IpAddr::V6(ip)) if ip.is_unspecified() => Self { host: "::1".into(), port: self.port },
            _ => self.clone(),
        }
    }

    /// The same host at another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Address {
        Self { host: self.host.clone(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Splits host and port: `[::1]:22`, `[::1]`, `::1` (no port), `host:22`, `host`, `:22` (every interface).
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None if after.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match text.rsplit_once(':') {
        None => Some((text, None)),
        Some((host, _)) if host.contains(':') => Some((text, None)),
        Some(("", port)) => Some(("0.0.0.0", Some(port))),
        Some((host, port)) => Some((host, Some(port))),
    }
}

fn is_host(host: &str) -> bool {
    if host.contains(':') {
        return host.parse::<std::net::Ipv6Addr>().is_ok();
    }
    // What ends in a number is an IPv4 address or a slip in one (RFC 1123 section 2.1).
    let last = host.rsplit_once('.').map(|(_, last)| last);
    if last.is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return host.parse::<std::net::Ipv4Addr>().is_ok();
    }
    !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, default: u16, expected: &str) {
        assert_eq!(Address::parse(text, default).unwrap().to_string(), expected, "{text}");
    }

    #[test]
    fn addresses_read_as_people_write_them() {
        check("0.0.0.0:3080", 1, "0.0.0.0:3080");
        check("10.1.0.1", 3025, "10.1.0.1:3025");
        check("100.64.0.x:3080", 1, "100.64.0.x:3080");
        check("https://Gate.Example.com:443", 3025, "gate.example.com:443");
        check("https://gate.example.com", 3025, "gate.example.com:443");
        check("[::1]:22", 1, "[::1]:22");
        check("::1", 22, "[::1]:22");
        check(":3000", 1, "0.0.0.0:3000");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "a b",
            "gate:port",
            "gate:70000",
            "[::1",
            "ftp://x",
            "-x:1",
            "a..b",
            "gate:+22",
            "https://",
            "256.1.1.1",
            "1.2.3",
            "1.2.3.4.5:443",
            "gate.1",
        ] {
            assert!(Address::parse(bad, 1).is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_is_reached_at_port_0() {
        assert_eq!(Address::parse("127.0.0.1:0", 1).unwrap().port(), 0);
        assert!(Address::reachable("127.0.0.1:0", 1).unwrap_err().to_string().contains("a port from 1"));
        assert_eq!(Address::reachable("gate", 3080).unwrap().port(), 3080);
    }

    #[test]
    fn a_process_reaches_its_own_listener_over_loopback() {
        assert_eq!(Address::parse("0.0.0.0:3025", 1).unwrap().local().to_string(), "127.0.0.1:3025");
        assert_eq!(Address::parse("[::]:3025", 1).unwrap().local().to_string(), "[::1]:3025");
        assert_eq!(Address::parse("10.0.0.1:3025", 1).unwrap().local().to_string(), "10.0.0.1:3025");
    }
}
