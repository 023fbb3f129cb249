//! What carries one terminal's messages between its page and the gate: a WebSocket, or plain HTTP where a front does
//! not pass upgrades. Either way a message is a frame of `frame`, and each of ours has [`SEND`] to leave.

use std::time::Duration;

use bytes::Bytes;
use client::BoxStream;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::frame::{FromPage, MAX_MESSAGE};

/// How long one message may take to leave.
const SEND: Duration = Duration::from_secs(60);
/// How long saying goodbye may take.
const CLOSE: Duration = Duration::from_secs(5);

/// Nothing more goes by this line, and why.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

/// One page's line.
pub(crate) enum Line {
    /// Frames of a WebSocket.
    Socket(Box<WebSocketStream<BoxStream>>),
    /// A streamed answer one way, posts the other.
    Plain(Plain),
}

/// The gate's ends of a line over plain HTTP.
pub(crate) struct Plain {
    /// The first message, which came with the request.
    pub(crate) first: Option<String>,
    /// Frames out of posts. When full, a post waits.
    pub(crate) heard: mpsc::Receiver<Bytes>,
    /// Pieces of the answer. When full, the page does not read, and the shell is held back.
    pub(crate) said: mpsc::Sender<Bytes>,
}

impl Line {
    /// A WebSocket on an upgraded connection.
    pub(crate) async fn socket(stream: BoxStream) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .max_write_buffer_size(1024 * 1024);
        Self::Socket(Box::new(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await))
    }

    /// The first message, as text; `None` when something else came.
    pub(crate) async fn first(&mut self) -> Option<String> {
        match self {
            Self::Socket(socket) => match socket.next().await {
                Some(Ok(Message::Text(text))) => Some(text.as_str().to_owned()),
                _ => None,
            },
            Self::Plain(plain) => plain.first.take(),
        }
    }

    /// The next frame; `None` when the page is gone. May be dropped and called again without a loss.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Socket(socket) => match socket.next().await {
                Some(Ok(Message::Binary(bytes))) => Some(bytes),
                // Answered by the library; they count as signs of life.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Some(FromPage::Ack(0).encode().into()),
                Some(Ok(Message::Text(_) | Message::Close(_) | Message::Frame(_)) | Err(_)) | None => None,
            },
            Self::Plain(plain) => tokio::select! {
                biased;
                frame = plain.heard.recv() => frame,
                () = plain.said.closed() => None,
            },
        }
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Broken> {
        const DEAF: &str = "the page does not read";
        match self {
            Self::Socket(socket) => match timeout(SEND, socket.send(Message::Binary(bytes.into()))).await {
                Ok(sent) => sent.map_err(|error| Broken(error.to_string())),
                Err(_) => Err(Broken(DEAF.to_owned())),
            },
            Self::Plain(plain) => match timeout(SEND, plain.said.send(framed(&bytes))).await {
                Ok(sent) => sent.map_err(|_| Broken("the page is gone".to_owned())),
                Err(_) => Err(Broken(DEAF.to_owned())),
            },
        }
    }

    /// Says goodbye where there is a way to, and waits for the answer: a connection that is given up while the page
    /// still says something takes with it what was sent last (RFC 6455 section 7.1.1). True when there was one, and so
    /// everything has arrived: a page that left by itself says goodbye too, but without the reason that an answer
    /// repeats (RFC 6455 section 5.5.1).
    pub(crate) async fn close(self) -> bool {
        let Self::Socket(mut socket) = self else { return false };
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
        let answer = async {
            (*socket).close(Some(goodbye)).await.ok()?;
            while let Some(Ok(message)) = socket.next().await {
                if let Message::Close(said) = message {
                    return said.filter(|said| said.code == CloseCode::Normal);
                }
            }
            None
        };
        timeout(CLOSE, answer).await.is_ok_and(|answer| answer.is_some())
    }
}

/// A frame with its length (4 bytes, big-endian) before it, as both directions of plain HTTP carry them.
fn framed(frame: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(frame.len() + 4);
    out.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(frame);
    out.into()
}

/// The frames of a post; `None` when it is cut, or one is longer than a message may be.
pub(crate) fn frames(mut body: Bytes) -> Option<Vec<Bytes>> {
    let mut found = Vec::new();
    while !body.is_empty() {
        let length = u32::from_be_bytes(body.get(..4)?.try_into().ok()?);
        let length = usize::try_from(length).ok().filter(|l| *l <= MAX_MESSAGE)?;
        if body.len() - 4 < length {
            return None;
        }
        let _ = body.split_to(4);
        found.push(body.split_to(length));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_says_goodbye_waits_for_the_answer_behind_all_else() {
        #[derive(Clone, Copy, PartialEq, Debug)]
        enum Does {
            Answers,
            Nothing,
            /// It gave the line up before it could hear anything.
            Left,
        }
        for does in [Does::Answers, Does::Nothing, Does::Left] {
            let (gate, page) = tokio::io::duplex(4096);
            let line = Line::socket(Box::new(gate)).await;
            let mut page = WebSocketStream::from_raw_socket(page, Role::Client, None).await;
            let ack = Message::Binary(FromPage::Ack(7).encode().into());
            page.send(ack).await.unwrap();
            if does == Does::Left {
                page.close(None).await.unwrap();
            }

            let answer = async {
                if does == Does::Answers {
                    assert!(matches!(page.next().await, Some(Ok(Message::Close(_)))));
                    assert!(page.next().await.is_none());
                }
            };
            let (answered, ()) = tokio::join!(line.close(), answer);

            assert_eq!(answered, does == Does::Answers, "{does:?}");
        }
    }

    #[test]
    fn frames_come_out_of_a_post_as_they_went_in() {
        let both = [framed(b"one"), framed(b""), framed(b"three")].concat();

        let found = frames(both.into()).unwrap();

        assert_eq!(found, [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn a_post_that_is_cut_or_too_long_is_refused() {
        let long = u32::try_from(MAX_MESSAGE + 1).unwrap().to_be_bytes().to_vec();
        for body in
            [b"\0".to_vec(), b"\0\0\0\x05abc".to_vec(), [&long[..], &vec![0; MAX_MESSAGE + 1]].concat()]
        {
            assert_eq!(frames(body.into()), None);
        }
    }
}
