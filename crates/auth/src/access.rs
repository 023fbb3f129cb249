//! Signing in, unlocking a browser, and who one is.
//!
//! Every wrong answer is the same answer at the same cost: unknown user, wrong password, wrong, missing or used
//! code. The fifth locks the name, and then the answer says until when; names that nobody has are locked alike. A try
//! is counted before the password is looked at, so that many at once count as many.

use std::net::IpAddr;

use audit::event::kinds::{MfaDevice, UserLogin, UserUnlock};
use audit::event::{Connection, Status};
use model::api::access::{Me, SignIn, Unlock, WhoAmI};
use model::api::certs::UserCerts;
use model::api::{Done, Fault};
use model::resource::{Kind, User};
use model::{Timestamp, UserName};
use store::StoreError;

use crate::account::{self, needs_code, themself};
use crate::authority::Core;
use crate::dispatch::Ctx;
use crate::refusal::{Answer, Refusal};
use crate::tries::{Claim, Try, count_try, count_vain, failed, failed_in_vain, write, wrong};
use crate::{certs, gate, passkeys, totp};

const FAILED: &str = "wrong user, password or code, or locked out";

pub(crate) async fn sign_in(ctx: Ctx, ask: SignIn) -> Answer<UserCerts> {
    let core = &ctx.core;
    let from = ctx.caller.vouched_address(ask.client_addr);
    core.spend(&core.limits.sign_in, from)?;
    let SignIn { user, password, otp, passkey, .. } = &ask;
    match prove(core, &Claim { user, password, otp, passkey: passkey.as_ref() }).await {
        Ok((user, mfa_at, device)) => {
            let wanted =
                certs::UserWish { ssh_key: &ask.ssh_key, tls_key_pem: &ask.tls_key_pem, ttl: ask.ttl };
            let (issued, created) = certs::issue_user(core, &user, &wanted, from, mfa_at)?;
            let login =
                UserLogin { mfa_device: device, ..login_event(user.name.as_str(), from, Status::ok()) };
            let login = core.stamped(&login);
            core.log.write(vec![login, created]).await?;
            Ok(issued)
        }
        Err(refusal) if refusal.fault == Fault::Unauthenticated => {
            let shown: String = ask.user.chars().take(UserName::MAX).collect();
            core.note(&login_event(&shown, from, Status::failed(FAILED))).await?;
            Err(refusal)
        }
        Err(refusal) => Err(refusal),
    }
}

/// The same proof as for signing in, of one person only; wrong ones count alike. Nothing is issued.
pub(crate) async fn unlock(ctx: Ctx, ask: Unlock) -> Answer<Done> {
    let core = &ctx.core;
    let from = ctx.caller.vouched_address(ask.client_addr);
    core.spend(&core.limits.sign_in, from)?;
    let Unlock { user, password, otp, passkey, .. } = &ask;
    let event = |status, mfa_device| UserUnlock {
        who: themself(user.as_str()),
        status,
        connection: came_from(from),
        mfa_device,
    };
    match prove(core, &Claim { user: user.as_str(), password, otp, passkey: passkey.as_ref() }).await {
        Ok((_, _, device)) => {
            core.note(&event(Status::ok(), device)).await?;
            Ok(Done {})
        }
        Err(refusal) if refusal.fault == Fault::Unauthenticated => {
            core.note(&event(Status::failed(FAILED), None)).await?;
            Err(refusal)
        }
        Err(refusal) => Err(refusal),
    }
}

fn login_event(user: &str, from: Option<IpAddr>, status: Status) -> UserLogin {
    UserLogin {
        who: themself(user),
        status,
        connection: came_from(from),
        method: "local".into(),
        user_agent: None,
        mfa_device: None,
    }
}

fn came_from(address: Option<IpAddr>) -> Connection {
    Connection { remote: address.map(|ip| ip.to_string()).unwrap_or_default(), ..Connection::default() }
}

/// Who it is, when the second factor was verified, and by which device where that has a name.
type Proof = (User, Option<Timestamp>, Option<MfaDevice>);

/// Checks who it is, by a passkey where one is shown.
async fn prove(core: &Core, ask: &Claim<'_>) -> Answer<Proof> {
    if ask.password.expose().len() > 4 * crate::password::MAX || ask.otp.len() > 16 {
        return Err(wrong());
    }
    match ask.passkey {
        Some(answer) => {
            let proven = passkeys::verify(core, ask, answer).await?;
            Ok((proven.user, Some(core.now()), Some(proven.device)))
        }
        None => verify(core, ask).await.map(|(user, mfa_at)| (user, mfa_at, None)),
    }
}

/// Checks who it is; gives when the second factor was verified.
async fn verify(core: &Core, ask: &Claim<'_>) -> Answer<(User, Option<Timestamp>)> {
    let turn = core.hasher.turn()?;
    let counted = match ask.user.parse::<UserName>() {
        Ok(name) => count_try(core, &name).await?,
        Err(_) => None,
    };
    // A try of somebody known is written down; this one costs the same trip to the disk.
    let vain = if counted.is_none() { Some(count_vain(core, ask.user).await?) } else { None };
    let password = counted.as_ref().and_then(|t| t.secrets.value.password.as_ref());
    let right = turn.verify(ask.password, password).await?;
    let Some(counted) = counted else {
        return Err(match vain {
            Some(vain) => failed_in_vain(core, ask.user, vain).await,
            None => wrong(),
        });
    };
    let now = core.now();
    let step = if needs_code(core, &counted.secrets.value) {
        check_code(core, &counted, ask.otp)?
    } else {
        Some(counted.secrets.value.last_step)
    };
    let expired = counted.user.value.expires.is_some_and(|at| at <= now);
    let (true, Some(step), false) = (right, step, expired) else {
        return Err(failed(core, counted).await);
    };
    if gate::is_locked(core, &counted.user.value) {
        return Err(wrong());
    }
    let used_code = needs_code(core, &counted.secrets.value);
    settle(core, &counted, step, used_code).await?;
    Ok((counted.user.value, used_code.then_some(now)))
}

fn check_code(core: &Core, counted: &Try, otp: &str) -> Answer<Option<i64>> {
    let secrets = &counted.secrets.value;
    let Some(sealed) = &secrets.totp else { return Ok(None) };
    let place = format!("secrets/{}", counted.user.value.name);
    let totp_key = core.vault.open_sealed(&place, sealed)?;
    Ok(totp::check(&totp_key, otp, core.now(), secrets.last_step))
}

/// A right try: tries start anew and the code's step is used up. Two sign-ins with one code cannot both settle.
async fn settle(core: &Core, counted: &Try, step: i64, used_code: bool) -> Answer<()> {
    let name = &counted.user.value.name;
    loop {
        let Some(mut secrets) = account::secrets(core, name).await? else { return Err(wrong()) };
        let kept = &mut secrets.value;
        let changed = kept.password != counted.secrets.value.password;
        if changed || (used_code && kept.last_step >= step) {
            return Err(wrong());
        }
        kept.tries = 0;
        kept.last_step = kept.last_step.max(step);
        match write(core, name, &secrets).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(crate) async fn who_am_i(ctx: Ctx, _ask: WhoAmI) -> Answer<Me> {
    let identity = ctx.pass.person().ok_or_else(Refusal::not_found)?;
    let model::Subject::User { name, roles, logins, .. } = &identity.subject else {
        return Err(Refusal::not_found());
    };
    let mut may = gate::may(&ctx.core, identity);
    may.remove(Kind::Own.as_str());
    Ok(Me {
        user: name.clone(),
        roles: roles.iter().cloned().collect(),
        logins: logins.iter().map(ToString::to_string).collect(),
        may,
        notice: gate::told(&ctx.core, roles),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::resource::ClusterConfig;
    use model::{NodeId, Secret};
    use runtime::{Clock, Health, Random};
    use store::Txn;
    use store::blobs::DirBlobs;
    use store::memory::MemoryStore;

    use super::*;
    use crate::account::Secrets;
    use crate::boot::{self, Ground};
    use crate::db::{encode, key};
    use crate::settings::{SecondFactor, Settings, Times};

    async fn opened(dir: &std::path::Path) -> Arc<Core> {
        let clock = Clock::manual(Timestamp::from_secs(1_700_000_000));
        let settings = Settings {
            cluster_name: "gate.example".parse().unwrap(),
            host_id: NodeId::from_random([9; 16]),
            host_name: "auth-1".parse().unwrap(),
            data_dir: dir.to_owned(),
            static_tokens: vec![],
            second_factor: SecondFactor::Off,
            passkey_name: None,
            public_names: vec![],
            proxy_addrs: vec![],
            message_of_the_day: String::new(),
            cluster: ClusterConfig::default(),
            times: Times::default(),
        };
        let ground = Ground {
            store: Arc::new(MemoryStore::new(clock.clone())),
            blobs: Arc::new(DirBlobs::open(&dir.join("blobs")).unwrap()),
            shelf: Arc::new(store::SqliteShelf::open(&dir.join("screens.db")).unwrap()),
            clock,
            random: Random::seeded(1),
            health: Health::default(),
        };
        boot::open(settings, ground).await.unwrap().0
    }

    #[tokio::test]
    async fn who_is_sent_away_because_too_many_wait_has_not_tried() {
        let dir = tempfile::tempdir().unwrap();
        let core = opened(dir.path()).await;
        let password = Secret::new("correct horse battery");
        let ann = User {
            name: "ann".parse().unwrap(),
            roles: ["access".parse().unwrap()].into(),
            traits: [].into(),
            created_by: String::new(),
            created_at: core.now(),
            expires: None,
            locked_until: None,
            enrolled: true,
            revision: None,
        };
        let hashed = core.hasher.turn().unwrap().hash(&password).await.unwrap();
        let secrets = Secrets { password: Some(hashed), ..Secrets::default() };
        let txn = Txn::new()
            .put(key("users", "ann").unwrap(), encode(&ann).unwrap())
            .put(key("secrets", "ann").unwrap(), encode(&secrets).unwrap());
        core.db.commit(txn).await.unwrap();
        let claim = Claim { user: "ann", password: &password, otp: "", passkey: None };
        let waiting: Vec<_> = std::iter::from_fn(|| core.hasher.turn().ok()).collect();

        for _ in 0..6 {
            assert_eq!(verify(&core, &claim).await.unwrap_err().fault, Fault::TooMany);
        }
        drop(waiting);

        assert!(verify(&core, &claim).await.is_ok());
    }
}
