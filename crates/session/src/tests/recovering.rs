//! A process killed at any moment: what is on disk is sealed, marked, uploaded, and its end told once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::resource::{RecordingMode, Strictness};

use super::world::*;
use crate::*;

#[tokio::test(start_paused = true)]
async fn what_was_in_the_journal_is_recovered_sealed_as_interrupted_and_uploaded() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    session.tap().output(b"typed before the crash").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let again = world.after_kill().await;

    until("it is uploaded", || again.recorded(&id).1).await;
    assert_eq!(again.recorded(&id).0, "typed before the crash[interrupted]");
    until("its end is told", || again.events(&id).len() == 4).await;
    // Nobody knows any more how much it moved.
    assert_eq!(
        again.events(&id),
        ["session.start", "session.recording.recovered", "session.leave", "session.end"]
    );
    until("nothing stays here", || again.files(&id).is_empty()).await;
    drop(session);
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_uploads_goes_on_with_the_same_chain() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    for n in 0..3 {
        session.tap().output(format!("{n} ").as_bytes()).await.unwrap();
        until("it is uploaded", || world.segments(&id) == n + 1).await;
    }
    until("only the newest stays", || world.files(&id) == ["2.seg", "about.json"]).await;
    session.tap().output(b"tail").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let again = world.after_kill().await;

    until("it is whole", || again.recorded(&id).1).await;
    assert_eq!(again.recorded(&id).0, "0 1 2 tail[interrupted]");
    assert_eq!(again.segments(&id), 4);
    drop(session);
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn a_crash_right_after_the_start_leaves_a_whole_empty_recording() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();

    let again = world.after_kill().await;

    until("it is whole", || again.recorded(&id).1).await;
    assert_eq!(again.recorded(&id).0, "[interrupted]");
    drop(session);
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn what_a_synchronous_session_shows_while_it_waits_for_a_receipt_is_in_the_journal() {
    for (pieces, len) in [(3, 8), (17, 60_000)] {
        let world = World::new().await;
        world.set_segments(Manner::Down);
        let session = world.open(terms(RecordingMode::NodeSync, Strictness::Strict)).await;
        let id = session.id().clone();
        session.tap().output(b"one ").await.unwrap();
        until("the first is sealed", || world.files(&id).contains(&"0.seg".to_owned())).await;
        session.tap().output(b"two ").await.unwrap();
        tokio::time::sleep(Duration::from_secs(11)).await;
        for _ in 0..pieces {
            session.tap().output(&vec![b'x'; len]).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;

        let again = world.after_kill().await;
        world.set_segments(Manner::Good);

        until("it is whole", || again.recorded(&id).1).await;
        let x = "x".repeat(pieces * len);
        assert!(again.recorded(&id).0 == format!("one two {x}[interrupted]"), "{pieces} of {len}");
        drop(session);
        again.end().await;
        drop(world);
    }
}

#[tokio::test(start_paused = true)]
async fn a_torn_journal_gives_its_whole_entries_and_a_gap() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    session.tap().output(b"whole").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    session.tap().output(b" torn").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let journal = world.spool.join(id.as_str()).join("0.journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes.pop();
    std::fs::write(&journal, bytes).unwrap();

    let again = world.after_kill().await;

    until("it is whole", || again.recorded(&id).1).await;
    assert_eq!(again.recorded(&id).0, "whole[gap][interrupted]");
    drop(session);
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn a_recording_closed_before_the_crash_is_only_uploaded() {
    let world = World::new().await;
    world.set_segments(Manner::Down);
    let session = world.open(strict()).await;
    let id = session.id().clone();
    session.tap().output(b"all of it").await.unwrap();
    session.finish(Outcome::exit(0)).settled().await;
    until("its end is told", || world.events(&id).len() == 4).await;

    let again = world.after_kill().await;
    world.set_segments(Manner::Good);

    until("it is whole", || again.recorded(&id).1).await;
    assert_eq!(again.recorded(&id).0, "all of it");
    assert_eq!(again.events(&id).len(), 4);
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn rubbish_in_the_spool_stays_and_stops_nobody() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    session.tap().output(b"fine").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let rubbish = world.spool.join("00000000-0000-4000-8000-000000000000");
    std::fs::create_dir_all(&rubbish).unwrap();
    std::fs::write(rubbish.join("0.seg"), b"rubbish").unwrap();
    std::fs::create_dir_all(world.spool.join("lost+found")).unwrap();

    let again = world.after_kill().await;

    until("it is whole", || again.recorded(&id).1).await;
    assert!(again.spool.join("00000000-0000-4000-8000-000000000000/0.seg").exists());
    drop(session);
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn a_journal_on_a_full_disk_keeps_what_it_holds() {
    let world = World::new().await;
    let session = world.open(best_effort()).await;
    let id = session.id().clone();
    session.tap().output(b"one ").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.disk.full.store(true, Ordering::SeqCst);
    session.tap().output(b"two ").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let again = world.after_kill().await;

    until("it is whole", || again.recorded(&id).1).await;
    assert_eq!(again.recorded(&id).0, "one [interrupted]");
    drop(session);
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn a_journal_goes_on_where_a_full_disk_stopped_it() {
    let world = World::new().await;
    let session = world.open(best_effort()).await;
    let id = session.id().clone();
    session.tap().output(b"one ").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.disk.full.store(true, Ordering::SeqCst);
    session.tap().output(b"two ").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.disk.full.store(false, Ordering::SeqCst);
    session.tap().output(b"three").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    let again = world.after_kill().await;

    until("it is whole", || again.recorded(&id).1).await;
    assert_eq!(again.recorded(&id).0, "one two three[interrupted]");
    drop(session);
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn a_recording_half_removed_is_no_recording_cut_off() {
    let world = World::new().await;
    world.disk.tears.store(true, Ordering::SeqCst);
    let session = world.open(strict()).await;
    let id = session.id().clone();
    session.finish(Outcome::exit(0)).settled().await;
    until("it is uploaded", || world.recorded(&id).1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let again = world.after_kill().await;

    until("nothing stays here", || RealDisk.list(&again.spool).unwrap() == ["events"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(again.event("session.recording.recovered").is_none());
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn on_a_full_disk_what_is_sealed_is_uploaded_and_the_rest_once_there_is_room() {
    let world = World::new().await;
    world.set_segments(Manner::Down);
    let long = world.open(strict()).await;
    for n in 0..2 {
        long.tap().output(format!("{n} ").as_bytes()).await.unwrap();
        until("it is sealed", || world.files(long.id()).contains(&format!("{n}.seg"))).await;
    }
    long.tap().output(b"open").await.unwrap();
    let short = world.open(strict()).await;
    short.tap().output(b"short").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ids = [long.id().clone(), short.id().clone()];

    let again = world.after_kill_with(|_, disk| disk.full.store(true, Ordering::SeqCst)).await;
    world.disk.full.store(true, Ordering::SeqCst);
    world.set_segments(Manner::Good);

    until("there is more room", || again.files(&ids[0]) == ["1.seg", "2.journal", "about.json"]).await;
    until("their ends are told", || ids.iter().all(|id| again.events(id).last().unwrap() == "session.end"))
        .await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!((again.recorded(&ids[0]), again.segments(&ids[1])), (("0 1 ".to_owned(), false), 0));
    assert!(again.event("session.recording.recovered").is_none());
    again.disk.full.store(false, Ordering::SeqCst);
    until("both are whole", || ids.iter().all(|id| again.recorded(id).1)).await;
    assert_eq!(again.recorded(&ids[0]).0, "0 1 open[interrupted]");
    assert_eq!(again.recorded(&ids[1]).0, "short[interrupted]");
    until("nothing stays here", || ids.iter().all(|id| again.files(id).is_empty())).await;
    for id in &ids {
        let recovered = |e: &&String| *e == "session.recording.recovered";
        assert_eq!(again.events(id).iter().filter(recovered).count(), 1);
    }
    drop((long, short));
    again.end().await;
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_that_was_not_recorded_is_told_too_and_once() {
    let world = World::new().await;
    let session = world.open(terms(RecordingMode::Off, Strictness::Strict)).await;
    let id = session.id().clone();
    world.set_events(Manner::Down);

    let again = world.after_kill().await;
    until("its end waits on disk", || again.waiting() == 2).await;
    until("its place is gone", || RealDisk.list(&again.spool).unwrap() == ["events"]).await;
    let later = again.after_kill().await;
    again.set_events(Manner::Good);

    until("its end is told", || later.events(&id).len() == 3).await;
    assert_eq!(later.events(&id), ["session.start", "session.leave", "session.end"]);
    assert_eq!(later.segments(&id), 0);
    later.end().await;
    drop((session, again, world));
}
