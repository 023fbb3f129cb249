//! Nodes: what they say of themselves, who may see them, and whether a tunnel reaches them.

use audit::event::Resource;
use audit::event::kinds::NodeDelete;
use model::api::nodes::{DeleteNode, ListNodes, NodeView, ReportNode, ReportTunnels};
use model::api::{Done, Page};
use model::resource::{Kind, Liveness, Node, Verb};
use model::{Labels, SystemRole};
use policy::Object;
use store::Txn;

use crate::authority::Core;
use crate::db::{encode, key};
use crate::dispatch::Ctx;
use crate::gate;
use crate::host::Host;
use crate::refusal::{Answer, Refusal};
use crate::removed;

const MAX_LABELS: usize = 256;
const MAX_LABEL: usize = 1024;

/// The node as policy looks at it.
fn object(node: &Node) -> Object {
    Object::labelled(node.name.to_string(), node.labels.clone())
}

/// Nodes the caller may connect to with at least one login, and those they may list.
pub(crate) async fn list(ctx: Ctx, ask: ListNodes) -> Answer<Page<NodeView>> {
    let core = &ctx.core;
    let labels = model::label::parse(&ask.labels).map_err(|e| Refusal::bad(e.to_string()))?;
    let words: Vec<String> = ask.search.split_whitespace().map(str::to_lowercase).collect();
    let may_list = gate::allows(core, &ctx.pass, Kind::Node, Verb::List);
    let mut items = Vec::new();
    for (_, doc) in core.db.all::<Node>("nodes").await? {
        let mut node = with_liveness(core, doc.value);
        if !labels.iter().all(|(k, v)| node.labels.get(k) == Some(v)) || !mentions(&node, &words) {
            continue;
        }
        let logins = ctx.pass.person().map(|who| gate::node_logins(core, who, &node)).unwrap_or_default();
        let listed = may_list && gate::allows_one(core, &ctx.pass, Kind::Node, Verb::List, &object(&node));
        if !listed {
            // Who only works there is not told that there is something to seal.
            node.seal_key.clear();
        }
        if listed || !logins.is_empty() {
            items.push(NodeView { node, logins });
        }
    }
    items.sort_by(|a, b| (&a.node.name, &a.node.id).cmp(&(&b.node.name, &b.node.id)));
    Ok(Page { items, next: String::new() })
}

fn mentions(node: &Node, words: &[String]) -> bool {
    words.iter().all(|word| {
        let has = |text: &str| text.to_lowercase().contains(word);
        has(node.name.as_str()) || has(node.id.as_str()) || node.labels.iter().any(|(k, v)| has(k) || has(v))
    })
}

/// A node with an address of its own counts as up while it reports; every other by its tunnel.
pub(crate) fn with_liveness(core: &Core, mut node: Node) -> Node {
    let now = core.now();
    let (liveness, since) = core.tunnels.of(&node.id, now);
    let direct = !node.address.is_empty() && now.since(node.last_seen) < core.settings.times.live_session;
    (node.liveness, node.since) = match liveness {
        Liveness::Offline if direct => (Liveness::Online, None),
        Liveness::Offline | Liveness::Online => (liveness, since),
    };
    node
}

pub(crate) async fn report(ctx: Ctx, ask: ReportNode) -> Answer<Done> {
    let core = &ctx.core;
    let (id, name, roles) = ctx.pass.host()?;
    if ask.id != *id || ask.name != *name || !roles.contains(&SystemRole::Node) {
        return Err(Refusal::not_found());
    }
    ask.seal_key.parse::<audit::PublicKey>().map_err(|e| Refusal::bad(format!("seal_key: {e}")))?;
    let host = core.db.get::<Host>(&key("hosts", id)?).await?.ok_or_else(Refusal::not_found)?;
    let mut labels = check_labels(ask.labels)?;
    labels.extend(host.value.labels);
    let node = Node {
        id: ask.id,
        name: ask.name,
        address: ask.address,
        labels,
        version: ask.version,
        only_login: ask.only_login,
        last_seen: core.now(),
        liveness: Liveness::Offline,
        since: None,
        seal_key: ask.seal_key,
    };
    core.db.commit(Txn::new().put(key("nodes", &node.id)?, encode(&node)?)).await?;
    Ok(Done {})
}

fn check_labels(labels: Labels) -> Answer<Labels> {
    let long = |(k, v): (&String, &String)| k.is_empty() || k.len() > MAX_LABEL || v.len() > MAX_LABEL;
    let odd = |(k, v): (&String, &String)| k.chars().chain(v.chars()).any(char::is_control);
    if labels.len() > MAX_LABELS || labels.iter().any(|l| long(l) || odd(l)) {
        return Err(Refusal::bad("labels are too many, too long, or hold control characters"));
    }
    Ok(labels)
}

pub(crate) async fn report_tunnels(ctx: Ctx, ask: ReportTunnels) -> Answer<Done> {
    let (id, _, _) = ctx.pass.host()?;
    ctx.core.tunnels.report(id, ask.tunnels, ctx.caller.ended.clone(), ctx.core.now());
    Ok(Done {})
}

pub(crate) async fn delete(ctx: Ctx, ask: DeleteNode) -> Answer<Done> {
    let core = &ctx.core;
    let (node, host) = (key("nodes", &ask.id)?, key("hosts", &ask.id)?);
    let reported = core.db.get::<Node>(&node).await?.map(|doc| object(&doc.value));
    // Which labels a host has that never reported is not known.
    let joined = core.db.get::<Host>(&host).await?.map(|doc| doc.value);
    let named = joined.as_ref().map(|host| Object::named(host.name.to_string()));
    let object = reported.as_ref().or(named.as_ref()).ok_or_else(Refusal::not_found)?;
    gate::require(core, &ctx.pass, Kind::Node, Verb::Delete, object)?;
    let mut txn = Txn::new().delete(node);
    if goes(core, reported.as_ref(), joined.as_ref())? {
        txn = txn.delete(host).delete(key("proxies", &ask.id)?).delete(key("proxy_tunnels", &ask.id)?);
        if let Some(host) = &joined {
            txn = removed::note(txn, host)?;
        }
    }
    core.db.commit(txn).await?;
    let resource = Resource { name: ask.id.to_string(), ..Resource::default() };
    core.note(&NodeDelete { who: ctx.pass.who(), resource }).await?;
    Ok(Done {})
}

/// Whether the host goes with its node. One that is there as a proxy too stays: without its place it would be none, until
/// it is started again. One that has gone for good goes whole.
fn goes(core: &Core, reported: Option<&Object>, host: Option<&Host>) -> Answer<bool> {
    let Some(host) = host else { return Ok(true) };
    let (id, name) = (&host.id, &host.name);
    let serves = |role| host.roles.contains(&role);
    let own = *id == core.settings.host_id || serves(SystemRole::Auth);
    let is_proxy = serves(SystemRole::Proxy) && core.tunnels.hears(id, core.now());
    if !own && !is_proxy {
        return Ok(true);
    }
    if serves(SystemRole::Node) {
        return Err(Refusal::conflict(format!(
            "`{name}` is a proxy of the cluster too and would stop being one: to take only the node away, set \
             ssh_service.enabled to no there, start it again and remove the node then; to shut the whole host out, \
             lock it (mctl lock --node {id})"
        )));
    }
    if reported.is_some() {
        return Ok(false);
    }
    if own {
        return Err(Refusal::conflict(format!(
            "`{name}` is the host of the authority itself: to take its proxy away, set proxy_service.enabled to no there"
        )));
    }
    Ok(true)
}
