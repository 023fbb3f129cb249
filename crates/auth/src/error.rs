//! What keeps the authority from starting or going on; what it answers callers is `refusal`.

use std::path::PathBuf;

/// Why the authority cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed or is closed.
    #[error("the store failed")]
    Store(#[from] store::StoreError),
    /// The blob store failed.
    #[error("the blob store failed")]
    Blobs(#[from] store::BlobError),
    /// A file or directory.
    #[error("{path}: {error}", path = path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
    /// The file that holds the sealing key is not as it must be.
    #[error("{path}: {1}", path = .0.display())]
    KeyFile(PathBuf, String),
    /// A sealed secret does not open.
    #[error("a sealed secret does not open: it was changed, or `auth.key` belongs to another cluster")]
    Sealed,
    /// The cluster exists under another name.
    #[error(
        "this cluster is named `{kept}` and cannot be renamed to `{wanted}`: every certificate carries the name. \
         Set cluster_name back to `{kept}`, or start with an empty data_dir"
    )]
    Renamed {
        /// The name it has.
        kept: model::ClusterName,
        /// The name of the configuration.
        wanted: model::ClusterName,
    },
    /// A record in the store is not what this build expects.
    #[error("the record `{key}` in the store is damaged: {reason}")]
    Record {
        /// Its key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Keys or certificates.
    #[error("certificate authority: {0}")]
    Pki(#[from] pki::Error),
    /// The audit chain or a recording.
    #[error("audit: {0}")]
    Audit(#[from] audit::Error),
    /// TLS settings.
    #[error("TLS: {0}")]
    Tls(String),
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(String),
}
