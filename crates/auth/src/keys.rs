//! The cluster's authorities: every key trusted, the one of each kind that signs, and the audit key.
//!
//! Nothing assumes one key per authority: all are trusted and published, the active one signs. Private halves are
//! sealed in the store and live in `pki::Authority` values here, nowhere else.

use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::BASE64;
use model::api::cluster::{CaKey, CaKind, TrustBundle};
use model::{ClusterName, Timestamp};
use pki::{KeyType, Signer as _};
use runtime::Random;
use serde::{Deserialize, Serialize};
use store::Txn;

use crate::db::{Db, encode, key, single};
use crate::error::Error;
use crate::vault::Vault;

/// One authority key pair as kept.
#[derive(Debug, Serialize, Deserialize)]
struct CaRecord {
    kind: CaKind,
    active: bool,
    ssh: String,
    tls: String,
    x509_pem: String,
    created_at: Timestamp,
}

/// One authority key pair, open.
pub(crate) struct Ca {
    pub(crate) kind: CaKind,
    pub(crate) active: bool,
    pub(crate) ssh: pki::Authority,
    pub(crate) tls: pki::Authority,
    x509_pem: String,
}

/// Every key of the cluster at one moment.
pub(crate) struct Keys {
    cas: Vec<Ca>,
    audit: AuditKey,
    bundle: TrustBundle,
    trust: pki::Trust,
}

impl Keys {
    /// Reads them from the store.
    pub(crate) async fn load(db: &Db, vault: &Vault) -> Result<Self, Error> {
        let mut cas = Vec::new();
        for (_, doc) in db.all::<CaRecord>("cas").await? {
            let record = doc.value;
            cas.push(Ca {
                kind: record.kind,
                active: record.active,
                ssh: unseal(vault, &record.ssh)?,
                tls: unseal(vault, &record.tls)?,
                x509_pem: record.x509_pem,
            });
        }
        let sealed = db.get::<String>(&single("audit_key")?).await?;
        let sealed = sealed.ok_or_else(|| Error::Record {
            key: "audit_key".into(),
            reason: "it is missing from a cluster that exists".into(),
        })?;
        let audit = AuditKey(Arc::new(unseal(vault, &sealed.value)?));
        let bundle = publish(&cas, &audit);
        let trust = pki::Trust::from_bundle(&bundle)?;
        Ok(Self { cas, audit, bundle, trust })
    }

    /// The key that signs new certificates of this kind.
    pub(crate) fn signer(&self, kind: CaKind) -> Result<&Ca, Error> {
        self.cas.iter().find(|ca| ca.kind == kind && ca.active).ok_or_else(|| Error::Record {
            key: "cas".into(),
            reason: format!("no active key of the {kind:?} authority"),
        })
    }

    /// The public halves, for everyone.
    pub(crate) fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// The same, parsed for verifying.
    pub(crate) fn trust(&self) -> &pki::Trust {
        &self.trust
    }

    /// Signs checkpoints, receipts and closing statements.
    pub(crate) fn audit(&self) -> &AuditKey {
        &self.audit
    }
}

/// The audit key as `audit` wants it.
#[derive(Clone)]
pub(crate) struct AuditKey(Arc<pki::Authority>);

impl audit::Sign for AuditKey {
    fn public(&self) -> audit::PublicKey {
        let mut raw = [0; 32];
        for (to, from) in raw.iter_mut().zip(self.0.public_key()) {
            *to = *from;
        }
        audit::PublicKey(raw)
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], audit::Error> {
        self.0
            .sign(message)
            .map_err(|e| audit::Error::Unsigned(e.to_string()))?
            .try_into()
            .map_err(|_| audit::Error::Unsigned("the signature has an odd length".into()))
    }
}

/// The keys in use; replaced whole when they change.
pub(crate) struct KeyCell(Mutex<Arc<Keys>>);

impl KeyCell {
    pub(crate) fn new(keys: Keys) -> Self {
        Self(Mutex::new(Arc::new(keys)))
    }

    pub(crate) fn now(&self) -> Arc<Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace(&self, keys: Keys) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

/// Adds to `txn` the first keys of a new cluster.
pub(crate) fn create(
    mut txn: Txn,
    cluster: &ClusterName,
    vault: &Vault,
    random: &Random,
    now: Timestamp,
) -> Result<Txn, Error> {
    for (kind, word) in [(CaKind::Host, "host"), (CaKind::User, "user")] {
        let ssh = pki::Authority::generate(KeyType::EcdsaP256, &random.bytes::<32>())?;
        let tls = pki::Authority::generate(KeyType::EcdsaP256, &random.bytes::<32>())?;
        let x509_pem = pki::x509::authority_certificate(&tls, kind, cluster, random.bytes::<16>(), now)?;
        let record = CaRecord {
            kind,
            active: true,
            ssh: seal(vault, &ssh, random)?,
            tls: seal(vault, &tls, random)?,
            x509_pem,
            created_at: now,
        };
        txn = txn.put(key("cas", format!("{word}-1"))?, encode(&record)?);
    }
    let audit = pki::Authority::generate(KeyType::Ed25519, &random.bytes::<32>())?;
    Ok(txn.put(single("audit_key")?, encode(&seal(vault, &audit, random)?)?))
}

fn publish(cas: &[Ca], audit: &AuditKey) -> TrustBundle {
    let keys = cas
        .iter()
        .map(|ca| CaKey {
            kind: ca.kind,
            ssh: ca.ssh.ssh_public().to_string(),
            x509_pem: ca.x509_pem.clone(),
            active: ca.active,
        })
        .collect();
    TrustBundle { keys, audit_key: audit::Sign::public(audit).to_string() }
}

fn seal(vault: &Vault, authority: &pki::Authority, random: &Random) -> Result<String, Error> {
    Ok(BASE64.encode(&authority.seal(vault.key(), random.bytes::<12>())?))
}

fn unseal(vault: &Vault, sealed: &str) -> Result<pki::Authority, Error> {
    let bytes = BASE64.decode(sealed.as_bytes()).map_err(|_| Error::Sealed)?;
    Ok(pki::Authority::unseal(vault.key(), &bytes)?)
}
