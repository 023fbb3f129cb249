//! The transport as a state machine: versions, packets, key exchange, rekey. It is fed bytes and leaves bytes; it has
//! no stream and no clock.
//!
//! Bounds: a packet's length is checked before room is made for it ([`MAX_STRANGER`] bytes until the peer is let in,
//! [`MAX_PACKET`] after). Strict key exchange: when both sides know it, anything but the exchange's own messages ends
//! the first exchange, and packet numbers start again with every new key, so no packet can be slipped in or cut off
//! at the front (the Terrapin attack).

pub(crate) mod cipher;
mod exchange;
mod input;
pub(crate) mod kex;

use std::ops::Range;

use wire::ssh::transport::{Disconnect, ExtInfo};
use wire::ssh::version::{self, Seen, Version};
use wire::ssh::{Reader, number, put_string};

use cipher::{HEAD, Opener, Sealer};
use exchange::Exchange;
use input::Input;

use crate::error::clean;
use crate::hub::Role;
use crate::{Algorithms, Error, HostKey, PublicKey};

/// The longest packet of a peer that is not let in yet (RFC 4253 section 6.1).
pub(crate) const MAX_STRANGER: usize = 35_000;
/// The longest packet.
pub(crate) const MAX_PACKET: usize = 256 * 1024;
/// Packets under one key; far below the 2^32 where numbers repeat.
const MAX_PACKETS: u64 = 1 << 31;
/// Answers to pings that may wait for a key exchange.
const MAX_PONGS: usize = 256;

/// One direction's numbers.
#[derive(Default)]
struct Count {
    sequence: u32,
    packets: u64,
    bytes: u64,
}

impl Count {
    fn packet(&mut self, bytes: usize) {
        self.sequence = self.sequence.wrapping_add(1);
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    fn fresh(&mut self, strict: bool) {
        self.packets = 0;
        self.bytes = 0;
        if strict {
            self.sequence = 0;
        }
    }
}

pub(crate) struct Transport {
    role: Role,
    algorithms: Algorithms,
    host_keys: Vec<HostKey>,
    /// The key that signed the first exchange (clients). Later exchanges must be signed by the same.
    host: Option<PublicKey>,
    versions: (String, Option<String>),
    other_lines: usize,
    input: Input,
    opener: Opener,
    rx: Count,
    /// The packet at the front of the input, once its length is known.
    waiting: Option<usize>,
    /// What the caller has done with and goes next time.
    spent: usize,
    pub(crate) max_packet: usize,
    out: Vec<u8>,
    sent: usize,
    sealer: Sealer,
    tx: Count,
    exchange: Exchange,
    session: Vec<u8>,
    strict: bool,
    first: bool,
    /// The peer said which signatures it takes.
    pub(crate) signatures: Option<String>,
    pongs: Vec<Vec<u8>>,
}

impl Transport {
    /// A transport that has nothing but its own version to say. Servers bring their keys.
    pub(crate) fn new(role: Role, algorithms: Algorithms, host_keys: Vec<HostKey>, software: &str) -> Self {
        let mine = format!("SSH-2.0-{software}");
        let mut transport = Self {
            role,
            algorithms,
            host_keys,
            host: None,
            out: format!("{mine}\r\n").into_bytes(),
            versions: (mine, None),
            other_lines: 0,
            input: Input::new(),
            opener: Opener::plain(),
            rx: Count::default(),
            waiting: None,
            spent: 0,
            max_packet: MAX_STRANGER,
            sent: 0,
            sealer: Sealer::plain(),
            tx: Count::default(),
            exchange: Exchange::Idle,
            session: Vec::new(),
            strict: false,
            first: true,
            signatures: None,
            pongs: Vec::new(),
        };
        // Both sides may speak at once: saying it now saves a round trip.
        if transport.start_exchange().is_err() {
            transport.out.clear();
        }
        transport
    }

    /// The peer's software, once it said so.
    pub(crate) fn peer_version(&self) -> &str {
        self.versions.1.as_deref().unwrap_or_default()
    }

    /// The session's name for ever: the first exchange hash.
    pub(crate) fn session(&self) -> &[u8] {
        &self.session
    }

    /// The keys of the first exchange are in use, both ways.
    pub(crate) fn ready(&self) -> bool {
        !self.first && matches!(self.exchange, Exchange::Idle)
    }

    /// The host's key (clients), which signed the first exchange.
    pub(crate) fn host_key(&self) -> Option<&PublicKey> {
        self.host.as_ref()
    }

    // --- input

    /// Where the stream's bytes go.
    pub(crate) fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    /// The next message that is not the transport's own: where its payload is. Everything before it is forgotten.
    pub(crate) fn next(&mut self) -> Result<Option<Range<usize>>, Error> {
        loop {
            self.input.consume(std::mem::take(&mut self.spent));
            if self.versions.1.is_none() && !self.read_version()? {
                return Ok(None);
            }
            let Some(payload) = self.open_packet()? else { return Ok(None) };
            if self.mine(payload.clone())? {
                continue;
            }
            return Ok(Some(payload));
        }
    }

    /// The bytes of a message [`Transport::next`] found.
    pub(crate) fn payload(&self, at: Range<usize>) -> &[u8] {
        self.input.bytes().get(at).unwrap_or_default()
    }

    fn read_version(&mut self) -> Result<bool, Error> {
        loop {
            match version::scan(self.input.bytes())? {
                Seen::NeedMore => return Ok(false),
                Seen::OtherLine(length) => {
                    self.other_lines += 1;
                    if self.role == Role::Server || self.other_lines > version::MAX_LINES {
                        return Err(Error::Protocol("no identification"));
                    }
                    self.input.consume(length);
                }
                Seen::Version(version, length) => {
                    self.input.consume(length);
                    self.versions.1 = Some(Version::as_str(&version).to_owned());
                    return Ok(true);
                }
            }
        }
    }

    fn open_packet(&mut self) -> Result<Option<Range<usize>>, Error> {
        let total = match self.waiting {
            Some(total) => total,
            None => {
                let peeks = self.opener.peeks();
                let Some(head) = self.input.bytes_mut().get_mut(..peeks) else { return Ok(None) };
                let total = self.opener.length(self.rx.sequence, head, self.max_packet)?;
                self.input.expect(total);
                *self.waiting.insert(total)
            }
        };
        let Some(packet) = self.input.bytes_mut().get_mut(..total) else { return Ok(None) };
        let payload = self.opener.open(self.rx.sequence, packet)?;
        self.waiting = None;
        self.spent = total;
        self.rx.packet(total);
        Ok(Some(payload))
    }

    /// Handles the transport's own messages. `false`: it is not one.
    fn mine(&mut self, at: Range<usize>) -> Result<bool, Error> {
        let kind = self.payload(at.clone()).first().copied().unwrap_or_default();
        let exchanging = !matches!(self.exchange, Exchange::Idle | Exchange::Asked { .. });
        match kind {
            number::KEXINIT | number::NEWKEYS | number::KEX_INIT | number::KEX_REPLY => {
                let payload = self.payload(at).to_vec();
                self.exchange_message(kind, &payload)?;
                Ok(true)
            }
            number::DISCONNECT => {
                let told = Disconnect::decode(&mut Reader::new(self.payload(at)))?;
                Err(Error::Disconnected { reason: told.reason, text: clean(told.text) })
            }
            _ if self.first && self.strict => {
                Err(Error::Protocol("a message out of place in the key exchange"))
            }
            number::IGNORE | number::DEBUG | number::UNIMPLEMENTED => Ok(true),
            _ if self.first || exchanging => Err(Error::Protocol("a message inside a key exchange")),
            number::EXT_INFO => {
                let info = ExtInfo::decode(&mut Reader::new(self.payload(at)))?;
                let signatures = info.value("server-sig-algs").map(clean);
                self.signatures = signatures.or(self.signatures.take());
                Ok(true)
            }
            number::PING => {
                let mut pong = vec![number::PONG];
                put_string(&mut pong, Reader::new(self.payload(at).get(1..).unwrap_or_default()).string()?);
                if self.pongs.len() >= MAX_PONGS || pong.len() > 1024 {
                    return Err(Error::Protocol("too many pings"));
                }
                self.pongs.push(pong);
                self.send_pongs()?;
                Ok(true)
            }
            number::PONG => Ok(true),
            _ => Ok(false),
        }
    }

    fn send_pongs(&mut self) -> Result<(), Error> {
        if self.may_send() {
            for pong in std::mem::take(&mut self.pongs) {
                self.send(|out| out.extend_from_slice(&pong))?;
            }
        }
        Ok(())
    }

    // --- output

    /// Messages other than the key exchange's own may go now.
    pub(crate) fn may_send(&self) -> bool {
        !self.first && matches!(self.exchange, Exchange::Idle | Exchange::Turning { .. })
    }

    /// Seals one message behind what waits already.
    pub(crate) fn send(&mut self, payload: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEAD]);
        payload(&mut self.out);
        self.seal(start)
    }

    /// As [`Transport::send`], for a payload that may turn out not to exist.
    pub(crate) fn send_some(&mut self, payload: impl FnOnce(&mut Vec<u8>) -> bool) -> Result<bool, Error> {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEAD]);
        if !payload(&mut self.out) {
            self.out.truncate(start);
            return Ok(false);
        }
        self.seal(start).map(|()| true)
    }

    fn seal(&mut self, start: usize) -> Result<(), Error> {
        self.sealer.seal(self.tx.sequence, &mut self.out, start)?;
        self.tx.packet(self.out.len() - start);
        Ok(())
    }

    /// What waits for the stream.
    pub(crate) fn output(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// The stream took so many bytes.
    pub(crate) fn written(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
    }

    /// Moves what is unsent to the front, before more is put behind it.
    pub(crate) fn compact(&mut self) {
        if self.sent > 0 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Enough was sent under these keys.
    pub(crate) fn worn(&self, limit: u64) -> bool {
        let worn = |count: &Count| count.bytes >= limit || count.packets >= MAX_PACKETS;
        self.ready() && (worn(&self.rx) || worn(&self.tx))
    }

    /// Asks the peer for new keys, unless that is under way.
    pub(crate) fn rekey(&mut self) -> Result<(), Error> {
        if self.ready() { self.start_exchange() } else { Ok(()) }
    }

    /// Says goodbye, as far as that is possible now.
    pub(crate) fn goodbye(&mut self, reason: u32, text: &str) -> Result<(), Error> {
        self.send(|out| Disconnect { reason, text: text.as_bytes() }.encode(out))
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        self.input.shrink();
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        self.opener.shrink();
        self.sealer.shrink();
    }

    /// Holds buffers that [`Transport::shrink`] would give back.
    pub(crate) fn swollen(&self) -> bool {
        self.input.swollen() || self.out.capacity() > 4096
    }
}
