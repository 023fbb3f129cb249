//! What keeps a proxy from being built.

use std::io;

/// Why a proxy cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A web certificate is unusable.
    #[error("the web certificate is unusable: {0}")]
    WebCert(String),
    /// The host certificate is missing or unusable.
    #[error("the host certificate is unusable: {0}")]
    HostCert(String),
    /// A TLS 1.2 cipher suite that this build does not have.
    #[error("no cipher suite is called `{0}`")]
    CipherSuite(String),
    /// A listener could not be taken over.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
    /// The system gives no threads or descriptors to pass bytes on with.
    #[error("cannot start the threads that pass bytes on")]
    Threads(#[source] io::Error),
}
