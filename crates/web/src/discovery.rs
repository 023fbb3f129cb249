//! `/webapi/ping`, `/webapi/find` and `/webapi/motd`: what this gate is and has to say, in the shape clients of the
//! field know.
//!
//! What the cluster is comes from the authority and is kept: a gate whose authority is away for a while goes on
//! saying what it knew. Unauthenticated, so nothing here is about anybody.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::CallError;
use model::api::cluster::{ClusterInfo, GetCluster, SecondFactor};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::{Settings, Web};

/// How long an answer of the authority counts as fresh.
const FRESH: Duration = Duration::from_secs(30);
/// How long to wait for the authority; beyond that, what was known is said.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a node may take to answer, as clients are told, where nobody signs in with a browser.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// What the authority last said.
#[derive(Default)]
pub(crate) struct Discovery(Mutex<Option<Known>>);

struct Known {
    info: ClusterInfo,
    ask_again: Instant,
}

impl Discovery {
    /// What is known, and whether to ask again. Whoever is told to ask is the only one for a while.
    fn look(&self) -> (Option<ClusterInfo>, bool) {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_mut() {
            None => (None, true),
            Some(known) if now < known.ask_again => (Some(known.info.clone()), false),
            Some(known) => {
                known.ask_again = now + DEADLINE;
                (Some(known.info.clone()), true)
            }
        }
    }

    fn keep(&self, info: ClusterInfo) {
        let known = Known { info, ask_again: Instant::now() + FRESH };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }
}

async fn cluster(web: &Web) -> Result<ClusterInfo, CallError> {
    let (known, ask) = web.discovery().look();
    if !ask && let Some(info) = known {
        return Ok(info);
    }
    match (web.client().call_within(&GetCluster {}, DEADLINE).await, known) {
        (Ok(info), _) => {
            web.discovery().keep(info.clone());
            Ok(info)
        }
        (Err(_), Some(info)) => Ok(info),
        (Err(error), None) => Err(error),
    }
}

/// Everything: how to dial and how to sign in.
pub(crate) async fn ping(web: &Web) -> Answer {
    match cluster(web).await {
        Ok(info) => {
            let mut all = common(web, &info);
            all.insert("auth".to_owned(), sign_in(&info));
            answer::json(&all)
        }
        Err(error) => answer::failed("ping", &error),
    }
}

/// What is needed to dial.
pub(crate) async fn find(web: &Web) -> Answer {
    match cluster(web).await {
        Ok(info) => answer::json(&common(web, &info)),
        Err(error) => answer::failed("find", &error),
    }
}

/// What people read before they sign in.
pub(crate) async fn message(web: &Web) -> Answer {
    match cluster(web).await {
        Ok(info) => answer::json(&json!({ "Text": info.message_of_the_day })),
        Err(error) => answer::failed("motd", &error),
    }
}

fn common(web: &Web, info: &ClusterInfo) -> Map<String, Value> {
    let mut out = Map::new();
    let wait = web.sessions().map_or(DIAL_TIMEOUT, |sessions| sessions.ways().dial_timeout());
    out.insert("proxy".to_owned(), proxy(web.settings(), wait));
    out.insert("server_version".to_owned(), json!(model::VERSION));
    out.insert("min_client_version".to_owned(), json!(model::VERSION));
    out.insert("cluster_name".to_owned(), json!(info.name));
    out.insert("automatic_upgrades".to_owned(), json!(false));
    out.insert("edition".to_owned(), json!("oss"));
    out.insert("fips".to_owned(), json!(false));
    out
}

fn proxy(settings: &Settings, wait: Duration) -> Value {
    let listen = &settings.listen;
    let mut ssh = json!({
        "listen_addr": listen,
        "tunnel_listen_addr": listen,
        "web_listen_addr": listen,
        // In nanoseconds, as clients know it.
        "dial_timeout": u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX),
    });
    let told = [
        ("public_addr", settings.public_addrs.first()),
        ("ssh_public_addr", settings.ssh_public_addr.as_ref()),
        ("ssh_tunnel_public_addr", settings.tunnel_public_addr.as_ref()),
    ];
    if let Value::Object(fields) = &mut ssh {
        for (name, addr) in told {
            if let Some(addr) = addr {
                fields.insert(name.to_owned(), json!(addr));
            }
        }
    }
    json!({
        "kube": { "enabled": false, "listen_addr": listen },
        "ssh": ssh,
        "db": { "postgres_listen_addr": listen, "mysql_listen_addr": listen },
        "tls_routing_enabled": true,
    })
}

/// What the cluster's configuration says of signing in; of an authority too old to say it, nothing is claimed.
fn sign_in(info: &ClusterInfo) -> Value {
    let mut out = json!({
        "type": "local",
        "allow_headless": false,
        "local": { "name": info.name },
        "private_key_policy": "none",
        "device_trust": {},
        "has_motd": !info.message_of_the_day.is_empty(),
        "load_all_cas": false,
    });
    let (Value::Object(fields), Some(terms)) = (&mut out, &info.sign_in) else { return out };
    let preferred = match terms.second_factor {
        SecondFactor::Otp | SecondFactor::On | SecondFactor::Optional => "otp",
        SecondFactor::Off => "",
    };
    let mut tell = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    tell("second_factor", json!(terms.second_factor));
    tell("preferred_local_mfa", json!(preferred));
    tell("allow_passwordless", json!(terms.passkey_name.is_some()));
    tell("default_session_ttl", json!(terms.default_ttl));
    if let Some(name) = &terms.passkey_name {
        tell("webauthn", json!({ "rp_id": name }));
    }
    out
}
