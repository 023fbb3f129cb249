//! Which hosts the clusters' authorities may speak for, in the words of known_hosts(5).
//!
//! A file for each profile, for what `msh config` writes: there an authority speaks for its own gate and the hosts of
//! its cluster, and no two gates share the file. And `~/.msh/known_hosts` for all gates by host and port, for `ssh -J`;
//! the hosts of a cluster stand in it too, for who names that file, but of one gate for each cluster's name.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use model::api::cluster::{CaKind, TrustBundle};
use pki::ssh::PublicKey;

use super::profile::{Home, Profile, write_private};
use crate::address::host_and_port;

const MARK: &str = "@cert-authority ";

/// The gate as known_hosts(5) has it: with a port other than 22 in brackets. A bare name would speak for every port.
fn gate_pattern(profile: &Profile) -> String {
    match host_and_port(&profile.web_proxy_addr) {
        (host, 22) => host,
        (host, port) => format!("[{host}]:{port}"),
    }
}

/// The host authorities a gate sent, each in the one way there is to write it: the gates share a file of lines, and what
/// is no plain key could be a line about anybody.
///
/// # Errors
/// One is no plain SSH public key.
pub(crate) fn authorities(trust: &TrustBundle) -> Result<Vec<String>> {
    let hosts = trust.keys.iter().filter(|k| k.kind == CaKind::Host);
    let plain = |ssh: &str| Ok(ssh.parse::<PublicKey>().context("a host authority of the gate")?.to_string());
    hosts.map(|k| plain(&k.ssh)).collect()
}

/// The lines of all host authorities for these patterns.
fn lines(profile: &Profile, authorities: &[String], patterns: &str) -> Vec<String> {
    let line = |key: &String| format!("{MARK}{patterns} {key} *.{} type=host", profile.cluster);
    authorities.iter().map(line).collect()
}

/// True when a line of ours names this pattern.
fn names(line: &str, pattern: &str) -> bool {
    let patterns =
        line.strip_prefix(MARK).filter(|l| l.ends_with(" type=host")).and_then(|l| l.split(' ').next());
    patterns.is_some_and(|all| all.split(',').any(|p| p == pattern))
}

impl Home {
    /// Where stock `ssh` finds the host authorities of all gates.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.root().join("known_hosts")
    }

    /// Writes down what this gate's authorities may speak for, in place of what was there.
    ///
    /// # Errors
    /// One of them is no key, or the disk refused.
    pub(crate) fn trust_hosts(&self, profile: &Profile, trust: &TrustBundle) -> Result<()> {
        let (gate, cluster) = (gate_pattern(profile), &profile.cluster);
        let whole = format!("{gate},{cluster},*.{cluster}");
        let keys = authorities(trust)?;
        let own = lines(profile, &keys, &whole);
        write_private(&self.keys(profile).known_hosts(), format!("{}\n", own.join("\n")).as_bytes())?;
        let first = self.namesake(profile).is_none();
        let hosts = format!("*.{cluster}");
        let mut kept = self.shared_lines();
        kept.retain(|l| !(names(l, &gate) || first && names(l, &hosts)));
        kept.extend(if first { own } else { lines(profile, &keys, &gate) });
        write_private(&self.known_hosts(), format!("{}\n", kept.join("\n")).as_bytes())
    }

    /// Takes this gate's lines out of the shared file.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn distrust_hosts(&self, profile: &Profile) -> Result<()> {
        let gate = gate_pattern(profile);
        let before = self.shared_lines();
        let after: Vec<&String> = before.iter().filter(|l| !names(l, &gate)).collect();
        if after.len() == before.len() {
            return Ok(());
        }
        let text: String = after.iter().map(|l| format!("{l}\n")).collect();
        write_private(&self.known_hosts(), text.as_bytes())
    }

    /// Makes what an earlier version did not: the profile's own file, and its gate's lines without a bare name.
    ///
    /// # Errors
    /// The authorities cannot be read, or the disk refused.
    pub(crate) fn settle_hosts(&self, profile: &Profile) -> Result<()> {
        if self.keys(profile).known_hosts().exists() {
            return Ok(());
        }
        self.trust_hosts(profile, &self.trust(profile)?)
    }

    /// The authorities that a profile keeps.
    ///
    /// # Errors
    /// They are gone or do not parse.
    pub(crate) fn trust(&self, profile: &Profile) -> Result<TrustBundle> {
        let path = self.keys(profile).trust();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}: log in again with `msh login`", path.display()))?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    fn shared_lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.known_hosts()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use model::api::cluster::CaKey;
    use pki::{KeyPair, KeyType, Signer as _};

    use super::*;

    fn key(n: u8) -> String {
        KeyPair::generate(KeyType::Ed25519, &[n; 32]).unwrap().ssh_public().to_string()
    }

    fn bundle(ssh: String) -> TrustBundle {
        let key = CaKey { kind: CaKind::Host, ssh, x509_pem: String::new(), active: true };
        TrustBundle { keys: vec![key], audit_key: String::new() }
    }

    fn sign_in(home: &Home, addr: &str, cluster: &str, n: u8) -> Profile {
        let profile = home.admit(addr.into(), "ann".into(), cluster.into(), false);
        home.trust_hosts(&profile, &bundle(key(n))).unwrap();
        home.keep(&profile).unwrap();
        profile
    }

    fn shared(home: &Home) -> String {
        fs::read_to_string(home.known_hosts()).unwrap()
    }

    #[test]
    fn a_gate_has_one_set_of_lines_and_strangers_keep_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(dir.path())).unwrap();
        let old = "@cert-authority gate,[gate]:3080,main,*.main ssh-ed25519 OLDER *.main type=host";
        fs::write(home.known_hosts(), format!("other ssh-ed25519 AAAA\n{old}\n")).unwrap();

        sign_in(&home, "gate:3080", "main", 1);
        let profile = sign_in(&home, "gate:3080", "main", 2);

        let line = format!("@cert-authority [gate]:3080,main,*.main {} *.main type=host\n", key(2));
        assert_eq!(shared(&home), format!("other ssh-ed25519 AAAA\n{line}"));
        assert_eq!(fs::read_to_string(home.keys(&profile).known_hosts()).unwrap(), line);

        home.forget(&profile).unwrap();
        assert_eq!(shared(&home), "other ssh-ed25519 AAAA\n");
    }

    #[test]
    fn two_clusters_of_one_name_do_not_vouch_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(dir.path())).unwrap();

        let one = sign_in(&home, "127.0.0.1:3080", "main", 1);
        let two = sign_in(&home, "127.0.0.1:4080", "main", 2);
        sign_in(&home, "127.0.0.1:3080", "main", 1);

        let (first, second) = (key(1), key(2));
        let own = |p: &Profile| fs::read_to_string(home.keys(p).known_hosts()).unwrap();
        assert!(own(&one).contains(&first) && !own(&one).contains(&second), "{}", own(&one));
        assert!(own(&two).contains(&second) && !own(&two).contains(&first), "{}", own(&two));
        assert_eq!(
            shared(&home),
            format!(
                "@cert-authority [127.0.0.1]:4080 {second} *.main type=host\n\
                 @cert-authority [127.0.0.1]:3080,main,*.main {first} *.main type=host\n"
            )
        );

        home.forget(&two).unwrap();
        assert!(!shared(&home).contains(&second));
        assert!(shared(&home).contains(&format!("*.main {first}")));
    }

    #[test]
    fn an_earlier_versions_profile_gets_its_file_when_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(dir.path())).unwrap();
        let profile = home.admit("gate:3080".into(), "ann".into(), "main".into(), false);
        home.keep(&profile).unwrap();
        let keys = home.keys(&profile);
        write_private(&keys.trust(), &serde_json::to_vec(&bundle(key(1))).unwrap()).unwrap();

        home.settle_hosts(&profile).unwrap();

        assert!(fs::read_to_string(keys.known_hosts()).unwrap().contains(&key(1)));
    }

    #[test]
    fn a_gate_writes_no_line_about_others() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(dir.path())).unwrap();
        let profile = home.admit("gate:3080".into(), "eve".into(), "main".into(), false);
        let (good, theirs) = (key(1), key(2));
        let cert = "ssh-ed25519-cert-v01@openssh.com AAAA";
        for bad in [
            format!("{good} *.main type=host\n@cert-authority * {theirs}"),
            format!("{good}\r@cert-authority * {theirs}"),
            format!("@cert-authority * {theirs}"),
            cert.to_owned(),
            String::new(),
        ] {
            assert!(home.trust_hosts(&profile, &bundle(bad.clone())).is_err(), "{bad}");
            assert!(!home.known_hosts().exists(), "{bad}");
        }

        // What stands behind a key is dropped.
        home.trust_hosts(&profile, &bundle(format!("  {good} * other"))).unwrap();
        let line = format!("@cert-authority [gate]:3080,main,*.main {good} *.main type=host\n");
        assert_eq!(shared(&home), line);
    }

    #[test]
    fn a_gate_on_port_22_has_no_brackets() {
        let profile = |addr: &str| Profile {
            web_proxy_addr: addr.into(),
            user: "ann".into(),
            cluster: "main".into(),
            insecure: false,
            carrier: String::new(),
            websocket: None,
            turn: 0,
            place: "gate".into(),
        };
        assert_eq!(gate_pattern(&profile("gate:22")), "gate");
        assert_eq!(gate_pattern(&profile("[::1]:3080")), "[::1]:3080");
    }
}
