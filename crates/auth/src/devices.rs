//! One's own devices: passkeys added, renamed and removed; adding and removing take the password once more.

use audit::event::kinds::{MfaAdd, MfaDelete};
use data_encoding::BASE64URL_NOPAD;
use model::api::passkeys::{
    AddPasskey, BeginPasskey, Device, DeviceKind, ListDevices, NewPasskey, RemovePasskey, RenamePasskey,
};
use model::api::{Done, Page};
use model::{Secret, UserName};
use pki::webauthn::PasskeyKey;
use store::{Condition, StoreError, Txn};

use crate::account::{Passkey, Secrets, themself};
use crate::authority::Core;
use crate::db::{Doc, encode, key};
use crate::dispatch::Ctx;
use crate::passkeys::{Party, Purpose, challenge, decoded, kept, owner_key, redeem, secrets_of};
use crate::refusal::{Answer, Refusal};
use crate::tries::{count_try, failed, write};

/// The most passkeys of one user.
const MAX: usize = 20;
/// The longest name of one, in characters.
const MAX_NAME: usize = 64;

fn whose(ctx: &Ctx) -> Answer<UserName> {
    ctx.pass.user().cloned().ok_or_else(Refusal::not_found)
}

fn shown(passkey: &Passkey) -> Device {
    Device {
        id: passkey.id.clone(),
        name: passkey.name.clone(),
        kind: DeviceKind::Passkey,
        added: Some(passkey.added),
        used: passkey.used,
    }
}

fn check_name(name: &str) -> Answer<()> {
    let length = name.chars().count();
    if (1..=MAX_NAME).contains(&length) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Refusal::bad("a passkey's name has 1 to 64 characters"))
}

/// Somebody who found an open page must not make it theirs.
async fn confirm(core: &Core, name: &UserName, password: &Secret) -> Answer<()> {
    const WRONG: &str =
        "the password is wrong, or the account is locked for a while after too many wrong tries";
    let turn = core.hasher.turn()?;
    let Some(counted) = count_try(core, name).await? else { return Err(Refusal::bad(WRONG)) };
    let kept = counted.secrets.value.password.as_ref();
    if password.expose().len() > 4 * crate::password::MAX || !turn.verify(password, kept).await? {
        drop(failed(core, counted).await);
        return Err(Refusal::bad(WRONG));
    }
    change(core, name, |secrets| {
        secrets.tries = 0;
        Ok(())
    })
    .await
}

/// Changes a user's secrets, again when somebody else did meanwhile.
async fn change(
    core: &Core,
    name: &UserName,
    mut edit: impl FnMut(&mut Secrets) -> Answer<()>,
) -> Answer<()> {
    loop {
        let mut secrets = secrets_of(core, name).await?;
        edit(&mut secrets.value)?;
        match write(core, name, &secrets).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(crate) async fn list(ctx: Ctx, _ask: ListDevices) -> Answer<Page<Device>> {
    let Some(name) = ctx.pass.user() else { return Ok(Page { items: vec![], next: String::new() }) };
    let secrets = secrets_of(&ctx.core, name).await?.value;
    let totp =
        Device { id: "otp".into(), name: "otp".into(), kind: DeviceKind::Totp, added: None, used: None };
    let items = secrets.totp.iter().map(|_| totp.clone()).chain(secrets.passkeys.iter().map(shown)).collect();
    Ok(Page { items, next: String::new() })
}

pub(crate) async fn begin(ctx: Ctx, _ask: BeginPasskey) -> Answer<NewPasskey> {
    let core = &ctx.core;
    let name = whose(&ctx)?;
    let party = Party::of(core).await?;
    let fresh = BASE64URL_NOPAD.encode(&core.random.bytes::<16>());
    change(core, &name, |secrets| {
        secrets.handle.get_or_insert_with(|| fresh.clone());
        Ok(())
    })
    .await?;
    let secrets = secrets_of(core, &name).await?.value;
    Ok(NewPasskey {
        challenge: challenge(core, &Purpose::Add(name.clone())).await?,
        party: party.id,
        party_name: format!("Moongate {}", core.settings.cluster_name),
        user_id: secrets.handle.unwrap_or(fresh),
        user: name.to_string(),
        algorithms: PasskeyKey::ALGORITHMS.to_vec(),
        exclude: secrets.passkeys.into_iter().map(|p| p.id).collect(),
    })
}

pub(crate) async fn add(ctx: Ctx, ask: AddPasskey) -> Answer<Device> {
    let core = &ctx.core;
    let name = whose(&ctx)?;
    check_name(&ask.name)?;
    let (client, attestation) = (decoded(&ask.client_data)?, decoded(&ask.attestation)?);
    let answered = redeem(core, &client, &Purpose::Add(name.clone())).await?;
    let challenge = answered.ok_or_else(|| Refusal::bad("that took too long: try again"))?;
    confirm(core, &name, &ask.password).await?;
    let party = Party::of(core).await?;
    let made = party.expects(&challenge, true).made(&client, &attestation);
    let made = made.map_err(|error| Refusal::bad(error.to_string()))?;
    let passkey = kept(&made.id, made.key, made.counter, ask.name, core.now());
    let Doc { mut value, revision } = secrets_of(core, &name).await?;
    if value.passkeys.len() >= MAX {
        return Err(Refusal::conflict(format!("at most {MAX} passkeys: remove one first")));
    }
    value.passkeys.push(passkey.clone());
    let (owner, place) = (owner_key(&made.id)?, key("secrets", &name)?);
    let txn = Txn::new()
        .when(Condition::Absent(owner.clone()))
        .when(Condition::At(place.clone(), revision))
        .put(owner, encode(&name)?)
        .put(place, encode(&value)?);
    core.db.commit(txn).await.map_err(|e| match e {
        StoreError::Conflict(_) => Refusal::conflict("that passkey is there already, or something changed"),
        other => other.into(),
    })?;
    let event = MfaAdd {
        who: themself(name.as_str()),
        mfa_device_name: passkey.name.clone(),
        mfa_device_type: "WebAuthn".into(),
    };
    core.note(&event).await?;
    Ok(shown(&passkey))
}

pub(crate) async fn rename(ctx: Ctx, ask: RenamePasskey) -> Answer<Done> {
    let name = whose(&ctx)?;
    check_name(&ask.name)?;
    change(&ctx.core, &name, |secrets| {
        let found = secrets.passkeys.iter_mut().find(|p| p.id == ask.id).ok_or_else(Refusal::not_found)?;
        found.name.clone_from(&ask.name);
        Ok(())
    })
    .await?;
    Ok(Done {})
}

pub(crate) async fn remove(ctx: Ctx, ask: RemovePasskey) -> Answer<Done> {
    let core = &ctx.core;
    let name = whose(&ctx)?;
    let there = secrets_of(core, &name).await?.value.passkeys.into_iter().find(|p| p.id == ask.id);
    let there = there.ok_or_else(Refusal::not_found)?;
    confirm(core, &name, &ask.password).await?;
    let Doc { mut value, revision } = secrets_of(core, &name).await?;
    value.passkeys.retain(|p| p.id != ask.id);
    let place = key("secrets", &name)?;
    let txn = Txn::new()
        .when(Condition::At(place.clone(), revision))
        .put(place, encode(&value)?)
        .delete(owner_key(&decoded(&there.id)?)?);
    core.db.commit(txn).await?;
    let event = MfaDelete {
        who: themself(name.as_str()),
        mfa_device_name: there.name,
        mfa_device_type: "WebAuthn".into(),
    };
    core.note(&event).await?;
    Ok(Done {})
}
