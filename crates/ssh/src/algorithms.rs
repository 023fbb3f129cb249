//! Which algorithms a connection may use, by the names of configuration, and the choice between two sides' lists.

use std::fmt;

use wire::ssh::NameList;

use crate::Error;

/// A key exchange method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named for itself; the wire's names are in `KEXES`")]
pub enum Kex {
    MlKem768X25519,
    Curve25519,
    Curve25519Libssh,
    P256,
    P384,
    P521,
}

/// A cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named for itself; the wire's names are in `CIPHERS`")]
pub enum Cipher {
    Aes256Gcm,
    Aes128Gcm,
    ChaCha20Poly1305,
    Aes256Ctr,
    Aes192Ctr,
    Aes128Ctr,
}

impl Cipher {
    /// It authenticates by itself, so no MAC is chosen.
    #[must_use]
    pub fn is_aead(self) -> bool {
        matches!(self, Self::Aes256Gcm | Self::Aes128Gcm | Self::ChaCha20Poly1305)
    }
}

/// A message authentication code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named for itself; the wire's names are in `MACS`")]
pub enum Mac {
    Sha256Etm,
    Sha512Etm,
    Sha256,
    Sha512,
}

/// Every key exchange method, in the order of preference.
pub const KEXES: [(&str, Kex); 6] = [
    ("mlkem768x25519-sha256", Kex::MlKem768X25519),
    ("curve25519-sha256", Kex::Curve25519),
    ("curve25519-sha256@libssh.org", Kex::Curve25519Libssh),
    ("ecdh-sha2-nistp256", Kex::P256),
    ("ecdh-sha2-nistp384", Kex::P384),
    ("ecdh-sha2-nistp521", Kex::P521),
];

/// Every cipher, in the order of preference.
pub const CIPHERS: [(&str, Cipher); 6] = [
    ("aes256-gcm@openssh.com", Cipher::Aes256Gcm),
    ("aes128-gcm@openssh.com", Cipher::Aes128Gcm),
    ("chacha20-poly1305@openssh.com", Cipher::ChaCha20Poly1305),
    ("aes256-ctr", Cipher::Aes256Ctr),
    ("aes192-ctr", Cipher::Aes192Ctr),
    ("aes128-ctr", Cipher::Aes128Ctr),
];

/// Every MAC, in the order of preference.
pub const MACS: [(&str, Mac); 4] = [
    ("hmac-sha2-256-etm@openssh.com", Mac::Sha256Etm),
    ("hmac-sha2-512-etm@openssh.com", Mac::Sha512Etm),
    ("hmac-sha2-256", Mac::Sha256),
    ("hmac-sha2-512", Mac::Sha512),
];

/// What one side offers, in its order of preference. Never empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Algorithms {
    pub(crate) kex: Vec<(&'static str, Kex)>,
    pub(crate) ciphers: Vec<(&'static str, Cipher)>,
    pub(crate) macs: Vec<(&'static str, Mac)>,
}

impl Default for Algorithms {
    fn default() -> Self {
        Self { kex: KEXES.to_vec(), ciphers: CIPHERS.to_vec(), macs: MACS.to_vec() }
    }
}

impl fmt::Debug for Algorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Algorithms({:?} {:?} {:?})", self.kex, self.ciphers, self.macs)
    }
}

impl Algorithms {
    /// The algorithms named, in that order. An empty list means the default one.
    ///
    /// # Errors
    /// A name that is not known ([`Error::UnknownAlgorithm`]).
    pub fn named<S: AsRef<str>>(ciphers: &[S], kexes: &[S], macs: &[S]) -> Result<Self, Error> {
        Ok(Self {
            kex: pick("key exchange", kexes, &KEXES)?,
            ciphers: pick("cipher", ciphers, &CIPHERS)?,
            macs: pick("MAC", macs, &MACS)?,
        })
    }
}

fn pick<S: AsRef<str>, T: Copy>(
    kind: &'static str,
    names: &[S],
    known: &[(&'static str, T)],
) -> Result<Vec<(&'static str, T)>, Error> {
    if names.is_empty() {
        return Ok(known.to_vec());
    }
    let find = |name: &S| {
        known.iter().find(|(found, _)| *found == name.as_ref()).copied().ok_or_else(|| {
            let all: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            Error::UnknownAlgorithm { kind, name: name.as_ref().to_owned(), known: all.join(", ") }
        })
    };
    names.iter().map(find).collect()
}

/// The first of the client's names that the server has too (RFC 4253 section 7.1).
pub(crate) fn common<'a>(client: NameList<'a>, server: NameList<'_>) -> Option<&'a str> {
    client.iter().find(|name| server.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_names_keep_their_order_and_unknown_ones_are_told() {
        let some = Algorithms::named(&["aes128-ctr", "aes256-gcm@openssh.com"], &[], &[]).unwrap();
        assert_eq!(
            some.ciphers.iter().map(|c| c.1).collect::<Vec<_>>(),
            [Cipher::Aes128Ctr, Cipher::Aes256Gcm]
        );
        assert_eq!(some.kex.len(), KEXES.len());

        let error = Algorithms::named(&[], &["diffie-hellman-group1-sha1"], &[]).unwrap_err();
        assert!(error.to_string().contains("diffie-hellman-group1-sha1"), "{error}");
    }

    #[test]
    fn the_client_s_preference_decides() {
        let client = NameList::new(b"c,b,a").unwrap();
        let server = NameList::new(b"a,b").unwrap();
        assert_eq!(common(client, server), Some("b"));
        assert_eq!(common(client, NameList::new(b"d").unwrap()), None);
    }
}
