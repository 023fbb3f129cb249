//! Whom to believe about where a connection comes from.
//!
//! A PROXY header or `X-Forwarded-For` counts only from a network that was configured; from anyone else a header is a
//! reason to hang up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network in CIDR form, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network such as 10.0.0.0/8 or fd00::/8")]
pub struct BadNetwork(String);

impl FromStr for Network {
    type Err = BadNetwork;
    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.chars().take(64).collect());
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| bad())?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| bad())?;
        if bits > most { Err(bad()) } else { Ok(Self { base, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

impl Network {
    /// The machine itself, both families.
    #[must_use]
    pub fn loopback() -> Vec<Network> {
        vec![
            Network { base: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), bits: 8 },
            Network { base: IpAddr::V6(Ipv6Addr::LOCALHOST), bits: 128 },
        ]
    }

    /// True when `ip` is in it; IPv4 in IPv6's clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(base) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(base) & mask == u128::from(ip) & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// What to do about PROXY headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyHeaders {
    /// Whoever sends one is hung up on.
    Refused,
    /// Accepted from these networks, and only from there.
    From(Vec<Network>),
    /// Every connection must start with one: only a balancer can reach this port.
    Required,
    /// Every connection must start with one, and come from these networks.
    RequiredFrom(Vec<Network>),
}

impl ProxyHeaders {
    pub(crate) fn believes(&self, ip: IpAddr) -> bool {
        match self {
            ProxyHeaders::Refused => false,
            ProxyHeaders::From(_) | ProxyHeaders::RequiredFrom(_) => {
                self.fronts().iter().any(|network| network.contains(ip))
            }
            ProxyHeaders::Required => true,
        }
    }

    /// The fronts that were named. Where every connection comes from a balancer, whom it names is none.
    pub(crate) fn fronts(&self) -> &[Network] {
        match self {
            ProxyHeaders::From(networks) | ProxyHeaders::RequiredFrom(networks) => networks,
            ProxyHeaders::Refused | ProxyHeaders::Required => &[],
        }
    }

    pub(crate) fn are_required(&self) -> bool {
        match self {
            ProxyHeaders::Required | ProxyHeaders::RequiredFrom(_) => true,
            ProxyHeaders::Refused | ProxyHeaders::From(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_they_say() {
        for (network, ip, within) in [
            ("10.0.0.0/8", "10.200.1.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(ip.parse().unwrap()), within, "{network} {ip}");
        }
        for bad in ["", "10.0.0.0/33", "gate/8", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
