//! What the environment says of the way: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, as data: which HTTP
//! proxy stands before a target; and `MOONGATE_CARRIER`.
//!
//! The environment is passed in, never read here. Loopback targets are never proxied. Lower-case names win over
//! upper-case ones, `https_proxy` over `all_proxy` over `http_proxy`: everything we carry is TLS.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;

/// A host and a port, as people write them: `gate.example:3080`, `10.0.0.1:22`, `[2001:db8::1]:443`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Why a text is no proxy or address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {why}")]
pub struct BadAddress {
    text: String,
    why: &'static str,
}

impl BadAddress {
    fn new(text: &str, why: &'static str) -> Self {
        // A password may stand before the `@`: errors are shown, so it is not repeated.
        let shown = text.rsplit_once('@').map_or(text, |(_, tail)| tail);
        Self { text: shown.chars().take(128).flat_map(char::escape_default).collect(), why }
    }
}

impl HostPort {
    /// Reads `host:port`, or `host` alone with `default_port`.
    ///
    /// # Errors
    /// The text is empty or has a port that is none.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, BadAddress> {
        let text = text.trim();
        let bad = |why| BadAddress::new(text, why);
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, tail) = rest.split_once(']').ok_or_else(|| bad("has no closing bracket"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(bad("has no IPv6 address in its brackets"));
            }
            (host, tail.strip_prefix(':').or(if tail.is_empty() { None } else { Some(tail) }))
        } else if text.matches(':').count() > 1 {
            (text, None)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || host.len() > 255 || !host.chars().all(allowed) {
            return Err(bad("is not a host or host:port"));
        }
        if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(bad("is not a host or host:port"));
        }
        let port = match port {
            None => default_port,
            Some(digits) => digits.parse().map_err(|_| bad("has a port that is not a number up to 65535"))?,
        };
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl FromStr for HostPort {
    type Err = BadAddress;
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        HostPort::parse(text, 0).and_then(|found| {
            if found.port == 0 { Err(BadAddress::new(text, "has no port")) } else { Ok(found) }
        })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An HTTP proxy that understands CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpProxy {
    /// Where it is.
    pub address: HostPort,
    /// It is spoken to over TLS.
    pub tls: bool,
    authorization: Option<String>,
}

impl HttpProxy {
    /// The value of `Proxy-Authorization`, when the URL had credentials. Secret.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    fn parse(text: &str) -> Result<Self, BadAddress> {
        let bad = |why| BadAddress::new(text, why);
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (tls, port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, 80),
            "https" => (true, 443),
            _ => return Err(bad("is not an http:// or https:// proxy")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, authority),
        };
        let authorization = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let plain = [unescape(user), b":".to_vec(), unescape(password)].concat();
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain))
        });
        Ok(Self { address: HostPort::parse(host, port)?, tls, authorization })
    }
}

impl fmt::Display for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }
}

impl fmt::Debug for HttpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Undoes percent-encoding; what is not an escape stays.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail.split_first_chunk::<2>().filter(|_| byte == b'%').and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        match escaped {
            Some((value, after)) => {
                out.push(value);
                rest = after;
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everything,
    Network { base: IpAddr, bits: u8 },
    Host { name: String, subdomains_only: bool, port: Option<u16> },
}

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everything);
        }
        if let Some((base, bits)) = text.split_once('/') {
            let base: IpAddr = base.parse().ok()?;
            let most = if base.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most)?;
            return Some(Self::Network { base, bits });
        }
        let stripped = text.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(text);
        let (subdomains_only, stripped) = match stripped.strip_prefix('.') {
            Some(rest) => (true, rest),
            None => (false, stripped),
        };
        let at = HostPort::parse(stripped, 0).ok()?;
        Some(Self::Host { name: at.host, subdomains_only, port: (at.port != 0).then_some(at.port) })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Network { base, bits } => {
                host.parse::<IpAddr>().is_ok_and(|ip| same_network(ip, *base, *bits))
            }
            Self::Host { name, subdomains_only, port: only } => {
                let exact = host == name && !subdomains_only;
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (exact || below) && only.is_none_or(|only| only == port)
            }
        }
    }
}

fn same_network(ip: IpAddr, base: IpAddr, bits: u8) -> bool {
    match (ip, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(a) & mask == u32::from(b) & mask
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            u128::from(a) & mask == u128::from(b) & mask
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Which proxy stands before which target, and what carries the bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyEnv {
    proxy: Option<HttpProxy>,
    exceptions: Vec<Exception>,
    web_socket: bool,
}

impl ProxyEnv {
    /// No proxy for anyone.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// True when `MOONGATE_CARRIER` is `websocket`: every connection goes inside a WebSocket, where TLS stays to the end,
    /// for networks that cut what leaves TLS.
    #[must_use]
    pub fn wants_web_socket(&self) -> bool {
        self.web_socket
    }

    /// Reads environment variables; all others are ignored.
    ///
    /// # Errors
    /// A proxy is named that cannot be used, or a carrier that there is not.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, BadAddress> {
        const PROXIES: [&str; 6] =
            ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY"];
        const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];
        let mut proxies: [Option<String>; 6] = Default::default();
        let mut exceptions: [Option<String>; 2] = Default::default();
        let mut web_socket = false;
        for (name, value) in vars {
            let value = value.trim().to_owned();
            if name == "MOONGATE_CARRIER" {
                web_socket = match value.as_str() {
                    "websocket" => true,
                    "" | "auto" => false,
                    _ => {
                        return Err(BadAddress::new(
                            &value,
                            "is no carrier for MOONGATE_CARRIER: auto or websocket",
                        ));
                    }
                };
            }
            let all = PROXIES.iter().zip(&mut proxies).chain(EXCEPTIONS.iter().zip(&mut exceptions));
            for (_, slot) in all.filter(|(known, _)| **known == name && !value.is_empty()) {
                *slot = Some(value.clone());
            }
        }
        let proxy = proxies.into_iter().flatten().next().map(|text| HttpProxy::parse(&text)).transpose()?;
        let exceptions = exceptions.into_iter().flatten().next().unwrap_or_default();
        let exceptions = exceptions
            .split([',', ' ', '\t'])
            .filter(|entry| !entry.is_empty())
            .filter_map(Exception::parse)
            .collect();
        Ok(Self { proxy, exceptions, web_socket })
    }

    /// The proxy before `host` and `port`, if any.
    #[must_use]
    pub fn before(&self, target: &HostPort) -> Option<&HttpProxy> {
        let host = target.host.trim_end_matches('.');
        let loopback = host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if loopback || self.exceptions.iter().any(|e| e.covers(host, target.port)) {
            return None;
        }
        self.proxy.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &[(&str, &str)]) -> ProxyEnv {
        ProxyEnv::from_vars(vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))).unwrap()
    }

    fn at(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_read_as_people_write_them() {
        for (text, host, port) in [
            ("gate.example:3080", "gate.example", 3080),
            ("Gate.Example", "gate.example", 443),
            ("10.0.0.1:22", "10.0.0.1", 22),
            ("[2001:db8::1]:443", "2001:db8::1", 443),
            ("[::1]", "::1", 443),
            ("::1", "::1", 443),
        ] {
            assert_eq!(HostPort::parse(text, 443).unwrap(), HostPort { host: host.into(), port }, "{text}");
        }
        for bad in
            ["", "gate:port", "gate:70000", "[::1", "a b:1", "gate/x:1", "[gate]:1", "a\r\nb:1", "1:2:3"]
        {
            assert!(HostPort::parse(bad, 443).is_err(), "{bad:?}");
        }
        assert_eq!(at("[2001:DB8::1]:443").to_string(), "[2001:db8::1]:443");
    }

    #[test]
    fn lower_case_wins_and_https_wins_over_all_over_http() {
        let all = [
            ("HTTP_PROXY", "http://c:1"),
            ("ALL_PROXY", "http://b:1"),
            ("HTTPS_PROXY", "http://a:1"),
            ("https_proxy", "http://z:1"),
        ];
        for (count, name) in [(4, "z"), (3, "a"), (2, "b"), (1, "c")] {
            let found = env(&all[..count]);
            assert_eq!(found.before(&at("gate.example:443")).unwrap().address, at(&format!("{name}:1")));
        }
        assert_eq!(env(&[("HTTPS_PROXY", " ")]), ProxyEnv::none());
    }

    #[test]
    fn exceptions_are_hosts_suffixes_ports_networks_and_everything() {
        for (list, target, proxied) in [
            ("example.com", "example.com:443", false),
            ("example.com", "gate.example.com:443", false),
            ("example.com", "badexample.com:443", true),
            (".example.com", "gate.example.com:443", false),
            (".example.com", "example.com:443", true),
            ("*.example.com", "gate.example.com:443", false),
            ("gate.example.com:3080", "gate.example.com:3080", false),
            ("gate.example.com:3080", "gate.example.com:443", true),
            ("10.0.0.0/8", "10.1.2.3:22", false),
            ("10.0.0.0/8", "11.1.2.3:22", true),
            ("fd00::/8", "[fd12::1]:22", false),
            ("0.0.0.0/0", "8.8.8.8:1", false),
            ("a, *", "anything:1", false),
            ("GATE.example", "gate.example:1", false),
            ("nonsense/99", "gate.example:1", true),
            ("", "localhost:1", false),
            ("", "127.0.0.1:1", false),
            ("", "[::1]:1", false),
        ] {
            let env = env(&[("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", list)]);
            assert_eq!(env.before(&at(target)).is_some(), proxied, "{list} {target}");
        }
    }

    #[test]
    fn a_carrier_is_asked_for_by_its_name() {
        for (value, wanted) in [("websocket", true), (" websocket ", true), ("auto", false), ("", false)] {
            assert_eq!(env(&[("MOONGATE_CARRIER", value)]).wants_web_socket(), wanted, "{value}");
        }
        let error = ProxyEnv::from_vars([("MOONGATE_CARRIER".into(), "pigeon".into())]).unwrap_err();
        assert_eq!(error.to_string(), "`pigeon` is no carrier for MOONGATE_CARRIER: auto or websocket");
    }

    #[test]
    fn credentials_become_a_header_and_are_never_shown() {
        let env = env(&[("https_proxy", "https://ann:p%40ss:w%C3%B6rd@proxy.example:8443/x")]);
        let proxy = env.before(&at("gate.example:443")).unwrap();

        assert!(proxy.tls);
        let plain = base64::engine::general_purpose::STANDARD.encode("ann:p@ss:w\u{f6}rd");
        assert_eq!(proxy.authorization(), Some(format!("Basic {plain}").as_str()));
        assert_eq!(format!("{proxy:?} {proxy}"), "https://proxy.example:8443 https://proxy.example:8443");
        let error =
            ProxyEnv::from_vars([("HTTPS_PROXY".into(), "socks5://ann:secret@p:1".into())]).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
