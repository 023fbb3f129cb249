//! Typed documents over the store: JSON under readable keys.
//!
//! | keys | holds |
//! |---|---|
//! | `cluster` | name and birth |
//! | `cas/<id>` | one authority key pair, private halves sealed |
//! | `audit_key` | the audit signing key, sealed |
//! | `strangers/<n>`, `strangers_secret` | wrong tries with names that nobody has; what places them |
//! | `users/<name>`, `secrets/<name>` | a user; their password hash, sealed second factor, lock-out |
//! | `passkeys/<hash>`, `challenges/<hash>` | whose passkey has an id; what a challenge is for, by its hash |
//! | `invites/<hash>` | an invite or reset link, by the hash of its secret |
//! | `roles/<name>`, `locks/<id>` | what policy reads |
//! | `tokens/<hash>`, `hosts/<id>`, `nodes/<id>` | who may join, who did, what nodes report |
//! | `proxies/<id>`, `proxy_tunnels/<id>` | where people and agents find a proxy, and where agents find it instead |
//! | `live/<session>`, `ends/<session>`, `watched/<session>` | sessions going on; asked to end; looked at just now |
//! | `begun/<session>` | announced and not said to be over: what the janitor ends once nobody announces it |
//! | `log/<index>`, `checkpoints/<index>`, `log_file` | the audit chain |
//! | `uids/<uid>`, `uids/<host>/<uid>` | events kept already: the authority's own, and each host's |
//! | `recordings/<session>`, `receipts/<session>/<n>`, `newest/<when>-<session>` | recordings |
//! | `open/<session>`, `untold/<session>` | recordings that grow; events of what was given up, until the log has them |

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{Committed, Entry, Key, Range, Revision, Store, StoreError, Txn};

use crate::error::Error;

/// A document with where it stands in history.
#[derive(Clone, Debug)]
pub(crate) struct Doc<T> {
    pub(crate) value: T,
    pub(crate) revision: Revision,
}

/// The store, typed.
#[derive(Clone)]
pub(crate) struct Db(Arc<dyn Store>);

impl Db {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.0.as_ref()
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<Doc<T>>, Error> {
        self.0.get(key).await?.map(|entry| decode(&entry)).transpose()
    }

    /// Every document under `prefix/` with the rest of its key. For small families.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, Doc<T>)>, Error> {
        self.0.all(prefix).await?.iter().map(|e| named(prefix, e)).collect()
    }

    /// A piece of a large family, and whether there is more.
    pub(crate) async fn range<T: DeserializeOwned>(
        &self,
        range: &Range,
    ) -> Result<(Vec<(String, Doc<T>)>, bool), Error> {
        let page = self.0.range(range).await?;
        let docs = page.entries.iter().map(|e| named(&range.prefix, e)).collect::<Result<_, _>>()?;
        Ok((docs, page.more))
    }

    pub(crate) async fn commit(&self, txn: Txn) -> Result<Committed, StoreError> {
        self.0.commit(txn).await
    }
}

fn named<T: DeserializeOwned>(prefix: &str, entry: &Entry) -> Result<(String, Doc<T>), Error> {
    let name = entry.key.under(prefix).unwrap_or_default().to_owned();
    Ok((name, decode(entry)?))
}

fn decode<T: DeserializeOwned>(entry: &Entry) -> Result<Doc<T>, Error> {
    let value = serde_json::from_slice(&entry.value)
        .map_err(|e| Error::Record { key: entry.key.to_string(), reason: e.to_string() })?;
    Ok(Doc { value, revision: entry.revision })
}

/// Writes a document.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|e| Error::Record { key: "(new)".into(), reason: e.to_string() })
}

/// The key of one document.
pub(crate) fn key(noun: &str, name: impl Display) -> Result<Key, Error> {
    Key::of(noun, name).map_err(|e| Error::Record { key: noun.to_owned(), reason: e.to_string() })
}

/// A key without a family.
pub(crate) fn single(name: &str) -> Result<Key, Error> {
    Key::new(name).map_err(|e| Error::Record { key: name.to_owned(), reason: e.to_string() })
}

/// Numbers as keys that sort as numbers do.
pub(crate) fn ordered(n: u64) -> String {
    format!("{n:020}")
}
