//! A host's own identity: two keys for life, two certificates that renew themselves, and whom to trust.
//!
//! Kept in `<data_dir>/identity/`: `ssh.key`, `ssh.cert`, `tls.key`, `tls.cert`, `trust.json`, `state.json`; all
//! readable by their owner only, each replaced whole. A certificate always belongs to the key beside it, because keys
//! are made once. Which services speak with it is not known here.

mod join;
mod renew;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::api::certs::HostCerts;
use model::api::cluster::TrustBundle;
use model::{ClusterName, Labels, NodeId, NodeName, SystemRole, Timestamp};
use pki::{KeyPair, KeyType, Signer};
use runtime::Random;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::tls::{Certified, Material};
use crate::{CallError, ConnectError, files};

pub use join::{Joining, Verify, join, pinned};
pub use renew::{Renewing, keep_fresh, renew_after};

/// The longest file of an identity.
const MAX: u64 = 4 * 1024 * 1024;

/// Why a host has no identity.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file could not be read or written.
    #[error("cannot {0} {path}: {1}", path = .2.display())]
    File(&'static str, std::io::Error, PathBuf),
    /// A file does not hold what it should.
    #[error("{path} is damaged ({why}); to join anew, move it away and give a token", path = .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// How.
        why: String,
    },
    /// The authority cannot be reached, or said no.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Nobody there whom we may trust.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Keys and certificates.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// The authority's answer is unusable, or the authority is not the one wanted.
    #[error("{0}")]
    Refused(String),
}

/// The keys of a host, made once.
#[derive(Debug)]
pub struct HostKeys {
    ssh: KeyPair,
    ssh_text: String,
    tls: KeyPair,
    tls_pem: String,
}

impl HostKeys {
    /// The SSH host key; it also seals recordings.
    #[must_use]
    pub fn ssh(&self) -> &KeyPair {
        &self.ssh
    }

    /// The same in OpenSSH's form, for whoever needs a key of its own.
    #[must_use]
    pub fn ssh_openssh(&self) -> &str {
        &self.ssh_text
    }

    /// The TLS key, PKCS#8 PEM.
    #[must_use]
    pub fn tls_pem(&self) -> &str {
        &self.tls_pem
    }

    /// Reads the keys of `dir`, or makes them.
    ///
    /// # Errors
    /// The files cannot be read or written, or hold something else.
    pub fn open(dir: &Path, random: &Random) -> Result<Self, HostError> {
        files::private_dir(dir).map_err(|e| HostError::File("make", e, dir.to_owned()))?;
        let ssh_path = dir.join("ssh.key");
        let ssh_text = match read(&ssh_path)? {
            Some(text) => text,
            None => {
                let key = KeyPair::generate(KeyType::Ed25519, &random.bytes())?;
                let text =
                    key.to_openssh("moongate host key", u32::from_le_bytes(random.bytes())).to_string();
                write(&ssh_path, text.as_bytes())?;
                text
            }
        };
        let tls_path = dir.join("tls.key");
        let tls_pem = match read(&tls_path)? {
            Some(text) => text,
            None => {
                let text =
                    KeyPair::generate(KeyType::EcdsaP256, &random.bytes())?.to_pkcs8_pem()?.to_string();
                write(&tls_path, text.as_bytes())?;
                text
            }
        };
        let damaged = |path: PathBuf| move |e: pki::Error| HostError::Damaged { path, why: e.to_string() };
        Ok(Self {
            ssh: KeyPair::from_openssh(&ssh_text).map_err(damaged(ssh_path))?,
            tls: KeyPair::from_pkcs8_pem(&tls_pem).map_err(damaged(tls_path))?,
            ssh_text,
            tls_pem,
        })
    }

    /// The SSH public key in OpenSSH's one-line form.
    #[must_use]
    pub fn ssh_public(&self) -> String {
        self.ssh.ssh_public().to_string()
    }

    /// SubjectPublicKeyInfo of the TLS key, PEM.
    #[must_use]
    pub fn tls_public_pem(&self) -> String {
        self.tls.spki_pem()
    }

    /// The raw Ed25519 public key that seals recordings.
    #[must_use]
    pub fn seal_public(&self) -> Vec<u8> {
        self.ssh.public_key().to_vec()
    }
}

/// What is kept beside the certificates.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    id: NodeId,
    name: NodeName,
    roles: BTreeSet<SystemRole>,
    cluster: ClusterName,
    expires: Timestamp,
    #[serde(default)]
    labels: Labels,
}

/// A host that has joined.
#[derive(Clone, Debug)]
pub struct HostIdentity {
    state: State,
    /// The SSH host certificate in OpenSSH's one-line form.
    pub ssh_cert: String,
    /// The X.509 certificate, PEM.
    pub tls_cert_pem: String,
    /// Whom to trust.
    pub trust: TrustBundle,
}

impl HostIdentity {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.state.id
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.state.name
    }

    /// The parts of the system it may speak for.
    #[must_use]
    pub fn roles(&self) -> &BTreeSet<SystemRole> {
        &self.state.roles
    }

    /// The cluster it joined.
    #[must_use]
    pub fn cluster(&self) -> &ClusterName {
        &self.state.cluster
    }

    /// When its certificates end.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.state.expires
    }

    /// How long its certificates were good for when they were issued, however long that is ago: a host that is started
    /// anew every morning renews them too. What is left at `now` where the certificate does not parse.
    #[must_use]
    pub fn life(&self, now: Timestamp) -> Duration {
        let cert = pki::x509::certificate_from_pem(&self.tls_cert_pem);
        let issued = cert.and_then(|cert| pki::x509::issued_at(&cert)).unwrap_or(now);
        self.state.expires.since(issued)
    }

    /// Labels its token gave it.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.state.labels
    }

    /// Trust and certificate for a [`crate::Keyring`].
    ///
    /// # Errors
    /// The certificate and key do not belong together, or there is no authority to trust.
    pub fn material(&self, keys: &HostKeys) -> Result<Material, HostError> {
        let unusable = |e: crate::tls::TlsError| HostError::Refused(e.to_string());
        let own = Certified::from_pem(&self.tls_cert_pem, keys.tls_pem()).map_err(unusable)?;
        Ok(Material::trusting(&self.trust).map_err(unusable)?.showing(own))
    }

    /// An identity out of what the authority issued.
    #[must_use]
    pub fn of(certs: HostCerts, id: NodeId, name: NodeName, roles: BTreeSet<SystemRole>) -> Self {
        Self {
            state: State {
                id,
                name,
                roles,
                cluster: certs.cluster,
                expires: certs.expires,
                labels: certs.labels,
            },
            ssh_cert: certs.ssh_cert,
            tls_cert_pem: certs.tls_cert_pem,
            trust: certs.trust,
        }
    }

    /// The identity kept in `dir`; `None` when the host has not joined.
    ///
    /// # Errors
    /// A file cannot be read or does not hold what it should.
    pub fn load(dir: &Path) -> Result<Option<Self>, HostError> {
        let Some(state) = read_json(&dir.join("state.json"))? else { return Ok(None) };
        let (Some(ssh_cert), Some(tls_cert_pem), Some(trust)) =
            (read(&dir.join("ssh.cert"))?, read(&dir.join("tls.cert"))?, read_json(&dir.join("trust.json"))?)
        else {
            return Ok(None);
        };
        Ok(Some(Self { state, ssh_cert: ssh_cert.trim().to_owned(), tls_cert_pem, trust }))
    }

    /// Keeps the identity in `dir`. `state.json` comes last: with it the host has joined.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), HostError> {
        write(&dir.join("ssh.cert"), format!("{}\n", self.ssh_cert.trim()).as_bytes())?;
        write(&dir.join("tls.cert"), self.tls_cert_pem.as_bytes())?;
        write(&dir.join("trust.json"), &json(&self.trust))?;
        write(&dir.join("state.json"), &json(&self.state))
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

fn read(path: &Path) -> Result<Option<String>, HostError> {
    files::read(path, MAX).map_err(|e| HostError::File("read", e, path.to_owned()))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, HostError> {
    let damaged = |e: serde_json::Error| HostError::Damaged { path: path.to_owned(), why: e.to_string() };
    read(path)?.map(|text| serde_json::from_str(&text).map_err(damaged)).transpose()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    files::replace(path, bytes).map_err(|e| HostError::File("write", e, path.to_owned()))
}

#[cfg(test)]
mod tests;
