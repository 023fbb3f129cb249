//! What `msh` remembers: one profile for each gate, keys and certificates beside it, all private to the person.
//!
//! ```text
//! ~/.msh/current-profile                       the place of the active profile
//! ~/.msh/<place>.yaml                          address, user, cluster, carrier
//! ~/.msh/known_hosts                           "@cert-authority" lines of every gate: see `hosts`
//! ~/.msh/keys/<place>/<user>, .pub             SSH key
//! ~/.msh/keys/<place>/<user>-ssh/<cluster>-cert.pub   SSH certificate
//! ~/.msh/keys/<place>/<user>.key, .crt         TLS key and certificate
//! ~/.msh/keys/<place>/cas/<cluster>.json       the cluster's authorities
//! ~/.msh/keys/<place>/cas/<cluster>.known_hosts   the same for stock clients
//! ```
//!
//! A gate is its host and its port. The first of a host has the host's name for its place; another port of the same
//! host gets `<host>-<port>`, because a `:` would make scp(1) and tar(1) look for another machine. What a place is
//! for stands in its file, never in its name.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use client::dial::{Carrier, CarrierKind, Memory};
use model::Timestamp;
use runtime::Clock;
use serde::{Deserialize, Serialize};

use crate::address::{self, host_and_port, names_port, with_port};

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
    /// Why nothing but a WebSocket reached it, and when that was found out: commands of the next minutes go on from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) websocket: Option<WebSocket>,
    /// Its turn among the gates whose clusters have one name: who comes first has that name in what stock clients read.
    #[serde(default)]
    pub(crate) turn: u32,
    /// What its files are called.
    #[serde(skip)]
    pub(crate) place: String,
}

/// A way on which straight TLS did not get through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WebSocket {
    why: String,
    found: Timestamp,
}

impl Profile {
    /// The gate's host, without brackets.
    pub(crate) fn host(&self) -> String {
        host_and_port(&self.web_proxy_addr).0
    }

    /// The gate in comments and markers: its host, with the port where that is not the first of the host.
    pub(crate) fn title(&self) -> String {
        let host = self.host();
        if self.place == file_name(&host) { host } else { self.web_proxy_addr.clone() }
    }
}

/// The directory with all profiles.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

/// A host with characters that are no file name replaced.
fn file_name(host: &str) -> String {
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

    /// Keeps other `msh` from choosing places and turns until this is dropped. Best effort: where the file system has
    /// no locks, two logins at the same moment are the person's own affair.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn lock(&self) -> Result<fs::File> {
        private_dir(&self.0)?;
        let path = self.0.join("lock");
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        if let Err(error) = file.lock() {
            tracing::debug!(%error, "profiles are not locked");
        }
        Ok(file)
    }

    /// The active profile, or the one of the gate `proxy` (`host:port`; `host` alone where it has one gate).
    ///
    /// # Errors
    /// It is no address, nobody is signed in there, or it could be several.
    pub(crate) fn profile(&self, proxy: Option<&str>) -> Result<Profile> {
        let Some(addr) = proxy else { return self.current() };
        let wanted = address::parse(addr)?.to_string();
        let mut all = self.all();
        if let Some(at) = all.iter().position(|p| with_port(&p.web_proxy_addr) == wanted) {
            return Ok(all.swap_remove(at));
        }
        // Without a port, any gate of that host may be meant.
        let host = host_and_port(addr).0;
        all.retain(|p| !names_port(addr) && p.host() == host);
        match all.as_slice() {
            [one] => Ok(one.clone()),
            [] => bail!("not logged in to {wanted}: run `msh login --proxy={wanted}`"),
            several => bail!("you are logged in to {} gates on {host}: {}", several.len(), choice(several)),
        }
    }

    fn current(&self) -> Result<Profile> {
        let Some(place) = self.active() else {
            match self.all().as_slice() {
                [] => bail!("not logged in: run `msh login --proxy=<gate>`"),
                others => bail!("you have logged out of the active gate: {}", choice(others)),
            }
        };
        self.read(&place).with_context(|| format!("not logged in to {place}: run `msh login --proxy=<gate>`"))
    }

    /// The place of the active profile.
    pub(crate) fn active(&self) -> Option<String> {
        let text = fs::read_to_string(self.0.join("current-profile")).ok()?;
        Some(text.trim().to_owned()).filter(|place| !place.is_empty())
    }

    fn file(&self, place: &str) -> PathBuf {
        self.0.join(format!("{place}.yaml"))
    }

    fn read(&self, place: &str) -> Result<Profile> {
        let path = self.file(place);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let documents = config::yaml::read(&text).with_context(|| path.display().to_string())?;
        let value = documents.into_iter().next().map(|d| d.value).unwrap_or_default();
        let profile: Profile =
            serde_json::from_value(value).with_context(|| format!("{} is not a profile", path.display()))?;
        Ok(Profile { place: place.to_owned(), ..profile })
    }

    /// Every profile, the active one first.
    pub(crate) fn all(&self) -> Vec<Profile> {
        self.each().into_iter().flatten().collect()
    }

    /// The same, with why where one cannot be read.
    pub(crate) fn each(&self) -> Vec<Result<Profile>> {
        let active = self.active();
        let mut places: Vec<String> = fs::read_dir(&self.0)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.file_name().to_str().and_then(|n| n.strip_suffix(".yaml")).map(str::to_owned))
            // A place is a directory's name too, and these are those of others.
            .filter(|place| !matches!(place.as_str(), "" | "." | ".."))
            .collect();
        places.sort_by_key(|n| (active.as_ref() != Some(n), n.clone()));
        places.iter().map(|place| self.read(place)).collect()
    }

    /// The profile of the very gate at `addr`.
    pub(crate) fn at(&self, addr: &str) -> Option<Profile> {
        self.all().into_iter().find(|p| with_port(&p.web_proxy_addr) == with_port(addr))
    }

    /// The profile of somebody who has just signed in at `addr`: in the place that gate has, or in a free one.
    pub(crate) fn admit(&self, addr: String, user: String, cluster: String, insecure: bool) -> Profile {
        let all = self.all();
        let before = all.iter().find(|p| with_port(&p.web_proxy_addr) == with_port(&addr));
        let place = before.map_or_else(|| self.free_place(&addr), |p| p.place.clone());
        let turn = match before.filter(|p| p.cluster == cluster) {
            Some(before) => before.turn,
            None => all
                .iter()
                .filter(|p| p.cluster == cluster && p.place != place)
                .map(|p| p.turn.saturating_add(1))
                .max()
                .unwrap_or_default(),
        };
        Profile {
            web_proxy_addr: addr,
            user,
            cluster,
            insecure,
            carrier: String::new(),
            websocket: None,
            turn,
            place,
        }
    }

    /// The host's name; with the port when that is taken; numbered when even that is the name of another host. What
    /// is there and no profile is nobody's.
    fn free_place(&self, addr: &str) -> String {
        let (host, port) = host_and_port(addr);
        let host = file_name(&host);
        let with_port = format!("{host}-{port}");
        let mut names =
            [host, with_port.clone()].into_iter().chain((2u32..).map(|n| format!("{with_port}-{n}")));
        names.find(|place| self.read(place).is_err()).unwrap_or(with_port)
    }

    /// The gate that has the name of this profile's cluster in what stock clients read, when that is another gate.
    pub(crate) fn namesake(&self, profile: &Profile) -> Option<Profile> {
        let rank = |p: &Profile| (p.turn, p.place.clone());
        self.all()
            .into_iter()
            .filter(|p| p.cluster == profile.cluster && p.place != profile.place && rank(p) < rank(profile))
            .min_by_key(rank)
    }

    /// Keeps a profile and makes it the active one.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn keep(&self, profile: &Profile) -> Result<()> {
        self.write(profile)?;
        write_private(&self.0.join("current-profile"), format!("{}\n", profile.place).as_bytes())
    }

    /// What earlier commands found out of the way to a gate, and how this one writes down what it finds.
    pub(crate) fn memory(&self, profile: &Profile, clock: Clock) -> Memory {
        let now = clock.now();
        // What was found out later than now was found out by another clock.
        let websocket =
            profile.websocket.clone().filter(|w| w.found <= now).map(|w| (w.why, now.since(w.found)));
        let (home, used) = (self.clone(), profile.clone());
        let note = move |carrier: &Carrier| {
            let found = (carrier.kind == CarrierKind::WebSocket && !carrier.asked)
                .then(|| WebSocket { why: carrier.why.clone(), found: clock.now() });
            if let Err(error) = home.note_carrier(&used, format!("{carrier} ({})", carrier.why), found) {
                tracing::debug!(%error, "cannot note the carrier");
            }
        };
        Memory { websocket, note: Box::new(note) }
    }

    /// Notes how a gate was reached, unless its profile has become another's meanwhile, or is gone. Which one is active
    /// stays as it is.
    fn note_carrier(&self, used: &Profile, carrier: String, websocket: Option<WebSocket>) -> Result<()> {
        let known = |p: &Profile| p.carrier == carrier && p.websocket == websocket;
        if known(used) {
            return Ok(());
        }
        let _lock = self.lock()?;
        let Ok(now) = self.read(&used.place) else { return Ok(()) };
        let whose = |p: &Profile| (p.web_proxy_addr.clone(), p.user.clone(), p.cluster.clone());
        if known(&now) || whose(&now) != whose(used) {
            return Ok(());
        }
        self.write(&Profile { carrier, websocket, ..now })
    }

    fn write(&self, profile: &Profile) -> Result<()> {
        private_dir(&self.0)?;
        let text = config::yaml::to_text(&serde_json::to_value(profile)?);
        write_private(&self.file(&profile.place), text.as_bytes())
    }

    /// Forgets a profile with its keys and authorities, and nothing of any other.
    ///
    /// # Errors
    /// The disk refused.
    pub(crate) fn forget(&self, profile: &Profile) -> Result<()> {
        self.distrust_hosts(profile)?;
        // Whoever had the place before has left nothing of use either.
        let dir = self.keys(profile).dir;
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", dir.display()));
            }
            Ok(()) | Err(_) => {}
        }
        remove(&self.file(&profile.place))?;
        if self.active().as_ref() == Some(&profile.place) {
            remove(&self.0.join("current-profile"))?;
        }
        Ok(())
    }

    /// Where the keys of a profile are.
    pub(crate) fn keys(&self, profile: &Profile) -> Keys {
        Keys {
            dir: self.0.join("keys").join(&profile.place),
            user: profile.user.chars().map(|c| if c == '/' { '_' } else { c }).collect(),
            cluster: profile.cluster.clone(),
        }
    }
}

/// How to say which of several gates is meant.
fn choice(profiles: &[Profile]) -> String {
    let ways: Vec<String> = profiles.iter().map(|p| format!("--proxy={}", p.web_proxy_addr)).collect();
    format!("give {}", ways.join(" or "))
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

    /// The public keys and SSH certificates in the place, of everybody who ever had it.
    pub(crate) fn publics(&self) -> Vec<PathBuf> {
        let within = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
        let mut found: Vec<PathBuf> = Vec::new();
        for path in within(&self.dir) {
            if path.is_dir() { found.extend(within(&path)) } else { found.push(path) }
        }
        found.retain(|path| path.extension().is_some_and(|ending| ending == "pub"));
        found
    }

    /// The cluster's host authorities for stock clients: they speak for this gate and its hosts alone.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.dir.join("cas").join(format!("{}.known_hosts", self.cluster))
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
mod tests;
