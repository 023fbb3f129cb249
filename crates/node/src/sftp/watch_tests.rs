//! Whatever a client does, what was done to which file is told.

use proptest::prelude::*;

use wire::sftp::Attrs;

use super::*;

fn request(request: &Request<'_>, id: u32) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(id, &mut out);
    out
}

fn reply(reply: &Reply<'_>, id: u32) -> Vec<u8> {
    let mut out = Vec::new();
    reply.encode(id, &mut out);
    out
}

fn status(status: Status, id: u32) -> Vec<u8> {
    let message = if status == Status::Ok { "" } else { "Permission denied" };
    reply(&Reply::Status { status, message }, id)
}

fn open(id: u32, path: &str, flags: u32) -> Vec<u8> {
    let (path, flags) = (path.as_bytes(), OpenFlags(flags));
    request(&Request::Open { path, flags, attrs: Attrs::default() }, id)
}

fn conversation() -> (Vec<u8>, Vec<u8>) {
    let handle = &[0, 0, 0, 7][..];
    let mut up = request(&Request::Init { version: 3 }, 0);
    up.extend(open(1, "/etc/motd", OpenFlags::WRITE | OpenFlags::CREATE));
    let mut down = reply(&Reply::Version { version: 3, extensions: vec![] }, 0);
    down.extend(reply(&Reply::Handle(handle), 1));
    for (i, text) in ["hello ", "world"].iter().enumerate() {
        let (offset, data) = (6 * i as u64, text.as_bytes());
        up.extend(request(&Request::Write { handle, offset, data }, 2 + i as u32));
        down.extend(status(Status::Ok, 2 + i as u32));
    }
    up.extend(request(&Request::Close { handle }, 9));
    down.extend(status(Status::Ok, 9));
    up.extend(request(&Request::Remove { path: b"/etc/shadow" }, 10));
    down.extend(status(Status::PermissionDenied, 10));
    (up, down)
}

/// Feeds the open first, then the rest in pieces of `step`, requests before replies as they would be.
fn watch(step: usize) -> Vec<Seen> {
    let (up, down) = conversation();
    let mut watcher = Watcher::new();
    let (up_first, up_rest) = up.split_at(9 + open(1, "/etc/motd", 0).len());
    let (down_first, down_rest) = down.split_at(9 + 17);
    watcher.client(up_first).unwrap();
    watcher.server(down_first).unwrap();
    for piece in up_rest.chunks(step) {
        watcher.client(piece).unwrap();
    }
    for piece in down_rest.chunks(step) {
        watcher.server(piece).unwrap();
    }
    watcher.finish()
}

/// What a server refuses is not in the file, and its hash would be of what nobody can find there.
#[test]
fn what_the_server_did_not_take_is_not_written() {
    let handle = &[0, 0, 0, 7][..];
    for (outcomes, written, hashed) in [
        ([Status::Ok, Status::Ok], 11, true),
        ([Status::Failure, Status::Failure], 0, false),
        ([Status::Ok, Status::Failure], 6, false),
        ([Status::Failure, Status::Ok], 5, false),
    ] {
        let mut watcher = Watcher::new();
        let mut up = request(&Request::Init { version: 3 }, 0);
        up.extend(open(1, "/etc/motd", OpenFlags::READ));
        watcher.client(&up).unwrap();
        let mut down = reply(&Reply::Version { version: 3, extensions: vec![] }, 0);
        down.extend(reply(&Reply::Handle(handle), 1));
        watcher.server(&down).unwrap();
        for (number, data) in [(2, &b"hello "[..]), (3, b"world")] {
            let offset = if number == 2 { 0 } else { 6 };
            watcher.client(&request(&Request::Write { handle, offset, data }, number)).unwrap();
        }
        watcher.client(&request(&Request::Close { handle }, 4)).unwrap();
        for (number, outcome) in [(2, outcomes[0]), (3, outcomes[1]), (4, Status::Ok)] {
            watcher.server(&status(outcome, number)).unwrap();
        }

        let seen = watcher.finish();

        let Some(Seen::Moved(moved)) = seen.last() else { panic!("{seen:?}") };
        assert_eq!((moved.written, moved.written_sha256.is_some()), (written, hashed), "{outcomes:?}");
    }
}

#[test]
fn an_upload_is_seen_with_its_hash_and_a_refusal_with_its_words() {
    let seen = watch(usize::MAX);

    let Seen::Deed(opened) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!((opened.action, opened.path.as_str()), (Action::Open, "/etc/motd"));
    let Seen::Moved(moved) = &seen[1] else { panic!("{seen:?}") };
    assert_eq!((moved.written, moved.read), (11, 0));
    assert_eq!(
        moved.written_sha256.as_deref(),
        Some("b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9")
    );
    let Seen::Deed(refused) = &seen[2] else { panic!("{seen:?}") };
    assert_eq!(refused.error.as_deref(), Some("Permission denied"));
}

proptest! {
    #[test]
    fn where_the_bytes_are_cut_changes_nothing(step in 1usize..40) {
        prop_assert_eq!(watch(step), watch(usize::MAX));
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        up in proptest::collection::vec(any::<u8>(), 0..400),
        down in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut watcher = Watcher::new();
        let _ = watcher.client(&up);
        let _ = watcher.server(&down);
        drop(watcher.finish());
    }
}

/// A watcher past the greeting.
fn greeted() -> Watcher {
    let mut watcher = Watcher::new();
    watcher.client(&request(&Request::Init { version: 3 }, 0)).unwrap();
    watcher.server(&reply(&Reply::Version { version: 3, extensions: vec![] }, 0)).unwrap();
    watcher
}

fn deeds(seen: Vec<Seen>) -> Vec<(Action, String, Option<String>)> {
    let deed = |seen| match seen {
        Seen::Deed(deed) => Some((deed.action, deed.path, deed.error)),
        Seen::Moved(_) => None,
    };
    seen.into_iter().filter_map(deed).collect()
}

#[test]
fn a_number_used_twice_hides_nothing() {
    let mut watcher = greeted();
    watcher.client(&request(&Request::Remove { path: b"/evidence" }, 5)).unwrap();
    watcher.client(&request(&Request::Opendir { path: b"/tmp" }, 5)).unwrap();

    watcher.server(&status(Status::Ok, 5)).unwrap();
    watcher.server(&reply(&Reply::Handle(b"d"), 5)).unwrap();

    assert_eq!(
        deeds(watcher.finish()),
        [(Action::Remove, "/evidence".to_owned(), None), (Action::Opendir, "/tmp".to_owned(), None)]
    );
}

#[test]
fn an_answer_to_a_question_of_the_same_number_is_no_deeds_outcome() {
    for question in [
        request(&Request::Stat { path: b"/nowhere" }, 5),
        // A request nobody can read is answered too.
        vec![0, 0, 0, 5, 99, 0, 0, 0, 5],
    ] {
        let mut watcher = greeted();
        watcher.client(&question).unwrap();
        watcher.client(&request(&Request::Remove { path: b"/evidence" }, 5)).unwrap();

        watcher.server(&status(Status::NoSuchFile, 5)).unwrap();
        watcher.server(&status(Status::Ok, 5)).unwrap();

        assert_eq!(deeds(watcher.finish()), [(Action::Remove, "/evidence".to_owned(), None)]);
    }
}

#[test]
fn the_answer_to_the_greeting_is_no_requests_answer() {
    let mut watcher = Watcher::new();
    watcher.client(&request(&Request::Init { version: 3 }, 0)).unwrap();
    // A version answer holds a 3 where others hold the number.
    watcher.client(&open(3, "/etc/motd", OpenFlags::READ)).unwrap();
    watcher.server(&reply(&Reply::Version { version: 3, extensions: vec![] }, 0)).unwrap();

    watcher.server(&reply(&Reply::Handle(b"h"), 3)).unwrap();

    assert!(matches!(watcher.finish().last(), Some(Seen::Moved(moved)) if moved.path == "/etc/motd"));
}

#[test]
fn a_guessed_handle_is_a_breach_before_anything_goes_through_it() {
    let handle = &[0, 0, 0, 0][..];
    let guesses = [
        Request::Write { handle, offset: 0, data: b"x" },
        Request::Fsetstat { handle, attrs: Attrs::default() },
    ];
    for guess in guesses {
        let mut watcher = greeted();
        watcher.client(&open(1, "/etc/motd", OpenFlags::WRITE)).unwrap();
        assert!(watcher.client(&request(&guess, 2)).is_err());
    }
}

#[test]
fn a_reply_that_answers_nothing_or_another_request_is_a_breach() {
    let mut watcher = greeted();
    assert!(watcher.server(&status(Status::Ok, 1)).is_err());

    let mut watcher = greeted();
    watcher.client(&request(&Request::Remove { path: b"f" }, 1)).unwrap();
    assert!(watcher.server(&status(Status::Ok, 2)).is_err());
}

#[test]
fn out_of_order_data_has_no_hash_and_too_many_requests_end_the_session() {
    let mut watcher = greeted();
    watcher.client(&open(1, "f", OpenFlags::WRITE)).unwrap();
    watcher.server(&reply(&Reply::Handle(b"h"), 1)).unwrap();
    watcher.client(&request(&Request::Write { handle: b"h", offset: 5, data: b"x" }, 2)).unwrap();

    let outcome = (0..=PENDING as u32).try_for_each(|id| watcher.client(&open(id, "f", 1)));
    let seen = watcher.finish();

    assert!(outcome.is_err());
    let Some(Seen::Moved(moved)) = seen.last() else { panic!("{seen:?}") };
    assert_eq!((moved.written, moved.written_sha256.as_deref()), (1, None));
}
