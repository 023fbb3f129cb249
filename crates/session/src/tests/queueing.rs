//! Events that wait on disk: in few files and few calls, in order, in nobody's way, and never given up lightly.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::world::*;
use crate::*;

const FIRST: &str = "00000000000000000000.json";

/// Waits until the authority was asked once more.
async fn asked(world: &World) {
    let before = world.authority.calls.load(Ordering::SeqCst);
    until("the authority is asked", || world.authority.calls.load(Ordering::SeqCst) > before).await;
}

fn one_event_a_file(dir: &Path) {
    let mut events: Vec<serde_json::Value> = Vec::new();
    for name in RealDisk.list(dir).unwrap() {
        let bytes = std::fs::read(dir.join(&name)).unwrap();
        events.extend(serde_json::from_slice::<Vec<_>>(&bytes).unwrap());
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    for (n, event) in events.iter().enumerate() {
        std::fs::write(dir.join(format!("{n:020}.json")), serde_json::to_vec(&[event]).unwrap()).unwrap();
    }
}

/// Events wait on disk, and a first part of them is on its way to an authority that does not answer yet.
async fn draining(count: usize) -> World {
    let world = World::new().await;
    world.set_events(Manner::Down);
    for n in 0..count {
        world.tell(n).await.unwrap();
    }
    world.authority.holds_events.send_replace(true);
    world.set_events(Manner::Good);
    asked(&world).await;
    world
}

#[tokio::test(start_paused = true)]
async fn thousands_of_single_events_wait_in_few_files_and_arrive_in_order_in_few_calls() {
    let world = World::new().await;
    world.set_events(Manner::Down);
    for n in 0..3_000 {
        world.tell(n).await.unwrap();
    }
    assert!(world.queued().len() < 100, "{} files", world.queued().len());
    let before = world.authority.calls.load(Ordering::SeqCst);

    world.set_events(Manner::Good);

    until("all arrive", || world.told().len() == 3_000).await;
    assert!(world.told().is_sorted());
    let calls = world.authority.calls.load(Ordering::SeqCst) - before;
    assert!(calls < 100, "{calls} calls");
    until("the disk is clean", || world.queued().is_empty()).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn files_of_one_event_each_are_sent_many_in_a_call() {
    let world = World::new().await;
    world.set_events(Manner::Down);
    for n in 0..500 {
        world.tell(n).await.unwrap();
    }
    let before = world.authority.calls.load(Ordering::SeqCst);
    let again = world.after_kill_with(|spool, _| one_event_a_file(&spool.join("events"))).await;

    world.set_events(Manner::Good);

    until("all arrive", || again.told().len() == 500).await;
    assert!(again.told().is_sorted());
    let calls = again.authority.calls.load(Ordering::SeqCst) - before;
    assert!(calls < 50, "{calls} calls");
    until("the disk is clean", || again.queued().is_empty()).await;
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn events_are_taken_while_earlier_ones_are_on_their_way_and_stay_behind_them() {
    let world = draining(600).await;

    let opened = async {
        world.tell(600).await.unwrap();
        world.open(best_effort()).await
    };
    let session = tokio::time::timeout(Duration::from_secs(1), opened).await.unwrap();

    assert!(world.told().is_empty());
    world.authority.holds_events.send_replace(false);
    until("all arrive", || world.events(session.id()) == ["session.start"]).await;
    assert_eq!(world.told(), (0..=600).collect::<Vec<_>>());
    drop(session);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_session_has_its_turn_behind_what_waited_and_before_what_came_later() {
    let world = draining(300).await;
    let session = {
        let opening = world.open(strict());
        let after = async {
            // The session is in line.
            tokio::time::sleep(Duration::from_millis(100)).await;
            world.tell(300).await.unwrap();
            world.authority.holds_events.send_replace(false);
        };
        tokio::join!(opening, after).0
    };

    until("all arrive", || world.told().len() == 301).await;
    let kept = world.authority.kept.lock().unwrap().events.clone();
    let names: Vec<_> = kept.iter().map(|e| e.0["event"].as_str().unwrap()).collect();
    assert_eq!(names.iter().position(|name| *name == "session.start"), Some(300));
    assert!(world.told().is_sorted());
    drop(session);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_session_whose_turn_does_not_come_is_refused_and_leaves_nothing() {
    let world = draining(1_500).await;
    *world.authority.takes.lock().unwrap() = Duration::from_secs(4);
    world.authority.holds_events.send_replace(false);

    let refused = world.sessions.open(strict(), about(), &world.scope).await;

    assert!(matches!(refused, Err(Error::NotOnRecord(_))), "{refused:?}");
    assert!(world.told().len() < 1_500);
    until("all arrive", || world.told().len() == 1_500).await;
    world.tell(1_500).await.unwrap();
    assert!(world.event("session.start").is_none());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_session_is_refused_when_the_authority_goes_while_it_waits() {
    let world = draining(300).await;
    let refused = {
        let opening = world.sessions.open(strict(), about(), &world.scope);
        let away = async {
            world.tell(300).await.unwrap();
            world.set_events(Manner::Down);
            world.authority.holds_events.send_replace(false);
        };
        tokio::join!(opening, away).0
    };

    assert_eq!(refused.err(), Some(Error::NotOnRecord("the authority is down".into())));
    world.set_events(Manner::Good);
    until("the others arrive", || world.told().len() == 301).await;
    assert!(world.event("session.start").is_none());
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_read_just_now_is_sent_later_and_keeps_the_order() {
    let world = World::new().await;
    world.set_events(Manner::Down);
    world.tell(0).await.unwrap();
    asked(&world).await;
    *world.disk.unreadable.lock().unwrap() = Some(FIRST);
    world.set_events(Manner::Good);
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.tell(1).await.unwrap();
    let strict = world.sessions.open(strict(), about(), &world.scope).await;
    assert!(strict.err().unwrap().to_string().contains("cannot be read from this host's disk"));
    assert_eq!(world.queued()[0], FIRST);
    assert!(world.told().is_empty());

    *world.disk.unreadable.lock().unwrap() = None;

    until("both arrive", || world.told() == [0, 1]).await;
    until("the disk is clean", || world.queued().is_empty()).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_stays_unreadable_stays_on_disk_and_lets_the_others_pass_in_the_end() {
    let world = World::new().await;
    world.set_events(Manner::Down);
    world.tell(0).await.unwrap();
    asked(&world).await;
    *world.disk.unreadable.lock().unwrap() = Some(FIRST);
    world.set_events(Manner::Good);
    world.tell(1).await.unwrap();

    until("what is behind it arrives", || world.told() == [1]).await;
    until("it alone stays", || world.queued() == [FIRST]).await;
    let again = world.after_kill().await;

    until("it is sent by the next life", || again.told() == [1, 0]).await;
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_holds_no_events_is_set_aside_and_blocks_nobody() {
    let world = World::new().await;
    world.set_events(Manner::Down);
    world.tell(0).await.unwrap();
    let again = world
        .after_kill_with(|spool, _| {
            for (n, bytes) in [(7, "{\"cut"), (8, "[]"), (9, "\0\0\0\0")] {
                std::fs::write(spool.join(format!("events/{n:020}.json")), bytes).unwrap();
            }
        })
        .await;

    world.set_events(Manner::Good);
    again.tell(1).await.unwrap();

    until("both arrive", || again.told() == [0, 1]).await;
    let aside = [7, 8, 9].map(|n| format!("{n:020}.refused"));
    until("the others are aside", || again.queued() == aside).await;
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn events_are_taken_up_to_a_bound_and_again_when_there_is_room() {
    let world = World::new().await;
    world.set_events(Manner::Down);
    world.tell(0).await.unwrap();
    let again = world
        .after_kill_with(|spool, _| {
            // As long as they may be, without a byte on the disk.
            for n in 1..=16 {
                let file = std::fs::File::create(spool.join(format!("events/{n:020}.json"))).unwrap();
                file.set_len(32 * 1024 * 1024).unwrap();
            }
        })
        .await;

    let refused = again.tell(1).await;

    let why = "too many audit events are waiting on disk";
    assert_eq!(refused, Err(Error::NotOnRecord(why.into())));
    world.set_events(Manner::Good);
    until("there is room again", || {
        again.told() == [0] && !again.queued().iter().any(|n| n.ends_with(".json"))
    })
    .await;
    again.tell(2).await.unwrap();
    again.end().await;
    drop(world);
}
