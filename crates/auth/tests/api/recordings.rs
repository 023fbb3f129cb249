//! Recordings: sealed segments in, receipts out, and the proof that holds offline.

use std::time::Duration;

use audit::event::kinds::SessionConnect;
use audit::event::{Server, Stamp, Who};
use audit::recording::{Closing, Sealed};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use model::api::Fault;
use model::api::audit::EmitEvents;
use model::api::cluster::WatchPolicy;
use model::api::recordings::{GetRecording, GetUpload, ListRecordings, RecordingState};
use model::api::roles::PutRole;
use model::api::timeline::{
    ExportAsciicast, GetPicture, GetTimeline, GetTranscript, SearchScreens, Timeline,
};
use model::{RequestId, SessionId};
use testkit::client::Client;

use crate::tape::{Tape, put, seal_of, verify};
use crate::world::{World, eventually, fault, refused};

#[tokio::test]
async fn a_recording_is_received_kept_and_proven_by_the_audit_key_alone() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let auditor = world.user("olga", "auditor").await;
    let mut tape = Tape::new(&world, &node, "ann");
    let id = tape.id();
    let segments = [tape.seal("one", false), tape.seal("two", false), tape.seal("three", true)];

    let key = world.authority.trust().audit_key.parse().unwrap();
    for sealed in &segments {
        let bytes = Bytes::from(sealed.bytes.clone());
        let receipt = node.client.put_segment(&id, sealed.n, bytes.clone()).await.unwrap();
        assert!(audit::recording::chain::receipt_holds(&receipt, &id, sealed.n, &sealed.hash, &key));
        assert_eq!(node.client.put_segment(&id, sealed.n, bytes).await.unwrap(), receipt);
    }

    let report = verify(&world, &auditor, &id).await;
    assert_eq!((report.segments, report.state), (3, RecordingState::Complete));
    let listed = auditor.call(&ListRecordings::default()).await.unwrap().items;
    assert_eq!((listed[0].user.as_str(), listed[0].state), ("ann", RecordingState::Complete));
    assert!(listed[0].ended.is_some());
    let state = node.client.call(&GetUpload { id: id.clone() }).await.unwrap();
    assert!(state.complete && state.next == 3);
    assert!(world.has_event("session.upload", "T2005I").await);
    let looks = world.events().await.iter().filter(|e| e["event"] == "session.recording.access").count();
    assert_eq!(looks, 1);

    let world = world.restart().await;
    verify(&world, &world.admin().await, &id).await;
}

#[tokio::test]
async fn a_node_cannot_keep_the_end_of_its_recording_out_of_the_log() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let mut tape = Tape::new(&world, &node, "ann");
    let id = tape.id();
    let last = tape.seal("one", true);
    // The id of the authority's event follows from the recording: its node can tell it in advance.
    let closing = Closing { session: id.clone(), count: 1, hash: last.hash, state: RecordingState::Complete };
    let text = format!("session.upload {}", closing.text());
    let uid: [u8; 16] = digest(&SHA256, text.as_bytes()).as_ref()[..16].try_into().unwrap();
    let stamp = Stamp {
        time: world.clock.now(),
        uid: RequestId::from_random(uid),
        cluster: &world.settings.cluster_name,
        index: 0,
    };
    let server = Server { server_id: node.id.to_string(), ..Server::default() };
    let idle = SessionConnect { who: Who::user("ann"), server, ..Default::default() };
    let events = vec![audit::event::seal(&idle, &stamp)];
    node.client.call(&EmitEvents { events }).await.unwrap();

    put(&node, &id, &last).await.unwrap();

    assert!(world.has_event("session.upload", "T2005I").await);
}

#[tokio::test]
async fn what_is_not_the_next_sealed_segment_is_refused() {
    let world = World::new().await;
    let (node, other) = (world.node("web-1", "dev").await, world.node("web-2", "dev").await);
    let mut tape = Tape::new(&world, &node, "ann");
    let id = tape.id();
    let (one, two, three) = (tape.seal("one", false), tape.seal("two", false), tape.seal("three", true));

    assert_eq!(fault(put(&node, &id, &two).await), Fault::Conflict);
    let mut flipped = one.bytes.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for (bytes, what) in [(flipped, "flipped"), (one.bytes[..40].to_vec(), "cut"), (vec![], "nothing")] {
        let outcome = node.client.put_segment(&id, 0, Bytes::from(bytes)).await;
        assert_eq!(fault(outcome), Fault::BadRequest, "{what}");
    }
    // Sealed by another key, about another node.
    assert_eq!(fault(put(&other, &id, &one).await), Fault::BadRequest);
    let mut forged = Tape::new(&world, &node, "ann");
    forged.key = seal_of(&other);
    let id_forged = forged.id();
    assert_eq!(fault(put(&node, &id_forged, &forged.seal("x", false)).await), Fault::BadRequest);
    // Under another session's name.
    let stranger = SessionId::from_random([1; 16]);
    assert_eq!(fault(put(&node, &stranger, &one).await), Fault::BadRequest);

    put(&node, &id, &one).await.unwrap();
    assert_eq!(fault(put(&other, &id, &two).await), Fault::NotFound);
    assert_eq!(fault(other.client.call(&GetUpload { id: id.clone() }).await), Fault::NotFound);
    let swapped = Sealed { n: 0, ..two.clone() };
    assert_eq!(fault(put(&node, &id, &swapped).await), Fault::Conflict);
    put(&node, &id, &two).await.unwrap();
    put(&node, &id, &three).await.unwrap();
    let after = Sealed { n: 3, ..three };
    assert_eq!(fault(put(&node, &id, &after).await), Fault::BadRequest);
}

#[tokio::test]
async fn recordings_are_listed_newest_first_and_only_to_those_who_may() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let admin = world.admin().await;
    let mut ids = Vec::new();
    for user in ["ann", "bob", "ann"] {
        world.clock.advance(Duration::from_secs(60));
        let mut tape = Tape::new(&world, &node, user);
        ids.push(tape.id());
        put(&node, &tape.id(), &tape.seal("x", true)).await.unwrap();
    }
    let spec = serde_json::json!({"allow": {"rules": [{
        "resources": ["session"], "verbs": ["list", "read"],
        "where": "contains(session.participants, user.metadata.name)",
    }]}});
    let role =
        serde_json::json!({"kind": "role", "version": "v7", "metadata": {"name": "own"}, "spec": spec});
    let role =
        PutRole { name: "own".parse().unwrap(), role: serde_json::from_value(role).unwrap(), replace: false };
    admin.call(&role).await.unwrap();
    let ann = world.user("ann", "own").await;
    let vendor = world.user("eve", "vendor").await;

    let listed = async |client: &Client, ask: ListRecordings| {
        client.call(&ask).await.unwrap().items.into_iter().map(|r| r.id).collect::<Vec<_>>()
    };
    let newest: Vec<_> = ids.iter().rev().cloned().collect();
    assert_eq!(listed(&admin, ListRecordings::default()).await, newest);
    let of_bob = ListRecordings { user: "bob".into(), ..Default::default() };
    assert_eq!(listed(&admin, of_bob).await, [ids[1].clone()]);
    assert_eq!(listed(&ann, ListRecordings::default()).await, [ids[2].clone(), ids[0].clone()]);
    let first = admin.call(&ListRecordings { limit: Some(2), ..Default::default() }).await.unwrap();
    let rest = admin.call(&ListRecordings { start: first.next, ..Default::default() }).await.unwrap();
    assert_eq!(rest.items[0].id, ids[0]);
    let all = admin.call(&ListRecordings { limit: Some(3), ..Default::default() }).await.unwrap();
    assert_eq!((all.items.len(), all.next.as_str()), (3, ""), "nothing follows the last");
    let from = Some(all.items[1].started);
    assert_eq!(listed(&admin, ListRecordings { from, ..Default::default() }).await, newest[..2]);

    let of_others = refused(ann.call(&GetRecording { id: ids[1].clone() }).await);
    let unknown = refused(ann.call(&GetRecording { id: SessionId::from_random([1; 16]) }).await);
    assert_eq!(of_others, unknown);
    assert_eq!(fault(ann.get_segment(&ids[1], 0).await), Fault::NotFound);
    assert_eq!(fault(vendor.call(&ListRecordings::default()).await), Fault::NotFound);
    assert!(ann.get_segment(&ids[0], 0).await.is_ok());
    assert_eq!(fault(ann.get_segment(&ids[0], 1).await), Fault::NotFound);
    let looks = world.events().await.iter().filter(|e| e["event"] == "session.recording.access").count();
    assert_eq!(looks, 1, "a segment read without its recording is a look too");
}

async fn shelved(auditor: &Client, id: &SessionId, segments: usize) -> Timeline {
    let ask = GetTimeline { id: id.clone(), from: None };
    eventually("it is looked through", || async {
        auditor.call(&ask).await.unwrap().spans.len() == segments
    })
    .await;
    auditor.call(&ask).await.unwrap()
}

#[tokio::test]
async fn what_was_on_the_screen_is_found_by_those_who_may_look() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let auditor = world.user("olga", "auditor").await;
    let mut tape = Tape::new(&world, &node, "ann");
    let id = tape.id();
    for (text, last) in
        [("ann@web-1:~$ ls\r\n\x1b[31m文件 one\x1b[0m\r\n", false), ("发生错误 here\r\n", true)]
    {
        put(&node, &id, &tape.seal(text, last)).await.unwrap();
    }

    let timeline = shelved(&auditor, &id, 2).await;

    assert_eq!(timeline.info.state, RecordingState::Complete);
    assert!(timeline.activity.iter().sum::<u64>() > 30);
    assert_eq!(timeline.marks[0].label, "ls");
    let picture = auditor.call(&GetPicture { id: id.clone(), n: 1, at: None }).await.unwrap();
    assert_eq!((picture.cols, picture.rows), (80, 24));
    assert!(picture.state.contains("文件 one"));
    let whole = auditor.call(&GetTranscript { id: id.clone(), from: 0 }).await.unwrap();
    let rows: Vec<_> = whole.rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!((rows, whole.next), (vec!["ann@web-1:~$ ls", "文件 one", "发生错误 here"], 2));
    let search = |text: &str, user: &str| SearchScreens {
        text: text.into(),
        user: user.into(),
        ..SearchScreens::default()
    };
    let found = auditor.call(&search("错误", "")).await.unwrap();
    let [hit] = found.items.as_slice() else { panic!("{found:?}") };
    assert_eq!((hit.text.as_str(), &hit.info.id, hit.at), ("发生错误 here", &id, timeline.spans[1].until));
    assert!(auditor.call(&search("\x31m文件", "")).await.unwrap().items.is_empty());
    assert!(auditor.call(&search("here", "bob")).await.unwrap().items.is_empty());
    assert_eq!(fault(auditor.call(&search("ab", "")).await), Fault::BadRequest);
    assert!(world.has_event("audit.access", "MGA001I").await);

    let vendor = world.user("vic", "vendor").await;
    for outcome in [
        refused(vendor.call(&search("here", "")).await),
        refused(vendor.call(&GetTimeline { id: id.clone(), from: None }).await),
        refused(vendor.call(&GetTranscript { id: id.clone(), from: 0 }).await),
        refused(vendor.call(&GetPicture { id: id.clone(), n: 0, at: None }).await),
        refused(vendor.call(&GetTimeline { id: SessionId::from_random([3; 16]), from: None }).await),
    ] {
        assert_eq!(outcome.0, Fault::NotFound);
        assert_eq!(outcome.1, "not found, or not permitted");
    }
}

#[tokio::test]
async fn an_index_that_was_lost_is_made_again_and_segments_that_do_not_draw_do_not_stop_it() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let mut tape = Tape::new(&world, &node, "ann");
    let id = tape.id();
    put(&node, &id, &tape.seal("\x1b[?1049h\x1b[3;3Hneedle", false)).await.unwrap();
    put(&node, &id, &tape.seal("\x1b[5;5Hthread", true)).await.unwrap();
    shelved(&world.admin().await, &id, 2).await;

    let world = world.restart_without_index().await;

    let auditor = world.user("olga", "auditor").await;
    shelved(&auditor, &id, 2).await;
    let picture = auditor.call(&GetPicture { id: id.clone(), n: 1, at: None }).await.unwrap();
    assert!(picture.state.contains("needle") && !picture.state.contains("thread"));
}

#[tokio::test]
async fn a_recording_the_disk_does_not_give_back_keeps_no_other_from_being_found() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let (mut bad, mut good) = (Tape::new(&world, &node, "ann"), Tape::new(&world, &node, "ann"));
    for tape in [&mut bad, &mut good] {
        let last = tape.seal("needle\r\n", true);
        put(&node, &tape.id(), &last).await.unwrap();
        shelved(&world.admin().await, &tape.id(), 1).await;
        world.clock.advance(Duration::from_secs(1));
    }
    // Reading a directory fails as a disk does.
    let blob = world.dir.path().join(format!("blobs/recordings/{}/00000000.seg", bad.id()));
    let kept = blob.with_extension("kept");
    std::fs::rename(&blob, &kept).unwrap();
    std::fs::create_dir(&blob).unwrap();

    let world = world.restart_without_index().await;

    let auditor = world.user("olga", "auditor").await;
    shelved(&auditor, &good.id(), 1).await;
    let search = SearchScreens { text: "needle".into(), ..SearchScreens::default() };
    assert_eq!(auditor.call(&search).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_recording_is_exported_line_by_line_and_that_is_an_event() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let auditor = world.user("olga", "auditor").await;
    let mut tape = Tape::new(&world, &node, "ann");
    let id = tape.id();
    put(&node, &id, &tape.seal("one", false)).await.unwrap();
    put(&node, &id, &tape.seal("two", true)).await.unwrap();

    let mut lines = auditor.stream(&ExportAsciicast { id: id.clone(), version: Some(2) }).await.unwrap();
    let mut read = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        read.push(line);
    }

    assert_eq!(read[0]["version"], 2);
    assert_eq!((&read[1][2], &read[2][2]), (&"one".into(), &"two".into()));
    assert!(
        world
            .events()
            .await
            .iter()
            .any(|e| e["event"] == "session.recording.access" && e["action"] == "export")
    );
    let bad = auditor.stream(&ExportAsciicast { id, version: Some(9) }).await.map(|_| ());
    assert_eq!(fault(bad), Fault::BadRequest);
}

#[tokio::test]
async fn a_session_that_is_followed_is_named_to_its_node_for_a_while() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let auditor = world.user("olga", "auditor").await;
    let mut tape = Tape::new(&world, &node, "ann");
    let id = tape.id();
    put(&node, &id, &tape.seal("one", false)).await.unwrap();
    let mut rules = node.client.stream(&WatchPolicy::default()).await.unwrap();
    assert!(rules.next().await.unwrap().unwrap().watched.is_empty());

    auditor.call(&GetTimeline { id: id.clone(), from: None }).await.unwrap();

    assert_eq!(rules.next().await.unwrap().unwrap().watched, [id]);
    world.clock.advance(Duration::from_secs(31));
    while !rules.next().await.unwrap().unwrap().watched.is_empty() {}
}
