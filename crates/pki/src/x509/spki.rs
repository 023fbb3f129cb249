//! Public keys as X.509 writes them: SubjectPublicKeyInfo, and its translation to and from our signers.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

use super::{der_from_pem, pem};
use crate::Error;
use crate::signer::{KeyType, Private, Signer};

const WHAT: &str = "PUBLIC KEY";

/// A subject's key, checked: Ed25519, ECDSA P-256 or P-384, or RSA with 2048 to 8192 bits.
pub(crate) struct SubjectKey {
    algorithm: &'static SignatureAlgorithm,
    bits: Vec<u8>,
}

impl PublicKeyData for SubjectKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SubjectKey {
    /// Reads SubjectPublicKeyInfo PEM.
    pub(crate) fn from_pem(text: &str) -> Result<Self, Error> {
        let der = der_from_pem(WHAT, text)?;
        let (rest, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| Error::Malformed(WHAT))?;
        if !rest.is_empty() {
            return Err(Error::Malformed(WHAT));
        }
        let bits = info.subject_public_key.data.to_vec();
        let algorithm = match info.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" if bits.len() == 32 => &rcgen::PKCS_ED25519,
            "1.2.840.10045.2.1" => {
                let curve = info.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
                match (curve.map(|c| c.to_id_string()).as_deref(), bits.len()) {
                    (Some("1.2.840.10045.3.1.7"), 65) => &rcgen::PKCS_ECDSA_P256_SHA256,
                    (Some("1.3.132.0.34"), 97) => &rcgen::PKCS_ECDSA_P384_SHA384,
                    (curve, _) => {
                        return Err(Error::UnsupportedKey(format!(
                            "ecdsa {}",
                            curve.unwrap_or("without curve")
                        )));
                    }
                }
            }
            "1.2.840.113549.1.1.1" => match info.parsed() {
                Ok(PublicKey::RSA(key)) if (2048..=8192).contains(&key.key_size()) => &rcgen::PKCS_RSA_SHA256,
                Ok(PublicKey::RSA(key)) => {
                    return Err(Error::UnsupportedKey(format!("rsa with {} bits", key.key_size())));
                }
                Ok(_) | Err(_) => return Err(Error::Malformed(WHAT)),
            },
            other => return Err(Error::UnsupportedKey(other.chars().take(64).collect())),
        };
        Ok(Self { algorithm, bits })
    }

    /// Checks a signature over `message` by this key, with the hash that goes with it; raw, as [`Signer::sign`] gives it.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let algorithm: &'static dyn VerificationAlgorithm = if self.algorithm == &rcgen::PKCS_ED25519 {
            &ED25519
        } else if self.algorithm == &rcgen::PKCS_ECDSA_P256_SHA256 {
            &ECDSA_P256_SHA256_FIXED
        } else if self.algorithm == &rcgen::PKCS_ECDSA_P384_SHA384 {
            &ECDSA_P384_SHA384_FIXED
        } else {
            &RSA_PKCS1_2048_8192_SHA256
        };
        UnparsedPublicKey::new(algorithm, &self.bits)
            .verify(message, signature)
            .map_err(|_| Error::BadSignature)
    }
}

/// The same key as certificates carry it, PEM: whoever wrote `text` may have written it otherwise.
///
/// # Errors
/// No key, or of a kind we do not use.
pub fn plain_key(text: &str) -> Result<String, Error> {
    Ok(pem(WHAT, &SubjectKey::from_pem(text)?.subject_public_key_info()))
}

/// Lets rcgen sign with one of our signers.
pub(crate) struct Issuing<'a>(pub(crate) &'a dyn Signer);

impl PublicKeyData for Issuing<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.0.key_type() {
            KeyType::Ed25519 => &rcgen::PKCS_ED25519,
            KeyType::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }
}

impl SigningKey for Issuing<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let raw = self.0.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(match self.0.key_type() {
            KeyType::Ed25519 => raw,
            KeyType::EcdsaP256 => ecdsa_der(&raw),
        })
    }
}

/// The two numbers of a raw signature as X.509's SEQUENCE of INTEGERs (RFC 3279 section 2.2.3).
fn ecdsa_der(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    let mut body = Vec::new();
    for number in [r, s] {
        let start = number.iter().position(|b| *b != 0).unwrap_or(number.len());
        let digits = number.get(start..).unwrap_or_default();
        let pad = u8::from(digits.first().is_none_or(|b| *b >= 0x80));
        body.push(0x02);
        // Both lengths fit one byte: 33 and 70 at most.
        body.push(u8::try_from(digits.len()).unwrap_or(0).saturating_add(pad));
        body.extend(std::iter::repeat_n(0, usize::from(pad)));
        body.extend_from_slice(digits);
    }
    let mut out = vec![0x30, u8::try_from(body.len()).unwrap_or(0)];
    out.extend_from_slice(&body);
    out
}

/// The SubjectPublicKeyInfo of a signer, DER.
pub(crate) fn spki_der(signer: &dyn Signer) -> Vec<u8> {
    Issuing(signer).subject_public_key_info()
}

/// Takes an Ed25519 or P-256 private key out of PKCS#8 (RFC 5958).
pub(crate) fn private_from_pkcs8(der: &[u8]) -> Result<Private, Error> {
    let malformed = || Error::Malformed("PRIVATE KEY");
    if let Ok(pair) = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        let seed = pair.seed().map_err(|_| malformed())?;
        let seed: aws_lc_rs::encoding::Curve25519SeedBin<'_> =
            aws_lc_rs::encoding::AsBigEndian::as_be_bytes(&seed).map_err(|_| malformed())?;
        let secret = seed.as_ref().try_into().map_err(|_| malformed())?;
        return Private::from_secret(KeyType::Ed25519, secret);
    }
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(algorithm, der).map_err(|_| malformed())?;
    let scalar = aws_lc_rs::encoding::AsBigEndian::as_be_bytes(&pair.private_key());
    let scalar: aws_lc_rs::encoding::EcPrivateKeyBin<'_> = scalar.map_err(|_| malformed())?;
    let secret = scalar.as_ref().try_into().map_err(|_| malformed())?;
    Private::from_secret(KeyType::EcdsaP256, secret)
}
