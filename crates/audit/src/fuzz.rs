//! Entry points for fuzzing: each takes any bytes and must neither panic nor take unbounded memory or time.

use crate::recording::bundle::{self, Bundle};
use crate::recording::frame::Frames;
use crate::recording::{Segment, TimedFrame, asciicast, export, journal};

/// Frames: what decodes encodes to the same frame again.
pub fn frame(data: &[u8]) {
    for frame in Frames::new(data).flatten() {
        let mut again = Vec::new();
        frame.frame.encode(frame.at, &mut again);
        let same = Frames::new(&again).next().is_some_and(|f| f.is_ok_and(|f| f == frame));
        assert!(same, "a frame changed by encoding it");
    }
}

/// Segments: parse, unpack, walk, export.
pub fn segment(data: &[u8]) {
    let Ok(segment) = Segment::parse(data) else { return };
    let started = segment.header().started;
    let mut exporter = asciicast::Exporter::new(asciicast::Version::V3, started);
    let mut out = String::new();
    let walked = segment.each(std::time::Duration::ZERO, |frame: TimedFrame<'_>| {
        out.clear();
        exporter.push(&frame, &mut out);
        drop(export::json(&frame));
        Ok(())
    });
    drop(walked);
}

/// Recordings in one file: parse, verify as if the sealing key were the authority's too, write again.
pub fn bundle(data: &[u8]) {
    let Ok((Bundle { detail, segments }, end)) = Bundle::as_far_as_whole(data) else { return };
    if let Ok(key) = detail.seal_key.parse() {
        let verdict = bundle::verify(data, key);
        assert!(end.is_ok() || verdict.is_err(), "a file that is cut was called whole");
    }
    if end.is_err() {
        return;
    }
    let mut again = Vec::new();
    let written = segments.iter().all(|segment| bundle::append(segment, &mut again).is_ok());
    assert!(written && data.ends_with(&again), "segments changed by writing them");
}

/// Journals: recover whatever is whole.
pub fn journal(data: &[u8]) {
    drop(journal::recover(data));
}

/// Screens: draw anything, as a segment's frames or as plain output, and go on from the picture.
pub fn screen(data: &[u8]) {
    use crate::recording::{Frame, Start, Writer};
    use crate::screen::{Screen, glance};

    let (cols, rows) = match data {
        [cols, rows, ..] => (u16::from(*cols), u16::from(*rows)),
        _ => return,
    };
    let mut writer = Writer::new(model::SessionId::from_random([1; 16]), model::Timestamp::from_millis(0));
    writer.push(std::time::Duration::ZERO, &Frame::Start(Start { cols, rows, ..Start::default() }));
    for (n, piece) in data.chunks(97).enumerate() {
        writer.push(std::time::Duration::from_millis(n as u64 * 150), &Frame::Output(piece));
        if let [a, b, ..] = piece {
            let (cols, rows) = (u16::from(*a) % 140, u16::from(*b) % 50);
            writer.push(std::time::Duration::from_millis(n as u64 * 150), &Frame::Resize { cols, rows });
        }
    }
    let Ok(key) = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]) else { return };
    let Ok(Some(sealed)) = writer.seal(true, &key) else { return };
    let Ok(segment) = Segment::parse(&sealed.bytes) else { return };
    let mut screen = Screen::default();
    drop(glance(&segment, &mut screen));
    drop(Screen::restored(&screen.picture()));
}
