//! SSH over any byte stream: a server that lets in who signs, a client, and the pieces a jump host is made of.
//!
//! No pty, no users, no files but key files. A certificate is handed up as it came: what it is worth is the caller's
//! to decide (with `pki`); that the key inside it signed is decided here.
//!
//! ```text
//! server::accept(stream) → Accepted { who, connection, incoming, driver }
//! client::connect(stream) → Connected { connection, incoming, driver }
//!     driver      the future that moves the bytes: spawn it in a scope
//!     incoming    what the peer wants: channels, forwards
//!     connection  what we want: open channels, listen, disconnect
//!     Channel     recv, write, requests, exit status; or a byte stream
//! sftp::Sftp::begin(channel.into_stream()) → files, read ahead and written in pieces
//! ```
//!
//! RFC 4251 to 4254, 5656, 8308 (extensions), 8731 (curve25519), draft-ietf-sshm-mlkem-hybrid-kex, and OpenSSH's
//! PROTOCOL (strict key exchange, aes-gcm, encrypt-then-mac, streamlocal, agent), PROTOCOL.chacha20poly1305,
//! PROTOCOL.certkeys. No compression, no passwords, no SHA-1.
//!
//! Three promises, each a test: a channel nobody reads never holds up its neighbours; a full-duplex copy never
//! stalls; unread data never exceeds the window its channel was granted.
#![forbid(unsafe_code)]

pub mod agent;
pub mod algorithms;
pub mod channel;
pub mod client;
pub mod connection;
mod driver;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod hub;
pub mod jump;
pub mod keys;
mod link;
mod proof;
mod relay;
pub mod server;
pub mod sftp;
mod transport;
mod verify;

pub use algorithms::Algorithms;
pub use channel::{Channel, Received, Request, STDERR, Stream};
pub use connection::{Connection, Event, Incoming, Listen, Opening};
pub use error::Error;
pub use hub::{Limits, Role};
pub use keys::{HostKey, PrivateKey, PublicKey, Signer};
pub use relay::{Relayed, relay};
pub use wire::ssh::connection::{ChannelKind, TcpPath};
pub use wire::ssh::request::{GlobalKind, Pty, RequestKind, Size};

#[cfg(test)]
mod tests;
