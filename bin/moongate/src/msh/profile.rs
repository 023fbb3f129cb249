//! What `msh` remembers: one profile for each gate, keys and certificates beside it, all private to the person.
//!
//! ```text
//! ~/.msh/current-profile                       the gate of the active profile
//! ~/.msh/<gate>.yaml                           address, user, cluster, carrier
//! ~/.msh/known_hosts                           "@cert-authority" lines of every cluster
//! ~/.msh/keys/<gate>/<user>, .pub              SSH key
//! ~/.msh/keys/<gate>/<user>-ssh/<cluster>-cert.pub   SSH certificate
//! ~/.msh/keys/<gate>/<user>.key, .crt          TLS key and certificate
//! ~/.msh/keys/<gate>/cas/<cluster>.json        the cluster's authorities
//! ```

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use model::api::cluster::{CaKind, TrustBundle};
use serde::{Deserialize, Serialize};

/// One gate as a person uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// `host:port` of the gate.
    pub(crate) web_proxy_addr: String,
    /// Who one is there.
    pub(crate) user: String,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The gate's web certificate was not verified at login.
    #[serde(default)]
    pub(crate) insecure: bool,
    /// How the gate was last reached, and why so.
    #[serde(default)]
    pub(crate) carrier: String,
}

/// The directory with all profiles.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

/// The host part of `host:port`, with characters that are no file name replaced.
fn gate_name(addr: &str) -> String {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    host.chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .collect()
}

impl Home {
    /// The directory given, or `~/.msh`.
    ///
    /// # Errors
    /// There is no home directory to fall back to.
    pub(crate) fn open(given: Option<&Path>) -> Result<Self> {
        let root = match given {
            Some(path) => path.to_owned(),
            None => std::env::home_dir()
                .context("there is no home directory: set MOONGATE_HOME or give --home")?
                .join(".msh"),
        };
        Ok(Self(root))
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// The active profile, or the one of `proxy`.
    ///
    /// # Errors
    /// Nobody is signed in there.
    pub(crate) fn profile(&self, proxy: Option<&str>) -> Result<Profile> {
        let name = match proxy {
            Some(addr) => gate_name(addr),
            None => fs::read_to_string(self.0.join("current-profile"))
                .map(|text| text.trim().to_owned())
                .map_err(|_| anyhow::anyhow!("not logged in: run `msh login --proxy=<gate>`"))?,
        };
        self.read(&name).with_context(|| {
            format!("not logged in to {name}: run `msh login --proxy={}`", proxy.unwrap_or(&name))
        })
    }

    fn read(&self, name: &str) -> Result<Profile> {
        let path = self.0.join(format!("{name}.yaml"));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let documents = config::yaml::read(&text).with_context(|| path.display().to_string())?;
        let value = documents.into_iter().next().map(|d| d.value).unwrap_or_default();
        serde_json::from_value(value).with_context(|| format!("{} is not a profile", path.display()))
    }

    /// Every profile, the active one first.
    pub(crate) fn all(&self) -> Vec<Profile> {
        let active = fs::read_to_string(self.0.join("current-profile")).unwrap_or_default();
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().to_str().and_then(|n| n.strip_suffix(".yaml")).map(str::to_owned))
            .collect();
        names.sort_by_key(|n| (n != active.trim(), n.clone()));
        names.iter().filter_map(|n| self.read(n).ok()).collect()
    }

    /// Keeps a profile and makes it the active one.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn keep(&self, profile: &Profile) -> Result<()> {
        self.note(profile)?;
        let name = gate_name(&profile.web_proxy_addr);
        write_private(&self.0.join("current-profile"), format!("{name}\n").as_bytes())
    }

    /// Keeps what has changed of a profile; which one is active stays as it is.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn note(&self, profile: &Profile) -> Result<()> {
        private_dir(&self.0)?;
        let name = gate_name(&profile.web_proxy_addr);
        let text = config::yaml::to_text(&serde_json::to_value(profile)?);
        write_private(&self.0.join(format!("{name}.yaml")), text.as_bytes())
    }

    /// Forgets a profile with its keys.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn forget(&self, profile: &Profile) -> Result<()> {
        let name = gate_name(&profile.web_proxy_addr);
        let keys = self.keys(profile);
        for path in
            [keys.ssh_key(), keys.ssh_pub(), keys.ssh_cert(), keys.tls_key(), keys.tls_cert(), keys.trust()]
        {
            remove(&path)?;
        }
        remove(&self.0.join(format!("{name}.yaml")))?;
        let active = fs::read_to_string(self.0.join("current-profile")).unwrap_or_default();
        if active.trim() == name {
            remove(&self.0.join("current-profile"))?;
        }
        Ok(())
    }

    /// Where the keys of a profile are.
    pub(crate) fn keys(&self, profile: &Profile) -> Keys {
        Keys {
            dir: self.0.join("keys").join(gate_name(&profile.web_proxy_addr)),
            user: profile.user.chars().map(|c| if c == '/' { '_' } else { c }).collect(),
            cluster: profile.cluster.clone(),
        }
    }

    /// Where stock `ssh` finds the clusters' host authorities.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.0.join("known_hosts")
    }

    /// Replaces the lines of one cluster in `known_hosts`.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn trust_hosts(&self, profile: &Profile, trust: &TrustBundle) -> Result<()> {
        private_dir(&self.0)?;
        let mark = format!(" *.{0} type=host", profile.cluster);
        let gate = gate_name(&profile.web_proxy_addr);
        let port = profile.web_proxy_addr.rsplit_once(':').map_or("3080", |(_, port)| port);
        let hosts = format!("{gate},[{gate}]:{port},{0},*.{0}", profile.cluster);
        let kept = fs::read_to_string(self.known_hosts()).unwrap_or_default();
        let mut lines: Vec<String> =
            kept.lines().filter(|l| !l.ends_with(&mark.trim_start().to_owned())).map(str::to_owned).collect();
        for key in trust.keys.iter().filter(|k| k.kind == CaKind::Host) {
            lines.push(format!("@cert-authority {hosts} {} {}", key.ssh.trim(), mark.trim_start()));
        }
        write_private(&self.known_hosts(), format!("{}\n", lines.join("\n")).as_bytes())
    }
}

/// Paths of one profile's keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    dir: PathBuf,
    user: String,
    cluster: String,
}

impl Keys {
    pub(crate) fn ssh_key(&self) -> PathBuf {
        self.dir.join(&self.user)
    }

    pub(crate) fn ssh_pub(&self) -> PathBuf {
        self.dir.join(format!("{}.pub", self.user))
    }

    pub(crate) fn ssh_cert(&self) -> PathBuf {
        self.dir.join(format!("{}-ssh", self.user)).join(format!("{}-cert.pub", self.cluster))
    }

    pub(crate) fn tls_key(&self) -> PathBuf {
        self.dir.join(format!("{}.key", self.user))
    }

    pub(crate) fn tls_cert(&self) -> PathBuf {
        self.dir.join(format!("{}.crt", self.user))
    }

    pub(crate) fn trust(&self) -> PathBuf {
        self.dir.join("cas").join(format!("{}.json", self.cluster))
    }
}

/// Makes a directory only its owner may enter.
///
/// # Errors
/// The disk refused.
pub(crate) fn private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

/// Writes a file only its owner may read, whole or not at all.
///
/// # Errors
/// The disk refused; what was there before is still there.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(dir) = path.parent() {
        private_dir(dir)?;
    }
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let context = || format!("cannot write {}", path.display());
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(context)?;
    file.write_all(bytes).with_context(context)?;
    file.sync_all().with_context(context)?;
    fs::rename(&temporary, path).with_context(context)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn profile() -> Profile {
        Profile {
            web_proxy_addr: "gate.example.com:3080".into(),
            user: "ann".into(),
            cluster: "main".into(),
            insecure: false,
            carrier: String::new(),
        }
    }

    #[test]
    fn a_profile_is_kept_found_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(dir.path())).unwrap();
        home.keep(&profile()).unwrap();
        write_private(&home.keys(&profile()).ssh_key(), b"key").unwrap();

        assert_eq!(home.profile(None).unwrap(), profile());
        assert_eq!(home.profile(Some("gate.example.com:3080")).unwrap(), profile());
        let mode = fs::metadata(home.keys(&profile()).ssh_key()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        home.forget(&profile()).unwrap();
        assert!(home.profile(None).is_err());
        assert!(!home.keys(&profile()).ssh_key().exists());
    }

    #[test]
    fn what_is_noted_of_another_gate_leaves_the_active_one() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(dir.path())).unwrap();
        let other = Profile { web_proxy_addr: "other.example.com:443".into(), ..profile() };
        home.keep(&other).unwrap();
        home.keep(&profile()).unwrap();

        home.note(&Profile { carrier: "websocket".into(), ..other.clone() }).unwrap();

        assert_eq!(home.profile(None).unwrap(), profile());
        assert_eq!(home.profile(Some(&other.web_proxy_addr)).unwrap().carrier, "websocket");
    }

    #[test]
    fn a_cluster_has_one_set_of_lines_in_known_hosts() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(dir.path())).unwrap();
        let key = |ssh: &str| model::api::cluster::CaKey {
            kind: CaKind::Host,
            ssh: ssh.into(),
            x509_pem: String::new(),
            active: true,
        };
        fs::create_dir_all(dir.path()).unwrap();
        fs::write(home.known_hosts(), "other ssh-ed25519 AAAA\n").unwrap();

        home.trust_hosts(
            &profile(),
            &TrustBundle { keys: vec![key("ssh-ed25519 OLD")], audit_key: String::new() },
        )
        .unwrap();
        home.trust_hosts(
            &profile(),
            &TrustBundle { keys: vec![key("ssh-ed25519 NEW")], audit_key: String::new() },
        )
        .unwrap();

        let text = fs::read_to_string(home.known_hosts()).unwrap();
        assert_eq!(
            text,
            "other ssh-ed25519 AAAA\n@cert-authority gate.example.com,[gate.example.com]:3080,main,*.main ssh-ed25519 NEW *.main type=host\n"
        );
    }
}
