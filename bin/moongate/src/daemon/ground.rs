//! What every service of the process is given: the configuration, this host, time, chance, health, readiness.

use std::path::PathBuf;

use client::proxy_env::{HostPort, ProxyEnv};
use config::{Address, Config};
use model::{NodeId, NodeName};
use runtime::{Clock, Health, Random};

use super::ready::Readiness;

/// The ground the services stand on. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    /// The configuration.
    pub(crate) config: Config,
    /// The file it was read from, if it was one.
    pub(crate) file: Option<PathBuf>,
    /// This host's id.
    pub(crate) id: NodeId,
    /// What people call this host.
    pub(crate) name: NodeName,
    /// When the process began.
    pub(crate) since: std::time::Instant,
    /// Time.
    pub(crate) clock: Clock,
    /// Chance.
    pub(crate) random: Random,
    /// Background jobs.
    pub(crate) health: Health,
    /// Which services are up.
    pub(crate) readiness: Readiness,
    /// HTTP proxies on the way out.
    pub(crate) env: ProxyEnv,
}

impl Ground {
    /// Where this host's identity is kept.
    pub(crate) fn identity_dir(&self) -> PathBuf {
        self.config.instance.data_dir.join("identity")
    }

    /// Where the credentials of this host's own administrator are kept: `mctl` uses them.
    pub(crate) fn admin_dir(&self) -> PathBuf {
        self.config.instance.data_dir.join("admin")
    }

    /// The addresses people and agents are told: those configured, else what can be said of the listener.
    pub(crate) fn proxy_addrs(&self) -> Vec<String> {
        let Some(proxy) = &self.config.proxy else { return Vec::new() };
        if !proxy.public_addrs.is_empty() {
            return proxy.public_addrs.iter().map(ToString::to_string).collect();
        }
        let host = match (&self.config.instance.advertise, proxy.listen.is_unspecified()) {
            (_, false) => return vec![proxy.listen.to_string()],
            (Some(address), true) => address.host().to_owned(),
            (None, true) => self.name.to_string(),
        };
        Address::new(&host, proxy.listen.port()).map(|a| vec![a.to_string()]).unwrap_or_default()
    }

    /// Further names this host's certificates carry: its own addresses and those of its services.
    pub(crate) fn principals(&self) -> Vec<String> {
        let config = &self.config;
        let mut names: Vec<String> = config.instance.advertise.iter().map(|a| a.host().to_owned()).collect();
        if let Some(ssh) = &config.ssh {
            names.extend(ssh.public_addrs.iter().map(|a| a.host().to_owned()));
        }
        names.extend(self.proxy_addrs().iter().filter_map(|text| {
            // Known to parse: it was written from an address.
            Address::parse(text, 443).ok().map(|a| a.host().to_owned())
        }));
        names.sort();
        names.dedup();
        names
    }
}

/// A configuration's address as the dialer wants it.
pub(crate) fn host_port(address: &Address) -> anyhow::Result<HostPort> {
    Ok(HostPort::parse(&address.to_string(), address.port())?)
}
