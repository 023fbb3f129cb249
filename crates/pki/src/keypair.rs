//! A holder's own key pair: a host's, a person's, a proxy's web certificate's. Unlike an authority's it lives in a
//! file, in the forms other programs read: OpenSSH's for SSH, PKCS#8 PEM for TLS.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::bytes::{Reader, put_string, put_u32};
use crate::signer::{KeyType, Private, Signer};
use crate::{Error, MAX_BLOB, x509};

const WHAT: &str = "OpenSSH private key";
const MAGIC: &[u8] = b"openssh-key-v1\0";
const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";

/// A private key with its public half.
pub struct KeyPair(Private);

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({:?}, {})", self.0.key_type(), self.ssh_public().fingerprint())
    }
}

impl Signer for KeyPair {
    fn key_type(&self) -> KeyType {
        self.0.key_type()
    }

    fn public_key(&self) -> &[u8] {
        self.0.public()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message)
    }
}

impl KeyPair {
    /// Makes a key from 32 random bytes; the same bytes give the same key.
    ///
    /// # Errors
    /// The library refused.
    pub fn generate(key_type: KeyType, seed: &[u8; 32]) -> Result<Self, Error> {
        Private::generate(key_type, seed).map(Self)
    }

    /// SubjectPublicKeyInfo, PEM: what `tls_key_pem` of the API carries.
    #[must_use]
    pub fn spki_pem(&self) -> String {
        x509::pem("PUBLIC KEY", &x509::spki_der(self))
    }

    /// The private key as PKCS#8, DER.
    ///
    /// # Errors
    /// The library refused.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.0.pkcs8()
    }

    /// The private key as PKCS#8, PEM.
    ///
    /// # Errors
    /// The library refused.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, Error> {
        Ok(Zeroizing::new(x509::pem("PRIVATE KEY", &self.0.pkcs8()?)))
    }

    /// Reads what [`KeyPair::to_pkcs8_pem`] wrote.
    ///
    /// # Errors
    /// Not such a key.
    pub fn from_pkcs8_pem(text: &str) -> Result<Self, Error> {
        x509::private_from_pkcs8(&Zeroizing::new(x509::der_from_pem("PRIVATE KEY", text)?)).map(Self)
    }

    /// The private key as `ssh-keygen` writes it, without passphrase. `check` is any random number.
    #[must_use]
    pub fn to_openssh(&self, comment: &str, check: u32) -> Zeroizing<String> {
        let public = self.ssh_public();
        // Room for all of it: what grows leaves behind what it was.
        let room = 512 + comment.len();
        let mut inner = Zeroizing::new(Vec::with_capacity(room));
        put_u32(&mut inner, check);
        put_u32(&mut inner, check);
        put_string(&mut inner, public.algorithm().as_str().as_bytes());
        match self.key_type() {
            KeyType::Ed25519 => {
                put_string(&mut inner, self.public_key());
                let both = Zeroizing::new([self.0.secret(), self.public_key()].concat());
                put_string(&mut inner, &both);
            }
            KeyType::EcdsaP256 => {
                put_string(&mut inner, b"nistp256");
                put_string(&mut inner, self.public_key());
                crate::bytes::put_mpint(&mut inner, self.0.secret());
            }
        }
        put_string(&mut inner, comment.as_bytes());
        let pad = (8 - inner.len() % 8) % 8;
        inner.extend((1..=8u8).take(pad));
        let mut out = Zeroizing::new(Vec::with_capacity(2 * room));
        out.extend_from_slice(MAGIC);
        put_string(&mut out, b"none");
        put_string(&mut out, b"none");
        put_string(&mut out, b"");
        put_u32(&mut out, 1);
        put_string(&mut out, public.blob());
        put_string(&mut out, &inner);
        let encoded = Zeroizing::new(STANDARD.encode(&*out));
        let mut text = Zeroizing::new(String::with_capacity(2 * encoded.len() + 2 * BEGIN.len()));
        text.push_str(BEGIN);
        text.push('\n');
        for line in encoded.as_bytes().chunks(70) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str(END);
        text.push('\n');
        text
    }

    /// Reads an unencrypted OpenSSH private key (Ed25519 or ECDSA P-256).
    ///
    /// # Errors
    /// Malformed, encrypted, or another kind of key.
    pub fn from_openssh(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_BLOB {
            return Err(Error::TooLong(WHAT, MAX_BLOB));
        }
        let malformed = || Error::Malformed(WHAT);
        let body = text.trim().strip_prefix(BEGIN).and_then(|t| t.strip_suffix(END)).ok_or_else(malformed)?;
        let bytes = Zeroizing::new(x509::decode(body).ok_or_else(malformed)?);
        let mut reader = Reader::new(WHAT, bytes.strip_prefix(MAGIC).ok_or_else(malformed)?);
        let (cipher, kdf, options) = (reader.text()?, reader.text()?, reader.string()?);
        if cipher != "none" || kdf != "none" || !options.is_empty() {
            return Err(Error::Passphrase);
        }
        if reader.u32()? != 1 {
            return Err(malformed());
        }
        let public = reader.string()?;
        let inner = reader.string()?;
        reader.end()?;
        let pair = Self::read_inner(inner)?;
        if pair.ssh_public().blob() == public { Ok(pair) } else { Err(malformed()) }
    }

    fn read_inner(inner: &[u8]) -> Result<Self, Error> {
        let malformed = || Error::Malformed(WHAT);
        let mut reader = Reader::new(WHAT, inner);
        if reader.u32()? != reader.u32()? {
            return Err(malformed());
        }
        let mut secret = Zeroizing::new([0; 32]);
        let key_type = match reader.text()? {
            "ssh-ed25519" => {
                reader.string()?;
                secret.copy_from_slice(reader.string()?.get(..32).ok_or_else(malformed)?);
                KeyType::Ed25519
            }
            "ecdsa-sha2-nistp256" => {
                reader.string()?;
                reader.string()?;
                let digits = reader.mpint()?;
                let start = 32usize.checked_sub(digits.len()).ok_or_else(malformed)?;
                secret.get_mut(start..).ok_or_else(malformed)?.copy_from_slice(digits);
                KeyType::EcdsaP256
            }
            other => return Err(Error::UnsupportedPrivateKey(crate::ssh::shown(other))),
        };
        reader.string()?;
        Private::from_secret(key_type, &secret).map(Self)
    }
}
