//! The screen against what people would see.

use std::time::Duration;

use model::api::timeline::MarkKind;
use model::{SessionId, Timestamp};
use proptest::prelude::*;

use super::glance::glance_within;
use super::*;
use crate::recording::frame::{GapReason, Start};
use crate::recording::{Segment, Writer};

fn segment(frames: &[(u64, Frame<'_>)]) -> Vec<u8> {
    let key = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let mut writer = Writer::new(SessionId::from_random([1; 16]), Timestamp::from_secs(1));
    for (ms, frame) in frames {
        writer.push(Duration::from_millis(*ms), frame);
    }
    writer.seal(false, &key).unwrap().unwrap().bytes
}

fn look(frames: &[(u64, Frame<'_>)], screen: &mut Screen) -> Glance {
    let bytes = segment(frames);
    glance(&Segment::parse(&bytes).unwrap(), screen).unwrap()
}

fn shown(screen: &Screen) -> Vec<String> {
    screen.rows(true).into_iter().map(|row| row.text).collect()
}

fn texts(glance: &Glance) -> Vec<&str> {
    glance.rows.iter().map(|row| row.text.as_str()).collect()
}

#[test]
fn rows_are_told_once_when_they_come_to_be_seen() {
    let mut screen = Screen::default();
    let out = look(
        &[
            (0, Frame::Output(b"ann@web:~$ ")),
            (900, Frame::Output(b"l")),
            (1_500, Frame::Output(b"s\r\n")),
            (1_600, Frame::Output("文件一.txt\r\nb.txt\r\nann@web:~$ ".as_bytes())),
        ],
        &mut screen,
    );

    assert_eq!(texts(&out), ["ann@web:~$ ls", "文件一.txt", "b.txt", "ann@web:~$"]);
    assert_eq!(out.rows[0].at, Duration::from_millis(1_600));
    let marks: Vec<_> = out.marks.iter().map(|m| (m.kind, m.label.as_str())).collect();
    assert_eq!(marks, [(MarkKind::Command, "ls")]);
    let next = look(&[(20_000, Frame::Output(b"\r\nmore"))], &mut screen);
    assert_eq!(texts(&next), ["more"]);
}

#[test]
fn a_command_is_marked_once_and_whole_though_a_segment_ends_while_it_is_typed() {
    let mut screen = Screen::default();
    let halves: [&[_]; 3] = [
        &[(0, Frame::Output(b"ann@web:~$ git st"))],
        &[(5_000, Frame::Output(b"atus"))],
        &[(9_000, Frame::Output(b"\r\nclean\r\nann@web:~$ exit\r\n"))],
    ];

    let outs: Vec<_> = halves.iter().map(|frames| look(frames, &mut screen)).collect();

    assert_eq!(texts(&outs[0]), ["ann@web:~$ git st"]);
    assert_eq!(texts(&outs[1]), ["ann@web:~$ git status"]);
    assert_eq!(texts(&outs[2]), ["clean", "ann@web:~$ exit"]);
    let marks: Vec<_> =
        outs.iter().map(|out| out.marks.iter().map(|m| m.label.as_str()).collect::<Vec<_>>()).collect();
    assert_eq!(marks, [vec![], vec![], vec!["git status", "exit"]]);
}

#[test]
fn what_scrolls_by_between_two_looks_is_seen() {
    let mut lines = String::new();
    for n in 0..500 {
        lines.push_str(&format!("line {n}\r\n"));
    }

    let out = look(&[(0, Frame::Output(lines.as_bytes()))], &mut Screen::default());

    assert_eq!(out.rows.len(), 500);
    assert_eq!(out.rows[3].text, "line 3");
}

#[test]
fn a_wrapped_row_is_one_row() {
    let long = format!("{}needle{}\r\n", "x".repeat(77), "y".repeat(100));

    let out = look(&[(0, Frame::Output(long.as_bytes()))], &mut Screen::default());

    assert_eq!(texts(&out), [long.trim_end()]);
}

#[test]
fn a_screen_goes_on_from_its_picture() {
    let mut screen = Screen::new(40, 10);
    screen.draw(&Frame::Output("shell\r\n".as_bytes()));
    screen.draw(&Frame::Output("\x1b[?1049h\x1b[31m编辑\x1b[2;3H".as_bytes()));
    let mut again = Screen::restored(&screen.picture());

    assert_eq!(again.picture(), screen.picture());
    for screen in [&mut screen, &mut again] {
        screen.draw(&Frame::Output(b"\x1b[?1049lback"));
        assert_eq!(shown(screen), ["shell", "back"]);
    }
}

#[test]
fn a_flood_has_pictures_on_its_way_and_drawing_goes_on_from_each() {
    let flood: Vec<String> =
        (0..200).map(|n| format!("\x1b[3{}m第{n}行 {}\r\n", n % 8, "x".repeat(3_000))).collect();
    // Cut where it falls, so that some characters are cut.
    let flood = flood.concat();
    let pieces: Vec<&[u8]> = flood.as_bytes().chunks(4_096).collect();
    let frames: Vec<_> = pieces.iter().zip(1..).map(|(piece, ms)| (ms, Frame::Output(piece))).collect();
    let mut screen = Screen::default();

    let out = look(&frames, &mut screen);

    assert_eq!((out.pictures[0].frames, out.pictures[0].at), (0, 0));
    assert!(out.pictures.len() >= flood.len() / BETWEEN, "{}", out.pictures.len());
    for picture in &out.pictures {
        let drawn = usize::try_from(picture.frames).unwrap();
        assert_eq!(picture.at, drawn as u64 * 1_000, "the last frame drawn on it says when it is");
        let mut again = Screen::restored(picture);
        for (_, frame) in &frames[drawn..] {
            again.draw(frame);
        }
        assert_eq!(again.picture(), screen.picture());
    }
}

#[test]
fn pictures_take_a_bounded_room_and_one_moment_has_one() {
    let page = "界".repeat(20_000);
    let busy: Vec<_> = (0..60).map(|n| (n / 15, Frame::Output(page.as_bytes()))).collect();
    let frames = [vec![(0, Frame::Resize { cols: 400, rows: 200 })], busy].concat();

    let out = look(&frames, &mut Screen::default());

    let taken: usize = out.pictures.iter().skip(1).map(|picture| picture.state.len()).sum();
    assert!(taken < 2 * MAX_PICTURES, "{taken}");
    assert!(out.pictures.windows(2).all(|two| two[0].at < two[1].at || two[0].frames == 0));
}

#[test]
fn marks_and_activity_say_when_things_happened() {
    let start = Start { kind: "shell".into(), cols: 100, rows: 30, ..Start::default() };
    let out = look(
        &[
            (0, Frame::Start(start)),
            (100, Frame::Output(b"abc")),
            (2_100, Frame::Output(b"defg")),
            (2_200, Frame::Resize { cols: 90, rows: 30 }),
            (2_300, Frame::Resize { cols: 120, rows: 40 }),
            (2_400, Frame::Gap { reason: GapReason::Disk, frames: 1, bytes: 1 }),
            (2_500, Frame::Exit(3)),
        ],
        &mut Screen::default(),
    );

    assert_eq!(out.activity, [3, 0, 4]);
    let marks: Vec<_> = out.marks.iter().map(|m| (m.kind, m.label.as_str())).collect();
    assert_eq!(marks, [(MarkKind::Resize, "120×40"), (MarkKind::Gap, "disk"), (MarkKind::Exit, "3")]);
    assert_eq!((out.pictures[0].cols, out.pictures[0].rows), (80, 24));
}

#[test]
fn text_is_bounded_and_the_last_screen_is_kept() {
    let mut frames = Vec::new();
    let lines: Vec<String> = (0..40_000).map(|n| format!("row number {n}\r\n")).collect();
    for chunk in lines.chunks(2_000) {
        frames.push(chunk.concat());
    }
    let frames: Vec<_> = frames.iter().map(|text| (0, Frame::Output(text.as_bytes()))).collect();

    let out = look(&frames, &mut Screen::default());

    let text: usize = out.rows.iter().map(|row| row.text.len()).sum();
    assert!(text <= MAX_TEXT + 24 * MAX_ROW, "{text}");
    assert_eq!(out.rows.last().unwrap().text, "row number 39999");
}

#[test]
fn a_character_is_repeated_to_the_end_of_a_row_at_most_wherever_its_request_is_cut() {
    for (asked, drawn) in [
        ("x\x1b[65535b!", "x\x1b[80b!"),
        ("x\u{9b}65535b!", "x\x1b[80b!"),
        ("x\x1b[655\r\n35b!", "x\r\n\x1b[80b!"),
        ("界\x1b[999;5b!", "界\x1b[80b!"),
        ("x\x1b[7b!", "xxxxxxxx!"),
        ("x\x1b[b!", "xx!"),
        ("x\x1b[?65535b!", "x!"),
        ("\x1b]0;x\x1b[65535b\x07!", "!"),
    ] {
        let mut wanted = Screen::default();
        wanted.draw(&Frame::Output(drawn.as_bytes()));
        for cut in 0..=asked.len() {
            let (one, two) = asked.as_bytes().split_at(cut);
            let mut screen = Screen::default();
            screen.draw(&Frame::Output(one));
            // Also when a segment ends there, and drawing goes on from its picture.
            let mut again =
                if screen.is_whole() { Screen::restored(&screen.picture()) } else { Screen::default() };
            let goes_on = screen.is_whole();

            screen.draw(&Frame::Output(two));
            again.draw(&Frame::Output(two));

            assert_eq!(screen.picture(), wanted.picture(), "{asked:?} cut at {cut}");
            assert!(!goes_on || again.picture() == wanted.picture(), "{asked:?} goes on at {cut}");
        }
    }
}

#[test]
fn a_segment_that_asks_for_too_much_is_drawn_so_far_and_keeps_nobody_from_the_next() {
    const WORK: u64 = 1_000_000;
    for flood in ["x\x1b[65535b", "\x1b#8\x1b[2J", "\x1bc", "\x1b[?1047h\x1b[?1047l", "\x1b[999S"] {
        let flood = flood.repeat(60_000 / flood.len());
        let mut screen = Screen::default();
        let bytes = segment(&[
            (0, Frame::Resize { cols: 500, rows: 200 }),
            (100, Frame::Output(b"before\r\n")),
            (1_000, Frame::Output(flood.as_bytes())),
            (2_000, Frame::Output(b"after\r\n")),
            (2_500, Frame::Resize { cols: 100, rows: 40 }),
            (3_000, Frame::Exit(3)),
        ]);

        let out = glance_within(&Segment::parse(&bytes).unwrap(), &mut screen, WORK).unwrap();

        assert!(!out.whole && screen.is_spent(), "{:?}", &flood[..4]);
        assert_eq!(texts(&out)[0], "before");
        assert!(!texts(&out).contains(&"after"));
        let marks: Vec<_> = out.marks.iter().map(|mark| (mark.kind, mark.at)).collect();
        let kinds = [MarkKind::Resize, MarkKind::Mark, MarkKind::Resize, MarkKind::Exit];
        assert_eq!(marks, kinds.into_iter().zip([0, 1_000_000, 2_500_000, 3_000_000]).collect::<Vec<_>>());
        assert_eq!(out.activity.iter().sum::<u64>() as usize, flood.len() + 15, "how busy it was is known");
        let kept: usize = out.rows.iter().map(|row| row.text.len()).sum();
        assert!(kept <= MAX_GONE, "{kept}");

        let next = look(&[(4_000, Frame::Output(b"next\r\n"))], &mut screen);

        assert_eq!((texts(&next), next.whole), (vec!["next"], true));
        assert_eq!((next.pictures[0].cols, next.pictures[0].rows), (100, 40));
        assert_eq!(next.pictures[0].state, Screen::new(100, 40).picture().state);
    }
}

#[test]
fn rows_that_go_off_the_top_take_a_bounded_room() {
    let mut screen = Screen::new(500, 200);

    let gone = screen.draw(&Frame::Output("\x1b#8\x1b[2J".repeat(200).as_bytes()));

    let kept: usize = gone.iter().map(String::len).sum();
    assert!((MAX_GONE..MAX_GONE + MAX_ROW).contains(&kept), "{kept}");
}

proptest! {
    #[test]
    fn no_bytes_and_no_sizes_break_a_screen(
        pieces in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..200), any::<u16>(), 0_u16..12), 0..20)
    ) {
        let mut screen = Screen::new(3, 3);
        for (bytes, cols, rows) in &pieces {
            screen.draw(&Frame::Output(bytes));
            screen.draw(&Frame::Output(b"\x1b[5;5H\xe7\x95\x8c\x1b[1L\x1b[2P"));
            screen.draw(&Frame::Resize { cols: *cols, rows: *rows });
            screen.look(false);
            let again = Screen::restored(&screen.picture());
            prop_assert_eq!(shown(&again), shown(&screen));
        }
    }
}
