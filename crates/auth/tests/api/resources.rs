//! Users, roles, locks, nodes and live sessions: what may be written, and who sees what.

use std::sync::Arc;
use std::time::Duration;

use auth::settings::{Probe, SecondFactor};
use model::api::Fault;
use model::api::access::{EndSession, ListLive, LiveSession, TrackSession};
use model::api::cluster::{
    GetCluster, GetClusterConfig, GetStatus, PolicySnapshot, ReportProxy, WatchPolicy,
};
use model::api::locks::{CreateLock, DeleteLock, ListLocks};
use model::api::nodes::{DeleteNode, ListNodes, ReportTunnels, TunnelState};
use model::api::recordings::GetUpload;
use model::api::roles::{DeleteRole, GetRole, ListRoles, PutRole};
use model::api::users::{DeleteUser, GetUser, ListUsers, UpdateUser};
use model::resource::{Liveness, LockTarget, Role};
use model::time::Span;
use model::{NodeId, SessionId, SystemRole};
use testkit::client::Client;

use crate::tape::live;
use crate::world::{Host, World, eventually, fault, presets, refused};

pub(crate) fn role(name: &str, spec: &serde_json::Value) -> PutRole {
    let role: Role = serde_json::from_value(serde_json::json!({
        "kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap();
    PutRole { name: name.parse().unwrap(), role, replace: false }
}

fn dev() -> PutRole {
    role("dev", &serde_json::json!({"allow": {"logins": ["root"], "node_labels": {"env": "dev"}}}))
}

fn session(world: &World, node: &Host) -> LiveSession {
    live(world, node, SessionId::from_random(world.random.bytes()), "ann")
}

#[tokio::test]
async fn users_are_written_only_when_they_make_sense() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.call(&World::create_user("ann", "access")).await.unwrap();

    assert_eq!(fault(admin.call(&World::create_user("ann", "access")).await), Fault::Conflict);
    assert_eq!(fault(admin.call(&World::create_user("bob", "no-such-role")).await), Fault::BadRequest);
    let ann = || "ann".parse().unwrap();
    let none = UpdateUser { name: ann(), roles: Some([].into()), traits: None };
    assert_eq!(fault(admin.call(&none).await), Fault::BadRequest);
    let odd = [("logins".to_owned(), vec!["a\u{1b}b".to_owned()])].into();
    let odd = UpdateUser { name: ann(), roles: None, traits: Some(odd) };
    assert_eq!(fault(admin.call(&odd).await), Fault::BadRequest);

    let traits = [("logins".to_owned(), vec!["ubuntu".to_owned()])].into();
    let changed = admin.call(&UpdateUser { name: ann(), roles: None, traits: Some(traits) }).await.unwrap();
    assert_eq!(changed.traits["logins"], ["ubuntu"]);
    assert!(!changed.enrolled);
    assert!(world.has_event("user.update", "T1003I").await);
    let nobody = || "nobody".parse().unwrap();
    assert_eq!(fault(admin.call(&GetUser { name: nobody() }).await), Fault::NotFound);
    assert_eq!(fault(admin.call(&DeleteUser { name: nobody() }).await), Fault::NotFound);
    assert_eq!(admin.call(&ListUsers {}).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn an_admin_cannot_delete_themself() {
    let world = World::new().await;
    let ann = world.user("ann", "editor").await;

    assert_eq!(fault(ann.call(&DeleteUser { name: "ann".parse().unwrap() }).await), Fault::Conflict);
}

#[tokio::test]
async fn a_role_is_reviewed_before_it_is_kept() {
    let world = World::new().await;
    let admin = world.admin().await;
    let rules = |kind: &str, verb: &str| serde_json::json!({"allow": {"rules": [{"resources": [kind], "verbs": [verb]}]}});
    for (spec, word) in [
        (rules("usr", "list"), "usr"),
        (rules("user", "lst"), "lst"),
        (serde_json::json!({"allow": {"logins": ["{{internal.logins"]}}), "logins"),
        (serde_json::json!({"allow": {"loginz": ["root"]}}), "loginz"),
    ] {
        let (fault, message) = refused(admin.call(&role("bad", &spec)).await);
        assert_eq!(fault, Fault::BadRequest);
        assert!(message.contains(word), "{message}");
    }
    let later = serde_json::json!({"options": {"require_session_mfa": true}, "allow": {"logins": ["root"]}});
    let written = admin.call(&role("later", &later)).await.unwrap();
    assert!(written.not_in_effect.iter().any(|k| k.contains("require_session_mfa")), "{written:?}");
    let other = PutRole { name: "other".parse().unwrap(), ..dev() };
    assert_eq!(fault(admin.call(&other).await), Fault::BadRequest);
}

#[tokio::test]
async fn a_role_is_replaced_only_on_purpose_and_removed_only_when_unused() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.call(&dev()).await.unwrap();
    assert_eq!(fault(admin.call(&dev()).await), Fault::Conflict);
    let name = || "dev".parse().unwrap();

    let mut stale = admin.call(&GetRole { name: name() }).await.unwrap();
    admin.call(&PutRole { replace: true, ..dev() }).await.unwrap();
    stale.metadata.description = "changed elsewhere".into();
    let lost = PutRole { name: name(), role: stale, replace: true };
    assert_eq!(fault(admin.call(&lost).await), Fault::Conflict);

    admin.call(&World::create_user("ann", "dev")).await.unwrap();
    assert_eq!(fault(admin.call(&DeleteRole { name: name() }).await), Fault::Conflict);
    assert_eq!(fault(admin.call(&DeleteRole { name: "editor".parse().unwrap() }).await), Fault::Conflict);
    admin.call(&DeleteUser { name: "ann".parse().unwrap() }).await.unwrap();
    admin.call(&DeleteRole { name: name() }).await.unwrap();

    assert_eq!(admin.call(&ListRoles {}).await.unwrap().items.len(), presets());
    for (event, code) in [("role.created", "T9000I"), ("role.updated", "T9002I"), ("role.deleted", "T9001I")]
    {
        assert!(world.has_event(event, code).await, "{event}");
    }
}

#[tokio::test]
async fn people_see_the_nodes_they_may_use_and_no_others() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.call(&dev()).await.unwrap();
    let (_one, _two) = (world.node("web-1", "dev").await, world.node("db-1", "prod").await);
    let ann = world.user("ann", "dev").await;

    let seen = ann.call(&ListNodes::default()).await.unwrap().items;
    let all = admin.call(&ListNodes::default()).await.unwrap().items;
    let found =
        admin.call(&ListNodes { labels: "env=prod".into(), search: String::new() }).await.unwrap().items;
    let searched =
        admin.call(&ListNodes { labels: String::new(), search: "WEB dev".into() }).await.unwrap().items;

    assert_eq!(seen.iter().map(|n| n.node.name.as_str()).collect::<Vec<_>>(), ["web-1"]);
    assert_eq!(seen[0].logins, ["root"]);
    assert!(seen[0].node.seal_key.is_empty() && !all[0].node.seal_key.is_empty(), "what seals is for admins");
    assert_eq!(all.len(), 2);
    assert_eq!(found[0].node.name.as_str(), "db-1");
    assert_eq!(searched[0].node.name.as_str(), "web-1");
}

#[tokio::test]
async fn a_nodes_liveness_is_its_tunnels() {
    let world = World::new().await;
    let admin = world.admin().await;
    let node = world.node("web-1", "dev").await;
    let proxy = world.proxy().await;
    let liveness = async || admin.call(&ListNodes::default()).await.unwrap().items[0].node.liveness;
    let tunnel = TunnelState { id: node.id.clone(), name: "web-1".parse().unwrap(), carrier: "tls".into() };
    let report = ReportTunnels { tunnels: vec![tunnel] };
    assert_eq!(liveness().await, Liveness::Offline);

    proxy.client.call(&report).await.unwrap();
    assert_eq!(liveness().await, Liveness::Online);
    proxy.client.call(&ReportTunnels { tunnels: vec![] }).await.unwrap();
    assert_eq!(liveness().await, Liveness::Offline);

    proxy.client.call(&report).await.unwrap();
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(liveness().await, Liveness::Offline);
    assert_eq!(fault(node.client.call(&report).await), Fault::NotFound);
}

#[tokio::test]
async fn a_proxy_that_hung_up_has_no_tunnels_unless_it_is_heard_again() {
    // Silence alone would take longer than this test turns the clock.
    let world = World::with(|s| s.times.tunnel_report = Duration::from_secs(3 * 86_400)).await;
    let admin = world.admin().await;
    let node = world.node("web-1", "dev").await;
    let proxy = world.proxy().await;
    let liveness = async || admin.call(&ListNodes::default()).await.unwrap().items[0].node.liveness;
    let tunnel = TunnelState { id: node.id.clone(), name: "web-1".parse().unwrap(), carrier: "tls".into() };
    let report = ReportTunnels { tunnels: vec![tunnel] };
    let mut lost = proxy.client.lost();

    proxy.client.call(&report).await.unwrap();
    proxy.client.hang_up().await;
    lost.changed().await.unwrap();
    proxy.client.call(&report).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(liveness().await, Liveness::Online, "it is heard over another connection");

    proxy.client.hang_up().await;
    let offline = async {
        while liveness().await == Liveness::Online {
            world.clock.advance(Duration::from_secs(1));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), offline).await.unwrap();

    proxy.client.call(&report).await.unwrap();
    assert_eq!(liveness().await, Liveness::Online);
}

#[tokio::test]
async fn a_proxy_that_fell_silent_has_no_tunnels_though_nobody_hung_up() {
    let soon = Duration::from_millis(50);
    let world = World::with(|s| {
        s.times.tunnel_report = Duration::from_secs(3 * 86_400);
        s.times.proxy_probe = Probe { after: soon, answer: soon };
    })
    .await;
    let admin = world.admin().await;
    let (node, proxy) = (world.node("web-1", "dev").await, world.proxy().await);
    let shown = proxy.keys.certified(&proxy.certs.tls_cert_pem);
    let pipe = world.pipe(world.trusting().showing(shown));
    let client = Client::new(Arc::new(pipe.clone()), &world.scope, world.random.clone());
    let liveness = async || admin.call(&ListNodes::default()).await.unwrap().items[0].node.liveness;
    let tunnel = TunnelState { id: node.id.clone(), name: "web-1".parse().unwrap(), carrier: "tls".into() };
    client.call(&ReportTunnels { tunnels: vec![tunnel] }).await.unwrap();
    assert_eq!(liveness().await, Liveness::Online);

    pipe.fall_silent();

    let offline = async {
        while liveness().await == Liveness::Online {
            world.clock.advance(Duration::from_secs(1));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), offline).await.unwrap();
}

#[tokio::test]
async fn a_node_reports_for_itself_only() {
    let world = World::new().await;
    let (one, two) = (world.node("web-1", "dev").await, world.node("web-2", "dev").await);

    assert_eq!(fault(one.client.call(&world.report(&two, "web-2", "dev")).await), Fault::NotFound);
    assert_eq!(fault(one.client.call(&world.report(&one, "web-9", "dev")).await), Fault::NotFound);
    let mut bad = world.report(&one, "web-1", "dev");
    bad.seal_key = "nonsense".into();
    assert_eq!(fault(one.client.call(&bad).await), Fault::BadRequest);
    let proxy = world.proxy().await;
    assert_eq!(fault(proxy.client.call(&world.report(&proxy, "proxy-1", "dev")).await), Fault::NotFound);
}

#[tokio::test]
async fn live_sessions_are_their_nodes_and_end_with_their_lease() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (node, other) = (world.node("web-1", "dev").await, world.node("web-2", "dev").await);
    let live = session(&world, &node);
    let track = TrackSession { id: live.id.clone(), session: Some(live.clone()) };
    let ended = TrackSession { id: live.id.clone(), session: None };
    node.client.call(&track).await.unwrap();

    assert_eq!(admin.call(&ListLive {}).await.unwrap().items, vec![live.clone()]);
    assert_eq!(fault(other.client.call(&track).await), Fault::NotFound);
    assert_eq!(fault(other.client.call(&ended).await), Fault::NotFound);

    world.clock.advance(Duration::from_secs(90));
    assert!(admin.call(&ListLive {}).await.unwrap().items.is_empty());
    node.client.call(&track).await.unwrap();
    node.client.call(&ended).await.unwrap();
    assert!(admin.call(&ListLive {}).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn every_host_hears_of_changes_and_of_sessions_to_end() {
    let world = World::new().await;
    let admin = world.admin().await;
    let node = world.node("web-1", "dev").await;
    let mut feed = node.client.stream(&WatchPolicy {}).await.unwrap();
    let first = feed.next().await.unwrap().unwrap();
    assert_eq!(first.roles.len(), presets());
    assert_eq!(first.trust, world.authority.trust());

    admin.call(&dev()).await.unwrap();
    assert_eq!(feed.next().await.unwrap().unwrap().roles.len(), presets() + 1);
    let target = LockTarget { login: Some("root".parse().unwrap()), ..LockTarget::default() };
    let lock = CreateLock { target, message: "no root".into(), ttl: Some(Span(Duration::from_secs(60))) };
    let lock = admin.call(&lock).await.unwrap();
    assert_eq!(feed.next().await.unwrap().unwrap().locks, vec![lock.clone()]);
    admin.call(&DeleteLock { id: lock.id.clone() }).await.unwrap();
    assert!(feed.next().await.unwrap().unwrap().locks.is_empty());

    let live = session(&world, &node);
    let track = TrackSession { id: live.id.clone(), session: Some(live.clone()) };
    node.client.call(&track).await.unwrap();
    let end = EndSession { id: live.id.clone(), reason: "enough".into() };
    admin.call(&end).await.unwrap();
    assert_eq!(feed.next().await.unwrap().unwrap().end_sessions, vec![end.clone()]);
    node.client.call(&TrackSession { id: live.id, session: None }).await.unwrap();
    assert!(feed.next().await.unwrap().unwrap().end_sessions.is_empty());
    assert_eq!(fault(admin.call(&end).await), Fault::NotFound);
    assert!(world.has_event("session.terminate", "MGS001I").await);
    assert!(
        world.has_event("lock.created", "TLK00I").await && world.has_event("lock.deleted", "TLK01I").await
    );
    world.stop().await;
}

#[tokio::test]
async fn locks_name_something_and_end_by_themselves() {
    let world = World::new().await;
    let admin = world.admin().await;
    let nothing = CreateLock { target: LockTarget::default(), message: String::new(), ttl: None };
    assert_eq!(fault(admin.call(&nothing).await), Fault::BadRequest);
    let target = LockTarget { node: Some(NodeId::from_random([1; 16])), ..LockTarget::default() };
    let lock = |ttl: &str| CreateLock {
        target: target.clone(),
        message: String::new(),
        ttl: Some(ttl.parse().unwrap()),
    };
    for ttl in ["999ms", "876001h", "99999999h"] {
        assert_eq!(fault(admin.call(&lock(ttl)).await), Fault::BadRequest, "{ttl}");
    }
    let lock = admin.call(&lock("60s")).await.unwrap();
    assert_eq!(admin.call(&ListLocks {}).await.unwrap().items, vec![lock.clone()]);

    world.clock.advance(Duration::from_secs(60));
    assert!(admin.call(&ListLocks {}).await.unwrap().items.is_empty());
    assert_eq!(fault(admin.call(&DeleteLock { id: lock.id }).await), Fault::NotFound);
}

#[tokio::test]
async fn a_locked_node_is_shut_out_and_its_streams_end() {
    let world = World::with(|s| s.times.heartbeat = Duration::from_millis(20)).await;
    let admin = world.admin().await;
    let node = world.node("web-1", "dev").await;
    let mut feed = node.client.stream(&WatchPolicy {}).await.unwrap();
    feed.next().await.unwrap().unwrap();

    let target = LockTarget { node: Some(node.id.clone()), ..LockTarget::default() };
    admin.call(&CreateLock { target, message: String::new(), ttl: None }).await.unwrap();

    assert_eq!(fault(node.client.call(&world.report(&node, "web-1", "dev")).await), Fault::NotFound);
    while feed.next().await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_lock_on_the_gates_own_node_shuts_the_gate_out_of_nothing() {
    let world = World::with(|s| s.times.heartbeat = Duration::from_millis(20)).await;
    let admin = world.admin().await;
    let own = NodeId::from_random([8; 16]);
    let gate = world.beside(own.clone(), [SystemRole::Proxy, SystemRole::Node]).await;
    let mut feed = gate.stream(&WatchPolicy {}).await.unwrap();
    feed.next().await.unwrap().unwrap();

    let target = LockTarget { node: Some(own.clone()), ..LockTarget::default() };
    admin.call(&CreateLock { target, message: String::new(), ttl: None }).await.unwrap();

    // It hears of this lock and of the next, and says who is connected.
    let heard =
        |snapshot: &PolicySnapshot| snapshot.locks.iter().any(|lock| lock.target.node == Some(own.clone()));
    while !heard(&feed.next().await.unwrap().unwrap()) {}
    gate.call(&ReportTunnels { tunnels: Vec::new() }).await.unwrap();
    let target = LockTarget { user: Some("ann".parse().unwrap()), ..LockTarget::default() };
    admin.call(&CreateLock { target, message: String::new(), ttl: None }).await.unwrap();
    while feed.next().await.unwrap().unwrap().locks.len() < 2 {}
}

#[tokio::test]
async fn the_cluster_says_what_it_is_and_how_it_is() {
    let world = World::new().await;
    let admin = world.admin().await;
    let info = world.anyone().call(&GetCluster {}).await.unwrap();
    assert_eq!((info.name.as_str(), info.ca_pins), ("gate.example", world.authority.ca_pins()));
    assert_eq!(info.proxy_addrs, ["gate.example:3080"]);
    let terms = info.sign_in.unwrap();
    assert_eq!((terms.second_factor, terms.default_ttl.to_string()), (SecondFactor::Otp, "12h0m0s".into()));
    assert_eq!(terms.passkey_name.as_deref(), Some("gate.example"));

    let proxy = world.proxy().await;
    proxy
        .client
        .call(&ReportProxy { public_addrs: vec!["gate.public:443".into()], tunnel_addrs: vec![] })
        .await
        .unwrap();
    world.node("web-1", "dev").await;
    eventually("every job has run", async || admin.call(&GetStatus {}).await.unwrap().jobs.len() >= 5).await;
    let status = admin.call(&GetStatus {}).await.unwrap();

    assert_eq!(status.cluster.proxy_addrs, ["gate.public:443"]);
    assert_eq!((status.counts["roles"], status.counts["nodes_offline"]), (presets() as u64, 1));
    assert!(status.jobs.iter().all(|j| j.last_error.is_none()), "{:?}", status.jobs);
    assert_eq!(admin.call(&GetClusterConfig {}).await.unwrap(), world.settings.cluster);
}

#[tokio::test]
async fn the_cluster_says_how_people_sign_in_as_it_is_configured() {
    let world = World::with(|settings| {
        settings.second_factor = SecondFactor::Off;
        settings.times.user_cert = Duration::from_secs(1_800);
        // No name, no passkeys.
        settings.proxy_addrs = vec!["192.0.2.1:443".into(), "[2001:db8::1]:443".into()];
    })
    .await;

    let terms = world.anyone().call(&GetCluster {}).await.unwrap().sign_in.unwrap();

    assert_eq!((terms.second_factor, terms.default_ttl.to_string()), (SecondFactor::Off, "30m0s".into()));
    assert_eq!(terms.passkey_name, None);
}

#[tokio::test]
async fn a_forgotten_node_is_gone_until_it_joins_again() {
    let world = World::new().await;
    let admin = world.admin().await;
    let node = world.node("web-1", "dev").await;

    admin.call(&DeleteNode { id: node.id.clone() }).await.unwrap();

    assert!(admin.call(&ListNodes::default()).await.unwrap().items.is_empty());
    assert_eq!(fault(node.client.call(&world.report(&node, "web-1", "dev")).await), Fault::NotFound);
    assert_eq!(fault(node.client.stream(&WatchPolicy {}).await), Fault::NotFound);
    // What it has recorded may still come.
    let upload = GetUpload { id: SessionId::from_random([1; 16]) };
    assert!(node.client.call(&upload).await.is_ok());
    assert_eq!(fault(admin.call(&DeleteNode { id: node.id.clone() }).await), Fault::NotFound);
    assert!(world.has_event("node.delete", "MGN001I").await);
}
