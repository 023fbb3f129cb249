//! Entry points for fuzzing: each takes any bytes and must neither panic nor take unbounded memory or time.

use bytes::Bytes;

use crate::terminal::frame::FromPage;
use crate::terminal::frames;

/// What a page sends to its terminal: a message of a WebSocket, then a post of several. What decodes is what is written.
pub fn terminal(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let several = frames(data.clone()).unwrap_or_default();
    for message in several.into_iter().chain([data]) {
        if let Some(frame) = FromPage::decode(&message) {
            assert_eq!(frame.encode(), message, "a frame changed by writing it");
        }
    }
}
