//! The file `moongate configure` writes: every key that has an effect, with its sentence; what was asked for set, the
//! rest commented out with its default.

use std::fmt::Write as _;

use model::SystemRole;

use crate::join::parse_roles;
use crate::schema::{self, Effect, Key, Kind, Only};
use crate::{Address, CaPin, SecretSource, Unfit};

/// What `moongate configure` was asked for, as typed. Empty fields leave the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// `--cluster-name`.
    pub cluster_name: Option<String>,
    /// `--roles=node,proxy,auth`; all three when absent, `node` alone when an authority elsewhere is named.
    pub roles: Option<String>,
    /// `--auth-server`.
    pub auth_server: Option<String>,
    /// `--proxy`.
    pub proxy: Option<String>,
    /// `--token`.
    pub token: Option<String>,
    /// `--ca-pin`.
    pub ca_pin: Vec<String>,
    /// `--public-addr`.
    pub public_addr: Option<String>,
    /// `--cert-file`.
    pub cert_file: Option<String>,
    /// `--key-file`.
    pub key_file: Option<String>,
    /// `--acme`.
    pub acme: bool,
    /// `--acme-email`.
    pub acme_email: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
    /// `--node-name`.
    pub nodename: Option<String>,
    /// `--node-labels`.
    pub labels: Option<String>,
    /// `--version`; v3 when absent.
    pub version: Option<String>,
}

/// Why a wish cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWish {
    /// One of two flags that go together.
    #[error("{0} needs {1}")]
    Needs(&'static str, &'static str),
    /// Two flags that exclude each other.
    #[error("{0} and {1} exclude each other")]
    Either(&'static str, &'static str),
    /// A value that is not what the flag takes.
    #[error("{0}: {1}")]
    Value(&'static str, Unfit),
}

/// A path and the YAML lines of its value.
type Set = (&'static str, String);

/// Writes the file.
///
/// # Errors
/// Every contradiction and every value that is not what its flag takes.
pub fn compose(wish: &Wish) -> Result<String, Vec<BadWish>> {
    let mut bad = contradictions(wish);
    let mut sets: Vec<Set> = Vec::new();
    let roles = services(wish, &mut bad);
    instance(wish, &mut sets, &mut bad);
    for (section, role) in [
        ("auth_service", SystemRole::Auth),
        ("proxy_service", SystemRole::Proxy),
        ("ssh_service", SystemRole::Node),
    ] {
        let enabled = if roles.contains(&role) { "yes" } else { "no" };
        if let Some(key) = schema::find(&format!("{section}.enabled")) {
            sets.push((key.path, enabled.to_owned()));
        }
    }
    proxy(wish, &mut sets, &mut bad);
    if bad.is_empty() { Ok(write(&version_of(wish), &sets)) } else { Err(bad) }
}

fn version_of(wish: &Wish) -> String {
    wish.version.clone().unwrap_or_else(|| "v3".to_owned())
}

fn contradictions(wish: &Wish) -> Vec<BadWish> {
    let mut bad = Vec::new();
    let v3 = version_of(wish) == "v3";
    if !matches!(version_of(wish).as_str(), "v1" | "v2" | "v3") {
        bad.push(BadWish::Value("--version", Unfit::new(&version_of(wish), "one of v1, v2, v3")));
    }
    match (&wish.key_file, &wish.cert_file) {
        (Some(_), None) => bad.push(BadWish::Needs("--key-file", "--cert-file")),
        (None, Some(_)) => bad.push(BadWish::Needs("--cert-file", "--key-file")),
        _ => {}
    }
    if wish.acme && wish.cluster_name.is_none() {
        bad.push(BadWish::Needs("--acme", "--cluster-name"));
    }
    if wish.acme && wish.key_file.is_some() {
        bad.push(BadWish::Either("--acme", "--key-file"));
    }
    if wish.proxy.is_some() && wish.auth_server.is_some() {
        bad.push(BadWish::Either("--proxy", "--auth-server"));
    }
    if wish.proxy.is_some() && !v3 {
        bad.push(BadWish::Needs("--proxy", "--version=v3"));
    }
    bad
}

/// The services asked for.
fn services(wish: &Wish, bad: &mut Vec<BadWish>) -> Vec<SystemRole> {
    let away = wish.proxy.is_some() || wish.auth_server.is_some();
    let roles = match wish.roles.as_deref().map(parse_roles) {
        Some(Ok(roles)) => roles.into_iter().collect(),
        Some(Err(error)) => {
            bad.push(BadWish::Value("--roles", error));
            Vec::new()
        }
        None if away => vec![SystemRole::Node],
        None => vec![SystemRole::Auth, SystemRole::Proxy, SystemRole::Node],
    };
    if wish.proxy.is_some() && roles.contains(&SystemRole::Proxy) {
        bad.push(BadWish::Either("--proxy", "--roles=proxy"));
    }
    roles
}

fn checked<T>(flag: &'static str, result: Result<T, Unfit>, bad: &mut Vec<BadWish>) -> Option<T> {
    result.map_err(|error| bad.push(BadWish::Value(flag, error))).ok()
}

fn instance(wish: &Wish, sets: &mut Vec<Set>, bad: &mut Vec<BadWish>) {
    let mut set = |path: &'static str, value: String| sets.push((path, value));
    if let Some(name) = &wish.nodename {
        let parsed = name.parse::<model::NodeName>().map_err(|e| Unfit::new(name, e.to_string()));
        checked("--node-name", parsed, bad);
        set("moongate.nodename", quoted(name));
    }
    set("moongate.data_dir", quoted(wish.data_dir.as_deref().unwrap_or("/var/lib/moongate")));
    if let Some(token) = &wish.token {
        checked("--token", SecretSource::join_token(token), bad);
        set("moongate.auth_token", quoted(token));
    }
    if !wish.ca_pin.is_empty() {
        for pin in &wish.ca_pin {
            checked("--ca-pin", CaPin::parse(pin), bad);
        }
        set("moongate.ca_pin", listed(&wish.ca_pin));
    }
    if let Some(address) =
        wish.auth_server.as_deref().and_then(|t| checked("--auth-server", Address::reachable(t, 3025), bad))
    {
        let path = if version_of(wish) == "v3" { "moongate.auth_server" } else { "moongate.auth_servers" };
        set(path, quoted(&address.to_string()));
    }
    if let Some(address) =
        wish.proxy.as_deref().and_then(|t| checked("--proxy", Address::reachable(t, 3080), bad))
    {
        set("moongate.proxy_server", quoted(&address.to_string()));
    }
    if let Some(name) = &wish.cluster_name {
        let parsed = name.parse::<model::ClusterName>().map_err(|e| Unfit::new(name, e.to_string()));
        checked("--cluster-name", parsed, bad);
        set("auth_service.cluster_name", quoted(name));
    }
    if let Some(text) = &wish.labels {
        match model::label::parse(text) {
            Ok(labels) => {
                let lines: String = labels
                    .iter()
                    .fold(String::new(), |out, (k, v)| format!("{out}\n    {}: {}", quoted(k), quoted(v)));
                set("ssh_service.labels", lines);
            }
            Err(_) => bad.push(BadWish::Value(
                "--node-labels",
                Unfit::new(text, "labels (key=value, separated by commas)"),
            )),
        }
    }
}

fn proxy(wish: &Wish, sets: &mut Vec<Set>, bad: &mut Vec<BadWish>) {
    if let Some(text) = &wish.public_addr {
        let parsed: Vec<String> = text
            .split(',')
            .filter_map(|t| checked("--public-addr", Address::reachable(t, 443), bad))
            .map(|a| a.to_string())
            .collect();
        sets.push(("proxy_service.public_addr", listed(&parsed)));
    }
    if let (Some(key), Some(cert)) = (&wish.key_file, &wish.cert_file) {
        let pair = format!("\n  - key_file: {}\n    cert_file: {}", quoted(key), quoted(cert));
        sets.push(("proxy_service.https_keypairs", pair));
    }
    if wish.acme {
        let email =
            wish.acme_email.as_deref().map(|e| format!("\n    email: {}", quoted(e))).unwrap_or_default();
        sets.push(("proxy_service.acme", format!("\n    enabled: yes{email}")));
    }
}

/// A text as a double-quoted YAML scalar.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn listed(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(", "))
}

fn write(version: &str, sets: &[Set]) -> String {
    let mut out = String::from(
        "# Moongate's configuration. Every key that has an effect is here; those set stand out, the others show their\n\
         # default. `moongate configure --test FILE` checks a file without starting anything.\n",
    );
    let _ = writeln!(out, "version: {version}");
    for section in schema::under("").filter(|k| k.kind == Kind::Section && k.effect == Effect::Now) {
        let _ = writeln!(out, "\n# {}\n{}:", section.doc, section.path);
        inside(&mut out, section.path, 1, version, sets);
    }
    out
}

/// The keys of a section, set ones plain and the others commented out.
fn inside(out: &mut String, path: &str, depth: usize, version: &str, sets: &[Set]) {
    let pad = "  ".repeat(depth);
    for key in schema::under(path).filter(|k| in_version(k, version)) {
        let set = sets.iter().find(|(p, _)| *p == key.path);
        match (set, key.kind) {
            (Some((_, value)), _) => {
                let space = if value.starts_with('\n') { "" } else { " " };
                let _ = writeln!(out, "{pad}# {}\n{pad}{}:{space}{value}", key.doc, key.name());
            }
            (None, _) if key.effect != Effect::Now => {}
            (None, Kind::Section) => commented_section(out, key, &pad, version),
            (None, Kind::Sections) => commented_list(out, key, &pad),
            (None, _) => {
                let line = format!("{pad}# {}: {}", key.name(), key.default);
                let _ = writeln!(out, "{pad}# {}\n{}", key.doc, line.trim_end());
            }
        }
    }
}

/// A section nobody asked for: commented out whole.
fn commented_section(out: &mut String, key: &Key, pad: &str, version: &str) {
    let _ = writeln!(out, "{pad}# {}\n{pad}# {}:", key.doc, key.name());
    commented_keys(out, key.path, &format!("{pad}#   "), version);
}

fn commented_keys(out: &mut String, path: &str, pad: &str, version: &str) {
    for key in schema::under(path).filter(|k| k.effect == Effect::Now && in_version(k, version)) {
        let value = if key.default.is_empty() { String::new() } else { format!(" {}", key.default) };
        let _ = writeln!(out, "{pad}{}:{value}  # {}", key.name(), key.doc);
        if key.kind == Kind::Section {
            commented_keys(out, key.path, &format!("{pad}  "), version);
        }
    }
}

fn commented_list(out: &mut String, key: &Key, pad: &str) {
    let _ = writeln!(out, "{pad}# {}\n{pad}# {}:", key.doc, key.name());
    for (i, inner) in schema::keys().filter(|k| k.parent().strip_suffix("[]") == Some(key.path)).enumerate() {
        let dash = if i == 0 { "- " } else { "  " };
        let value = if inner.default.is_empty() { String::new() } else { format!(" {}", inner.default) };
        let _ = writeln!(out, "{pad}#   {dash}{}:{value}  # {}", inner.name(), inner.doc);
    }
}

fn in_version(key: &Key, version: &str) -> bool {
    match key.only {
        Only::Any => true,
        Only::UntilV2 => version != "v3",
        Only::FromV3 => version == "v3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Flags, Upstream, load};

    fn loaded(wish: &Wish) -> Config {
        let text = compose(wish).unwrap();
        load("composed", &text, &Flags::default()).unwrap_or_else(|e| panic!("{e}\n{text}")).config
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_file_for_everything_loads_and_says_what_was_asked() {
        let wish = Wish {
            cluster_name: some("demo-cluster"),
            public_addr: some("gate.example.com:443"),
            cert_file: some("/etc/c.pem"),
            key_file: some("/etc/k.pem"),
            labels: some("env=demo,odd: key"),
            ..Wish::default()
        };
        let config = loaded(&wish);

        assert_eq!(config.auth.unwrap().cluster_name.unwrap().as_str(), "demo-cluster");
        let proxy = config.proxy.unwrap();
        assert_eq!(proxy.public_addrs[0].to_string(), "gate.example.com:443");
        assert_eq!(proxy.keypairs.len(), 1);
        assert!(proxy.also_listen.is_empty());
        assert_eq!(config.ssh.unwrap().labels.get("env").map(String::as_str), Some("demo"));
    }

    #[test]
    fn a_file_for_a_node_joins_and_runs_nothing_else() {
        let pin = format!("sha256:{}", "ab".repeat(32));
        let wish = Wish {
            proxy: some("https://gate.example.com"),
            token: some("xyz"),
            ca_pin: vec![pin],
            ..Wish::default()
        };
        let config = loaded(&wish);

        assert!(config.auth.is_none() && config.proxy.is_none() && config.ssh.is_some());
        assert_eq!(config.upstream, Upstream::Proxy(Address::new("gate.example.com", 443).unwrap()));
        assert_eq!(config.instance.ca_pins.len(), 1);
        let old = Wish { auth_server: some("10.1.0.1"), version: some("v2"), ..Wish::default() };
        assert_eq!(loaded(&old).upstream, Upstream::Auth(vec![Address::new("10.1.0.1", 3025).unwrap()]));
    }

    #[test]
    fn contradictions_are_named_together() {
        let wish = Wish {
            key_file: some("k"),
            acme: true,
            proxy: some("p"),
            auth_server: some("a b"),
            version: some("v2"),
            ..Wish::default()
        };
        let bad: Vec<String> = compose(&wish).unwrap_err().iter().map(ToString::to_string).collect();

        insta::assert_snapshot!(bad.join("\n"));
    }

    #[test]
    fn the_written_file_explains_itself() {
        insta::assert_snapshot!(compose(&Wish { cluster_name: some("main"), ..Wish::default() }).unwrap());
    }
}
