//! Message numbers: the first byte of every packet's payload (RFC 4250 section 4.1.2).

/// The peer ends the connection.
pub const DISCONNECT: u8 = 1;
/// Padding against traffic analysis.
pub const IGNORE: u8 = 2;
/// The peer did not understand one of our packets.
pub const UNIMPLEMENTED: u8 = 3;
/// Text for a log.
pub const DEBUG: u8 = 4;
/// The client asks for `ssh-userauth`.
pub const SERVICE_REQUEST: u8 = 5;
/// The server grants it.
pub const SERVICE_ACCEPT: u8 = 6;
/// Extensions (RFC 8308).
pub const EXT_INFO: u8 = 7;
/// A key exchange begins.
pub const KEXINIT: u8 = 20;
/// The keys agreed on are in use from the next packet on.
pub const NEWKEYS: u8 = 21;
/// The client's half of a Diffie-Hellman or KEM exchange.
pub const KEX_INIT: u8 = 30;
/// The server's half.
pub const KEX_REPLY: u8 = 31;
/// The client asks to be let in.
pub const USERAUTH_REQUEST: u8 = 50;
/// No.
pub const USERAUTH_FAILURE: u8 = 51;
/// Yes.
pub const USERAUTH_SUCCESS: u8 = 52;
/// Text for the person.
pub const USERAUTH_BANNER: u8 = 53;
/// This key would do: now sign.
pub const USERAUTH_PK_OK: u8 = 60;
/// A request about the connection as a whole.
pub const GLOBAL_REQUEST: u8 = 80;
/// Granted.
pub const REQUEST_SUCCESS: u8 = 81;
/// Refused.
pub const REQUEST_FAILURE: u8 = 82;
/// A channel, please.
pub const CHANNEL_OPEN: u8 = 90;
/// Opened.
pub const CHANNEL_OPEN_CONFIRMATION: u8 = 91;
/// Refused.
pub const CHANNEL_OPEN_FAILURE: u8 = 92;
/// The peer may send more.
pub const CHANNEL_WINDOW_ADJUST: u8 = 93;
/// Bytes.
pub const CHANNEL_DATA: u8 = 94;
/// Bytes of another kind (standard error).
pub const CHANNEL_EXTENDED_DATA: u8 = 95;
/// No more bytes this way.
pub const CHANNEL_EOF: u8 = 96;
/// The channel is over.
pub const CHANNEL_CLOSE: u8 = 97;
/// A request about one channel.
pub const CHANNEL_REQUEST: u8 = 98;
/// Granted.
pub const CHANNEL_SUCCESS: u8 = 99;
/// Refused.
pub const CHANNEL_FAILURE: u8 = 100;
/// `ping@openssh.com`.
pub const PING: u8 = 192;
/// The answer to [`PING`].
pub const PONG: u8 = 193;
