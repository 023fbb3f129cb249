//! What holds of recordings as a whole: round trips, damage found and named, crashes survived, exports.

use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use model::api::recordings::{RecordingDetail, RecordingInfo, RecordingState};
use model::{NodeId, SessionId, Timestamp};
use proptest::prelude::*;

use super::frame::{self, Frames, MAX_PAYLOAD};
use super::journal::{self, Journal};
use super::segment::{MAX, MAX_BLOCK};
use super::*;
use crate::key::pair_from_seed;
use crate::{Error, Hash, Sign};

fn seal_key() -> Ed25519KeyPair {
    pair_from_seed(&[1; 32]).unwrap()
}

pub(super) fn audit_key() -> Ed25519KeyPair {
    pair_from_seed(&[2; 32]).unwrap()
}

fn session() -> SessionId {
    SessionId::from_random([9; 16])
}

fn ms(at: u64) -> Duration {
    Duration::from_millis(at)
}

fn start() -> Start {
    Start {
        user: "ann".into(),
        login: "root".into(),
        node: "n".into(),
        node_name: "web-1".into(),
        kind: "shell".into(),
        term: "xterm-256color".into(),
        cols: 120,
        rows: 40,
        ..Start::default()
    }
}

/// `count` segments of a few frames each, the last marked so.
pub(super) fn recording(count: u64) -> Vec<Vec<u8>> {
    recording_of(Start { node: NodeId::from_random([3; 16]).to_string(), ..start() }, count)
}

fn recording_of(start: Start, count: u64) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(session(), Timestamp::from_secs(1_000));
    let mut out = Vec::new();
    writer.push(ms(0), &Frame::Start(start));
    for n in 0..count {
        for i in 0..20 {
            let line = format!("line {n} {i}\r\n");
            writer.push(ms(n * 1_000 + i * 10), &Frame::Output(line.as_bytes()));
        }
        let last = n + 1 == count;
        if last {
            writer.push(ms(n * 1_000 + 900), &Frame::End { interrupted: false, reason: "exit" });
        }
        out.push(writer.seal(last, &seal_key()).unwrap().unwrap().bytes);
    }
    out
}

/// What the authority says of these segments once they are all there.
pub(super) fn statements(segments: &[Vec<u8>], state: RecordingState) -> RecordingDetail {
    let mut chain = Chain::new(session());
    let mut receipts = Vec::new();
    for bytes in segments {
        let n = chain.next();
        let hash = chain.admit(&Segment::parse(bytes).unwrap(), &seal_key().public()).unwrap();
        receipts.push(chain::receipt(&session(), n, &hash, &audit_key()).unwrap());
    }
    let closing = Closing { session: session(), count: chain.next(), hash: chain.head(), state };
    let closing_signature =
        if state == RecordingState::Live { String::new() } else { closing.sign(&audit_key()).unwrap() };
    let until = segments.last().map_or(ms(0), |last| Segment::parse(last).unwrap().header().until);
    let info = RecordingInfo {
        id: session(),
        user: "ann".parse().unwrap(),
        login: "root".parse().unwrap(),
        node: NodeId::from_random([3; 16]),
        node_name: "web-1".into(),
        kind: "shell".into(),
        command: String::new(),
        started: Timestamp::from_secs(1_000),
        ended: (state == RecordingState::Complete).then(|| Timestamp::from_secs(1_000) + until),
        segments: segments.len() as u64,
        bytes: segments.iter().map(|bytes| bytes.len() as u64).sum(),
        state,
        notice: None,
    };
    let seal_key = seal_key().public().to_string();
    RecordingDetail { info, seal_key, receipts, closing_signature }
}

pub(super) fn broken_at(detail: &RecordingDetail, segments: &[Vec<u8>]) -> Option<u64> {
    match verify(detail, segments, audit_key().public()) {
        Ok(_) => None,
        Err(Error::Broken { index, .. }) => Some(index),
        Err(other) => panic!("{other}"),
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..600);
    (0u8..13, bytes, any::<u64>(), ".{0,40}", any::<(u16, u16)>(), 0u64..1 << 50).prop_map(
        |(kind, bytes, n, text, (cols, rows), at)| {
            let frame = match kind {
                0 => Frame::Start(Start { command: text.clone(), cols, rows, ..start() }),
                1 => Frame::Output(&bytes),
                2 => Frame::Input(&bytes),
                3 => Frame::Resize { cols, rows },
                4 => Frame::Join(&text),
                5 => Frame::Leave(&text),
                6 => Frame::Gap { reason: GapReason::Disk, frames: n, bytes: n / 2 },
                7 => Frame::ExecStart(&text),
                8 => Frame::Bytes { stream: Stream::Stderr, data: &bytes },
                9 => Frame::Total { stream: Stream::Stdin, bytes: n, hash: Hash::of(&[&bytes]) },
                10 => Frame::Exit(i32::from(cols)),
                11 => Frame::Signal(&text),
                _ => Frame::End { interrupted: cols % 2 == 0, reason: &text },
            };
            let mut out = Vec::new();
            frame.encode(Duration::from_micros(at), &mut out);
            out
        },
    )
}

fn all_frames(segment: &Segment<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    segment
        .each(Duration::ZERO, |f| {
            f.frame.encode(f.at, &mut out);
            Ok(())
        })
        .unwrap();
    out
}

proptest! {
    #[test]
    fn frames_round_trip(encoded in any_frame()) {
        let (frame, rest) = frame::decode(&encoded).unwrap();
        let mut again = Vec::new();
        frame.frame.encode(frame.at, &mut again);

        prop_assert!(rest.is_empty());
        prop_assert_eq!(again, encoded);
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzz::frame(&bytes);
        crate::fuzz::segment(&bytes);
        crate::fuzz::journal(&bytes);
    }

    #[test]
    fn a_damaged_but_plausible_segment_is_survived(at in 0usize..2_000, value in any::<u8>()) {
        let mut bytes = recording(1).remove(0);
        let at = at % bytes.len();
        bytes[at] = value;
        crate::fuzz::segment(&bytes);
    }

    #[test]
    fn any_flipped_bit_names_its_segment(n in 0usize..4, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut segments = recording(4);
        let detail = statements(&segments, RecordingState::Complete);
        let at = at.index(segments[n].len());
        segments[n][at] ^= 1 << bit;

        prop_assert_eq!(broken_at(&detail, &segments), Some(n as u64));
    }

    #[test]
    fn any_drop_swap_cut_or_double_names_the_first_bad_segment(
        n in 0usize..5, other in 0usize..5, how in 0u8..5, len in any::<prop::sample::Index>()
    ) {
        let mut segments = recording(5);
        let detail = statements(&segments, RecordingState::Complete);
        let expected = match how {
            0 => { segments.remove(n); Some(n) }
            1 => { segments.swap(n, other); (n != other).then_some(n.min(other)) }
            2 => { segments.truncate(n); Some(n) }
            3 => { let len = len.index(segments[n].len()); segments[n].truncate(len); Some(n) }
            _ => { let again = segments[n].clone(); segments.insert(n, again); Some(n + 1) }
        };

        prop_assert_eq!(broken_at(&detail, &segments), expected.map(|n| n as u64));
    }

    #[test]
    fn a_journal_cut_anywhere_gives_back_whole_entries(cut in any::<prop::sample::Index>(), pieces in 1u64..6) {
        let mut writer = Writer::resume(session(), Timestamp::from_secs(5), 3, Hash([4; 32]), ms(50));
        let (mut journal, mut file) = Journal::begin(&writer);
        let mut whole = vec![(file.len(), Vec::new())];
        let mut raw = Vec::new();
        for n in 0..pieces {
            writer.push(ms(100 + n), &Frame::Output(format!("piece {n}").as_bytes()));
            for frames in writer.unjournaled() {
                raw.extend_from_slice(frames);
                file.extend_from_slice(&journal.entry(frames));
            }
            writer.journaled();
            whole.push((file.len(), raw.clone()));
        }
        let cut = cut.index(file.len() + 1);
        let kept = whole.iter().rev().find(|(len, _)| *len <= cut);

        match (journal::recover(&file[..cut]), kept) {
            (Ok(mut back), Some((len, raw))) => {
                prop_assert_eq!(back.torn, cut - len);
                prop_assert_eq!((back.writer.n(), back.writer.prev()), (3, Hash([4; 32])));
                match back.writer.seal(false, &seal_key()).unwrap() {
                    Some(sealed) => {
                        let segment = Segment::parse(&sealed.bytes).unwrap();
                        segment.check().unwrap();
                        prop_assert_eq!(&all_frames(&segment), raw);
                    }
                    None => prop_assert!(raw.is_empty()),
                }
            }
            (Err(_), None) => {}
            (back, kept) => prop_assert!(false, "{:?} {:?}", back, kept),
        }
    }

    #[test]
    fn a_flipped_bit_in_a_journal_never_gives_other_frames(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut writer = Writer::new(session(), Timestamp::from_secs(5));
        let (mut journal, mut file) = Journal::begin(&writer);
        for n in 0..4 {
            writer.push(ms(n), &Frame::Output(b"secret"));
            for frames in writer.unjournaled() {
                file.extend_from_slice(&journal.entry(frames));
            }
            writer.journaled();
        }
        let at = at.index(file.len());
        file[at] ^= 1 << bit;

        if let Ok(mut back) = journal::recover(&file) {
            prop_assert!(back.torn > 0);
            if let Some(sealed) = back.writer.seal(false, &seal_key()).unwrap() {
                let segment = Segment::parse(&sealed.bytes).unwrap();
                for frame in Frames::new(&all_frames(&segment)) {
                    prop_assert_eq!(frame.unwrap().frame, Frame::Output(b"secret"));
                }
            }
        }
    }
}

#[test]
fn a_whole_recording_verifies_offline() {
    let segments = recording(4);

    let report =
        verify(&statements(&segments, RecordingState::Complete), &segments, audit_key().public()).unwrap();

    assert_eq!((report.segments, report.frames), (4, 82));
    assert_eq!(report.state, RecordingState::Complete);
    assert!(!report.interrupted);
}

#[test]
fn an_abandoned_recording_says_so_and_cannot_be_passed_off_as_whole() {
    let segments = recording(4)[..2].to_vec();
    let abandoned = statements(&segments, RecordingState::Abandoned);
    let report = verify(&abandoned, &segments, audit_key().public()).unwrap();
    assert_eq!(report.state, RecordingState::Abandoned);

    let whole = statements(&segments, RecordingState::Complete);
    assert_eq!(broken_at(&whole, &segments), Some(2));
}

#[test]
fn a_live_recording_verifies_as_far_as_it_goes() {
    let segments = recording(4)[..3].to_vec();
    let detail = statements(&segments, RecordingState::Live);

    assert_eq!(verify(&detail, &segments, audit_key().public()).unwrap().state, RecordingState::Live);
    assert_eq!(broken_at(&detail, &segments[..2]), Some(2));
}

#[test]
fn statements_of_another_key_or_another_segment_are_refused() {
    let segments = recording(3);
    let good = statements(&segments, RecordingState::Complete);

    let mut swapped = good.clone();
    swapped.receipts.swap(0, 1);
    assert_eq!(broken_at(&swapped, &segments), Some(0));

    let mut no_closing = good.clone();
    no_closing.closing_signature = good.receipts[0].signature.clone();
    assert_eq!(broken_at(&no_closing, &segments), Some(3));

    let stranger = pair_from_seed(&[5; 32]).unwrap().public();
    assert!(matches!(verify(&good, &segments, stranger), Err(Error::Broken { index: 0, .. })));
}

#[test]
fn a_segment_sealed_by_another_node_is_refused() {
    let mut writer = Writer::new(session(), Timestamp::from_secs(1));
    writer.push(ms(0), &Frame::Output(b"x"));
    let stranger = pair_from_seed(&[6; 32]).unwrap();
    let bytes = writer.seal(true, &stranger).unwrap().unwrap().bytes;
    let segment = Segment::parse(&bytes).unwrap();

    assert!(segment.seal_holds(&stranger.public()));
    assert!(Chain::new(session()).admit(&segment, &seal_key().public()).is_err());
}

#[test]
fn seeking_unpacks_only_what_is_needed_and_finds_every_frame() {
    let mut writer = Writer::new(session(), Timestamp::from_secs(1));
    let noise: Vec<u8> = (0..60_000u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    for i in 0..16 {
        writer.push(ms(i * 100), &Frame::Output(&noise));
    }
    let bytes = writer.seal(true, &seal_key()).unwrap().unwrap().bytes;
    let segment = Segment::parse(&bytes).unwrap();
    assert!(segment.blocks().len() >= 4);
    assert!(segment.blocks().iter().all(|b| b.raw <= MAX_BLOCK));

    for from in [0, 1, 99, 100, 750, 1_500] {
        let mut seen = Vec::new();
        segment
            .each(ms(from), |f| {
                seen.push(f.at);
                Ok(())
            })
            .unwrap();
        let expected: Vec<_> = (0..16).map(|i| ms(i * 100)).filter(|at| *at >= ms(from)).collect();
        assert_eq!(seen, expected, "{from}");
    }
}

#[test]
fn the_index_finds_the_segment_of_a_moment() {
    let mut index = Index::default();
    for bytes in recording(3) {
        index.add(Segment::parse(&bytes).unwrap().header());
    }

    assert_eq!([0, 190, 191, 1_000, 2_000, 9_999].map(|at| index.find(ms(at))), [0, 0, 1, 1, 2, 3]);
    assert_eq!(index.length(), ms(2_900));
}

#[test]
fn an_idle_writer_holds_no_buffer_and_seals_nothing() {
    let mut writer = Writer::new(session(), Timestamp::from_secs(1));
    assert!(writer.seal(false, &seal_key()).unwrap().is_none());
    writer.push(ms(0), &Frame::Output(b"$ "));
    assert!(!writer.is_due(ms(9_999)));
    assert!(writer.is_due(ms(10_000)));

    writer.seal(false, &seal_key()).unwrap().unwrap();

    assert!(writer.is_empty() && !writer.is_due(Duration::from_secs(3_600)));
    assert_eq!(writer.unjournaled().count(), 0);
    assert!(std::mem::size_of::<Writer>() < 512);
}

#[test]
fn a_segment_claiming_too_much_is_refused_before_memory_is_taken() {
    let bytes = recording(1).remove(0);
    let entry = super::segment::HEADER;
    for (offset, value) in [(0, u32::MAX), (4, u32::MAX), (4, 1), (8, 0), (8, 7)] {
        let mut bad = bytes.clone();
        bad[entry + offset..entry + offset + 4].copy_from_slice(&value.to_be_bytes());
        assert!(Segment::parse(&bad).and_then(|s| s.check()).is_err(), "{offset} {value}");
    }
    assert!(Segment::parse(&vec![0; MAX + 1]).is_err());
}

#[test]
fn long_bytes_are_split_and_long_commands_are_cut() {
    let mut writer = Writer::new(session(), Timestamp::from_secs(1));
    let command = "x".repeat(MAX_PAYLOAD * 2);
    writer.push(ms(0), &Frame::Start(Start { command: command.clone(), ..start() }));
    writer.push(ms(0), &Frame::ExecStart(&command));
    writer.push_bytes(ms(1), &vec![b'y'; MAX_PAYLOAD * 3], Frame::Output);
    let bytes = writer.seal(true, &seal_key()).unwrap().unwrap().bytes;

    let mut shown = 0;
    Segment::parse(&bytes)
        .unwrap()
        .each(Duration::ZERO, |f| {
            shown += export::shown(&f.frame).len();
            Ok(())
        })
        .unwrap();
    assert_eq!(shown, MAX_PAYLOAD * 3);
}

#[test]
fn a_capture_keeps_the_first_megabyte_and_hashes_everything() {
    let mut capture = Capture::new(Stream::Stdout);
    let chunk = vec![7u8; 300_000];

    let kept: usize = (0..5).map(|_| capture.pass(&chunk).len()).sum();

    assert_eq!(kept, 1024 * 1024);
    assert_eq!(capture.total().bytes, 1_500_000);
    assert_eq!(capture.total().hash, Hash::of(&[&vec![7u8; 1_500_000]]));
}

fn cast(version: asciicast::Version) -> String {
    let mut exporter = asciicast::Exporter::new(version, Timestamp::from_secs(1_000));
    let mut out = String::new();
    let frames = [
        (0, Frame::Start(start())),
        (250, Frame::Output(b"h\xc3")),
        (500, Frame::Output(b"\xa9\xff\x1b[0m\"\r\n")),
        (1_500, Frame::Resize { cols: 100, rows: 30 }),
        (1_750, Frame::Gap { reason: GapReason::Overrun, frames: 2, bytes: 9 }),
        (2_000, Frame::Exit(3)),
        (2_000, Frame::End { interrupted: false, reason: "exit" }),
    ];
    for (at, frame) in frames {
        exporter.push(&TimedFrame { at: ms(at), frame }, &mut out);
    }
    exporter.finish(&mut out);
    out
}

#[test]
fn asciicast_v2_has_absolute_times() {
    assert_eq!(
        cast(asciicast::Version::V2),
        concat!(
            r#"{"env":{"TERM":"xterm-256color"},"height":40,"timestamp":1000,"title":"root@web-1","version":2,"width":120}"#,
            "\n",
            "[0.250000, \"o\", \"h\"]\n",
            "[0.500000, \"o\", \"é\u{fffd}\\u001b[0m\\\"\\r\\n\"]\n",
            "[1.500000, \"r\", \"100x30\"]\n",
            "[1.750000, \"m\", \"gap (overrun): 2 frames, 9 bytes missing\"]\n",
        )
    );
}

#[test]
fn asciicast_v3_has_intervals_and_the_exit_status() {
    assert_eq!(
        cast(asciicast::Version::V3),
        concat!(
            r#"{"term":{"cols":120,"rows":40,"type":"xterm-256color"},"timestamp":1000,"title":"root@web-1","version":3}"#,
            "\n",
            "[0.250000, \"o\", \"h\"]\n",
            "[0.250000, \"o\", \"é\u{fffd}\\u001b[0m\\\"\\r\\n\"]\n",
            "[1.000000, \"r\", \"100x30\"]\n",
            "[0.250000, \"m\", \"gap (overrun): 2 frames, 9 bytes missing\"]\n",
            "[0.250000, \"x\", \"3\"]\n",
        )
    );
}

#[test]
fn frames_export_as_json() {
    let frame = TimedFrame { at: ms(1_500), frame: Frame::Bytes { stream: Stream::Stderr, data: b"\xff" } };

    assert_eq!(export::json(&frame).to_string(), r#"{"at":1.5,"base64":"/w==","kind":"stderr"}"#);
}

/// Written by the first build of this format; every later build must read it.
const GOLDEN: &[u8] = include_bytes!("../../testdata/segment-v1.bin");

#[test]
fn a_segment_of_the_first_build_still_reads() {
    let segment = Segment::parse(GOLDEN).unwrap();

    Chain::new(session()).admit(&segment, &seal_key().public()).unwrap();
    assert_eq!(segment.header().frames, 22);
    assert_eq!(
        all_frames(&segment),
        all_frames(&Segment::parse(&recording_of(start(), 1).remove(0)).unwrap())
    );
}
