//! Seals and opens packets (RFC 4253 section 6; OpenSSH PROTOCOL 1.6 aes-gcm, 1.1 encrypt-then-mac;
//! PROTOCOL.chacha20poly1305). In place, and without an allocation for each packet.

use aws_lc_rs::aead::chacha20_poly1305_openssh as chacha;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, DecryptionContext, EncryptionContext, StreamingDecryptingKey,
    StreamingEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use crate::Error;
use crate::algorithms::{Cipher, Mac};

/// The length field.
pub(crate) const LENGTH: usize = 4;
/// Length field and padding length: what stands before the payload.
pub(crate) const HEAD: usize = 5;

/// Key, first nonce and MAC key of one direction.
pub(crate) struct Material {
    pub(crate) key: Zeroizing<Vec<u8>>,
    pub(crate) iv: Zeroizing<Vec<u8>>,
    pub(crate) mac: Zeroizing<Vec<u8>>,
}

/// How long the key material of a cipher is.
pub(crate) fn key_lengths(cipher: Cipher, mac: Mac) -> (usize, usize, usize) {
    let mac = match mac {
        Mac::Sha256 | Mac::Sha256Etm => 32,
        Mac::Sha512 | Mac::Sha512Etm => 64,
    };
    match cipher {
        Cipher::Aes256Gcm => (32, 12, 0),
        Cipher::Aes128Gcm => (16, 12, 0),
        Cipher::ChaCha20Poly1305 => (64, 0, 0),
        Cipher::Aes256Ctr => (32, 16, mac),
        Cipher::Aes192Ctr => (24, 16, mac),
        Cipher::Aes128Ctr => (16, 16, mac),
    }
}

fn broken<E>(_: E) -> Error {
    Error::KeyExchange("unusable key material")
}

fn gcm(cipher: Cipher, material: &Material) -> Result<Gcm, Error> {
    let algorithm = if cipher == Cipher::Aes256Gcm { &AES_256_GCM } else { &AES_128_GCM };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &material.key).map_err(broken)?);
    let iv: [u8; 12] = material.iv.as_slice().try_into().map_err(broken)?;
    let (fixed, counter) = iv.split_first_chunk::<4>().ok_or(Error::KeyExchange("a short nonce"))?;
    let counter = u64::from_be_bytes(counter.try_into().map_err(broken)?);
    Ok(Gcm { key, fixed: *fixed, counter })
}

fn ctr(cipher: Cipher, material: &Material) -> Result<(UnboundCipherKey, FixedLength<16>), Error> {
    let algorithm = match cipher {
        Cipher::Aes256Ctr => &AES_256,
        Cipher::Aes192Ctr => &AES_192,
        _ => &AES_128,
    };
    let iv: [u8; 16] = material.iv.as_slice().try_into().map_err(broken)?;
    Ok((UnboundCipherKey::new(algorithm, &material.key).map_err(broken)?, FixedLength::from(iv)))
}

fn authenticator(mac: Mac, material: &Material) -> Authenticator {
    let (algorithm, etm) = match mac {
        Mac::Sha256Etm => (hmac::HMAC_SHA256, true),
        Mac::Sha512Etm => (hmac::HMAC_SHA512, true),
        Mac::Sha256 => (hmac::HMAC_SHA256, false),
        Mac::Sha512 => (hmac::HMAC_SHA512, false),
    };
    Authenticator { key: hmac::Key::new(algorithm, &material.mac), etm, tag: algorithm.tag_len() }
}

struct Gcm {
    key: LessSafeKey,
    fixed: [u8; 4],
    counter: u64,
}

impl Gcm {
    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        let (fixed, counter) = nonce.split_at_mut(4);
        fixed.copy_from_slice(&self.fixed);
        counter.copy_from_slice(&self.counter.to_be_bytes());
        self.counter = self.counter.wrapping_add(1);
        Nonce::assume_unique_for_key(nonce)
    }
}

struct Authenticator {
    key: hmac::Key,
    etm: bool,
    tag: usize,
}

impl Authenticator {
    fn tag(&self, sequence: u32, packet: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&sequence.to_be_bytes());
        context.update(packet);
        context.sign()
    }

    fn check(&self, sequence: u32, packet: &[u8], tag: &[u8]) -> Result<(), Error> {
        let made = self.tag(sequence, packet);
        aws_lc_rs::constant_time::verify_slices_are_equal(made.as_ref(), tag).map_err(|_| Error::Integrity)
    }
}

/// Counter mode beside a MAC. The cipher cannot work in place, hence the scratch buffer.
struct Ctr<K> {
    cipher: K,
    mac: Authenticator,
    scratch: Vec<u8>,
}

/// Seals outgoing packets.
pub(crate) struct Sealer(Sealing);

enum Sealing {
    Plain,
    Gcm(Box<Gcm>),
    ChaCha(Box<chacha::SealingKey>),
    Ctr(Box<Ctr<StreamingEncryptingKey>>),
}

impl Sealer {
    /// Before any key is agreed on.
    pub(crate) fn plain() -> Self {
        Self(Sealing::Plain)
    }

    pub(crate) fn new(cipher: Cipher, mac: Mac, material: &Material) -> Result<Self, Error> {
        Ok(Self(match cipher {
            Cipher::Aes256Gcm | Cipher::Aes128Gcm => Sealing::Gcm(Box::new(gcm(cipher, material)?)),
            Cipher::ChaCha20Poly1305 => {
                let key = material.key.as_slice().try_into().map_err(broken)?;
                Sealing::ChaCha(Box::new(chacha::SealingKey::new(key)))
            }
            Cipher::Aes256Ctr | Cipher::Aes192Ctr | Cipher::Aes128Ctr => {
                let (key, iv) = ctr(cipher, material)?;
                let cipher = StreamingEncryptingKey::less_safe_ctr(key, EncryptionContext::Iv128(iv))
                    .map_err(broken)?;
                Sealing::Ctr(Box::new(Ctr { cipher, mac: authenticator(mac, material), scratch: Vec::new() }))
            }
        }))
    }

    /// Seals the packet that starts at `start`: five bytes of room for its head, then the payload. Padding is zeros:
    /// every cipher here hides it, and before keys there is nothing to hide.
    pub(crate) fn seal(&mut self, sequence: u32, out: &mut Vec<u8>, start: usize) -> Result<(), Error> {
        let payload = out.len().saturating_sub(start + HEAD);
        let (block, counts_length) = match &self.0 {
            Sealing::Plain => (8, true),
            Sealing::Gcm(_) => (16, false),
            Sealing::ChaCha(_) => (8, false),
            Sealing::Ctr(ctr) => (16, !ctr.mac.etm),
        };
        let covered = 1 + payload + if counts_length { LENGTH } else { 0 };
        let padding = match block - covered % block {
            short if short < 4 => short + block,
            enough => enough,
        };
        let length = u32::try_from(1 + payload + padding).map_err(|_| Error::Congested)?;
        out.resize(out.len() + padding, 0);
        let packet = out.get_mut(start..).unwrap_or_default();
        if let Some(head) = packet.first_chunk_mut::<HEAD>() {
            let [a, b, c, d] = length.to_be_bytes();
            *head = [a, b, c, d, u8::try_from(padding).unwrap_or(u8::MAX)];
        }
        match &mut self.0 {
            Sealing::Plain => {}
            Sealing::Gcm(gcm) => {
                let nonce = gcm.nonce();
                let body = packet.get_mut(LENGTH..).unwrap_or_default();
                let tag = gcm
                    .key
                    .seal_in_place_separate_tag(nonce, Aad::from(length.to_be_bytes()), body)
                    .map_err(|_| Error::Integrity)?;
                out.extend_from_slice(tag.as_ref());
            }
            Sealing::ChaCha(key) => {
                let mut tag = [0; chacha::TAG_LEN];
                key.seal_in_place(sequence, packet, &mut tag);
                out.extend_from_slice(&tag);
            }
            Sealing::Ctr(ctr) => {
                let Ctr { cipher, mac, scratch } = &mut **ctr;
                let clear = (!mac.etm).then(|| mac.tag(sequence, packet));
                let skip = if mac.etm { LENGTH } else { 0 };
                let body = packet.get_mut(skip..).unwrap_or_default();
                scratch.clear();
                scratch.extend_from_slice(body);
                cipher.less_safe_update(scratch, body).map_err(|_| Error::Integrity)?;
                let tag = clear.unwrap_or_else(|| mac.tag(sequence, packet));
                out.extend_from_slice(tag.as_ref());
            }
        }
        Ok(())
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        if let Sealing::Ctr(ctr) = &mut self.0 {
            ctr.scratch = Vec::new();
        }
    }
}

/// Opens incoming packets.
pub(crate) struct Opener(Opening);

enum Opening {
    Plain,
    Gcm(Box<Gcm>),
    ChaCha(Box<chacha::OpeningKey>),
    Ctr(Box<Ctr<StreamingDecryptingKey>>),
}

impl Opener {
    /// Before any key is agreed on.
    pub(crate) fn plain() -> Self {
        Self(Opening::Plain)
    }

    pub(crate) fn new(cipher: Cipher, mac: Mac, material: &Material) -> Result<Self, Error> {
        Ok(Self(match cipher {
            Cipher::Aes256Gcm | Cipher::Aes128Gcm => Opening::Gcm(Box::new(gcm(cipher, material)?)),
            Cipher::ChaCha20Poly1305 => {
                let key = material.key.as_slice().try_into().map_err(broken)?;
                Opening::ChaCha(Box::new(chacha::OpeningKey::new(key)))
            }
            Cipher::Aes256Ctr | Cipher::Aes192Ctr | Cipher::Aes128Ctr => {
                let (key, iv) = ctr(cipher, material)?;
                let cipher =
                    StreamingDecryptingKey::ctr(key, DecryptionContext::Iv128(iv)).map_err(broken)?;
                Opening::Ctr(Box::new(Ctr { cipher, mac: authenticator(mac, material), scratch: Vec::new() }))
            }
        }))
    }

    /// How many bytes [`Opener::length`] looks at.
    pub(crate) fn peeks(&self) -> usize {
        match &self.0 {
            Opening::Ctr(ctr) if !ctr.mac.etm => 16,
            _ => LENGTH,
        }
    }

    fn block(&self) -> usize {
        match &self.0 {
            Opening::Plain | Opening::ChaCha(_) => 8,
            Opening::Gcm(_) | Opening::Ctr(_) => 16,
        }
    }

    fn tag(&self) -> usize {
        match &self.0 {
            Opening::Plain => 0,
            Opening::Gcm(_) | Opening::ChaCha(_) => 16,
            Opening::Ctr(ctr) => ctr.mac.tag,
        }
    }

    /// How long the packet that begins with `head` is, tag included. Called once for each packet: it may decrypt the
    /// first block in place. `max` bounds the packet before anything is read or allocated for it.
    pub(crate) fn length(&mut self, sequence: u32, head: &mut [u8], max: usize) -> Result<usize, Error> {
        let mut length = *head.first_chunk::<LENGTH>().ok_or(Error::Integrity)?;
        let mut covered = 0;
        match &mut self.0 {
            Opening::Plain => covered = LENGTH,
            Opening::Gcm(_) => {}
            Opening::ChaCha(key) => length = key.decrypt_packet_length(sequence, length),
            Opening::Ctr(ctr) => {
                let Ctr { cipher, mac, .. } = &mut **ctr;
                if !mac.etm {
                    let block = *head.first_chunk::<16>().ok_or(Error::Integrity)?;
                    cipher.less_safe_update(&block, head).map_err(|_| Error::Integrity)?;
                    length = *head.first_chunk::<LENGTH>().ok_or(Error::Integrity)?;
                    covered = LENGTH;
                }
            }
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > max || length < 8 || !(length + covered).is_multiple_of(self.block()) {
            return Err(Error::Integrity);
        }
        Ok(LENGTH + length + self.tag())
    }

    /// Checks and opens one whole packet in place: where its payload is.
    pub(crate) fn open(&mut self, sequence: u32, packet: &mut [u8]) -> Result<std::ops::Range<usize>, Error> {
        let end = packet.len().checked_sub(self.tag()).ok_or(Error::Integrity)?;
        let (sealed, tag) = packet.split_at_mut(end);
        match &mut self.0 {
            Opening::Plain => {}
            Opening::Gcm(gcm) => {
                let nonce = gcm.nonce();
                let (length, body) = sealed.split_first_chunk_mut::<LENGTH>().ok_or(Error::Integrity)?;
                gcm.key
                    .open_in_place_separate_tag(nonce, Aad::from(*length), tag, body)
                    .map_err(|_| Error::Integrity)?;
            }
            Opening::ChaCha(key) => {
                let tag: &[u8; chacha::TAG_LEN] = (&*tag).try_into().map_err(|_| Error::Integrity)?;
                key.open_in_place(sequence, sealed, tag).map_err(|_| Error::Integrity)?;
            }
            Opening::Ctr(ctr) => {
                let Ctr { cipher, mac, scratch } = &mut **ctr;
                if mac.etm {
                    mac.check(sequence, sealed, tag)?;
                }
                let body = sealed.get_mut(if mac.etm { LENGTH } else { 16 }..).unwrap_or_default();
                scratch.clear();
                scratch.extend_from_slice(body);
                cipher.less_safe_update(scratch, body).map_err(|_| Error::Integrity)?;
                if !mac.etm {
                    mac.check(sequence, sealed, tag)?;
                }
            }
        }
        let padding = usize::from(*sealed.get(LENGTH).ok_or(Error::Integrity)?);
        let last = sealed.len().checked_sub(padding).ok_or(Error::Integrity)?;
        if padding < 4 || last <= HEAD {
            return Err(Error::Integrity);
        }
        Ok(HEAD..last)
    }

    /// Gives back memory that an idle connection does not need.
    pub(crate) fn shrink(&mut self) {
        if let Opening::Ctr(ctr) = &mut self.0 {
            ctr.scratch = Vec::new();
        }
    }
}
