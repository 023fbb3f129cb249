//! Proof that whoever joins holds the TLS key they want certified: a signature by it over all that is asked for
//! (docs/formats/join-proof.md).
//!
//! A public key alone proves nothing: anybody who connects to a host is shown its certificate, with its id and key.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::api::certs::Join;

use crate::bytes::{put_string, put_u32};
use crate::x509::SubjectKey;
use crate::{Error, MAX_BLOB, Signer};

/// What the statement begins with: nothing else that the key signs begins so.
const STATEMENT: &[u8] = b"moongate join v1";

/// The `proof` of `ask`, by the key it wants certified.
///
/// # Errors
/// The library refused.
pub fn prove(ask: &Join, key: &dyn Signer) -> Result<String, Error> {
    Ok(STANDARD.encode(key.sign(&statement(ask)?)?))
}

/// Checks that whoever asks holds the key they want certified.
///
/// # Errors
/// The key is not one, or the proof is not by it or not over this.
pub fn check(ask: &Join) -> Result<(), Error> {
    let key = SubjectKey::from_pem(&ask.tls_key_pem)?;
    if ask.proof.len() > MAX_BLOB {
        return Err(Error::TooLong("proof", MAX_BLOB));
    }
    let signature = STANDARD.decode(&ask.proof).map_err(|_| Error::Malformed("proof"))?;
    key.verify(&statement(ask)?, &signature)
}

/// Everything that is asked for, so that a proof is good for nothing else.
fn statement(ask: &Join) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    put_string(&mut out, STATEMENT);
    put_string(&mut out, digest(&SHA256, ask.token.expose().as_bytes()).as_ref());
    put_string(&mut out, ask.id.as_str().as_bytes());
    put_string(&mut out, ask.name.as_str().as_bytes());
    put_u32(&mut out, count(ask.roles.len())?);
    for role in &ask.roles {
        put_string(&mut out, role.to_string().as_bytes());
    }
    put_u32(&mut out, count(ask.principals.len())?);
    for name in &ask.principals {
        put_string(&mut out, name.as_bytes());
    }
    put_string(&mut out, ask.ssh_key.as_bytes());
    put_string(&mut out, ask.tls_key_pem.as_bytes());
    Ok(out)
}

fn count(len: usize) -> Result<u32, Error> {
    u32::try_from(len).map_err(|_| Error::TooMany("names", MAX_BLOB))
}

#[cfg(test)]
mod tests {
    use model::{NodeId, Secret, SystemRole};

    use super::*;
    use crate::{KeyPair, KeyType};

    fn key(key_type: KeyType, seed: u8) -> KeyPair {
        KeyPair::generate(key_type, &[seed; 32]).unwrap()
    }

    fn asked(key: &KeyPair) -> Join {
        let ask = Join {
            token: Secret::new("a-token"),
            id: NodeId::from_random([7; 16]),
            name: "web-1".parse().unwrap(),
            roles: [SystemRole::Node, SystemRole::Proxy].into(),
            principals: vec!["gate.example".into(), "192.0.2.1".into()],
            ssh_key: "ssh-ed25519 AAAA".into(),
            tls_key_pem: key.spki_pem(),
            proof: String::new(),
        };
        Join { proof: prove(&ask, key).unwrap(), ..ask }
    }

    #[test]
    fn a_proof_holds_by_its_own_key_only() {
        for key_type in [KeyType::Ed25519, KeyType::EcdsaP256] {
            let (own, other) = (key(key_type, 1), key(key_type, 2));
            let ask = asked(&own);

            assert_eq!(check(&ask), Ok(()));
            let by_another = Join { proof: prove(&ask, &other).unwrap(), ..ask.clone() };
            assert_eq!(check(&by_another), Err(Error::BadSignature));
            let anothers = Join { tls_key_pem: other.spki_pem(), ..ask.clone() };
            assert_eq!(check(&anothers), Err(Error::BadSignature));
            for proof in ["", "AAAA"] {
                assert_eq!(check(&Join { proof: proof.into(), ..ask.clone() }), Err(Error::BadSignature));
            }
            assert_eq!(check(&Join { proof: "*".into(), ..ask }), Err(Error::Malformed("proof")));
        }
    }

    #[test]
    fn a_proof_is_good_for_what_was_asked_only() {
        let own = key(KeyType::EcdsaP256, 1);
        let ask = asked(&own);
        let joined = |names: &[&str]| names.iter().map(ToString::to_string).collect();

        for changed in [
            Join { token: Secret::new("another"), ..ask.clone() },
            Join { id: NodeId::from_random([8; 16]), ..ask.clone() },
            Join { name: "web-2".parse().unwrap(), ..ask.clone() },
            Join { roles: [SystemRole::Node].into(), ..ask.clone() },
            Join { principals: joined(&["gate.example"]), ..ask.clone() },
            Join { principals: joined(&["gate.example1", "92.0.2.1"]), ..ask.clone() },
            Join { ssh_key: "ssh-ed25519 BBBB".into(), ..ask.clone() },
            Join { tls_key_pem: format!("\n{}", ask.tls_key_pem), ..ask.clone() },
        ] {
            assert_eq!(check(&changed), Err(Error::BadSignature), "{changed:?}");
        }
    }
}
