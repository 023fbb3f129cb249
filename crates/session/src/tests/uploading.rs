//! Receipts decide what may be deleted; troubles of one recording are its own.

use std::time::Duration;

use super::world::*;
use crate::*;

async fn finished(world: &World) -> model::SessionId {
    let session = world.open(best_effort()).await;
    let id = session.id().clone();
    session.tap().output(b"hello").await.unwrap();
    session.finish(Outcome::exit(0)).settled().await;
    id
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_on_a_receipt_that_does_not_hold() {
    for manner in [Manner::Forged, Manner::Wrong] {
        let world = World::new().await;
        world.set_segments(manner);
        let id = finished(&world).await;

        until("the authority has it", || world.segments(&id) == 1).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(world.files(&id), ["0.seg", "about.json"], "{manner:?}");

        world.set_segments(Manner::Good);
        until("it is deleted on a good receipt", || world.files(&id).is_empty()).await;
        assert_eq!(world.segments(&id), 1);
        world.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn recordings_wait_for_the_authority_however_long() {
    let world = World::new().await;
    world.set_segments(Manner::Down);
    let id = finished(&world).await;
    tokio::time::sleep(Duration::from_secs(3 * 24 * 3600)).await;
    assert_eq!(world.files(&id), ["0.seg", "about.json"]);

    world.set_segments(Manner::Good);

    until("it is uploaded", || world.recorded(&id) == ("hello".to_owned(), true)).await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_bad_recording_never_blocks_another() {
    let world = World::new().await;
    world.set_segments(Manner::Down);
    let mut bad = Vec::new();
    for _ in 0..3 {
        bad.push(finished(&world).await);
    }
    let good = finished(&world).await;
    std::fs::write(world.spool.join(bad[0].as_str()).join("0.seg"), b"rubbish").unwrap();
    std::fs::remove_file(world.spool.join(bad[1].as_str()).join("0.seg")).unwrap();
    *world.authority.refuses.lock().unwrap() = Some(bad[2].clone());

    world.set_segments(Manner::Good);

    until("the good one is uploaded", || world.recorded(&good).1).await;
    assert_eq!(world.sessions.waiting_uploads(), 3);
    assert!(world.files(&bad[0]).contains(&"0.seg".to_owned()));
    assert!(world.files(&bad[2]).contains(&"0.seg".to_owned()));
    world.end().await;
}
