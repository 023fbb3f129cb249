//! Checks signatures by the key inside a public key or certificate.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};
use wire::ssh::Reader;
use wire::ssh::key::{self, Curve, Offered, PublicKey, Signature};

use crate::Error;

/// The algorithms a user may sign with, as told in `server-sig-algs`. Plain names, then those of certificates.
pub const USER_ALGORITHMS: [&str; 16] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
];

/// The user's hand was on the hardware key.
const PRESENT: u8 = 1;

/// Whether a key of `blob`'s kind can sign by `algorithm`: both must be plain, or both a certificate's.
pub(crate) fn fits(algorithm: &str, blob: &[u8]) -> bool {
    let Ok(kind) = Reader::new(blob).text() else { return false };
    let bare = |name: &str| match key::certified(name) {
        Some(plain) => (true, plain),
        None => (false, name.to_owned()),
    };
    let ((algorithm_certified, algorithm), (key_certified, kind)) = (bare(algorithm), bare(kind));
    let same = match algorithm.as_str() {
        "rsa-sha2-256" | "rsa-sha2-512" => kind == "ssh-rsa",
        other => other == kind && kind != "ssh-rsa",
    };
    same && algorithm_certified == key_certified
}

/// Verifies that the key of `blob` (plain, or inside a certificate) made `signature` of `data` by `algorithm`.
///
/// # Errors
/// It did not, or the algorithm is not of [`USER_ALGORITHMS`], or does not fit the key.
pub fn verify(blob: &[u8], algorithm: &str, data: &[u8], signature: &[u8]) -> Result<(), Error> {
    if !USER_ALGORITHMS.contains(&algorithm) || !fits(algorithm, blob) {
        return Err(Error::Key("an algorithm that does not fit the key"));
    }
    let offered = Offered::decode(blob)?;
    let signature = Signature::decode(&mut Reader::new(signature))?;
    let plain = key::certified(algorithm).unwrap_or_else(|| algorithm.to_owned());
    if signature.algorithm != plain {
        return Err(Error::Key("a signature of another algorithm"));
    }
    check(offered.key(), &signature, data).ok_or(Error::Key("a bad signature"))
}

fn check(key: &PublicKey<'_>, signature: &Signature<'_>, data: &[u8]) -> Option<()> {
    match key {
        PublicKey::Ed25519(public) => ed25519(*public, data, signature.bytes),
        PublicKey::Ecdsa { curve, point } => ecdsa(*curve, point, data, signature.bytes),
        PublicKey::Rsa { exponent, modulus } => {
            let parameters = match signature.algorithm {
                "rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
                "rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
                _ => return None,
            };
            let public = RsaPublicKeyComponents { n: *modulus, e: *exponent };
            // RFC 8332 lets a signature come without its leading zeros.
            let missing = modulus.len().checked_sub(signature.bytes.len())?;
            let mut padded = vec![0; missing];
            padded.extend_from_slice(signature.bytes);
            public.verify(parameters, data, &padded).ok()
        }
        PublicKey::SkEd25519 { key, application } => {
            ed25519(*key, &hardware(signature, application, data)?, signature.bytes)
        }
        PublicKey::SkEcdsa { point, application } => {
            ecdsa(Curve::P256, point, &hardware(signature, application, data)?, signature.bytes)
        }
    }
}

/// What a hardware key signs (OpenSSH PROTOCOL.u2f). The user must have been present.
fn hardware(signature: &Signature<'_>, application: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let (flags, counter) = signature.hardware?;
    if flags & PRESENT == 0 {
        return None;
    }
    let mut signed = digest(&SHA256, application).as_ref().to_vec();
    signed.push(flags);
    signed.extend_from_slice(&counter.to_be_bytes());
    signed.extend_from_slice(digest(&SHA256, data).as_ref());
    Some(signed)
}

fn ed25519(public: &[u8], data: &[u8], signature: &[u8]) -> Option<()> {
    UnparsedPublicKey::new(&ED25519, public).verify(data, signature).ok()
}

fn ecdsa(curve: Curve, point: &[u8], data: &[u8], signature: &[u8]) -> Option<()> {
    let (algorithm, length) = match curve {
        Curve::P256 => (&ECDSA_P256_SHA256_FIXED, 32),
        Curve::P384 => (&ECDSA_P384_SHA384_FIXED, 48),
        Curve::P521 => (&ECDSA_P521_SHA512_FIXED, 66),
    };
    let (r, s) = key::ecdsa_numbers(signature).ok()?;
    let mut fixed = Vec::with_capacity(2 * length);
    for number in [r, s] {
        fixed.resize(fixed.len() + length.checked_sub(number.len())?, 0);
        fixed.extend_from_slice(number);
    }
    UnparsedPublicKey::new(algorithm, point).verify(data, &fixed).ok()
}
