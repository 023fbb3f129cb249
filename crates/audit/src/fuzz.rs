//! Entry points for fuzzing: each takes any bytes and must neither panic nor take unbounded memory or time.

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

/// Journals: recover whatever is whole.
pub fn journal(data: &[u8]) {
    drop(journal::recover(data));
}
