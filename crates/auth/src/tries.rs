//! Tries to sign in: counted before they are made, so that many at once count as many; the fifth wrong one locks.
//!
//! Signatures of passkeys are not guessed: alone they are neither counted nor locked out.
//!
//! A name that nobody has is counted and locked like one that somebody has, in one of [`BUCKETS`] places chosen by a
//! hash with a secret, so that neither answers nor lock-outs tell who exists, and strangers fill no disk. Names that
//! share a place forget each other; which do, nobody outside can know.

use std::time::Duration;

use audit::event::Connection;
use audit::event::kinds::UserLockout;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use model::api::passkeys::PasskeyAnswer;
use model::resource::User;
use model::{Secret, Timestamp, UserName};
use serde::{Deserialize, Serialize};
use store::{Condition, Key, StoreError, Txn};

use crate::account::{self, Secrets, themself};
use crate::authority::Core;
use crate::db::{Doc, encode, key, single};
use crate::refusal::{Answer, Refusal};

/// Wrong tries before a lock-out.
const MAX_TRIES: u32 = 5;
/// How long a lock-out lasts, and how long tries count.
const LOCK_OUT: Duration = Duration::from_secs(20 * 60);
/// How many names that nobody has are counted at a time.
const BUCKETS: u16 = 4096;
const WRONG: &str = "the user name, password or one-time code is wrong, or the account is locked for a while \
                     after too many wrong tries";

pub(crate) fn wrong() -> Refusal {
    Refusal::unauthenticated(WRONG)
}

/// Told with the fifth wrong try and to every later one until it is over, whether there is such a user or not.
pub(crate) fn locked(until: Timestamp) -> Refusal {
    let words = format!(
        "too many wrong tries: nobody signs in with this user name and a password before {until}, not with the right one \
         either"
    );
    Refusal::unauthenticated(words).until(until)
}

/// What somebody shows to prove who they are.
pub(crate) struct Claim<'a> {
    /// Empty when a passkey says it.
    pub(crate) user: &'a str,
    pub(crate) password: &'a Secret,
    pub(crate) otp: &'a str,
    pub(crate) passkey: Option<&'a PasskeyAnswer>,
}

/// A try by somebody who is known.
pub(crate) struct Try {
    pub(crate) user: Doc<User>,
    pub(crate) secrets: Doc<Secrets>,
    pub(crate) counts: Counts,
}

/// Whether a try counts towards a lock-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// It has been counted: what is shown can be guessed.
    Counted,
    /// What is shown is a signature, which nobody guesses: to count it, or to refuse it while locked out, would only let
    /// strangers keep people out.
    Free,
}

/// A try that does not count. `None` when there is no such user.
pub(crate) async fn free_try(core: &Core, name: &UserName) -> Answer<Option<Try>> {
    let Some(user) = account::find(core, name).await? else { return Ok(None) };
    let Some(secrets) = account::secrets(core, name).await? else { return Ok(None) };
    Ok(Some(Try { user, secrets, counts: Counts::Free }))
}

/// Counts a try before it is made. `None` when there is no such user or no try left.
pub(crate) async fn count_try(core: &Core, name: &UserName) -> Answer<Option<Try>> {
    loop {
        let Some(user) = account::find(core, name).await? else { return Ok(None) };
        let Some(mut secrets) = account::secrets(core, name).await? else { return Ok(None) };
        let now = core.now();
        let kept = &mut secrets.value;
        if kept.locked_until.is_some_and(|at| at > now) {
            return Ok(None);
        }
        if kept.locked_until.take().is_some() || now.since(kept.last_try) >= LOCK_OUT {
            kept.tries = 0;
        }
        if kept.tries >= MAX_TRIES {
            return Ok(None);
        }
        kept.tries += 1;
        kept.last_try = now;
        match write(core, name, &secrets).await {
            Ok(revision) => {
                let secrets = Doc { revision, ..secrets };
                return Ok(Some(Try { user, secrets, counts: Counts::Counted }));
            }
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(crate) async fn write(core: &Core, name: &UserName, secrets: &Doc<Secrets>) -> Result<u64, StoreError> {
    let place = key("secrets", name).map_err(|e| StoreError::Bounds(e.to_string()))?;
    let value = encode(&secrets.value).map_err(|e| StoreError::Bounds(e.to_string()))?;
    let txn = Txn::new().when(Condition::At(place.clone(), secrets.revision)).put(place, value);
    Ok(core.db.commit(txn).await?.revision)
}

/// A wrong try: the fifth that was counted locks the account.
pub(crate) async fn failed(core: &Core, made: Try) -> Refusal {
    match made.counts {
        Counts::Counted => {}
        Counts::Free => return wrong(),
    }
    let name = &made.user.value.name;
    match lock_out(core, name).await {
        Ok(Some(until)) => locked_out(core, name.as_str(), until).await,
        Ok(None) => wrong(),
        Err(refusal) => refusal,
    }
}

async fn locked_out(core: &Core, name: &str, until: Timestamp) -> Refusal {
    let shown: String = name.chars().take(UserName::MAX).collect();
    let event = UserLockout { who: themself(&shown), connection: Connection::default(), expires: until };
    match core.note(&event).await {
        Ok(()) => locked(until),
        Err(refusal) => refusal,
    }
}

/// Wrong tries with a name that nobody has.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Tries {
    who: String,
    tries: u32,
    last_try: Timestamp,
    locked_until: Option<Timestamp>,
}

/// A try that cannot succeed: with a name that nobody has, or that is locked out.
pub(crate) struct Vain {
    place: Key,
    who: String,
    counts: Counts,
    locked: Option<Timestamp>,
}

/// Counts a try that [`count_try`] gave none for; at the same cost.
pub(crate) async fn count_vain(core: &Core, name: &str) -> Answer<Vain> {
    let known = match name.parse::<UserName>() {
        Ok(name) => account::secrets(core, &name).await?,
        Err(_) => None,
    };
    let now = core.now();
    let (place, who) = bucket(core, name).await?;
    loop {
        let doc = core.db.get::<Tries>(&place).await?;
        let condition = match &doc {
            Some(doc) => Condition::At(place.clone(), doc.revision),
            None => Condition::Absent(place.clone()),
        };
        let mut kept = doc.map(|doc| doc.value).filter(|kept| kept.who == who).unwrap_or_default();
        kept.who.clone_from(&who);
        let mut locked = kept.locked_until.filter(|at| *at > now);
        let mut counts = Counts::Free;
        if locked.is_none() {
            if kept.locked_until.take().is_some() || now.since(kept.last_try) >= LOCK_OUT {
                kept.tries = 0;
            }
            // As with somebody known: when no try is left, those that are under way lock.
            if kept.tries < MAX_TRIES {
                (kept.tries, kept.last_try, counts) = (kept.tries + 1, now, Counts::Counted);
            }
        }
        if let Some(known) = &known {
            // It is somebody's after all: what is kept of them counts.
            kept = Tries { who: who.clone(), ..Tries::default() };
            (locked, counts) = (known.value.locked_until.filter(|at| *at > now), Counts::Free);
        }
        let txn = Txn::new().quiet().when(condition).put(place.clone(), encode(&kept)?);
        match core.db.commit(txn).await {
            Ok(_) => return Ok(Vain { place, who, counts, locked }),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A vain try was made: the first of the five to be found wrong after all were counted locks the name.
pub(crate) async fn failed_in_vain(core: &Core, name: &str, vain: Vain) -> Refusal {
    if let Some(until) = vain.locked {
        return locked(until);
    }
    match vain.counts {
        Counts::Counted => {}
        Counts::Free => return wrong(),
    }
    match lock_out_in_vain(core, &vain).await {
        Ok(Some(until)) => locked_out(core, name, until).await,
        Ok(None) => wrong(),
        Err(refusal) => refusal,
    }
}

/// As [`lock_out`], for a name that nobody has.
async fn lock_out_in_vain(core: &Core, vain: &Vain) -> Answer<Option<Timestamp>> {
    loop {
        let doc = core.db.get::<Tries>(&vain.place).await?;
        let Some(mut doc) = doc.filter(|doc| doc.value.who == vain.who) else { return Ok(None) };
        if doc.value.tries < MAX_TRIES || doc.value.locked_until.is_some() {
            return Ok(None);
        }
        let until = core.now() + LOCK_OUT;
        doc.value.locked_until = Some(until);
        let condition = Condition::At(vain.place.clone(), doc.revision);
        let txn = Txn::new().quiet().when(condition).put(vain.place.clone(), encode(&doc.value)?);
        match core.db.commit(txn).await {
            Ok(_) => return Ok(Some(until)),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Where a name that nobody has is counted, and what is kept of it.
async fn bucket(core: &Core, name: &str) -> Answer<(Key, String)> {
    let place = single("strangers_secret")?;
    let secret = match core.db.get::<String>(&place).await? {
        Some(doc) => doc.value,
        None => {
            let made = HEXLOWER.encode(&core.random.bytes::<32>());
            let txn =
                Txn::new().quiet().when(Condition::Absent(place.clone())).put(place.clone(), encode(&made)?);
            match core.db.commit(txn).await {
                Ok(_) => made,
                // Somebody else made it at the same time.
                Err(StoreError::Conflict(_)) => {
                    core.db.get::<String>(&place).await?.map_or(made, |doc| doc.value)
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    let hash = digest(&SHA256, format!("{secret} {name}").as_bytes());
    let who = HEXLOWER.encode(hash.as_ref());
    let number = hash.as_ref().iter().take(2).fold(0_u16, |n, byte| n << 8 | u16::from(*byte)) % BUCKETS;
    Ok((key("strangers", number)?, who))
}

/// Locks an account whose tries are used up; once, however many find out at the same time.
async fn lock_out(core: &Core, name: &UserName) -> Answer<Option<Timestamp>> {
    loop {
        let Some(mut secrets) = account::secrets(core, name).await? else { return Ok(None) };
        if secrets.value.tries < MAX_TRIES || secrets.value.locked_until.is_some() {
            return Ok(None);
        }
        let until = core.now() + LOCK_OUT;
        secrets.value.locked_until = Some(until);
        match write(core, name, &secrets).await {
            Ok(_) => return Ok(Some(until)),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
