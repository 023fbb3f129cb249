//! The store contract as tests. `testkit::store_contract!(make)` makes one test of each promise; `make` takes a
//! [`runtime::Clock`] and gives a fresh, empty store and whatever must live as long as it (a directory).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runtime::Clock;
use store::{Condition, Key, Order, Range, Store, StoreError, Txn};

/// Declares the suite as tests of the calling crate.
#[macro_export]
macro_rules! store_contract {
    ($make:expr) => {
        $crate::store_contract!(@each $make,
            a_put_is_read_back, a_transaction_is_all_or_nothing, a_lost_update_is_refused,
            revisions_only_grow, ranges_page_in_both_directions, a_prefix_is_not_its_neighbour,
            an_ended_entry_is_absent_at_once, a_sweep_tells_watchers, a_watch_sees_every_change_once_in_order,
            a_watch_resumes_where_it_left_off, quiet_writes_do_not_wake_watchers, concurrent_creates_have_one_winner,
            bounds_are_kept);
    };
    (@each $make:expr, $($name:ident),+) => {
        $(#[tokio::test]
        async fn $name() {
            let clock = runtime::Clock::manual(model::Timestamp::from_secs(1_000_000));
            let (store, _keep) = ($make)(clock.clone());
            $crate::store_contract::$name(std::sync::Arc::new(store), clock).await;
        })+
    };
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

async fn put<S: Store>(store: &S, at: &str, value: &str) -> u64 {
    store.commit(Txn::new().put(key(at), value.to_owned())).await.unwrap().revision
}

async fn keys<S: Store>(store: &S, range: Range) -> (Vec<String>, bool) {
    let page = store.range(&range).await.unwrap();
    (page.entries.iter().map(|e| e.key.to_string()).collect(), page.more)
}

async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), wait).await.expect("nothing came within 120 s")
}

pub async fn a_put_is_read_back<S: Store>(store: Arc<S>, _clock: Clock) {
    let revision = put(&*store, "users/ann", "1").await;

    let entry = store.get(&key("users/ann")).await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (Bytes::from_static(b"1"), revision));
    assert_eq!(store.get(&key("users/bob")).await.unwrap(), None);

    store.commit(Txn::new().delete(key("users/ann"))).await.unwrap();
    assert_eq!(store.get(&key("users/ann")).await.unwrap(), None);
}

pub async fn a_transaction_is_all_or_nothing<S: Store>(store: Arc<S>, _clock: Clock) {
    put(&*store, "a/there", "x").await;

    let refused = store
        .commit(
            Txn::new().when(Condition::Absent(key("a/there"))).put(key("a/one"), "1").put(key("a/two"), "2"),
        )
        .await;

    assert!(matches!(refused, Err(StoreError::Conflict(k)) if k == key("a/there")));
    assert_eq!(store.get(&key("a/one")).await.unwrap(), None);
    store
        .commit(
            Txn::new().when(Condition::Present(key("a/there"))).put(key("a/one"), "1").put(key("a/two"), "2"),
        )
        .await
        .unwrap();
    assert_eq!(store.all("a").await.unwrap().len(), 3);
}

pub async fn a_lost_update_is_refused<S: Store>(store: Arc<S>, _clock: Clock) {
    let first = put(&*store, "a/x", "1").await;
    put(&*store, "a/x", "2").await;

    let late = store.commit(Txn::new().when(Condition::At(key("a/x"), first)).put(key("a/x"), "3")).await;

    assert!(matches!(late, Err(StoreError::Conflict(_))));
    assert_eq!(store.get(&key("a/x")).await.unwrap().unwrap().value, Bytes::from_static(b"2"));
}

pub async fn revisions_only_grow<S: Store>(store: Arc<S>, _clock: Clock) {
    let mut last = 0;
    for n in 0..50 {
        let revision = put(&*store, &format!("a/{}", n % 3), "x").await;
        assert!(revision > last);
        last = revision;
    }
    assert_eq!(store.range(&Range::under("a")).await.unwrap().revision, last);
}

pub async fn ranges_page_in_both_directions<S: Store>(store: Arc<S>, _clock: Clock) {
    for name in ["a", "b", "c", "d", "e"] {
        put(&*store, &format!("n/{name}"), name).await;
    }

    assert_eq!(keys(&*store, Range::under("n").limit(2)).await, (vec!["n/a".into(), "n/b".into()], true));
    assert_eq!(
        keys(&*store, Range::under("n").limit(3).after(Some(key("n/b")))).await,
        (vec!["n/c".into(), "n/d".into(), "n/e".into()], false)
    );
    assert_eq!(
        keys(
            &*store,
            Range { order: Order::Descending, limit: 2, after: Some(key("n/d")), prefix: "n".into() }
        )
        .await,
        (vec!["n/c".into(), "n/b".into()], true)
    );
}

pub async fn a_prefix_is_not_its_neighbour<S: Store>(store: Arc<S>, _clock: Clock) {
    for at in ["ab/x", "a/x", "a0/x", "a-b/x", "a/x/y", "a/\u{4e2d}"] {
        put(&*store, at, "x").await;
    }

    assert_eq!(keys(&*store, Range::under("a")).await.0, ["a/x", "a/x/y", "a/\u{4e2d}"]);
}

pub async fn an_ended_entry_is_absent_at_once<S: Store>(store: Arc<S>, clock: Clock) {
    let ends = clock.now() + Duration::from_secs(30);
    store.commit(Txn::new().put_until(key("l/x"), "1", Some(ends))).await.unwrap();
    assert!(store.get(&key("l/x")).await.unwrap().is_some());

    clock.advance(Duration::from_secs(30));

    assert_eq!(store.get(&key("l/x")).await.unwrap(), None);
    assert!(store.all("l").await.unwrap().is_empty());
    store.commit(Txn::new().when(Condition::Absent(key("l/x"))).put(key("l/x"), "2")).await.unwrap();
    assert_eq!(store.sweep().await.unwrap(), 0);
    assert_eq!(store.get(&key("l/x")).await.unwrap().unwrap().value, Bytes::from_static(b"2"));
}

pub async fn a_sweep_tells_watchers<S: Store>(store: Arc<S>, clock: Clock) {
    let ends = clock.now() + Duration::from_secs(5);
    let at = store.commit(Txn::new().put_until(key("l/x"), "1", Some(ends))).await.unwrap().revision;
    let mut watch = store.watch("l", at).await.unwrap();
    clock.advance(Duration::from_secs(6));

    assert_eq!(store.sweep().await.unwrap(), 1);

    let changes = within(watch.next()).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].key.clone(), changes[0].value.clone()), (key("l/x"), None));
}

pub async fn a_watch_sees_every_change_once_in_order<S: Store>(store: Arc<S>, _clock: Clock) {
    let mut watch = store.watch("w", 0).await.unwrap();
    for n in 0..2_500 {
        put(&*store, &format!("w/{}", n % 7), &n.to_string()).await;
        if n % 100 == 0 {
            put(&*store, "other/x", "not seen").await;
        }
    }

    let mut seen = Vec::new();
    while seen.len() < 2_500 {
        seen.extend(within(watch.next()).await.unwrap());
    }
    let values: Vec<String> =
        seen.iter().map(|c| String::from_utf8(c.value.clone().unwrap().to_vec()).unwrap()).collect();
    assert_eq!(values, (0..2_500).map(|n| n.to_string()).collect::<Vec<_>>());
}

pub async fn a_watch_resumes_where_it_left_off<S: Store>(store: Arc<S>, _clock: Clock) {
    put(&*store, "w/a", "1").await;
    let page = store.range(&Range::under("w")).await.unwrap();
    store.commit(Txn::new().put(key("w/b"), "2").delete(key("w/a"))).await.unwrap();

    let mut watch = store.watch("w", page.revision).await.unwrap();

    let changes = within(watch.next()).await.unwrap();
    let told: Vec<(String, bool)> = changes.iter().map(|c| (c.key.to_string(), c.value.is_some())).collect();
    assert_eq!(told, [("w/b".to_owned(), true), ("w/a".to_owned(), false)]);
}

pub async fn quiet_writes_do_not_wake_watchers<S: Store>(store: Arc<S>, _clock: Clock) {
    let mut watch = store.watch("w", 0).await.unwrap();

    store.commit(Txn::new().put(key("w/log"), "1").quiet()).await.unwrap();
    put(&*store, "w/loud", "2").await;

    let changes = within(watch.next()).await.unwrap();
    assert_eq!(changes.last().unwrap().key, key("w/loud"));
    assert_eq!(store.get(&key("w/log")).await.unwrap().unwrap().value, Bytes::from_static(b"1"));
}

pub async fn concurrent_creates_have_one_winner<S: Store>(store: Arc<S>, _clock: Clock) {
    let tries: Vec<_> = (0..32)
        .map(|n| {
            let store = store.clone();
            async move {
                store
                    .commit(Txn::new().when(Condition::Absent(key("c/x"))).put(key("c/x"), n.to_string()))
                    .await
                    .is_ok()
            }
        })
        .collect();

    let mut set = tokio::task::JoinSet::new();
    for attempt in tries {
        set.spawn(attempt);
    }
    let won = set.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
}

pub async fn bounds_are_kept<S: Store>(store: Arc<S>, _clock: Clock) {
    let large = vec![0u8; store::contract::MAX_VALUE + 1];

    assert!(matches!(store.commit(Txn::new().put(key("a/x"), large)).await, Err(StoreError::Bounds(_))));
    assert!(store.commit(Txn::new().put(key("a/x"), vec![7u8; store::contract::MAX_VALUE])).await.is_ok());
}
