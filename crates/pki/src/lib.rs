//! Who is who, in certificates: one identity in and out of SSH and X.509, keys behind [`Signer`].
//!
//! Pure: time, randomness and trusted keys are arguments; nothing here reads a file or a clock. This is the only
//! place that knows certificate fields. Bound: no decoder here looks at more than [`MAX_BLOB`] bytes.
#![forbid(unsafe_code)]

mod bytes;
#[doc(hidden)]
pub mod fuzz;
pub mod identity;
pub mod joining;
pub mod keypair;
pub mod signer;
pub mod ssh;
pub mod trust;
pub mod webauthn;
pub mod x509;

pub use keypair::KeyPair;
pub use signer::{Authority, KeyType, Signer};
pub use trust::Trust;

/// The most bytes any key, certificate or signature given to this room may have.
pub const MAX_BLOB: usize = 64 * 1024;

/// How long before "now" a new certificate starts to be good, so that a target whose clock is minutes slow
/// accepts it.
pub const BACKDATE: std::time::Duration = std::time::Duration::from_secs(300);

/// Why a key, certificate or identity was refused, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not what they claim to be.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// Longer than the bound.
    #[error("{0} is longer than {1} bytes")]
    TooLong(&'static str, usize),
    /// More of them than the bound.
    #[error("there are more than {1} {0}")]
    TooMany(&'static str, usize),
    /// A kind of public key we do not use.
    #[error("keys of type `{0}` are not supported (use ed25519, ecdsa or rsa with 2048 to 8192 bits)")]
    UnsupportedKey(String),
    /// A kind of private key we do not keep.
    #[error("private keys of type `{0}` are not supported (use ed25519 or ecdsa with 256 bits)")]
    UnsupportedPrivateKey(String),
    /// A private key that only its owner can open.
    #[error("the private key has a passphrase: take it off with `ssh-keygen -p`")]
    Passphrase,
    /// The signer is not a trusted authority.
    #[error("the certificate is not signed by a trusted authority")]
    Untrusted,
    /// The signature does not hold.
    #[error("the signature does not hold")]
    BadSignature,
    /// Its time has not come.
    #[error("the certificate is not good before {0}")]
    NotYetValid(model::Timestamp),
    /// Its time is over.
    #[error("the certificate expired at {0}")]
    Expired(model::Timestamp),
    /// It restricts itself in a way we do not know.
    #[error("the certificate has a critical option we do not know: `{0}`")]
    CriticalOption(String),
    /// A user certificate where a host's is wanted, or the other way round.
    #[error("the certificate is not a {0} certificate")]
    WrongKind(&'static str),
    /// A certificate where a plain key is wanted.
    #[error("a certificate is not accepted where a plain key is wanted")]
    NestedCertificate,
    /// It names somebody else.
    #[error("the certificate is not good for `{0}`")]
    WrongPrincipal(String),
    /// It is good from another address only.
    #[error("the certificate is not good from this address")]
    WrongAddress,
    /// What the certificate says twice does not agree.
    #[error("the certificate contradicts itself: {0}")]
    Contradiction(&'static str),
    /// A name that would be read as two, as none, or as somebody else's; and why.
    #[error("`{0}` cannot be a name in a certificate: it {1}")]
    BadPrincipal(String, &'static str),
    /// It names nobody, which elsewhere means everybody.
    #[error("the certificate is good for no name")]
    NoPrincipal,
    /// The certificate it would come from says no.
    #[error("this certificate must not lead to another")]
    ReissueForbidden,
    /// Another subject than the certificate it would come from.
    #[error("a certificate cannot lead to one for another subject")]
    OtherSubject,
    /// Encrypted key bytes were changed, or the sealing key is another.
    #[error("the sealed key does not open: wrong sealing key, or changed bytes")]
    Sealed,
    /// No trusted authority has the pinned key.
    #[error("no authority of the cluster matches the CA pin")]
    PinMismatch,
    /// A passkey's answer is not the one asked for.
    #[error("the passkey's answer does not fit: {0}")]
    Passkey(&'static str),
    /// The cryptographic library refused.
    #[error("cannot {0}")]
    Crypto(&'static str),
}
