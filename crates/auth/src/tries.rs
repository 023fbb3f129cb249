//! Tries to sign in: counted before they are made, so that many at once count as many; the fifth wrong one locks.

use std::time::Duration;

use audit::event::Connection;
use audit::event::kinds::UserLockout;
use model::resource::User;
use model::{Timestamp, UserName};
use store::{Condition, StoreError, Txn};

use crate::account::{self, Secrets, themself};
use crate::authority::Core;
use crate::db::{Doc, encode, key};
use crate::refusal::{Answer, Refusal};

/// Wrong tries before a lock-out.
const MAX_TRIES: u32 = 5;
/// How long a lock-out lasts, and how long tries count.
const LOCK_OUT: Duration = Duration::from_secs(20 * 60);
const WRONG: &str = "the user name, password or one-time code is wrong, or the account is locked for a while \
                     after too many wrong tries";

pub(crate) fn wrong() -> Refusal {
    Refusal::unauthenticated(WRONG)
}

/// A try that has been counted.
pub(crate) struct Try {
    pub(crate) user: Doc<User>,
    pub(crate) secrets: Doc<Secrets>,
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
            Ok(revision) => return Ok(Some(Try { user, secrets: Doc { revision, ..secrets } })),
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

/// A wrong try: the fifth locks the account.
pub(crate) async fn failed(core: &Core, counted: Try) -> Refusal {
    let name = &counted.user.value.name;
    match lock_out(core, name).await {
        Ok(Some(until)) => {
            let event = UserLockout {
                who: themself(name.as_str()),
                connection: Connection::default(),
                expires: until,
            };
            if let Err(refusal) = core.note(&event).await {
                return refusal;
            }
            wrong()
        }
        Ok(None) => wrong(),
        Err(refusal) => refusal,
    }
}

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
