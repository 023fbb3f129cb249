//! Recordings and sessions nobody goes on with: what is given up, when, and what is said of it.

use std::time::Duration;

use audit::event::kinds::{SessionConnect, SessionEnd};
use audit::event::{Server, SessionRef, Stamp, Who};
use model::SessionId;
use model::api::access::TrackSession;
use model::api::audit::EmitEvents;
use model::api::recordings::RecordingState;

use crate::held::{Held, Wait};
use crate::tape::{Tape, announced, put, state, verify};
use crate::world::{World, eventually};

#[tokio::test]
async fn an_abandoned_recording_is_completed_and_says_so() {
    let world = World::with(|s| {
        s.times.abandoned = Duration::from_secs(300);
        s.times.live_session = Duration::from_secs(30);
    })
    .await;
    let node = world.node("web-1", "dev").await;
    let admin = world.admin().await;
    let (mut tape, mut other) = (Tape::new(&world, &node, "ann"), Tape::new(&world, &node, "bob"));
    let id = tape.id();
    put(&node, &id, &tape.seal("one", false)).await.unwrap();
    put(&node, &other.id(), &other.seal("one", false)).await.unwrap();
    world.clock.advance(Duration::from_secs(300));

    // Time goes in small steps: over a leap of it the authority takes no silence for absence.
    eventually("the janitor gives up the one that nobody announces", async || {
        node.client.call(&announced(&world, &node, &id)).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
        state(&admin, &other.id()).await == RecordingState::Abandoned
    })
    .await;
    assert_eq!(state(&admin, &id).await, RecordingState::Live, "a session that is announced lives");
    eventually("the janitor gives it up", async || {
        world.clock.advance(Duration::from_secs(1));
        state(&admin, &id).await == RecordingState::Abandoned
    })
    .await;

    assert_eq!(verify(&world, &admin, &id).await.state, RecordingState::Abandoned);
    for (event, code) in
        [("session.end", "T2004I"), ("session.recording.abandoned", "MGR002W"), ("session.upload", "T2005I")]
    {
        eventually(event, || world.has_event(event, code)).await;
    }

    // The node was only away: nothing it sealed is lost.
    put(&node, &id, &tape.seal("two", true)).await.unwrap();
    let report = verify(&world, &admin, &id).await;
    assert_eq!((report.segments, report.state), (2, RecordingState::Complete));
    world.stop().await;
}

fn soon(settings: &mut auth::Settings) {
    settings.times.abandoned = Duration::from_secs(100);
    settings.times.live_session = Duration::from_secs(30);
}

/// Names of a session's events that say that it is over, oldest first.
async fn endings(world: &World, id: &SessionId) -> Vec<String> {
    let told = ["session.end", "session.recording.abandoned", "session.upload"];
    let of =
        |e: &serde_json::Map<String, serde_json::Value>| e.get("sid").is_some_and(|sid| sid == id.as_str());
    let names = world.events().await.into_iter().filter(of).map(|e| e["event"].as_str().unwrap().to_owned());
    names.filter(|name| told.contains(&name.as_str())).collect()
}

/// Lets time go on until the janitor's transaction about an open recording is held.
async fn judged(world: &World, held: &Held) {
    eventually("the janitor gives it up", async || {
        world.clock.advance(Duration::from_secs(1));
        tokio::time::timeout(Duration::from_millis(1), held.reached()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_segment_that_comes_as_its_recording_is_given_up_leaves_nothing_said_of_that() {
    let (world, held) = World::held_with(soon).await;
    let node = world.node("web-1", "dev").await;
    let mut tape = Tape::new(&world, &node, "ann");
    let id = tape.id();
    put(&node, &id, &tape.seal("one", false)).await.unwrap();
    held.hold(Wait::Before, "open");
    judged(&world, &held).await;

    put(&node, &id, &tape.seal("two", false)).await.unwrap();
    held.let_go();
    world.clock.advance(Duration::from_secs(1));
    eventually("the janitor has gone on", async || {
        let job = world.health.jobs().remove("recording janitor");
        job.is_some_and(|job| job.last_run == Some(world.clock.now()) && job.last_error.is_none())
    })
    .await;

    assert_eq!(state(&world.admin().await, &id).await, RecordingState::Live);
    assert_eq!(endings(&world, &id).await, [""; 0]);
    world.stop().await;
}

#[tokio::test]
async fn what_was_given_up_before_a_crash_is_told_after_it_and_once() {
    let (world, held) = World::held_with(soon).await;
    let node = world.node("web-1", "dev").await;
    let mut tape = Tape::new(&world, &node, "ann");
    let id = tape.id();
    put(&node, &id, &tape.seal("one", false)).await.unwrap();
    held.hold(Wait::After, "open");
    judged(&world, &held).await;
    assert_eq!(endings(&world, &id).await, [""; 0]);

    let world = world.restart().await;

    let all = ["session.end", "session.recording.abandoned", "session.upload"];
    eventually("it is told", async || endings(&world, &id).await == all).await;
    eventually("it is told no more", async || world.store.all("untold").await.unwrap().is_empty()).await;
    assert_eq!(endings(&world, &id).await, all);
    verify(&world, &world.admin().await, &id).await;
    world.stop().await;
}

#[tokio::test]
async fn a_session_of_which_nothing_came_ends_when_its_node_stays_away() {
    let world = World::with(soon).await;
    let node = world.node("web-1", "dev").await;
    let ids: [SessionId; 5] = std::array::from_fn(|_| SessionId::from_random(world.random.bytes()));
    let [gone, told, feigned, over, lives] = &ids;
    for id in &ids {
        node.client.call(&announced(&world, &node, id)).await.unwrap();
    }
    let stamp = |id: &SessionId| Stamp {
        time: world.clock.now(),
        uid: audit::event::once_for(id, "session.end"),
        cluster: &world.settings.cluster_name,
        index: 3,
    };
    let server = Server { server_id: node.id.to_string(), ..Server::default() };
    let own = SessionEnd {
        who: Who::user("ann"),
        server: server.clone(),
        session: SessionRef { sid: told.to_string(), ..SessionRef::default() },
        participants: vec!["ann".into()],
        ..SessionEnd::default()
    };
    // Under the id that the end would have.
    let other = SessionConnect { who: Who::user("ann"), server, ..SessionConnect::default() };
    let (own, other) = (audit::event::seal(&own, &stamp(told)), audit::event::seal(&other, &stamp(feigned)));
    node.client.call(&EmitEvents { events: vec![own, other] }).await.unwrap();
    node.client.call(&TrackSession { id: over.clone(), session: None }).await.unwrap();

    eventually("the janitor has looked after all of them", async || {
        node.client.call(&announced(&world, &node, lives)).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
        world.store.all("begun").await.unwrap().len() == 1
    })
    .await;

    for id in [gone, feigned] {
        eventually("it is told", async || endings(&world, id).await == ["session.end"]).await;
    }
    assert_eq!(endings(&world, told).await, ["session.end"], "its node's own word is enough");
    assert_eq!(endings(&world, over).await, [""; 0], "its node has that on its disk");
    assert_eq!(endings(&world, lives).await, [""; 0]);
    let end =
        world.events().await.into_iter().find(|e| e["event"] == "session.end" && e["sid"] == gone.as_str());
    let end = end.unwrap();
    assert_eq!(
        (&end["user"], &end["login"], &end["server_hostname"]),
        (&"ann".into(), &"root".into(), &"web-1".into())
    );
    assert_eq!(end["reason"], "abandoned: the node stayed away");
    world.stop().await;
}

#[tokio::test]
async fn a_quiet_session_outlives_an_authority_that_was_away() {
    let lease = |s: &mut auth::Settings| s.times.live_session = Duration::from_secs(30);
    let world = World::begun(Duration::from_secs(3_600), lease).await;
    let node = world.node("web-1", "dev").await;
    let (mut quiet, mut gone) = (Tape::new(&world, &node, "ann"), Tape::new(&world, &node, "bob"));
    for tape in [&mut quiet, &mut gone] {
        put(&node, &tape.id(), &tape.seal("one", false)).await.unwrap();
        node.client.call(&announced(&world, &node, &tape.id())).await.unwrap();
    }
    world.stop().await;
    world.clock.advance(world.settings.times.abandoned);

    let world = world.restart().await;

    let admin = world.admin().await;
    let material = world.trusting().showing(node.keys.certified(&node.certs.tls_cert_pem));
    let back = world.client(material);
    eventually("the janitor has looked", async || {
        back.call(&announced(&world, &node, &quiet.id())).await.unwrap();
        world.clock.advance(Duration::from_secs(1));
        state(&admin, &gone.id()).await == RecordingState::Abandoned
    })
    .await;
    assert_eq!(state(&admin, &quiet.id()).await, RecordingState::Live);
    let ended = |e: &serde_json::Map<_, _>| e["event"] == "session.end" && e["sid"] == quiet.id().to_string();
    assert!(!world.events().await.iter().any(ended));
    world.stop().await;
}
