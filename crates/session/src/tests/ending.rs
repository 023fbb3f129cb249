//! Who and what ends a session, and what is left in order behind it.

use std::sync::Arc;
use std::time::Duration;

use audit::Sign;
use model::api::access::EndSession;
use model::identity::Subject;
use model::resource::{Lock, LockTarget, Role};
use model::{Identity, Labels, RequestId, Timestamp};
use policy::{Action, Ask, Rules, SshAction, Target};

use super::world::*;
use crate::*;

fn role() -> Role {
    serde_json::from_value(serde_json::json!({
        "kind": "role", "version": "v7", "metadata": {"name": "dev"},
        "spec": {"allow": {"logins": ["root"], "node_labels": {"*": "*"}}}
    }))
    .unwrap()
}

fn rules(roles: &[Role], locks: &[Lock]) -> Rules {
    Rules::new(1, roles, locks, model::resource::ClusterConfig::default())
}

fn permitted() -> Terms {
    let who = Identity {
        subject: Subject::User {
            name: "ann".parse().unwrap(),
            roles: ["dev".parse().unwrap()].into(),
            traits: Default::default(),
            logins: ["root".parse().unwrap()].into(),
        },
        cluster: "example".parse().unwrap(),
        expires_at: Timestamp::from_secs(1_003_600),
        login_ip: None,
        pin_ip: false,
        mfa_at: None,
        impersonator: None,
        disallow_reissue: false,
    };
    let target = Target { id: server().id, name: server().name, labels: Labels::new() };
    let login = "root".parse().unwrap();
    let action = Action::Ssh { target: &target, login: &login, what: SshAction::Shell };
    let ask = Ask { who: &who, action, from: None };
    let permit = policy::decide(&ask, &rules(&[role()], &[]), Timestamp::from_secs(1_000_000)).unwrap();
    Terms::of(permit, None)
}

fn show(world: &World, rules: Rules, end: Vec<EndSession>) {
    world.view.send_replace(Arc::new(View {
        rules,
        audit_key: Some(audit_key().public()),
        end,
        ..View::default()
    }));
}

fn lock() -> Lock {
    Lock {
        id: RequestId::from_random([8; 16]),
        target: LockTarget { user: Some("ann".parse().unwrap()), ..LockTarget::default() },
        message: "left the company".into(),
        expires: None,
        created_at: Timestamp::from_secs(1),
        created_by: "boss".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_and_a_busy_one_does_not() {
    let world = World::new().await;
    let limited = || Terms { idle_limit: Some(Duration::from_secs(60)), ..strict() };
    let (idle, busy) = (world.open(limited()).await, world.open(limited()).await);
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        busy.tap().input(b"x").await.unwrap();
    }

    assert_eq!(idle.ended().await, EndReason::Idle(Duration::from_secs(60)));
    busy.tap().check().unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(59), busy.ended()).await.is_err());
    assert_eq!(busy.ended().await.to_string(), "client exceeded idle timeout of 1m0s");
    drop((idle, busy));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_its_time_is_up() {
    let world = World::new().await;
    let ends_at = Some(Timestamp::from_secs(1_000_100));
    let session = world.open(Terms { ends_at, ..strict() }).await;
    assert!(tokio::time::timeout(Duration::from_secs(29), session.ended()).await.is_err());

    world.clock.advance(Duration::from_secs(100));

    assert_eq!(session.ended().await, EndReason::Expired);
    drop(session);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_ends_the_session_at_once_and_the_person_is_not_told_which() {
    let world = World::new().await;
    show(&world, rules(&[role()], &[]), Vec::new());
    let session = world.open(permitted()).await;
    let id = session.id().clone();
    show(&world, rules(&[role()], &[lock()]), Vec::new());

    let reason = session.ended().await;

    assert!(matches!(reason, EndReason::Locked(_)), "{reason:?}");
    assert_eq!(reason.public(), "access is no longer granted");
    session.finish(Outcome::ended(&reason)).settled().await;
    until("its end is on record", || world.event("session.end").is_some()).await;
    let end = world.event("session.end").unwrap().0;
    assert_eq!(end["sid"], id.as_str());
    assert!(end["reason"].as_str().unwrap().contains("lock"), "{end:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_role_taken_away_ends_the_session() {
    let world = World::new().await;
    show(&world, rules(&[role()], &[]), Vec::new());
    let session = world.open(permitted()).await;
    show(&world, rules(&[role()], &[]), Vec::new());
    tokio::time::sleep(Duration::from_secs(1)).await;
    session.tap().check().unwrap();

    show(&world, rules(&[], &[]), Vec::new());

    assert!(matches!(session.ended().await, EndReason::Policy(_)));
    drop(session);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_expires_leaves_the_session_unless_the_rules_say_otherwise() {
    let world = World::new().await;
    show(&world, rules(&[role()], &[]), Vec::new());
    let session = world.open(permitted()).await;
    world.clock.advance(Duration::from_secs(7_200));

    show(&world, rules(&[role()], &[]), Vec::new());
    tokio::time::sleep(Duration::from_secs(60)).await;
    session.tap().check().unwrap();

    show(&world, rules(&[role()], &[lock()]), Vec::new());
    assert!(matches!(session.ended().await, EndReason::Locked(_)));
    drop(session);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_admin_ends_one_session_and_no_other() {
    let world = World::new().await;
    let (one, other) = (world.open(strict()).await, world.open(strict()).await);

    show(&world, rules(&[], &[]), vec![EndSession { id: one.id().clone(), reason: "why not".into() }]);

    assert_eq!(one.ended().await, EndReason::Admin("why not".into()));
    other.tap().check().unwrap();
    drop((one, other));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_made_while_a_session_opened_still_ends_it() {
    let world = World::new().await;
    let late = permitted();
    show(&world, rules(&[role()], &[lock()]), Vec::new());

    let session = world.open(late).await;

    assert!(session.tap().check().is_err());
    drop(session);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_session_is_closed_as_lost() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    session.tap().output(b"half a li").await.unwrap();

    drop(session);

    until("it is whole", || world.recorded(&id).1).await;
    until("it has ended", || world.events(&id).len() == 4).await;
    assert_eq!(world.event("session.end").unwrap().0["reason"], "the connection was lost");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_the_service_ends_and_closes_every_session() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let session = world.open(strict()).await;
        session.tap().output(b"hello").await.unwrap();
        ids.push(session.id().clone());
        world.scope.spawn_graceful("pump", async move {
            let reason = session.ended().await;
            session.finish(Outcome::ended(&reason));
        });
    }
    let authority = world.authority.clone();

    world.end().await;

    let kept = authority.kept.lock().unwrap();
    for id in &ids {
        assert_eq!(kept.segments[id].len(), 1);
        let ends = kept.events.iter().filter(|e| e.0["event"] == "session.end" && e.0["sid"] == id.as_str());
        assert_eq!(ends.count(), 1);
    }
}
