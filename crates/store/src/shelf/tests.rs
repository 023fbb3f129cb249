//! The shelf's promises.

use super::*;

fn book(id: &str, who: &str, began: i64) -> Book {
    Book {
        id: id.into(),
        who: who.into(),
        place: "node-id".into(),
        place_name: "web-1".into(),
        began: Timestamp::from_secs(began),
    }
}

fn leaf(n: u64, lines: &[&str]) -> Leaf {
    let lines =
        lines.iter().enumerate().map(|(i, text)| Line { at: n * 100 + i as u64, text: (*text).into() });
    Leaf {
        n,
        note: Bytes::from(format!("note {n}")),
        picture: Bytes::from(format!("picture {n}")),
        lines: lines.collect(),
    }
}

fn wanted(text: &str) -> Find {
    Find {
        query: Query::parse(text).unwrap(),
        filter: Filter::default(),
        allow: Box::new(|_| true),
        start: String::new(),
        limit: 10,
    }
}

async fn filled(dir: &tempfile::TempDir) -> SqliteShelf {
    let shelf = SqliteShelf::open(&dir.path().join("screens.db")).unwrap();
    shelf
        .put(book("a", "ann", 10), leaf(0, &["ls -la", "Permission denied", "permission DENIED again"]))
        .await
        .unwrap();
    shelf.put(book("b", "bob", 20), leaf(0, &["训练开始", "发生错误：内存不足"])).await.unwrap();
    shelf.put(book("a", "ann", 10), leaf(1, &["permission", "denied"])).await.unwrap();
    shelf
}

#[tokio::test]
async fn pages_come_in_order_and_give_back_what_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = filled(&dir).await;

    assert!(matches!(
        shelf.put(book("a", "ann", 10), leaf(1, &[])).await,
        Err(ShelfError::Order { wanted: 2, given: 1 })
    ));
    assert_eq!(shelf.pages("a").await.unwrap(), 2);
    assert_eq!(shelf.pages("none").await.unwrap(), 0);
    for (from, limit, notes) in [
        (0, 10, &["note 0", "note 1"][..]),
        (0, 1, &["note 0"]),
        (1, 1, &["note 1"]),
        (2, 10, &[]),
        (u64::MAX, 10, &[]),
        (0, 0, &[]),
    ] {
        assert_eq!(shelf.notes("a", from, limit).await.unwrap(), notes, "{from}, {limit}");
    }
    assert_eq!(shelf.picture("a", 1).await.unwrap().unwrap(), "picture 1");
    let lines: Vec<_> =
        shelf.lines("a", 1).await.unwrap().unwrap().into_iter().map(|l| (l.at, l.text)).collect();
    assert_eq!(lines, [(100, "permission".to_owned()), (101, "denied".to_owned())]);
    assert_eq!(shelf.lines("a", 2).await.unwrap(), None);
    assert_eq!(shelf.picture("a", 2).await.unwrap(), None);
}

#[tokio::test]
async fn a_picture_too_large_to_be_read_back_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = filled(&dir).await;
    let large = Leaf { picture: Bytes::from(vec![b'x'; 9 * 1024 * 1024]), ..leaf(2, &["needle"]) };

    shelf.put(book("a", "ann", 10), large).await.unwrap();

    assert_eq!(shelf.picture("a", 2).await.unwrap().unwrap(), "");
    assert_eq!(shelf.find(wanted("needle")).await.unwrap().hits.len(), 1);
}

#[tokio::test]
async fn all_words_must_be_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = filled(&dir).await;

    let found = shelf.find(wanted("permission denied")).await.unwrap();

    let [hit] = found.hits.as_slice() else { panic!("{found:?}") };
    assert_eq!((hit.book.as_str(), hit.n, hit.more), ("a", 0, 1));
    assert_eq!(hit.line, Line { at: 1, text: "Permission denied".into() });
    let both = shelf.find(wanted("PERMISSION")).await.unwrap().hits;
    assert_eq!(both.iter().map(|h| h.n).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(shelf.find(wanted("错误")).await.unwrap().hits[0].line.text, "发生错误：内存不足");
    assert!(shelf.find(wanted("误错")).await.unwrap().hits.is_empty());
}

#[tokio::test]
async fn what_may_not_be_told_of_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = filled(&dir).await;
    let count = |find: Find| {
        let shelf = shelf.clone();
        async move { shelf.find(find).await.unwrap().hits.len() }
    };
    let filter = |filter: Filter| Find { filter, ..wanted("permission") };

    assert_eq!(count(Find { allow: Box::new(|b| b.who == "bob"), ..wanted("permission") }).await, 0);
    assert_eq!(count(filter(Filter { who: "bob".into(), ..Filter::default() })).await, 0);
    assert_eq!(count(filter(Filter { who: "ann".into(), ..Filter::default() })).await, 2);
    assert_eq!(count(filter(Filter { place: "web-1".into(), ..Filter::default() })).await, 2);
    assert_eq!(count(filter(Filter { id: "b".into(), ..Filter::default() })).await, 0);
    let late = Some(Timestamp::from_secs(15));
    assert_eq!(count(filter(Filter { from: late, ..Filter::default() })).await, 0);
    assert_eq!(count(filter(Filter { to: late, ..Filter::default() })).await, 2);
}

#[tokio::test]
async fn a_search_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = SqliteShelf::open(&dir.path().join("screens.db")).unwrap();
    for n in 0..25 {
        shelf.put(book("a", "ann", 1), leaf(n, &["needle"])).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut start = String::new();
    loop {
        let found = shelf.find(Find { start, ..wanted("needle") }).await.unwrap();
        seen.extend(found.hits.iter().map(|hit| hit.n));
        start = found.next;
        if start.is_empty() {
            break;
        }
    }

    assert_eq!(seen, (0..25).rev().collect::<Vec<_>>());
    let bad = shelf.find(Find { start: "x".into(), ..wanted("needle") }).await;
    assert!(matches!(bad, Err(ShelfError::Cursor)));
}

#[tokio::test]
async fn a_file_that_is_no_shelf_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("screens.db");
    std::fs::write(
        &path,
        b"this is no database at all, but longer than a header of one hundred bytes would be: no",
    )
    .unwrap();

    let shelf = SqliteShelf::open(&path).unwrap();

    assert_eq!(shelf.pages("a").await.unwrap(), 0);
    drop(shelf);
    let again = filled(&dir).await;
    drop(again);
    assert_eq!(SqliteShelf::open(&path).unwrap().pages("a").await.unwrap(), 2);
}
