//! What is recorded, how gaps and full disks are met, what idle sessions cost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use audit::Hash;
use audit::recording::Segment;
use model::resource::{RecordingMode, Strictness};

use super::world::*;
use crate::*;

#[tokio::test(start_paused = true)]
async fn a_shell_is_recorded_uploaded_and_deleted_here() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    session.tap().output(b"$ ").await.unwrap();
    session.tap().input(b"secret").await.unwrap();
    session.tap().resize(100, 30).await.unwrap();
    session.tap().output(b"hello\r\n").await.unwrap();

    session.finish(Outcome::exit(0)).settled().await;

    until("all is uploaded", || world.sessions.waiting_uploads() == 0).await;
    assert_eq!(world.recorded(&id), ("$ hello\r\n".to_owned(), true));
    assert!(world.files(&id).is_empty());
    assert_eq!(world.events(&id), ["session.start", "session.leave", "session.data", "session.end"]);
    let data = world.event("session.data").unwrap().0;
    assert_eq!((&data["tx"], &data["rx"]), (&9.into(), &6.into()));
    assert_eq!(world.event("session.end").unwrap().0["participants"], serde_json::json!(["ann"]));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn segments_travel_while_the_session_runs() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    session.tap().output(b"one ").await.unwrap();
    until("the first ten seconds are there", || world.segments(&id) == 1).await;
    session.tap().output(b"two ").await.unwrap();
    until("the next too", || world.segments(&id) == 2).await;

    assert_eq!(world.recorded(&id), ("one two ".to_owned(), false));
    until("only the newest stays here", || world.files(&id) == ["1.seg", "about.json"]).await;
    session.finish(Outcome::exit(0)).settled().await;
    until("it is whole", || world.recorded(&id).1).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_watched_travels_every_second_and_nothing_comes_twice() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    session.tap().output(b"one ").await.unwrap();
    let before = tokio::time::Instant::now();
    let now = world.view.borrow().clone();
    world.view.send_replace(Arc::new(View { watched: [id.clone()].into(), ..View::clone(&now) }));

    until("the first second is there", || world.segments(&id) == 1).await;
    session.tap().output(b"two ").await.unwrap();
    until("the next too", || world.segments(&id) == 2).await;
    assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
    world.view.send_replace(now);
    session.tap().output(b"three ").await.unwrap();
    let before = tokio::time::Instant::now();
    until("ten seconds again", || world.segments(&id) == 3).await;
    assert!(before.elapsed() >= Duration::from_secs(5), "{:?}", before.elapsed());

    session.finish(Outcome::exit(0)).settled().await;
    until("it is whole", || world.recorded(&id).1).await;
    assert_eq!(world.recorded(&id).0, "one two three ");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_is_counted_and_hashed_whole_and_its_first_megabyte_kept() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    let chunk = vec![b'x'; 300_000];
    let mut out = session.tap().stream(Stream::Stdout);
    for _ in 0..7 {
        out.pass(&chunk).await.unwrap();
    }

    let total = out.finish().await.unwrap();
    session.finish(Outcome::exit(3)).settled().await;

    assert_eq!(total.bytes, 2_100_000);
    assert_eq!(total.hash, Hash::of(&[&vec![b'x'; 2_100_000]]));
    until("it is whole", || world.recorded(&id).1).await;
    assert_eq!(world.recorded(&id).0.len(), 1024 * 1024);
    let kept = world.authority.kept.lock().unwrap().segments[&id].clone();
    let mut seen = Vec::new();
    for bytes in &kept {
        let segment = Segment::parse(bytes).unwrap();
        segment
            .each(Duration::ZERO, |f| {
                seen.push(format!("{:?}", f.frame));
                Ok(())
            })
            .unwrap();
    }
    assert!(seen.contains(&format!("{:?}", total.frame())));
    assert!(seen.contains(&"Exit(3)".to_owned()));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn keystrokes_are_recorded_only_where_asked() {
    let world = World::new().await;
    let mut asked = strict();
    asked.recording.keystrokes = true;
    let session = world.open(asked).await;
    let id = session.id().clone();
    session.tap().input(b"ls\r").await.unwrap();
    session.finish(Outcome::exit(0)).settled().await;

    until("it is whole", || world.recorded(&id).1).await;
    let bytes = world.authority.kept.lock().unwrap().segments[&id][0].clone();
    let mut typed = Vec::new();
    let segment = Segment::parse(&bytes).unwrap();
    segment
        .each(Duration::ZERO, |f| {
            if let Frame::Input(bytes) = f.frame {
                typed.extend_from_slice(bytes);
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(typed, b"ls\r");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_ends_a_strict_session_with_a_reason_and_loses_nothing_sealed() {
    let world = World::new().await;
    let session = world.open(strict()).await;
    let id = session.id().clone();
    session.tap().output(b"before ").await.unwrap();
    until("it is in the journal", || world.files(&id).contains(&"0.journal".to_owned())).await;

    world.disk.full.store(true, Ordering::SeqCst);
    session.tap().output(b"after").await.unwrap();

    let reason = session.ended().await;
    assert_eq!(reason, EndReason::Recording("the disk is full".into()));
    assert!(session.tap().output(b"more").await.is_err());
    let closing = session.finish(Outcome::ended(&reason));
    world.disk.full.store(false, Ordering::SeqCst);
    closing.settled().await;
    until("it is whole", || world.recorded(&id).1).await;
    assert_eq!(world.recorded(&id).0, "before after");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_leaves_a_gap_in_a_best_effort_session_that_lives_on() {
    let world = World::new().await;
    let session = world.open(best_effort()).await;
    let id = session.id().clone();
    session.tap().output(b"before ").await.unwrap();
    until("it is in the journal", || world.files(&id).contains(&"0.journal".to_owned())).await;

    world.disk.full.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(15)).await;
    session.tap().output(b"lost").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.disk.full.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    session.tap().output(b" after").await.unwrap();
    session.finish(Outcome::exit(0)).settled().await;

    until("it is whole", || world.recorded(&id).1).await;
    assert_eq!(world.recorded(&id).0, "before [gap] after");
    until("the gap is on record", || world.event("session.recording.gap").is_some()).await;
    let gap = world.event("session.recording.gap").unwrap().0;
    assert_eq!((&gap["reason"], &gap["frames"], &gap["bytes"]), (&"disk".into(), &1.into(), &4.into()));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_best_effort_session_opened_on_a_full_disk_is_recorded_once_there_is_room() {
    let world = World::new().await;
    world.disk.full.store(true, Ordering::SeqCst);
    let session = world.open(best_effort()).await;
    let id = session.id().clone();
    session.tap().output(b"hello").await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.disk.full.store(false, Ordering::SeqCst);

    session.finish(Outcome::exit(0)).settled().await;

    until("it is whole", || world.recorded(&id).1).await;
    assert_eq!(world.recorded(&id).0, "hello");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_session_does_not_open_on_a_full_disk() {
    let world = World::new().await;
    world.disk.full.store(true, Ordering::SeqCst);

    let refused = world.sessions.open(strict(), about(), &world.scope).await;

    assert_eq!(refused.err(), Some(Error::Spool("the disk is full".into())));
    until("its end is told", || world.event("session.end").is_some()).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_recorded_opens_on_a_full_disk() {
    let world = World::new().await;
    world.disk.full.store(true, Ordering::SeqCst);

    let session = world.open(terms(RecordingMode::Off, Strictness::Strict)).await;
    let id = session.id().clone();
    session.finish(Outcome::exit(0)).settled().await;

    until("it ends", || world.events(&id).len() == 4).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_stays_full_does_not_keep_the_service_from_stopping() {
    let world = World::new().await;
    let session = world.open(best_effort()).await;
    session.tap().output(b"hello").await.unwrap();
    world.disk.full.store(true, Ordering::SeqCst);
    drop(session);
    tokio::time::sleep(Duration::from_secs(5)).await;

    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_synchronous_session_goes_on_only_with_receipts() {
    let world = World::new().await;
    let session = world.open(terms(RecordingMode::NodeSync, Strictness::Strict)).await;
    let id = session.id().clone();
    world.set_segments(Manner::Down);
    let tap = session.tap().clone();
    let flood = async move {
        for _ in 0..100 {
            tap.output(&[b'x'; 65_535]).await?;
        }
        Ok::<_, Error>(())
    };
    tokio::pin!(flood);

    // Far more than a segment and a ring: it must still be waiting after a while.
    let early = tokio::time::timeout(Duration::from_secs(20), &mut flood).await;
    assert!(early.is_err(), "went on without a receipt");
    assert_eq!(world.segments(&id), 0);

    world.set_segments(Manner::Good);
    flood.await.unwrap();
    session.finish(Outcome::exit(0)).settled().await;
    until("it is whole", || world.recorded(&id).1).await;
    assert_eq!(world.recorded(&id).0.len(), 100 * 65_535);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_strict_synchronous_session_ends_when_receipts_stay_away() {
    let world = World::new().await;
    let session = world.open(terms(RecordingMode::NodeSync, Strictness::Strict)).await;
    world.set_segments(Manner::Down);
    session.tap().output(b"hello").await.unwrap();

    let reason = tokio::time::timeout(Duration::from_secs(60), session.ended()).await.unwrap();

    assert!(matches!(reason, EndReason::Recording(_)), "{reason}");
    world.set_segments(Manner::Good);
    drop(session);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_idle_sessions_cost_little_and_wake_nobody() {
    let world = World::new().await;
    let warm = world.open(strict()).await;
    until("the first is sealed", || world.segments(warm.id()) == 1).await;
    let before = resident();
    let mut sessions = Vec::new();
    for _ in 0..1_000 {
        let session = world.open(strict()).await;
        session.tap().output(b"user@web-1:~$ ").await.unwrap();
        sessions.push(session);
    }
    until("all are sealed and uploaded", || sessions.iter().all(|s| world.segments(s.id()) == 1)).await;

    let each = resident().saturating_sub(before) / 1_000;
    println!("{each} bytes for each idle session");

    assert!(each < 32 * 1024, "{each} bytes for each idle session");
    drop((warm, sessions));
    until("all are closed", || world.sessions.live().is_empty()).await;
    world.end().await;
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
