//! The one codec of [`Identity`], and the one way an identity leads to another: tighter.
//!
//! The bytes are canonical JSON (docs/formats/identity.md): decoding encodes again and compares, so that a field we
//! do not know (which may be a constraint) or a second spelling is refused, never skipped.

use std::collections::BTreeSet;

use model::identity::Traits;
use model::{Identity, Subject};

use crate::Error;

/// The longest encoded identity, in bytes.
pub const MAX: usize = 16 * 1024;

/// Writes an identity.
///
/// # Errors
/// Longer than [`MAX`].
pub fn encode(identity: &Identity) -> Result<Vec<u8>, Error> {
    let bytes = serde_json::to_vec(identity).map_err(|_| Error::Malformed("identity"))?;
    if bytes.len() > MAX {
        return Err(Error::TooLong("the identity (fewer roles and traits would help)", MAX));
    }
    Ok(bytes)
}

/// Reads an identity.
///
/// # Errors
/// Too long, not an identity, or not in canonical form.
pub fn decode(bytes: &[u8]) -> Result<Identity, Error> {
    if bytes.len() > MAX {
        return Err(Error::TooLong("the identity", MAX));
    }
    let identity: Identity = serde_json::from_slice(bytes).map_err(|_| Error::Malformed("identity"))?;
    if encode(&identity)? != bytes {
        return Err(Error::Malformed("identity"));
    }
    Ok(identity)
}

/// What the holder of `parent` gets when they ask for `wanted`: never more than `parent` in any respect.
///
/// Roles, logins and traits are intersected, the earlier expiry wins, an address pin stays with its address, and
/// the second factor, the impersonator and `disallow_reissue` are inherited.
///
/// # Errors
/// `parent` must not lead to another, or `wanted` speaks for another subject or cluster.
pub fn narrow(parent: &Identity, wanted: &Identity) -> Result<Identity, Error> {
    if parent.disallow_reissue {
        return Err(Error::ReissueForbidden);
    }
    if parent.cluster != wanted.cluster {
        return Err(Error::OtherSubject);
    }
    let pinned = parent.pin_ip || wanted.pin_ip;
    Ok(Identity {
        subject: narrow_subject(&parent.subject, &wanted.subject)?,
        cluster: parent.cluster.clone(),
        expires_at: parent.expires_at.min(wanted.expires_at),
        login_ip: parent.login_ip.or(wanted.login_ip),
        pin_ip: pinned,
        mfa_at: match (parent.mfa_at, wanted.mfa_at) {
            (Some(had), Some(asked)) => Some(had.min(asked)),
            (None, _) | (_, None) => None,
        },
        impersonator: parent.impersonator.clone().or_else(|| wanted.impersonator.clone()),
        disallow_reissue: wanted.disallow_reissue,
    })
}

fn narrow_subject(parent: &Subject, wanted: &Subject) -> Result<Subject, Error> {
    match (parent, wanted) {
        (
            Subject::User { name, roles, traits, logins },
            Subject::User { name: other, roles: want_roles, traits: want_traits, logins: want_logins },
        ) if name == other => Ok(Subject::User {
            name: name.clone(),
            roles: both(roles, want_roles),
            traits: narrow_traits(traits, want_traits),
            logins: both(logins, want_logins),
        }),
        (
            Subject::Host { id, name, roles },
            Subject::Host { id: other, name: other_name, roles: want_roles },
        ) if id == other && name == other_name => {
            Ok(Subject::Host { id: id.clone(), name: name.clone(), roles: both(roles, want_roles) })
        }
        (Subject::User { .. } | Subject::Host { .. }, _) => Err(Error::OtherSubject),
    }
}

fn both<T: Ord + Clone>(a: &BTreeSet<T>, b: &BTreeSet<T>) -> BTreeSet<T> {
    a.intersection(b).cloned().collect()
}

fn narrow_traits(parent: &Traits, wanted: &Traits) -> Traits {
    wanted
        .iter()
        .filter_map(|(name, values)| {
            let had = parent.get(name)?;
            let kept: Vec<String> = values.iter().filter(|v| had.contains(v)).cloned().collect();
            (!kept.is_empty()).then(|| (name.clone(), kept))
        })
        .collect()
}
