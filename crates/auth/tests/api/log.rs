//! The audit log: who may tell what, the chain and its proof, search, tail and files.

use std::sync::Arc;
use std::time::Duration;

use audit::event::kinds::{SessionConnect, SessionStart};
use audit::event::{Connection, Server, SessionRef, Stamp, Who};
use model::api::Fault;
use model::api::audit::{AuditEvent, Checkpoint, EmitEvents, ExportChain, SearchEvents, TailEvents};
use model::api::locks::{CreateLock, ListLocks};
use model::resource::LockTarget;
use model::{NodeId, RequestId};
use runtime::{Health, Scope, Service};
use store::{Range, Txn};
use testkit::client::{Client, Keyring};

use crate::held::Wait;
use crate::world::{Host, World, eventually, fault, presets};

fn server(id: &NodeId) -> Server {
    Server { server_id: id.to_string(), server_hostname: "web-1".into(), ..Server::default() }
}

fn connect(world: &World, node: &NodeId, user: &str) -> AuditEvent {
    let event =
        SessionConnect { who: Who::user(user), server: server(node), connection: Connection::default() };
    sealed(world, &event)
}

fn sealed<E: audit::event::Event>(world: &World, event: &E) -> AuditEvent {
    let stamp = Stamp {
        time: world.clock.now(),
        uid: RequestId::from_random(world.random.bytes()),
        cluster: &world.settings.cluster_name,
        index: 0,
    };
    audit::event::seal(event, &stamp)
}

async fn emit(node: &Host, event: AuditEvent) -> Result<u64, testkit::client::CallError> {
    node.client.call(&EmitEvents { events: vec![event] }).await.map(|r| r.index)
}

fn edited(mut event: AuditEvent, name: &str, value: &str) -> AuditEvent {
    event.0.insert(name.into(), value.into());
    event
}

async fn users_seen(world: &World) -> Vec<String> {
    let events = world.events().await;
    let connects = events.iter().filter(|e| e["event"] == "session.connect");
    connects.map(|e| e["user"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_host_tells_of_itself_only_and_nothing_of_the_authoritys() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let good = connect(&world, &node.id, "ann");
    let other = NodeId::from_random([3; 16]);

    for bad in [
        connect(&world, &other, "ann"),
        edited(good.clone(), "cluster_name", "other.example"),
        edited(good.clone(), "event", "user.login"),
        edited(good.clone(), "code", "T9999I"),
        edited(good.clone(), "uid", "1"),
    ] {
        assert_eq!(fault(emit(&node, bad).await), Fault::BadRequest);
    }
    assert!(emit(&node, good).await.is_ok());

    let login = audit::event::kinds::UserLogin { who: Who::user("ann"), ..Default::default() };
    let upload = audit::event::kinds::SessionUpload { server: server(&node.id), ..Default::default() };
    let removal = audit::event::kinds::NodeDelete { who: Who::user("ann"), ..Default::default() };
    for own in [sealed(&world, &login), sealed(&world, &upload), sealed(&world, &removal)] {
        assert_eq!(fault(emit(&node, own).await), Fault::BadRequest);
    }
    let none = EmitEvents { events: vec![] };
    assert_eq!(fault(node.client.call(&none).await), Fault::BadRequest);
}

#[tokio::test]
async fn the_same_event_twice_is_kept_once() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let event = connect(&world, &node.id, "ann");

    let twice = EmitEvents { events: vec![event.clone(), event.clone()] };
    node.client.call(&twice).await.unwrap();
    emit(&node, event.clone()).await.unwrap();
    let world = world.restart().await;
    let material = world.trusting().showing(node.keys.certified(&node.certs.tls_cert_pem));
    world.client(material).call(&EmitEvents { events: vec![event] }).await.unwrap();

    assert_eq!(users_seen(&world).await, ["ann"]);
}

#[tokio::test]
async fn what_a_host_tells_stands_in_nobody_elses_way() {
    let world = World::new().await;
    let (node, other) = (world.node("web-1", "dev").await, world.node("web-2", "dev").await);
    let mine = connect(&world, &node.id, "ann");
    let same_uid = edited(connect(&world, &other.id, "bob"), "uid", mine.0["uid"].as_str().unwrap());

    emit(&node, mine).await.unwrap();
    emit(&other, same_uid).await.unwrap();

    assert_eq!(users_seen(&world).await, ["ann", "bob"]);
}

#[tokio::test]
async fn whoever_takes_the_log_looks_once_wherever_they_begin() {
    let world = World::new().await;
    let olga = world.user("olga", "auditor").await;
    world.person("ann", "access").await;
    let exports = async || {
        let events = world.events().await;
        events.iter().filter(|e| e["event"] == "audit.access" && e["user"] == "olga").count()
    };
    let piece = |from| ExportChain { from, limit: Some(2) };

    olga.call(&piece(1)).await.unwrap();
    olga.call(&piece(3)).await.unwrap();
    olga.call(&piece(5)).await.unwrap();
    assert_eq!(exports().await, 1);
    olga.call(&piece(2)).await.unwrap();
    assert_eq!(exports().await, 2);
}

#[tokio::test]
async fn the_chain_holds_from_its_first_link_over_restarts() {
    let world = World::with(|s| s.times.checkpoint = Duration::from_secs(1)).await;
    world.person("ann", "access").await;
    let world = world.restart().await;
    world.person("bob", "access").await;
    let world = world.restart().await;
    let admin = world.admin().await;

    let ask = ExportChain { from: 0, limit: Some(10_000) };
    let piece = admin.call(&ask).await.unwrap();
    let key = world.authority.trust().audit_key.parse().unwrap();
    let proof = audit::log::verify(&piece.links, &piece.checkpoints, key).unwrap();

    assert_eq!(proof.links, piece.links.len() as u64);
    assert!(proof.signed >= 8, "{proof:?}");
    let mut forged = piece.links.clone();
    forged[3].event = forged[3].event.replace("ann", "eve");
    assert!(audit::log::verify(&forged, &piece.checkpoints, key).is_err());

    let mut whole = Vec::new();
    let mut from = 0;
    while from < piece.total {
        let part = admin.call(&ExportChain { from, limit: Some(3) }).await.unwrap();
        from += part.links.len() as u64;
        whole.extend(part.links);
    }
    assert_eq!(whole[..piece.links.len()], piece.links[..]);
}

/// What `mctl audit verify` does, `limit` links at a time.
async fn proof(world: &World, limit: u32) -> Result<audit::log::Verified, audit::Error> {
    let admin = world.admin().await;
    let mut verifier = audit::log::Verifier::new(world.authority.trust().audit_key.parse().unwrap());
    let mut from = 0;
    loop {
        let piece = admin.call(&ExportChain { from, limit: Some(limit) }).await.unwrap();
        for point in &piece.checkpoints {
            verifier.checkpoint(point)?;
        }
        for link in &piece.links {
            verifier.link(link)?;
        }
        from += piece.links.len() as u64;
        if piece.links.is_empty() || from >= piece.total {
            return verifier.finish();
        }
    }
}

async fn checkpoints(world: &World) -> Vec<Checkpoint> {
    let kept = world.store.all("checkpoints").await.unwrap();
    kept.iter().map(|entry| serde_json::from_slice(&entry.value).unwrap()).collect()
}

#[tokio::test]
async fn an_end_that_was_cut_off_is_found_while_its_checkpoint_is_there() {
    const CUT: usize = 40;
    let world = World::with(|s| s.times.checkpoint = Duration::ZERO).await;
    let node = world.node("web-1", "dev").await;
    for n in 0..CUT {
        emit(&node, connect(&world, &node.id, &format!("user-{n}"))).await.unwrap();
    }
    for limit in [1, 2, 3, 5, 7, 10_000] {
        assert!(proof(&world, limit).await.is_ok(), "{limit} at a time, nothing is missing");
    }
    world.stop().await;
    let signed = checkpoints(&world).await.pop().unwrap();
    let cut = world.store.range(&Range::under("log").descending().limit(CUT)).await.unwrap().entries;
    // Those signed on the way go too: where one stays, nothing new is signed in its place.
    let points = world.store.all("checkpoints").await.unwrap();
    let on_the_way = &points[..points.len() - 1];
    let cut = cut.iter().chain(on_the_way).fold(Txn::new(), |txn, entry| txn.delete(entry.key.clone()));
    world.store.commit(cut).await.unwrap();

    let world = world.restart().await;

    for limit in [1, 2, 3, 5, 7, 10_000] {
        let found = proof(&world, limit).await;
        let missing = matches!(&found, Err(audit::Error::Broken { reason: audit::Reason::Missing(_), .. }));
        assert!(missing, "{limit} at a time: {found:?}");
    }
    assert!(world.health.jobs()["audit log end"].last_error.is_some());

    // What came since is signed, and what was signed before stays as it was.
    let younger = async || {
        checkpoints(&world).await.iter().any(|point| {
            point.index < signed.index && point.time >= signed.time && point.index + CUT as u64 > signed.index
        })
    };
    eventually("there is a checkpoint again", younger).await;
    let node = world.node("web-2", "dev").await;
    for n in 0..CUT {
        emit(&node, connect(&world, &node.id, &format!("other-{n}"))).await.unwrap();
    }
    assert!(checkpoints(&world).await.contains(&signed));
    let found = proof(&world, 10_000).await;
    assert!(matches!(&found, Err(audit::Error::Broken { index, .. }) if *index <= signed.index), "{found:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_search_finds_by_type_user_session_and_time_page_by_page() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let start = world.clock.now();
    for n in 0..5 {
        world.clock.advance(Duration::from_secs(1));
        emit(&node, connect(&world, &node.id, &format!("user-{n}"))).await.unwrap();
    }
    let session = SessionStart {
        who: Who::user("ann"),
        server: server(&node.id),
        session: SessionRef { sid: "s-1".into(), session_recording: None },
        login: "root".into(),
        ..SessionStart::default()
    };
    emit(&node, sealed(&world, &session)).await.unwrap();
    let admin = world.admin().await;
    let types = || SearchEvents { types: "session.connect, session.start".into(), ..Default::default() };
    let found = async |ask: SearchEvents| {
        let page = admin.call(&ask).await.unwrap();
        page.items.iter().map(|e| e.0["user"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    assert_eq!(found(types()).await, ["ann", "user-4", "user-3", "user-2", "user-1", "user-0"]);
    assert_eq!(found(SearchEvents { user: "user-3".into(), ..types() }).await, ["user-3"]);
    assert_eq!(found(SearchEvents { session: "s-1".into(), ..types() }).await, ["ann"]);
    let to = Some(start + Duration::from_secs(2));
    assert_eq!(found(SearchEvents { to, ascending: true, ..types() }).await, ["user-0", "user-1"]);
    let mut start = String::new();
    let mut pages = Vec::new();
    loop {
        let page = admin.call(&SearchEvents { limit: Some(4), start, ..types() }).await.unwrap();
        pages.push(page.items.len());
        start = page.next;
        if start.is_empty() {
            break;
        }
    }
    assert_eq!(pages.iter().sum::<usize>(), 6);
    // The oldest event there is ends a search, also one that has all it wanted.
    let oldest = admin.call(&SearchEvents { ascending: true, limit: Some(1), ..Default::default() }).await;
    let to = oldest.unwrap().items[0].0["time"].as_str().unwrap().parse().ok();
    let of_then = SearchEvents { to, ..Default::default() };
    let limit = u32::try_from(admin.call(&of_then).await.unwrap().items.len()).ok();
    assert_eq!(admin.call(&SearchEvents { limit, ..of_then }).await.unwrap().next, "");
    assert!(world.has_event("audit.access", "MGA001I").await);
}

#[tokio::test]
async fn a_search_of_late_looks_no_further_back_than_it_must() {
    let world = World::begun(Duration::from_secs(6 * 86_400), |s| s.times.checkpoint = Duration::ZERO).await;
    let node = world.node("web-1", "dev").await;
    for _ in 0..3 {
        let events = (0..600).map(|n| connect(&world, &node.id, &format!("user-{n}"))).collect();
        node.client.call(&EmitEvents { events }).await.unwrap();
        world.clock.advance(Duration::from_secs(2 * 86_400));
    }
    let admin = world.admin().await;

    for (days, found) in [(1, 0), (3, 600), (5, 1_200), (7, 1_800)] {
        let from = Some(world.clock.now() - Duration::from_secs(days * 86_400));
        let types = "session.connect".into();
        let ask = SearchEvents { from, types, limit: Some(5_000), ..Default::default() };
        let page = admin.call(&ask).await.unwrap();
        assert_eq!((page.items.len(), page.next.as_str()), (found, ""), "{days} days");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_tail_misses_nothing_and_ends_with_the_right_to_it() {
    let world = World::with(|s| s.times.heartbeat = Duration::from_millis(20)).await;
    let node = world.node("web-1", "dev").await;
    let auditor = world.user("olga", "auditor").await;
    let mut tail = auditor.stream(&TailEvents { after: None }).await.unwrap();

    for n in 0..50 {
        emit(&node, connect(&world, &node.id, &format!("user-{n}"))).await.unwrap();
    }
    for n in 0..50 {
        let event = tail.next().await.unwrap().unwrap();
        assert_eq!(event.0["user"], format!("user-{n}"));
    }
    let first = auditor.stream(&TailEvents { after: Some(0) }).await.unwrap().next().await.unwrap();
    assert!(first.is_some());

    let name = "olga".parse().unwrap();
    world.admin().await.call(&model::api::users::DeleteUser { name }).await.unwrap();
    while tail.next().await.unwrap().is_some() {}
}

#[tokio::test]
async fn the_log_is_in_daily_files_too_once_each_over_restarts() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    emit(&node, connect(&world, &node.id, "ann")).await.unwrap();
    let day = world.clock.now().date();
    let world = world.restart().await;
    let path = world.dir.path().join(format!("log/events/{day}.log"));

    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.iter().filter(|e| e["event"] == "session.connect").count(), 1);

    // A file lost its end: the next start writes it again.
    let cut: String = text.lines().take(lines.len() - 1).flat_map(|l| [l, "\n"]).collect();
    std::fs::write(&path, cut).unwrap();
    let world = world.restart().await;
    let mended = async || std::fs::read_to_string(&path).unwrap().lines().count() >= lines.len();
    eventually("the file is whole again", mended).await;
    world.stop().await;
}

#[tokio::test]
async fn what_a_full_disk_kept_out_of_the_daily_files_comes_before_what_is_newer() {
    let world = World::begun(Duration::from_secs(2 * 86_400), |_| ()).await;
    let node = world.node("web-1", "dev").await;
    let dir = world.dir.path().join("log/events");
    let told = async |world: &World| -> Vec<String> {
        let mut lines = Vec::new();
        for day in [0, 1, 2] {
            let day = (world.clock.now() - Duration::from_secs((2 - day) * 86_400)).date();
            let text = std::fs::read_to_string(dir.join(format!("{day}.log"))).unwrap_or_default();
            lines.extend(text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()));
        }
        let users = lines.iter().filter(|e| e["event"] == "session.connect");
        users.map(|e| e["user"].as_str().unwrap().to_owned()).collect()
    };
    emit(&node, connect(&world, &node.id, "before")).await.unwrap();
    world.clock.advance(Duration::from_secs(86_400));
    // Its name is taken: no file can be made, as on a full disk.
    let today = dir.join(format!("{}.log", world.clock.now().date()));
    std::fs::create_dir(&today).unwrap();
    for n in 0..3 {
        emit(&node, connect(&world, &node.id, &format!("hole-{n}"))).await.unwrap();
    }
    assert!(world.health.jobs()["audit files"].last_error.is_some());

    // Over a restart too, days later: nothing is doubled.
    world.stop().await;
    world.clock.advance(Duration::from_secs(86_400));
    let world = world.restart().await;
    let material = world.trusting().showing(node.keys.certified(&node.certs.tls_cert_pem));
    let back = world.client(material);
    let after = connect(&world, &node.id, "after");
    back.call(&EmitEvents { events: vec![after] }).await.unwrap();

    let wanted = ["before", "hole-0", "hole-1", "hole-2", "after"];
    eventually("the files have all of it, in order", async || told(&world).await == wanted).await;
    world.stop().await;
}

#[tokio::test]
async fn a_hole_in_the_daily_files_is_filled_without_a_restart() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let day = world.clock.now().date();
    let path = world.dir.path().join(format!("log/events/{day}.log"));
    emit(&node, connect(&world, &node.id, "before")).await.unwrap();
    let (kept, lines) =
        (path.with_extension("kept"), std::fs::read_to_string(&path).unwrap().lines().count());
    std::fs::rename(&path, &kept).unwrap();
    std::fs::create_dir(&path).unwrap();
    emit(&node, connect(&world, &node.id, "hole")).await.unwrap();
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&kept, &path).unwrap();

    emit(&node, connect(&world, &node.id, "after")).await.unwrap();

    let whole = async || std::fs::read_to_string(&path).unwrap().lines().count() == lines + 2;
    eventually("the hole is filled", whole).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let place = |user: &str| text.find(&format!("\"user\":\"{user}\"")).unwrap();
    assert!(place("before") < place("hole") && place("hole") < place("after"));
    assert!(world.health.jobs()["audit files"].last_error.is_none());
    world.stop().await;
}

#[tokio::test]
async fn rules_are_followed_and_stay_while_the_authority_is_away() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let material = world.trusting().showing(node.keys.certified(&node.certs.tls_cert_pem));
    let pipe = world.pipe(material);
    let scope = Scope::root("agent");
    let dir = tempfile::tempdir().unwrap();
    let start = |pipe: testkit::pipe::Pipe| {
        let client = Client::new(Arc::new(pipe), &scope, world.random.clone());
        let (clock, random) = (world.clock.clone(), world.random.clone());
        testkit::client::watch::Follower::new(client, dir.path(), clock, random, Health::default())
    };
    let (follower, mut feed) = start(pipe.clone());
    assert!(feed.borrow().snapshot.is_none() && feed.borrow().stale_since.is_some());
    let inner = scope.clone();
    scope.spawn_graceful("watch", async move { follower.run(inner).await.unwrap() });

    feed.wait_for(|f| f.stale_since.is_none()).await.unwrap();
    assert_eq!(feed.borrow().snapshot.as_ref().unwrap().roles.len(), presets());
    pipe.set_cut(true);
    world.stop().await;
    feed.wait_for(|f| f.stale_since == Some(world.clock.now())).await.unwrap();
    assert!(feed.borrow().snapshot.is_some());

    let (_follower, kept) = start(pipe);
    assert_eq!(kept.borrow().snapshot.as_ref().unwrap().roles.len(), presets());
    assert!(kept.borrow().stale_since.is_some());
    assert!(scope.drain(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_keyring_swapped_is_used_by_the_next_connection() {
    let world = World::new().await;
    let node = world.node("web-1", "dev").await;
    let keyring = Keyring::new(world.trusting());
    let mut changed = keyring.changed();
    keyring.swap(world.trusting().showing(node.keys.certified(&node.certs.tls_cert_pem)));

    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    assert!(keyring.current().shows());
}

#[tokio::test]
async fn who_leaves_in_the_middle_of_a_change_leaves_its_event() {
    let (world, held) = World::held().await;
    let admin = world.admin().await;
    let target = LockTarget { user: Some("ann".parse().unwrap()), ..LockTarget::default() };
    let lock = CreateLock { target, message: String::new(), ttl: None };
    held.hold(Wait::After, "locks");
    let caller = admin.clone();
    let call = world.scope.spawn("call", async move { caller.call(&lock).await });
    held.reached().await;

    call.abort();
    assert!(call.await.is_err());
    // The same connection: who answers this has read that the caller left.
    let locks = admin.call(&ListLocks {}).await.unwrap().items;
    assert_eq!(admin.call(&ListLocks {}).await.unwrap().items, locks);
    held.let_go();

    assert_eq!(locks.len(), 1);
    eventually("the event", || world.has_event("lock.created", "TLK00I")).await;
    world.stop().await;
}
