//! Frames as text (what was on the screen, byte for byte) and as JSON lines.
//!
//! The text form is for pipes; whoever prints it to a terminal gets what the session's terminal got.

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::frame::{Frame, Stream, TimedFrame};

/// The bytes a frame put on the screen or the outputs of a command; empty for everything else.
#[must_use]
pub fn shown<'a>(frame: &Frame<'a>) -> &'a [u8] {
    match frame {
        Frame::Output(bytes) | Frame::Bytes { stream: Stream::Stdout | Stream::Stderr, data: bytes } => bytes,
        _ => &[],
    }
}

/// A frame as one JSON object: `at` in seconds, `kind`, and the fields of its kind. Bytes are given as `text` when
/// they are UTF-8 and as `base64` otherwise.
#[must_use]
pub fn json(frame: &TimedFrame<'_>) -> Value {
    let (kind, fields) = match &frame.frame {
        Frame::Start(start) => ("start", json!(start)),
        Frame::Output(bytes) => ("output", data(bytes)),
        Frame::Input(bytes) => ("input", data(bytes)),
        Frame::Resize { cols, rows } => ("resize", json!({"cols": cols, "rows": rows})),
        Frame::Join(who) => ("join", json!({"who": who})),
        Frame::Leave(who) => ("leave", json!({"who": who})),
        Frame::Gap { reason, frames, bytes } => {
            ("gap", json!({"reason": reason, "frames": frames, "bytes": bytes}))
        }
        Frame::ExecStart(command) => ("exec", json!({"command": command})),
        Frame::Bytes { stream, data: bytes } => (stream.as_str(), data(bytes)),
        Frame::Total { stream, bytes, hash } => {
            ("total", json!({"stream": stream, "bytes": bytes, "sha256": hash.to_string()}))
        }
        Frame::Exit(status) => ("exit", json!({"status": status})),
        Frame::Signal(name) => ("signal", json!({"name": name})),
        Frame::Mark(label) => ("mark", json!({"label": label})),
        Frame::End { interrupted, reason } => ("end", json!({"interrupted": interrupted, "reason": reason})),
    };
    let mut object = json!({"at": frame.at.as_secs_f64(), "kind": kind});
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
        for (key, value) in fields {
            // `start` has a kind of its own: shell or exec.
            let key = if key == "kind" { "session".to_owned() } else { key };
            object.insert(key, value);
        }
    }
    object
}

fn data(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({"text": text}),
        Err(_) => json!({"base64": BASE64.encode(bytes)}),
    }
}
