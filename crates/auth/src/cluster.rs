//! The cluster as a whole: what it is, whom to trust, its settings, the feed of rules, its health.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::api::Done;
use model::api::access::LiveSession;
use model::api::cluster::{
    ClusterInfo, ClusterStatus, GetCluster, GetClusterConfig, GetStatus, GetTrust, JobStatus, PolicySnapshot,
    ProxyPlace, ReportProxy, SignInTerms, TrustBundle, WatchPolicy,
};
use model::resource::{ClusterConfig, Liveness, Node};
use model::time::Span;
use model::{Level, VERSION};
use store::Txn;
use tokio::sync::watch;

use crate::authority::Core;
use crate::db::{encode, key};
use crate::dispatch::{BoxFuture, Ctx, Source, line};
use crate::nodes::with_liveness;
use crate::refusal::{Answer, Refusal};

/// A proxy's addresses are told for this long after its last report.
const PROXY_KEPT: Duration = Duration::from_secs(7 * 86_400);
const MAX_ADDRS: usize = 16;

/// Public addresses of the proxies: as reported, else as configured.
pub(crate) async fn proxy_addrs(core: &Core) -> Answer<Vec<String>> {
    let mut addrs = Vec::new();
    for (_, doc) in core.db.all::<Vec<String>>("proxies").await? {
        for addr in doc.value {
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
    }
    if addrs.is_empty() {
        addrs.clone_from(&core.settings.proxy_addrs);
    }
    Ok(addrs)
}

/// Those of them that are names and no addresses, with their ports.
pub(crate) fn named(addrs: &[String]) -> Vec<(&str, &str)> {
    addrs
        .iter()
        .map(|addr| addr.rsplit_once(':').unwrap_or((addr, "443")))
        .filter(|(host, _)| host.parse::<std::net::IpAddr>().is_err() && !host.starts_with('['))
        .collect()
}

/// The name passkeys are made for: the configured one, or the first that the public addresses of proxies have.
pub(crate) fn passkey_name<'a>(core: &'a Core, addrs: &'a [String]) -> Option<&'a str> {
    let fixed = core.settings.passkey_name.as_deref();
    fixed.or_else(|| named(addrs).first().map(|(host, _)| *host))
}

/// Where agents find each proxy: as reported, else the one of this host as configured.
async fn proxies(core: &Core) -> Answer<Vec<ProxyPlace>> {
    let mut own: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (id, doc) in core.db.all("proxy_tunnels").await? {
        own.insert(id, doc.value);
    }
    let mut places = Vec::new();
    for (id, doc) in core.db.all::<Vec<String>>("proxies").await? {
        let addrs = own.remove(&id).filter(|addrs| !addrs.is_empty()).unwrap_or(doc.value);
        if let Ok(id) = id.parse()
            && !addrs.is_empty()
        {
            places.push(ProxyPlace { id, addrs });
        }
    }
    let settings = &core.settings;
    if places.is_empty() && !settings.proxy_addrs.is_empty() {
        places.push(ProxyPlace { id: settings.host_id.clone(), addrs: settings.proxy_addrs.clone() });
    }
    Ok(places)
}

async fn info(core: &Core) -> Answer<ClusterInfo> {
    let addrs = proxy_addrs(core).await?;
    let sign_in = SignInTerms {
        second_factor: core.settings.second_factor,
        passkey_name: passkey_name(core, &addrs).map(str::to_owned),
        default_ttl: Span(core.settings.times.user_cert),
    };
    Ok(ClusterInfo {
        name: core.settings.cluster_name.clone(),
        version: VERSION.to_owned(),
        level: Level::CURRENT,
        ca_pins: core.keys.now().trust().ca_pins().to_vec(),
        proxy_addrs: addrs,
        proxies: proxies(core).await?,
        message_of_the_day: core.settings.message_of_the_day.clone(),
        sign_in: Some(sign_in),
    })
}

pub(crate) async fn get_cluster(ctx: Ctx, _ask: GetCluster) -> Answer<ClusterInfo> {
    info(&ctx.core).await
}

pub(crate) async fn get_trust(ctx: Ctx, _ask: GetTrust) -> Answer<TrustBundle> {
    Ok(ctx.core.keys.now().bundle().clone())
}

pub(crate) async fn get_config(ctx: Ctx, _ask: GetClusterConfig) -> Answer<ClusterConfig> {
    Ok(ctx.core.settings.cluster.clone())
}

pub(crate) async fn report_proxy(ctx: Ctx, ask: ReportProxy) -> Answer<Done> {
    let (id, _, _) = ctx.pass.host()?;
    let odd = |a: &String| a.is_empty() || a.len() > 300 || !a.chars().all(|c| c.is_ascii_graphic());
    for addrs in [&ask.public_addrs, &ask.tunnel_addrs] {
        if addrs.len() > MAX_ADDRS || addrs.iter().any(odd) {
            return Err(Refusal::bad("a public address is host:port"));
        }
    }
    let until = Some(ctx.core.now() + PROXY_KEPT);
    let txn = Txn::new().put_until(key("proxies", id)?, encode(&ask.public_addrs)?, until).put_until(
        key("proxy_tunnels", id)?,
        encode(&ask.tunnel_addrs)?,
        until,
    );
    ctx.core.db.commit(txn).await?;
    Ok(Done {})
}

pub(crate) async fn get_status(ctx: Ctx, _ask: GetStatus) -> Answer<ClusterStatus> {
    let core = &ctx.core;
    let jobs = core.health.jobs().into_iter();
    let jobs = jobs
        .map(|(name, job)| JobStatus { name, last_run: job.last_run, last_error: job.last_error })
        .collect();
    let nodes = core.db.all::<Node>("nodes").await?;
    let is_online = |node: Node| with_liveness(core, node).liveness == Liveness::Online;
    let (all, online) = (nodes.len(), nodes.into_iter().filter(|(_, d)| is_online(d.value.clone())).count());
    let mut counts = BTreeMap::new();
    let users = core.db.all::<serde_json::Value>("users").await?.len();
    let roles = core.db.all::<serde_json::Value>("roles").await?.len();
    let live = core.db.all::<LiveSession>("live").await?.len();
    for (name, count) in [
        ("users", users),
        ("roles", roles),
        ("nodes_online", online),
        ("nodes_offline", all - online),
        ("live_sessions", live),
    ] {
        counts.insert(name.to_owned(), count as u64);
    }
    Ok(ClusterStatus { cluster: info(core).await?, jobs, counts })
}

pub(crate) async fn watch_policy(ctx: Ctx, _ask: WatchPolicy) -> Answer<Box<dyn Source>> {
    ctx.pass.host()?;
    let mut feed = ctx.core.rules.watch();
    feed.mark_changed();
    Ok(Box::new(Snapshots(feed)))
}

/// The state now, then the state after each change; changes in quick succession come as one.
struct Snapshots(watch::Receiver<Arc<crate::rules::Rules>>);

impl Source for Snapshots {
    fn next(&mut self) -> BoxFuture<'_, Answer<Option<Bytes>>> {
        Box::pin(async move {
            if self.0.changed().await.is_err() {
                return Ok(None);
            }
            let rules = self.0.borrow_and_update().clone();
            line::<PolicySnapshot>(rules.snapshot()).map(Some)
        })
    }
}
