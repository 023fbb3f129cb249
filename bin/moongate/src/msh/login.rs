//! `msh login`, `logout` and `status`.

use anyhow::{Context as _, Result};
use model::api::access::{SignIn, WhoAmI};
use model::api::certs::UserCerts;
use model::api::cluster::GetCluster;
use model::identity::Subject;
use model::time::Span;
use model::{Identity, Timestamp};
use pki::KeyPair;
use pki::ssh::Certificate;
use pki::{KeyType, Signer as _};
use runtime::{Clock, Random, Scope};
use serde::{Deserialize, Serialize};

use super::args::{Common, Login};
use super::profile::{Home, Profile, write_private};
use super::{agent, hosts, prompt, web};
use crate::address::with_port;
use crate::gate::{self, Proof};
use crate::show::{Format, clean_lines, complain, print};

/// Signs in, keeps keys and certificates, and shows the status block.
///
/// # Errors
/// The gate cannot be reached, is not trusted, or refused.
pub(crate) async fn login(common: &Common, wanted: &Login, scope: &Scope) -> Result<()> {
    let home = Home::open(common.home.as_deref())?;
    let addr = match &common.proxy {
        Some(addr) => with_port(addr),
        None => with_port(&home.profile(None).context("which gate? give --proxy=host:port")?.web_proxy_addr),
    };
    let before = home.at(&addr);
    let user = whose(common.user.as_deref(), before.as_ref()).map_or_else(gate::local_user, Ok)?;
    let proof = match (&common.ca_pin, &before) {
        (Some(pin), _) => Proof::Pin(pin),
        (None, _) if common.insecure => Proof::Nothing,
        (None, Some(before)) => gate::kept(&home, before, scope).await?.map_or(Proof::Web, Proof::Kept),
        (None, None) => Proof::Web,
    };
    let contact = gate::first_contact(&addr, proof, scope).await?;
    let random = Random::system();
    let ssh = KeyPair::generate(KeyType::Ed25519, &random.bytes())?;
    let tls = KeyPair::generate(KeyType::EcdsaP256, &random.bytes())?;
    message_of_the_day(&contact, scope).await?;
    eprintln!("Signing in to {addr} as {user}");
    let ask = SignIn {
        user: user.clone(),
        password: prompt::secret("Password: ")?,
        passkey: None,
        otp: prompt::line("One-time code: ")?.trim().to_owned(),
        ssh_key: ssh.ssh_public().to_string(),
        tls_key_pem: tls.spki_pem(),
        ttl: (common.ttl > 0).then(|| Span(std::time::Duration::from_secs(common.ttl.saturating_mul(60)))),
        client_addr: None,
    };
    let certs: UserCerts = if contact.proven.is_some() {
        gate::client(&contact.dialer, scope).call(&ask).await.context("cannot sign in")?
    } else {
        web::post(&contact, scope, "/webapi/sign-in", &ask).await.context("cannot sign in")?
    };
    // Nothing is kept of a gate whose authorities cannot be written down.
    hosts::authorities(&certs.trust).context("cannot sign in")?;
    let lock = home.lock()?;
    let profile = home.admit(addr, user, certs.cluster.to_string(), common.insecure);
    supersede(&home, &profile).await?;
    let keys = home.keys(&profile);
    let comment = format!("{}@{}", profile.user, profile.cluster);
    let check = u32::from_be_bytes(random.bytes());
    write_private(&keys.ssh_key(), ssh.to_openssh(&comment, check).as_bytes())?;
    write_private(&keys.ssh_pub(), format!("{} {comment}\n", ssh.ssh_public()).as_bytes())?;
    write_private(&keys.ssh_cert(), format!("{}\n", certs.ssh_cert.trim()).as_bytes())?;
    write_private(&keys.tls_key(), tls.to_pkcs8_pem()?.as_bytes())?;
    write_private(&keys.tls_cert(), certs.tls_cert_pem.as_bytes())?;
    write_private(&keys.trust(), serde_json::to_string_pretty(&certs.trust)?.as_bytes())?;
    home.trust_hosts(&profile, &certs.trust)?;
    home.keep(&profile)?;
    drop(lock);
    // The first call with the new certificate finds out what carries it, so that `msh status` can tell.
    let way = gate::by_profile(&home, &profile, scope)?;
    if let Err(error) = way.client.call(&WhoAmI {}).await {
        let what = "signed in, but the gate cannot be reached with the new certificate";
        complain("msh", &anyhow::Error::new(error).context(what));
    }
    if wanted.add_keys_to_agent != "no" {
        let life = (Clock::system().now(), certs.expires);
        agent::offer(&ssh, &certs.ssh_cert, &comment, life, wanted.add_keys_to_agent == "yes").await?;
    }
    status(common, wanted.format, &Clock::system())
}

/// The name to sign in with: as it was given, or as it was at the same gate before.
fn whose(given: Option<&str>, before: Option<&Profile>) -> Option<String> {
    given.map(str::to_owned).or_else(|| before.map(|profile| profile.user.clone()))
}

/// Takes out of the agent what the gate's profile has put there, and from the disk the keys of another person or cluster:
/// what is written next would name neither, and logging out would leave them.
async fn supersede(home: &Home, profile: &Profile) -> Result<()> {
    let Some(before) = home.at(&profile.web_proxy_addr) else { return Ok(()) };
    agent::forget(&home.keys(&before)).await;
    if (&before.user, &before.cluster) != (&profile.user, &profile.cluster) {
        home.forget(&before)?;
    }
    Ok(())
}

/// What the gate wants read before anyone signs in: shown, and at a terminal waited for.
async fn message_of_the_day(contact: &gate::FirstContact, scope: &Scope) -> Result<()> {
    let text = if contact.proven.is_some() {
        let client = gate::client(&contact.dialer, scope);
        client.call(&GetCluster {}).await.context("cannot ask for the message of the day")?.message_of_the_day
    } else {
        let told: Ping = web::get(contact, scope, "/webapi/ping").await?;
        if !told.auth.has_motd {
            return Ok(());
        }
        web::get::<Motd>(contact, scope, "/webapi/motd").await?.text
    };
    if text.is_empty() {
        return Ok(());
    }
    eprintln!("{}\n", clean_lines(&text));
    prompt::read("Press Enter to go on: ")?;
    Ok(())
}

/// As much of `/webapi/ping` as matters here.
#[derive(Debug, Deserialize)]
struct Ping {
    auth: Auth,
}

#[derive(Debug, Deserialize)]
struct Auth {
    #[serde(default)]
    has_motd: bool,
}

/// `/webapi/motd`.
#[derive(Debug, Deserialize)]
struct Motd {
    #[serde(rename = "Text")]
    text: String,
}

/// Forgets keys and certificates of the active profile, or of the gate named.
///
/// # Errors
/// Nobody is signed in, or the disk refused.
pub(crate) async fn logout(common: &Common, format: Format) -> Result<()> {
    let home = Home::open(common.home.as_deref())?;
    let _lock = home.lock()?;
    let profiles = match &common.proxy {
        Some(addr) => vec![home.profile(Some(addr))?],
        None => home.all(),
    };
    let mut done = Vec::new();
    for profile in &profiles {
        agent::forget(&home.keys(profile)).await;
        if let Err(error) = home.forget(profile) {
            print(format, &done, String::new)?;
            return Err(error);
        }
        done.push(LoggedOut {
            profile_url: format!("https://{}", profile.web_proxy_addr),
            user: &profile.user,
            cluster: &profile.cluster,
        });
    }
    print(format, &done, || match (&common.proxy, profiles.as_slice()) {
        (_, []) => "Nobody was logged in.\n".to_owned(),
        (Some(_), [one]) => format!("Logged out of {}.\n", one.web_proxy_addr),
        _ => "Logged out all users from all proxies.\n".to_owned(),
    })
}

/// What `logout` says of one profile.
#[derive(Debug, Serialize)]
struct LoggedOut<'a> {
    profile_url: String,
    user: &'a str,
    cluster: &'a str,
}

/// What `status` says of one profile.
#[derive(Debug, Serialize)]
struct Status {
    active: bool,
    profile_url: String,
    user: String,
    cluster: String,
    roles: Vec<String>,
    logins: Vec<String>,
    valid_until: Timestamp,
    expired: bool,
    extensions: Vec<String>,
    carrier: String,
}

/// Shows who one is and how the gates are reached, or the gate named. What is wrong with one keeps none of the others
/// from being shown.
///
/// # Errors
/// Nobody is signed in, or the certificate of the gate named, or else of the active one, has ended or is of no use.
pub(crate) fn status(common: &Common, format: Format, clock: &Clock) -> Result<()> {
    let home = Home::open(common.home.as_deref())?;
    let profiles = match &common.proxy {
        Some(addr) => vec![Ok(home.profile(Some(addr))?)],
        None => home.each(),
    };
    anyhow::ensure!(!profiles.is_empty(), "not logged in: run `msh login --proxy=<gate>`");
    let now = clock.now();
    let (mut found, mut outcome) = (Vec::new(), Ok(()));
    for (n, profile) in profiles.into_iter().enumerate() {
        match profile.and_then(|profile| look(&home, &profile, now)) {
            Ok(status) => found.push(status),
            // The one named, or else the active one.
            Err(error) if n == 0 => outcome = Err(error),
            Err(error) => complain("msh", &error),
        }
    }
    print(format, &found, || found.iter().map(|s| block(s, now)).collect::<Vec<_>>().join("\n"))?;
    outcome?;
    match found.first() {
        Some(one) if one.expired && (one.active || common.proxy.is_some()) => {
            let gate = &one.profile_url;
            anyhow::bail!("the certificate for {gate} has expired: run `msh login --proxy={gate}`")
        }
        _ => Ok(()),
    }
}

/// What there is of one profile.
fn look(home: &Home, profile: &Profile, now: Timestamp) -> Result<Status> {
    let gate = &profile.web_proxy_addr;
    let again = || format!("log in again with `msh login --proxy={gate}`");
    let text = std::fs::read_to_string(home.keys(profile).ssh_cert())
        .with_context(|| format!("the certificate for {gate} is gone: {}", again()))?;
    let cert: Certificate = text
        .trim()
        .parse()
        .with_context(|| format!("the certificate for {gate} cannot be read: {}", again()))?;
    describe(profile, &cert, home.active().as_ref() == Some(&profile.place), now)
}

fn describe(profile: &Profile, cert: &Certificate, active: bool, now: Timestamp) -> Result<Status> {
    let identity: Identity = pki::ssh::claimed_identity(cert)?;
    let (roles, logins) = match &identity.subject {
        Subject::User { roles, logins, .. } => (
            roles.iter().map(ToString::to_string).collect(),
            logins.iter().map(ToString::to_string).collect(),
        ),
        Subject::Host { .. } => (Vec::new(), Vec::new()),
    };
    let extensions =
        ["permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty"];
    Ok(Status {
        active,
        profile_url: format!("https://{}", profile.web_proxy_addr),
        user: profile.user.clone(),
        cluster: profile.cluster.clone(),
        roles,
        logins,
        valid_until: identity.expires_at,
        expired: identity.expires_at <= now,
        extensions: extensions
            .iter()
            .filter(|e| cert.extension(e).is_some())
            .map(|e| (*e).to_owned())
            .collect(),
        carrier: profile.carrier.clone(),
    })
}

fn block(status: &Status, now: Timestamp) -> String {
    let valid = if status.expired {
        "[EXPIRED]".to_owned()
    } else {
        format!(
            "[valid for {}]",
            Span(std::time::Duration::from_secs(status.valid_until.since(now).as_secs()))
        )
    };
    let rows = [
        ("Profile URL:", status.profile_url.clone()),
        ("Logged in as:", status.user.clone()),
        ("Cluster:", status.cluster.clone()),
        ("Roles:", status.roles.join(", ")),
        ("Logins:", status.logins.join(", ")),
        ("Valid until:", format!("{} {valid}", status.valid_until)),
        ("Extensions:", status.extensions.join(", ")),
        (
            "Carrier:",
            match status.carrier.as_str() {
                "" => "none so far: nothing but signing in has come through".to_owned(),
                carrier => carrier.to_owned(),
            },
        ),
    ];
    rows.iter()
        .enumerate()
        .map(|(n, (label, value))| {
            let mark = if n == 0 && status.active { "> " } else { "  " };
            format!("{mark}{label:<20}{value}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign_in(home: &Home, user: &str, cluster: &str) -> Profile {
        let profile = home.admit("gate:3080".into(), user.into(), cluster.into(), false);
        let keys = home.keys(&profile);
        for path in [keys.ssh_key(), keys.ssh_cert(), keys.tls_key(), keys.tls_cert(), keys.trust()] {
            write_private(&path, user.as_bytes()).unwrap();
        }
        home.keep(&profile).unwrap();
        profile
    }

    #[tokio::test]
    async fn who_signs_in_at_the_same_gate_leaves_no_keys_of_whoever_was_there() {
        for (user, cluster, stays) in
            [("alice", "main", true), ("bob", "main", false), ("alice", "new", false)]
        {
            let dir = tempfile::tempdir().unwrap();
            let home = Home::open(Some(dir.path())).unwrap();
            let before = sign_in(&home, "alice", "main");
            let next = home.admit("gate:3080".into(), user.into(), cluster.into(), false);

            supersede(&home, &next).await.unwrap();

            let keys = home.keys(&before);
            for path in [keys.ssh_key(), keys.ssh_cert(), keys.tls_key(), keys.tls_cert(), keys.trust()] {
                assert_eq!(path.exists(), stays, "{user} {cluster} {}", path.display());
            }
            assert_eq!(next.place, before.place);
        }
    }

    #[tokio::test]
    async fn logging_out_leaves_no_keys_that_an_earlier_version_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(Some(dir.path())).unwrap();
        sign_in(&home, "alice", "main");
        let last = sign_in(&home, "bob", "main");

        home.forget(&last).unwrap();

        assert!(!dir.path().join("keys/gate").exists());
        assert!(home.all().is_empty());
    }
}
