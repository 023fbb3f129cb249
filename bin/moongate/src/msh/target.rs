//! `[login@]node[:port]` and forwards such as `8080:db:5432`, parsed once.

use std::fmt;
use std::path::PathBuf;

/// A node and the account on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The account, if one was named.
    pub(crate) login: Option<String>,
    /// The node: name, `name.cluster` or id.
    pub(crate) node: String,
}

impl Target {
    /// Parses `[login@]node[:port]`; the port is dropped, nodes have none. The last `@` separates, so logins may
    /// have one.
    ///
    /// # Errors
    /// There is no node.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let (login, rest) = match text.rsplit_once('@') {
            Some((login, rest)) => (Some(login.to_owned()).filter(|l| !l.is_empty()), rest),
            None => (None, text),
        };
        let node = match rest.rsplit_once(':') {
            Some((node, port)) if port.bytes().all(|b| b.is_ascii_digit()) => node,
            _ => rest,
        };
        anyhow::ensure!(!node.is_empty(), "`{text}` names no node (expected [login@]node)");
        Ok(Self { login, node: node.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.login {
            Some(login) => write!(f, "{login}@{}", self.node),
            None => f.write_str(&self.node),
        }
    }
}

/// A word or pattern for nodes without the cluster's name: what a `Host` line takes, and no dot.
///
/// # Errors
/// Another character is in it.
pub(crate) fn bare_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '?');
    if text.is_empty() || !text.chars().all(good) {
        return Err("a name or pattern such as web-1 or gpu-*, without a dot".to_owned());
    }
    Ok(text.to_owned())
}

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A path here.
    Here(String),
    /// A path on a node.
    There(Target, String),
}

impl Place {
    /// Parses `path` or `[login@]node:path`. As scp does, a `/` before the first `:` makes it a local path.
    ///
    /// # Errors
    /// The node's part is no target.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        match text.split_once(':') {
            Some((node, path)) if !node.is_empty() && !node.contains('/') => {
                Ok(Place::There(Target::parse(node)?, path.to_owned()))
            }
            _ => Ok(Place::Here(text.to_owned())),
        }
    }
}

/// One end of a forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A port of a host; where one listens, 0 lets the system choose.
    Port(String, u16),
    /// A Unix socket: whatever has a `/` in it, as with ssh.
    Path(PathBuf),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(host, port) => write!(f, "{host}:{port}"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// What `-L` and `-R` take: where to listen, and where what comes there goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// Where to listen.
    pub(crate) from: End,
    /// Where to connect to.
    pub(crate) to: End,
}

/// Where a forward listens when it does not say.
const HERE: &str = "127.0.0.1";

/// Splits at `:` outside brackets, so `[::1]:80:host:80` has four parts.
fn parts(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            ':' if depth == 0 => out.push(String::new()),
            _ => {
                if let Some(last) = out.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    out
}

impl Forward {
    /// Parses `[bind:]port:host:hostport`, with a path in the place of either end (ssh(1), `-L` and `-R`).
    ///
    /// # Errors
    /// The text has another shape.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let bad = || {
            anyhow::anyhow!(
                "`{text}` is not a forward (expected [bind:]port:host:hostport; either end may be the path of a \
                 Unix socket instead: port:/path, /path:host:hostport, /path:/path)"
            )
        };
        let port = |host: &str, port: &str| {
            port.parse().map(|port| End::Port(host.to_owned(), port)).map_err(|_| bad())
        };
        let path = |path: &str| End::Path(path.into());
        let is_path = |text: &str| text.contains('/');
        let found = parts(text);
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        let (from, to) = match *found.as_slice() {
            [from, to] if is_path(from) && is_path(to) => (path(from), path(to)),
            [from, to] if is_path(to) => (port(HERE, from)?, path(to)),
            [from, host, to] if is_path(from) => (path(from), port(host, to)?),
            [bind, from, to] if is_path(to) => (port(bind, from)?, path(to)),
            [from, host, to] => (port(HERE, from)?, port(host, to)?),
            [bind, from, host, to] => (port(bind, from)?, port(host, to)?),
            _ => return Err(bad()),
        };
        Ok(Self { from, to })
    }
}

/// `[bind:]port` of `-D`.
///
/// # Errors
/// The text has another shape.
pub(crate) fn parse_dynamic(text: &str) -> anyhow::Result<(String, u16)> {
    let bad = || anyhow::anyhow!("`{text}` is not a place to listen (expected [bind:]port)");
    match parts(text).as_slice() {
        [port] => Ok((HERE.to_owned(), port.parse().map_err(|_| bad())?)),
        [bind, port] => Ok((bind.clone(), port.parse().map_err(|_| bad())?)),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_places_read_as_people_write_them() {
        assert_eq!(Target::parse("root@gpu-1.main:22").unwrap().to_string(), "root@gpu-1.main");
        assert_eq!(Target::parse("ann@corp@gpu-1").unwrap().login.unwrap(), "ann@corp");
        assert!(Target::parse("root@").is_err());
        assert_eq!(Place::parse("./a:b").unwrap(), Place::Here("./a:b".into()));
        let there = Place::There(Target { login: None, node: "gpu-1".into() }, "/tmp/x".into());
        assert_eq!(Place::parse("gpu-1:/tmp/x").unwrap(), there);
    }

    #[test]
    fn forwards_lead_from_ports_and_sockets_to_ports_and_sockets() {
        for (text, from, to) in [
            ("8080:db:5432", "127.0.0.1:8080", "db:5432"),
            ("*:8080:db:5432", "*:8080", "db:5432"),
            ("[::1]:0:[fe80::1]:80", "::1:0", "fe80::1:80"),
            ("8080:/run/db.sock", "127.0.0.1:8080", "/run/db.sock"),
            ("localhost:8080:/run/db.sock", "localhost:8080", "/run/db.sock"),
            ("/tmp/db.sock:db:5432", "/tmp/db.sock", "db:5432"),
            ("./db.sock:/run/db.sock", "./db.sock", "/run/db.sock"),
            ("[/tmp/a:b]:/run/db.sock", "/tmp/a:b", "/run/db.sock"),
        ] {
            let forward = Forward::parse(text).unwrap();
            assert_eq!(
                (forward.from.to_string(), forward.to.to_string()),
                (from.into(), to.into()),
                "{text}"
            );
        }
        let wrong = [
            "8080",
            "x:y:z",
            "1:2:3:4:5",
            "99999:h:1",
            "8080:",
            "8080:db",
            "/tmp/a",
            "/tmp/a:db:x",
            "a:b:/c",
            "1:2:/a:/b",
        ];
        for bad in wrong {
            assert!(Forward::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bare_name_is_no_more_than_a_pattern_for_one_word() {
        assert_eq!(bare_name("web-*"), Ok("web-*".to_owned()));
        for other in ["", "web.example", "a b", "a\nProxyCommand x", "!web", "\"a\""] {
            assert!(bare_name(other).is_err(), "{other}");
        }
    }
}
