//! The `where` of rules: decided about each resource and each row, by every verb that touches one.

use std::collections::BTreeMap;

use model::api::access::{EndSession, ListLive, TrackSession};
use model::api::locks::{CreateLock, DeleteLock, ListLocks};
use model::api::nodes::{DeleteNode, ListNodes};
use model::api::roles::{DeleteRole, GetRole, ListRoles, PutRole};
use model::api::tokens::{CreateToken, DeleteToken, ListTokens};
use model::api::users::{DeleteUser, GetUser, ListUsers, ResetUser, UpdateUser};
use model::api::{Asker, Fault};
use model::resource::{Kind, LockTarget, Role};
use model::{SessionId, SystemRole};
use serde_json::{Value, json};
use testkit::client::Client;

use crate::coverage::raw;
use crate::tape;
use crate::world::{Host, Keys, NODE_TOKEN, World, fault, refused};

fn role(name: &str, spec: &Value) -> PutRole {
    labelled(name, "none", spec)
}

fn labelled(name: &str, team: &str, spec: &Value) -> PutRole {
    let role: Role = serde_json::from_value(json!({
        "kind": "role", "version": "v7", "metadata": {"name": name, "labels": {"team": team}}, "spec": spec,
    }))
    .unwrap();
    PutRole { name: name.parse().unwrap(), role, replace: true }
}

fn rule(kind: &str, verbs: &[&str], condition: &str) -> Value {
    json!({"resources": [kind], "verbs": verbs, "where": condition})
}

/// Ann, whose one role is this.
async fn ann(world: &World, spec: &Value) -> Client {
    world.admin().await.call(&role("some", spec)).await.unwrap();
    world.user("ann", "some").await
}

async fn live(world: &World, node: &Host, user: &str) -> SessionId {
    let session = tape::live(world, node, SessionId::from_random(world.random.bytes()), user);
    let id = session.id.clone();
    node.client.call(&TrackSession { id: id.clone(), session: Some(session) }).await.unwrap();
    id
}

#[tokio::test]
async fn who_may_see_and_end_their_own_sessions_has_no_say_over_others() {
    let world = World::new().await;
    let own = "contains(session_tracker.participants, user.metadata.name)";
    let ann =
        ann(&world, &json!({"allow": {"rules": [rule("session_tracker", &["list", "delete"], own)]}})).await;
    let node = world.node("web-1", "dev").await;
    let (mine, theirs) = (live(&world, &node, "ann").await, live(&world, &node, "bob").await);
    let end = |id: &SessionId| EndSession { id: id.clone(), reason: String::new() };

    let listed = ann.call(&ListLive {}).await.unwrap().items;

    assert_eq!(listed.iter().map(|live| &live.id).collect::<Vec<_>>(), [&mine]);
    assert_eq!(fault(ann.call(&end(&theirs)).await), Fault::NotFound);
    assert!(ann.call(&end(&mine)).await.is_ok());
}

#[tokio::test]
async fn a_denied_label_keeps_its_node_whatever_else_is_allowed() {
    let world = World::new().await;
    let admin = world.admin().await;
    let ann = ann(
        &world,
        &json!({
            "allow": {"rules": [{"resources": ["node"], "verbs": ["*"]}]},
            "deny": {"rules": [rule("node", &["*"], "equals(resource.metadata.labels['env'], 'prod')")]},
        }),
    )
    .await;
    let (dev, prod) = (world.node("dev-1", "dev").await, world.node("prod-1", "prod").await);
    let keys = Keys::new(&world.random);
    let silent = world.join_request("prod-2", NODE_TOKEN, SystemRole::Node, &keys);
    world.anyone().call(&silent).await.unwrap();

    let listed = ann.call(&ListNodes::default()).await.unwrap().items;

    assert_eq!(listed.iter().map(|view| &view.node.id).collect::<Vec<_>>(), [&dev.id]);
    assert_eq!(fault(ann.call(&DeleteNode { id: prod.id.clone() }).await), Fault::NotFound);
    assert_eq!(fault(ann.call(&DeleteNode { id: silent.id }).await), Fault::NotFound, "not known, so denied");
    assert!(ann.call(&DeleteNode { id: dev.id }).await.is_ok());
    assert_eq!(admin.call(&ListNodes::default()).await.unwrap().items[0].node.id, prod.id);
}

#[tokio::test]
async fn a_user_named_in_a_condition_is_the_only_one_it_grants() {
    let world = World::new().await;
    let admin = world.admin().await;
    let ann = ann(
        &world,
        &json!({"allow": {"rules": [rule("user", &["*"], "equals(resource.metadata.name, 'bob')")]}}),
    )
    .await;
    admin.call(&World::create_user("eve", "access")).await.unwrap();
    let update = |name: &str| UpdateUser {
        name: name.parse().unwrap(),
        roles: None,
        traits: Some([("logins".to_owned(), vec!["ubuntu".to_owned()])].into()),
    };
    let get = |name: &str| GetUser { name: name.parse().unwrap() };
    let reset = |name: &str| ResetUser { name: name.parse().unwrap(), ttl: None };
    let delete = |name: &str| DeleteUser { name: name.parse().unwrap() };

    for name in ["ann", "eve", "nobody"] {
        let create = World::create_user(name, "access");
        assert_eq!(fault(ann.call(&create).await), Fault::NotFound, "create {name}");
        assert_eq!(fault(ann.call(&get(name)).await), Fault::NotFound, "get {name}");
        assert_eq!(fault(ann.call(&update(name)).await), Fault::NotFound, "update {name}");
        assert_eq!(fault(ann.call(&reset(name)).await), Fault::NotFound, "reset {name}");
        assert_eq!(fault(ann.call(&delete(name)).await), Fault::NotFound, "delete {name}");
    }
    ann.call(&World::create_user("bob", "access")).await.unwrap();
    assert_eq!(ann.call(&get("bob")).await.unwrap().name.as_str(), "bob");
    assert_eq!(ann.call(&update("bob")).await.unwrap().traits["logins"], ["ubuntu"]);
    assert_eq!(ann.call(&ListUsers {}).await.unwrap().items.len(), 1);
    assert!(ann.call(&reset("bob")).await.is_ok());
    assert!(ann.call(&delete("bob")).await.is_ok());
    assert_eq!(admin.call(&ListUsers {}).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn a_role_is_changed_by_whom_both_what_it_is_and_what_it_becomes_is_granted_to() {
    let world = World::new().await;
    let admin = world.admin().await;
    let ann = ann(
        &world,
        &json!({"allow": {"rules": [rule("role", &["*"], "equals(resource.metadata.labels['team'], 'web')")]}}),
    )
    .await;
    let spec = json!({"allow": {"logins": ["root"]}});
    admin.call(&labelled("db", "db", &spec)).await.unwrap();

    assert_eq!(fault(ann.call(&labelled("mine", "db", &spec)).await), Fault::NotFound, "made for others");
    ann.call(&labelled("web", "web", &spec)).await.unwrap();
    assert!(ann.call(&labelled("web", "web", &spec)).await.is_ok());
    assert_eq!(fault(ann.call(&labelled("web", "db", &spec)).await), Fault::NotFound, "given away");
    assert_eq!(fault(ann.call(&labelled("db", "web", &spec)).await), Fault::NotFound, "taken");
    let listed = ann.call(&ListRoles {}).await.unwrap().items;
    assert_eq!(listed.iter().map(|role| role.metadata.name.as_str()).collect::<Vec<_>>(), ["web"]);
    for (name, granted) in [("db", false), ("access", false), ("web", true)] {
        assert_eq!(ann.call(&GetRole { name: name.parse().unwrap() }).await.is_ok(), granted, "{name}");
        assert_eq!(ann.call(&DeleteRole { name: name.parse().unwrap() }).await.is_ok(), granted, "{name}");
    }
}

#[tokio::test]
async fn tokens_and_locks_are_judged_one_by_one() {
    let world = World::new().await;
    let admin = world.admin().await;
    let web = "equals(resource.metadata.labels['team'], 'web')";
    let lock = CreateLock {
        target: LockTarget { login: Some("root".parse().unwrap()), ..LockTarget::default() },
        message: String::new(),
        ttl: None,
    };
    let (one, two) = (admin.call(&lock).await.unwrap(), admin.call(&lock).await.unwrap());
    let this_lock = format!("equals(resource.metadata.name, '{}')", one.id);
    let ann = ann(
        &world,
        &json!({"allow": {"rules": [rule("token", &["*"], web), rule("lock", &["*"], &this_lock)]}}),
    )
    .await;
    let token = |team: &str| CreateToken {
        roles: [SystemRole::Node].into(),
        ttl: None,
        value: None,
        labels: [("team".to_owned(), team.to_owned())].into(),
    };
    let theirs = admin.call(&token("db")).await.unwrap();

    assert_eq!(fault(ann.call(&token("db")).await), Fault::NotFound);
    let mine = ann.call(&token("web")).await.unwrap();
    let listed = ann.call(&ListTokens {}).await.unwrap().items;
    assert_eq!(listed.iter().map(|token| &token.id).collect::<Vec<_>>(), [&mine.id]);
    for id in [theirs.id, NODE_TOKEN.to_owned()] {
        assert_eq!(fault(ann.call(&DeleteToken { id }).await), Fault::NotFound);
    }
    assert!(ann.call(&DeleteToken { id: mine.id }).await.is_ok());

    assert_eq!(fault(ann.call(&lock).await), Fault::NotFound);
    assert_eq!(ann.call(&ListLocks {}).await.unwrap().items, std::slice::from_ref(&one));
    assert_eq!(fault(ann.call(&DeleteLock { id: two.id }).await), Fault::NotFound);
    assert!(ann.call(&DeleteLock { id: one.id }).await.is_ok());
}

#[tokio::test]
async fn a_condition_that_can_never_be_decided_is_refused() {
    let world = World::new().await;
    let admin = world.admin().await;
    let bad = rule("event", &["list"], "equals(resource.metadata.name, 'x')");

    let (fault, message) = refused(admin.call(&role("bad", &json!({"allow": {"rules": [bad]}}))).await);

    assert_eq!(fault, Fault::BadRequest);
    assert!(message.contains("`event` does not have"), "{message}");
}

/// What each kind has one of, by the paths of its verbs, and a body for those that take one.
async fn one_of_each(world: &World) -> (BTreeMap<&'static str, String>, BTreeMap<&'static str, Value>) {
    let admin = world.admin().await;
    let node = world.node("web-1", "prod").await;
    let live = live(world, &node, "bob").await;
    let target = LockTarget { login: Some("nobody".parse().unwrap()), ..LockTarget::default() };
    let lock = CreateLock { target, message: String::new(), ttl: None };
    let lock = admin.call(&lock).await.unwrap();
    let labels = BTreeMap::new();
    let token = CreateToken { roles: [SystemRole::Node].into(), ttl: None, value: None, labels };
    let token = admin.call(&token).await.unwrap();
    let spec = json!({"allow": {"logins": ["root"]}});
    let some = role("somebody", &spec);
    admin.call(&some).await.unwrap();
    admin.call(&World::create_user("somebody", "access")).await.unwrap();
    let ids = [
        ("/v1/nodes/", node.id.to_string()),
        ("/v1/live/", live.to_string()),
        ("/v1/recordings/", live.to_string()),
        ("/v1/locks/", lock.id.to_string()),
        ("/v1/tokens/", token.id),
        ("/v1/users/", "somebody".to_owned()),
        ("/v1/roles/", "somebody".to_owned()),
    ];
    let bodies = [
        ("CreateUser", json!({"name": "new", "roles": ["access"]})),
        ("CreateToken", json!({"roles": ["node"]})),
        ("CreateLock", json!({"target": {"user": "somebody"}, "message": ""})),
        ("PutRole", json!({"role": some.role, "replace": true})),
        ("EndSession", json!({"reason": ""})),
    ];
    (ids.into(), bodies.into())
}

#[tokio::test]
async fn every_verb_about_one_resource_asks_about_that_one() {
    let world = World::new().await;
    let kinds =
        [Kind::User, Kind::Role, Kind::Node, Kind::Token, Kind::Lock, Kind::Session, Kind::SessionTracker];
    let words: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    let never = json!({"resources": words, "verbs": ["*"], "where": "equals(resource.metadata.name, '@')"});
    world.admin().await.call(&role("some", &json!({"allow": {"rules": [never]}}))).await.unwrap();
    let ann = world.person("ann", "some").await;
    let keys = Keys::new(&world.random);
    let certs = world.anyone().call(&world.sign_in_request(&ann, &keys)).await.unwrap();
    let (ids, bodies) = one_of_each(&world).await;

    let mut wrong = BTreeMap::new();
    for endpoint in model::api::endpoints() {
        let Asker::Granted(kind, _) = endpoint.asker else { continue };
        // Rows of a list are filtered; what is asked about one or makes one is named or brings it along.
        let lists = endpoint.method.as_str() == "GET" && !endpoint.path.contains('{');
        if !kinds.contains(&kind) || lists {
            continue;
        }
        let id = ids.iter().find(|(prefix, _)| endpoint.path.starts_with(*prefix)).map(|(_, id)| id.as_str());
        let id = id.unwrap_or_default();
        let query = if endpoint.name == "GetTranscript" { "?from=0" } else { "" };
        let path = endpoint.path.replace("{id}", id).replace("{name}", id).replace("{n}", "0") + query;
        let body = bodies.get(endpoint.name).cloned().unwrap_or(json!({})).to_string();
        let material = world.trusting().showing(keys.certified(&certs.tls_cert_pem));
        let (status, text) = raw(&world, material, endpoint.method.as_str(), &path, &body).await;
        if status != 404 {
            wrong.insert(endpoint.name, (status, text));
        }
    }

    assert!(wrong.is_empty(), "{wrong:?}");
    world.stop().await;
}
