//! No session without its start on record; limits on how many.

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::resource::{RecordingMode, Strictness};

use super::world::*;
use crate::*;

#[tokio::test(start_paused = true)]
async fn the_start_is_on_record_before_open_returns() {
    let world = World::new().await;

    let session = world.open(strict()).await;

    assert_eq!(world.events(session.id()), ["session.start"]);
    let start = world.event("session.start").unwrap().0;
    assert_eq!(start["code"], "T2000I");
    assert_eq!(
        (&start["user"], &start["login"], &start["size"]),
        (&"ann".into(), &"root".into(), &"80:24".into())
    );
    assert_eq!((&start["server_hostname"], &start["policy_revision"]), (&"web-1".into(), &7.into()));
    drop(session);
    world.end().await;
}

/// Who comes in, before anything of theirs is a session.
fn connect() -> event::kinds::SessionConnect {
    event::kinds::SessionConnect {
        who: event::Who::user("ann"),
        server: server().server(),
        connection: about().connection(),
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_in_is_told_with_what_follows_and_keeps_it_waiting_for_nothing() {
    let world = World::new().await;
    world.sessions.note_ahead(&connect()).await;
    tokio::time::advance(Duration::from_millis(100)).await;

    let session = world.open(strict()).await;

    let calls = world.authority.kept.lock().unwrap().calls.clone();
    assert_eq!(calls, [["session.connect", "session.start"]], "one call, in order");
    drop(session);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_in_and_opens_nothing_is_told_after_a_moment() {
    let world = World::new().await;

    world.sessions.note_ahead(&connect()).await;

    until("it is told", || world.event("session.connect").is_some()).await;
    assert_eq!(world.event("session.connect").unwrap().0["code"], "T2010I");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn who_came_in_is_told_by_a_service_that_stops() {
    let world = World::new().await;
    let authority = world.authority.clone();
    world.sessions.note_ahead(&connect()).await;

    world.end().await;

    assert_eq!(authority.kept.lock().unwrap().calls, [["session.connect"]]);
}

#[tokio::test(start_paused = true)]
async fn a_strict_session_is_refused_while_the_authority_is_away_and_leaves_nothing() {
    let world = World::new().await;
    world.set_events(Manner::Down);

    let refused = world.sessions.open(strict(), about(), &world.scope).await;

    assert!(matches!(refused, Err(Error::NotOnRecord(_))), "{refused:?}");
    assert!(world.sessions.live().is_empty());
    until("its place is gone", || RealDisk.list(&world.spool).unwrap() == ["events"]).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_best_effort_session_opens_meanwhile_and_its_events_arrive_later_in_order() {
    let world = World::new().await;
    world.set_events(Manner::Down);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let session = world.open(best_effort()).await;
        ids.push(session.id().clone());
        session.finish(Outcome::exit(0)).settled().await;
    }
    assert!(world.authority.kept.lock().unwrap().events.is_empty());
    until("all are on disk", || world.waiting() == 12).await;

    world.set_events(Manner::Good);

    until("all events arrive", || world.events(&ids[2]).len() == 4).await;
    for id in &ids {
        assert_eq!(world.events(id), ["session.start", "session.leave", "session.data", "session.end"]);
    }
    let kept = world.authority.kept.lock().unwrap().events.clone();
    let starts: Vec<_> =
        kept.iter().filter(|e| e.0["event"] == "session.start").map(|e| &e.0["sid"]).collect();
    assert_eq!(starts, ids.iter().map(|id| id.as_str()).collect::<Vec<_>>());
    until("the disk is clean", || RealDisk.list(&world.spool.join("events")).unwrap().is_empty()).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn refused_sign_ins_leave_room_for_sessions_while_the_authority_is_away() {
    let world = World::new().await;
    world.set_events(Manner::Down);
    let refusal = event::kinds::AuthFailure {
        who: event::Who::user("unknown"),
        error: "no".into(),
        ..event::kinds::AuthFailure::default()
    };
    let mut kept = 0;
    for _ in 0..1_100 {
        kept += usize::from(world.sessions.emit(&refusal).await.is_ok());
    }

    assert_eq!(kept, 1_000);
    let session = world.open(best_effort()).await;
    let id = session.id().clone();
    world.set_events(Manner::Good);
    until("the start arrives", || world.events(&id).contains(&"session.start".to_owned())).await;
    until("there is room again", || RealDisk.list(&world.spool.join("events")).unwrap().is_empty()).await;
    world.sessions.emit(&refusal).await.unwrap();
    drop(session);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn events_kept_on_disk_survive_a_crash() {
    let world = World::new().await;
    world.set_events(Manner::Down);
    let session = world.open(best_effort()).await;
    let id = session.id().clone();

    let again = world.after_kill().await;
    world.set_events(Manner::Good);

    until("the start arrives", || again.events(&id).contains(&"session.start".to_owned())).await;
    assert_eq!(again.events(&id)[0], "session.start");
    drop(session);
    again.end().await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_is_set_aside_and_blocks_nobody() {
    let world = World::new().await;
    *world.authority.refuses_event.lock().unwrap() = Some("session.leave");
    let session = world.open(strict()).await;
    let id = session.id().clone();

    session.finish(Outcome::exit(0)).settled().await;

    until("the others arrive", || world.events(&id).len() == 3).await;
    assert_eq!(world.events(&id), ["session.start", "session.data", "session.end"]);
    let aside = RealDisk.list(&world.spool.join("events")).unwrap();
    assert!(aside.len() == 1 && aside[0].ends_with(".refused"), "{aside:?}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn of_events_kept_on_disk_only_the_refused_are_set_aside() {
    let world = World::new().await;
    world.set_events(Manner::Down);
    let session = world.open(best_effort()).await;
    let id = session.id().clone();
    session.finish(Outcome::exit(0)).settled().await;
    until("all are on disk", || world.waiting() == 4).await;

    *world.authority.refuses_event.lock().unwrap() = Some("session.leave");
    world.set_events(Manner::Good);

    until("the others arrive", || world.events(&id).len() == 3).await;
    assert_eq!(world.events(&id), ["session.start", "session.data", "session.end"]);
    until("one is aside", || {
        let names = RealDisk.list(&world.spool.join("events")).unwrap();
        names.len() == 1 && names[0].ends_with(".refused")
    })
    .await;
    let aside = RealDisk.list(&world.spool.join("events")).unwrap();
    let text = std::fs::read_to_string(world.spool.join("events").join(&aside[0])).unwrap();
    assert!(text.contains("session.leave") && !text.contains("session.end"), "{text}");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_life_set_aside_is_not_written_over() {
    let world = World::new().await;
    *world.authority.refuses_event.lock().unwrap() = Some("session.leave");
    world.open(strict()).await.finish(Outcome::exit(0)).settled().await;
    let aside = |world: &World| RealDisk.list(&world.spool.join("events")).unwrap();
    until("it is set aside", || aside(&world).len() == 1).await;

    let again = world.after_kill().await;
    again.open(strict()).await.finish(Outcome::exit(0)).settled().await;

    until("the other is set aside too", || aside(&again).len() == 2).await;
    again.end().await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_opens_while_the_service_stops_is_told_so() {
    let world = World::new().await;
    world.authority.holds_events.send_replace(true);
    let opening = world.sessions.open(strict(), about(), &world.scope);
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.scope.cancel();
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.authority.holds_events.send_replace(false);
    };

    let (opened, ()) = tokio::join!(opening, stopping);

    let session = opened.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(1), session.ended()).await;
    assert_eq!(told, Ok(EndReason::Stopping));
    drop(session);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_session_whose_place_cannot_be_written_leaves_none() {
    let world = World::new().await;
    world.disk.hollow.store(true, Ordering::SeqCst);

    let refused = world.sessions.open(strict(), about(), &world.scope).await;

    assert!(matches!(refused, Err(Error::Spool(_))), "{refused:?}");
    until("its place is gone", || RealDisk.list(&world.spool).unwrap() == ["events"]).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_connection_has_only_so_many_sessions() {
    let world = World::new().await;
    let seat = Seat::new(Some(2));
    let seated = || Terms { seat: Some(seat.clone()), ..strict() };
    let first = world.open(seated()).await;
    let _second = world.open(seated()).await;

    let third = world.sessions.open(seated(), about(), &world.scope).await;

    assert!(matches!(third, Err(Error::Limit(_))));
    until("it is on record", || world.event("session.rejected").is_some()).await;
    assert_eq!(world.event("session.rejected").unwrap().0["max"], 2);
    first.finish(Outcome::exit(0)).settled().await;
    drop(world.open(seated()).await);
    drop(_second);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_recorded_still_has_its_events() {
    let world = World::new().await;
    let session = world.open(terms(RecordingMode::Off, Strictness::Strict)).await;
    let id = session.id().clone();
    session.tap().output(b"secret").await.unwrap();

    session.finish(Outcome::exit(0)).settled().await;

    until("it ends", || world.events(&id).len() == 4).await;
    assert_eq!(world.event("session.data").unwrap().0["tx"], 6);
    until("nothing stays here", || RealDisk.list(&world.spool).unwrap() == ["events"]).await;
    assert_eq!(world.segments(&id), 0);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_authority_hears_which_sessions_live() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    let told = |alive: bool| {
        let kept = world.authority.kept.lock().unwrap();
        kept.tracked.iter().filter(|t| t.id == id && t.session.is_some() == alive).count()
    };

    until("it is announced again and again", || told(true) >= 3).await;
    session.finish(Outcome::exit(0)).settled().await;
    until("its end is announced", || told(false) == 1).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_is_not_called_alive_after_that() {
    let world = World::new().await;
    world.authority.slow_to_hear.store(true, Ordering::SeqCst);
    // While the first is being told, all of the second gathers.
    let first = world.open(strict()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = world.open(strict()).await;
    let id = second.id().clone();
    second.finish(Outcome::exit(0)).settled().await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let last = world.authority.kept.lock().unwrap().tracked.iter().rfind(|word| word.id == id).cloned();

    assert!(last.is_some_and(|word| word.session.is_none()));
    drop(first);
    world.end().await;
}
