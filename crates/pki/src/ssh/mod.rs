//! SSH public keys and OpenSSH certificates: read, issue, verify.
//!
//! A certificate authority is a plain key compared by raw bytes; a certificate never is one. Knows nothing of
//! connections: the caller shows that the peer holds the key by checking its signature with [`PublicKey::verify`].

mod cert;
mod issue;
mod key;
mod verify;

pub use cert::{CertKind, Certificate};
pub use issue::{HostRequest, UserRequest, host_principals, issue_host, issue_user};
pub(crate) use issue::{WILD, principal};
pub use key::{Algorithm, PublicKey};
pub(crate) use key::{shown, signature_blob};
pub(crate) use verify::from_address;
pub use verify::{VerifiedHost, VerifiedUser, claimed_identity, verify_host, verify_user};

/// The extension that carries the identity.
pub const IDENTITY_EXTENSION: &str = "identity@moongate.dev";

/// What a user certificate lets stock SSH servers allow. On our nodes policy decides; this can only take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Permits {
    /// A terminal.
    pub pty: bool,
    /// Port forwarding.
    pub port_forwarding: bool,
    /// Agent forwarding.
    pub agent_forwarding: bool,
    /// X11 forwarding.
    pub x11_forwarding: bool,
}
