//! Invite and reset links: 128 random bits, hashed at rest, used once, good for an hour.
//!
//! The second factor offered is made with the link and stays the same for its life, so that a page may be
//! reloaded. The link proves who one is; nothing about it says whether a user exists.

use std::time::Duration;

use audit::event::Connection;
use audit::event::kinds::{MfaAdd, PasswordChange};
use data_encoding::HEXLOWER;
use model::api::Done;
use model::api::access::{AcceptInvite, GetInvite, Invite};
use model::time::Span;
use model::{Secret, Timestamp, UserName};
use serde::{Deserialize, Serialize};
use store::{Condition, Revision, StoreError, Txn};

use crate::account::{self, Secrets, themself};
use crate::authority::Core;
use crate::db::{Doc, encode, key};
use crate::dispatch::Ctx;
use crate::password::check_rules;
use crate::refusal::{Answer, Refusal};
use crate::settings::SecondFactor;
use crate::vault::hash;
use crate::{cluster, totp};

const DEFAULT_TTL: Duration = Duration::from_secs(3_600);
const MAX_TTL: Duration = Duration::from_secs(48 * 3_600);

/// A link as kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    user: UserName,
    reset: bool,
    /// The second factor's key, sealed for `invites/<hash>`.
    totp: String,
    expires: Timestamp,
}

/// A link that is not kept yet.
pub(crate) struct NewInvite {
    pub(crate) secret: Secret,
    pub(crate) hash: String,
    pub(crate) expires: Timestamp,
    pub(crate) ttl: Duration,
    kept: Kept,
}

impl NewInvite {
    pub(crate) fn add_to(&self, txn: Txn) -> Answer<Txn> {
        Ok(txn.put_until(key("invites", &self.hash)?, encode(&self.kept)?, Some(self.expires)))
    }
}

/// Makes a link.
pub(crate) fn prepare(core: &Core, user: &UserName, ttl: Option<Span>, reset: bool) -> Answer<NewInvite> {
    let ttl = ttl.map_or(DEFAULT_TTL, |t| t.0);
    if ttl.is_zero() || ttl > MAX_TTL {
        return Err(Refusal::bad("a link is good for at most 48h"));
    }
    let secret = Secret::new(HEXLOWER.encode(&core.random.bytes::<16>()));
    let hash = hash(&secret);
    let totp = core.vault.seal(&format!("invites/{hash}"), &core.random.bytes::<20>())?;
    let expires = core.now() + ttl;
    let kept = Kept { user: user.clone(), reset, totp, expires };
    Ok(NewInvite { secret, hash, expires, ttl, kept })
}

/// The whole link, with the first known address of a proxy.
pub(crate) async fn url(core: &Core, invite: &NewInvite) -> Answer<Secret> {
    let addrs = cluster::proxy_addrs(core).await?;
    let proxy = addrs.first().map_or("<proxy>", String::as_str);
    let word = if invite.kept.reset { "reset" } else { "invite" };
    Ok(Secret::new(format!("https://{proxy}/web/{word}/{}", invite.secret.expose())))
}

async fn find(core: &Core, secret: &Secret) -> Answer<(String, Doc<Kept>)> {
    let hash = hash(secret);
    let doc = core.db.get::<Kept>(&key("invites", &hash)?).await?;
    doc.map(|doc| (hash, doc)).ok_or_else(Refusal::not_found)
}

fn open_totp(core: &Core, hash: &str, kept: &Kept) -> Answer<totp::Key> {
    let bytes = core.vault.open_sealed(&format!("invites/{hash}"), &kept.totp)?;
    bytes.try_into().map_err(|_| Refusal::internal("a sealed second factor has an odd length"))
}

pub(crate) async fn get(ctx: Ctx, ask: GetInvite) -> Answer<Invite> {
    let core = &ctx.core;
    let (hash, doc) = find(core, &ask.secret).await?;
    let otp_uri =
        totp::uri(&open_totp(core, &hash, &doc.value)?, &core.settings.cluster_name, &doc.value.user);
    let otp_qr_svg = totp::picture(&otp_uri).ok_or_else(|| Refusal::internal("no picture of the code"))?;
    let Kept { user, reset, expires, .. } = doc.value;
    Ok(Invite { user, reset, expires, otp_uri, otp_qr_svg })
}

pub(crate) async fn accept(ctx: Ctx, ask: AcceptInvite) -> Answer<Done> {
    let core = &ctx.core;
    let from = ctx.caller.vouched_address(ask.client_addr);
    core.spend(&core.limits.sign_in, from)?;
    let (hash, doc) = find(core, &ask.secret).await?;
    let name = doc.value.user.clone();
    check_rules(&ask.password, name.as_str())?;
    let (totp, last_step) = second_factor(core, &hash, &doc.value, &ask.otp)?;
    let with_factor = totp.is_some();
    let user = account::find(core, &name).await?.ok_or_else(Refusal::not_found)?;
    let password = core.hasher.turn()?.hash(&ask.password).await?;
    let secrets = Secrets { password: Some(password), totp, last_step, ..Secrets::default() };
    let (link, place) = (key("invites", &hash)?, key("secrets", &name)?);
    let txn = Txn::new()
        .when(Condition::At(link.clone(), doc.revision))
        .when(Condition::At(key("users", &name)?, user.revision))
        .delete(link)
        .put(place.clone(), encode(&secrets)?);
    loop {
        let txn = txn.clone().when(Condition::At(place.clone(), open_at(core, &name, &hash).await?));
        match core.db.commit(txn).await {
            Ok(_) => break,
            // Somebody tried to sign in at the same time.
            Err(StoreError::Conflict(at)) if at == place => {}
            Err(error) => return Err(error.into()),
        }
    }
    let connection =
        Connection { remote: from.map(|ip| ip.to_string()).unwrap_or_default(), ..Connection::default() };
    let mut events = vec![core.stamped(&PasswordChange { who: themself(name.as_str()), connection })];
    if with_factor {
        events.push(core.stamped(&MfaAdd {
            who: themself(name.as_str()),
            mfa_device_name: "otp".into(),
            mfa_device_type: "TOTP".into(),
        }));
    }
    core.log.write(events).await?;
    Ok(Done {})
}

/// Where the user's secrets stand that wait for this link. A link that was followed by another is none any more.
async fn open_at(core: &Core, name: &UserName, hash: &str) -> Answer<Revision> {
    let secrets = account::secrets(core, name).await?;
    let open = secrets.filter(|doc| doc.value.invite.as_deref() == Some(hash));
    open.map(|doc| doc.revision).ok_or_else(Refusal::not_found)
}

/// Proves that the new factor was set up; gives it sealed in its last place, and the step that is used up.
fn second_factor(core: &Core, hash: &str, kept: &Kept, otp: &str) -> Answer<(Option<String>, i64)> {
    let wanted = match core.settings.second_factor {
        SecondFactor::Otp | SecondFactor::On => true,
        SecondFactor::Optional => !otp.is_empty(),
        SecondFactor::Off => false,
    };
    if !wanted {
        return Ok((None, 0));
    }
    let totp_key = open_totp(core, hash, kept)?;
    let step = totp::check(&totp_key, otp, core.now(), 0).ok_or_else(|| {
        Refusal::bad("the code is not right: check the clock of the phone, and type the newest code")
    })?;
    let sealed = core.vault.seal(&format!("secrets/{}", kept.user), &totp_key)?;
    Ok((Some(sealed), step))
}
