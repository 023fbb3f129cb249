//! Passkeys as kept, and their challenges: what a browser's answer is checked against.
//!
//! A passkey lies with its owner's secrets, so that a reset takes it along; `passkeys/<hash of id>` says whose it is.
//! A challenge is good once, for [`LIFE`] and one purpose, and kept as a hash.

use std::time::Duration;

use audit::event::kinds::MfaDevice;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use model::api::passkeys::{BeginPasskeySignIn, PasskeyAnswer, PasskeyChallenge};
use model::resource::User;
use model::{Timestamp, UserName};
use pki::webauthn::{Expected, PasskeyKey};
use serde::{Deserialize, Serialize};
use store::{Condition, StoreError, Txn};

use crate::account::{self, Passkey, Secrets};
use crate::authority::Core;
use crate::cluster;
use crate::db::{Doc, encode, key};
use crate::dispatch::Ctx;
use crate::gate;
use crate::refusal::{Answer, Refusal};
use crate::tries::{Claim, Counts, Try, count_try, failed, free_try, write, wrong};

/// How long a challenge is good.
const LIFE: Duration = Duration::from_secs(300);

/// What a challenge is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// Signing in.
    SignIn,
    /// Adding a passkey of this user.
    Add(UserName),
}

/// The relying party: its id and the origins of its pages.
pub(crate) struct Party {
    pub(crate) id: String,
    origins: Vec<String>,
}

impl Party {
    /// The configured name, or the first that the public addresses of proxies have.
    pub(crate) async fn of(core: &Core) -> Answer<Self> {
        let addrs = cluster::proxy_addrs(core).await?;
        let named = cluster::named(&addrs);
        let fixed = core.settings.passkey_name.as_deref();
        let Some(id) = cluster::passkey_name(core, &addrs) else {
            return Err(Refusal::bad(
                "passkeys need a gate with a name: set public_addr of the proxy to host:port",
            ));
        };
        let ours = |host: &str| host == id || host.ends_with(&format!(".{id}"));
        let mut origins: Vec<String> = fixed.iter().map(|name| format!("https://{name}")).collect();
        for (host, port) in named.iter().filter(|(host, _)| ours(host)) {
            // Browsers leave the usual port away; a front may stand on it.
            origins.push(format!("https://{host}"));
            origins.push(format!("https://{host}:{port}"));
        }
        Ok(Self { id: id.to_owned(), origins })
    }

    pub(crate) fn expects<'a>(&'a self, challenge: &'a [u8], verified: bool) -> Expected<'a> {
        Expected { party: &self.id, origins: &self.origins, challenge, verified }
    }
}

fn hash(bytes: &[u8]) -> String {
    HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}

/// The key that says whose passkey has this id.
pub(crate) fn owner_key(id: &[u8]) -> Answer<store::Key> {
    Ok(key("passkeys", hash(id))?)
}

/// Adds to `txn` that nobody has these passkeys any more.
pub(crate) fn disown(mut txn: Txn, secrets: &Secrets) -> Answer<Txn> {
    for passkey in &secrets.passkeys {
        txn = txn.delete(owner_key(&decoded(&passkey.id)?)?);
    }
    Ok(txn)
}

/// Reads bytes as browsers send them.
pub(crate) fn decoded(text: &str) -> Answer<Vec<u8>> {
    if text.len() > 4 * pki::webauthn::MAX {
        return Err(Refusal::bad("the answer of the passkey is too long"));
    }
    let odd = |_| Refusal::bad("the answer of the passkey is not base64url");
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(odd)
}

/// Makes a challenge.
pub(crate) async fn challenge(core: &Core, purpose: &Purpose) -> Answer<String> {
    let challenge = core.random.bytes::<32>();
    let place = key("challenges", hash(&challenge))?;
    let txn = Txn::new().quiet().put_until(place, encode(purpose)?, Some(core.now() + LIFE));
    core.db.commit(txn).await?;
    Ok(BASE64URL_NOPAD.encode(&challenge))
}

/// Uses up the challenge an answer claims to answer; `None` when there is none for this.
pub(crate) async fn redeem(core: &Core, client: &[u8], purpose: &Purpose) -> Answer<Option<Vec<u8>>> {
    let Ok(challenge) = pki::webauthn::challenge_of(client) else { return Ok(None) };
    let place = key("challenges", hash(&challenge))?;
    let Some(kept) = core.db.get::<Purpose>(&place).await? else { return Ok(None) };
    let txn = Txn::new().quiet().when(Condition::At(place.clone(), kept.revision)).delete(place);
    match core.db.commit(txn).await {
        Ok(_) => Ok((kept.value == *purpose).then_some(challenge)),
        Err(StoreError::Conflict(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn begin_sign_in(ctx: Ctx, ask: BeginPasskeySignIn) -> Answer<PasskeyChallenge> {
    let core = &ctx.core;
    core.spend(&core.limits.sign_in, ctx.caller.vouched_address(ask.client_addr))?;
    let party = Party::of(core).await?;
    Ok(PasskeyChallenge { challenge: challenge(core, &Purpose::SignIn).await?, party: party.id })
}

/// Who signed in with a passkey, alone or beside the password.
pub(crate) struct Proven {
    pub(crate) user: User,
    pub(crate) device: MfaDevice,
}

/// Checks a proof with a passkey. Alone, it must have verified who it was, and wrong passwords keep nobody out; beside the
/// password it need not, and counts as the password does.
pub(crate) async fn verify(core: &Core, ask: &Claim<'_>, answer: &PasskeyAnswer) -> Answer<Proven> {
    let read = |text: &str| decoded(text).map_err(|_| wrong());
    let (id, client) = (read(&answer.id)?, read(&answer.client_data)?);
    let (data, signature) = (read(&answer.authenticator_data)?, read(&answer.signature)?);
    let alone = ask.password.expose().is_empty();
    let turn = if alone { None } else { Some(core.hasher.turn()?) };
    let challenge = redeem(core, &client, &Purpose::SignIn).await?.ok_or_else(wrong)?;
    let owner = core.db.get::<UserName>(&owner_key(&id)?).await?;
    let named = owner.filter(|o| ask.user.is_empty() || ask.user == o.value.as_str()).map(|o| o.value);
    let made = match &named {
        Some(name) if alone => free_try(core, name).await?,
        Some(name) => count_try(core, name).await?,
        None => None,
    };
    if let Some(turn) = turn {
        let kept = made.as_ref().and_then(|t| t.secrets.value.password.as_ref());
        if !turn.verify(ask.password, kept).await? {
            return Err(match made {
                Some(made) => failed(core, made).await,
                None => wrong(),
            });
        }
    }
    let Some(made) = made else { return Err(wrong()) };
    let party = Party::of(core).await?;
    let passkey = made.secrets.value.passkeys.iter().find(|p| p.id == answer.id).cloned();
    let counter = passkey.as_ref().and_then(|passkey| {
        let key = PasskeyKey::from_bytes(&BASE64.decode(passkey.key.as_bytes()).ok()?).ok()?;
        let used = party.expects(&challenge, alone).used((&key, passkey.counter), &client, &data, &signature);
        used.inspect_err(|error| tracing::debug!(%error, "a passkey was refused")).ok()
    });
    let expired = made.user.value.expires.is_some_and(|at| at <= core.now());
    let (Some(passkey), Some(counter), false) = (passkey, counter, expired) else {
        return Err(failed(core, made).await);
    };
    if made.secrets.value.password.is_none() || gate::is_locked(core, &made.user.value) {
        return Err(wrong());
    }
    settle(core, &made, &passkey, counter).await?;
    let device = MfaDevice {
        mfa_device_name: passkey.name,
        mfa_device_uuid: passkey.id,
        mfa_device_type: "WebAuthn".into(),
    };
    Ok(Proven { user: made.user.value, device })
}

/// A right try: those that count start anew and the counter is noted. Two answers with one counter cannot both settle.
async fn settle(core: &Core, made: &Try, used: &Passkey, counter: u32) -> Answer<()> {
    let name = &made.user.value.name;
    loop {
        let Some(mut secrets) = account::secrets(core, name).await? else { return Err(wrong()) };
        let same = secrets.value.password == made.secrets.value.password;
        let kept = secrets.value.passkeys.iter_mut().find(|p| p.id == used.id && p.counter == used.counter);
        let (true, Some(kept)) = (same, kept) else { return Err(wrong()) };
        kept.counter = counter;
        kept.used = Some(core.now());
        if made.counts == Counts::Counted {
            secrets.value.tries = 0;
        }
        match write(core, name, &secrets).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A passkey as kept, new.
pub(crate) fn kept(id: &[u8], key: PasskeyKey, counter: u32, name: String, now: Timestamp) -> Passkey {
    Passkey {
        id: BASE64URL_NOPAD.encode(id),
        key: BASE64.encode(&key.to_bytes()),
        counter,
        name,
        added: now,
        used: None,
    }
}

/// A user's secrets with the place they are kept at.
pub(crate) async fn secrets_of(core: &Core, name: &UserName) -> Answer<Doc<Secrets>> {
    account::secrets(core, name).await?.ok_or_else(Refusal::not_found)
}
