//! What a person is told about being recorded before their shell starts, and whether they agree.
//!
//! Said on the terminal and past the tap, so that the recording shows that it was said and what was answered. An
//! answer is at most [`LONGEST`] bytes and comes within [`PATIENCE`]; anything but `yes` is a no.

use std::time::Duration;

use model::resource::Notice as Told;
use session::Session;
use ssh::{Channel, Received};

use super::visit::Visit;
use crate::pump::Stopped;

const NOTICE: &[u8] = b"This session is recorded.\r\n";
const QUESTION: &[u8] = b"Type `yes` to go on: ";
const NO: &str = "you did not agree: no session";
/// What a command without a terminal is told where an agreement is needed.
pub(super) const NOBODY_TO_ASK: &str = "this needs your agreement first: ask for a terminal (ssh -t)";

/// Longest answer.
const LONGEST: usize = 16;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tells what the rules want told, and asks where they want that.
pub(super) async fn tell(
    visit: &Visit,
    session: &Session,
    channel: &Channel,
    told: Told,
) -> Result<(), Stopped> {
    match told {
        Told::Silent => Ok(()),
        Told::Banner => say(session, channel, NOTICE).await,
        Told::Consent => {
            say(session, channel, &[NOTICE, QUESTION].concat()).await?;
            let answer = tokio::select! {
                answer = tokio::time::timeout(PATIENCE, hear(session, channel)) => answer,
                reason = visit.told_to_end(session) => return Err(Stopped::Told(reason)),
            };
            match answer {
                Ok(Ok(answer)) if answer.trim().eq_ignore_ascii_case("yes") => {
                    say(session, channel, b"\r\n").await
                }
                Ok(Err(stopped)) => Err(stopped),
                Ok(Ok(_)) | Err(_) => Err(Stopped::Failed(format!("\r\n{NO}"))),
            }
        }
    }
}

/// Says once that the node is stopping, as soon as it is.
pub(super) async fn stopping(
    visit: &Visit,
    session: &Session,
    channel: &Channel,
) -> std::convert::Infallible {
    let grace = model::time::Span(visit.node.left_with().await);
    let words = format!("\r\nThis node is stopping: the session ends within {grace}.\r\n");
    drop(say(session, channel, words.as_bytes()).await);
    std::future::pending().await
}

async fn say(session: &Session, channel: &Channel, words: &[u8]) -> Result<(), Stopped> {
    session.tap().output(words).await.map_err(|error| Stopped::Failed(error.to_string()))?;
    channel.write_all(words).await.map_err(|_| Stopped::HungUp)
}

/// One line as typed, shown as it is typed. What comes after its end is lost: nothing listens for it yet.
async fn hear(session: &Session, channel: &Channel) -> Result<String, Stopped> {
    let mut line = Vec::new();
    loop {
        match channel.recv().await {
            Ok(Received::Data(bytes)) => {
                for byte in bytes {
                    match byte {
                        b'\r' | b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                        0x03 | 0x04 => return Ok(String::new()),
                        0x08 | 0x7f if line.pop().is_some() => {
                            say(session, channel, b"\x08 \x08").await?;
                        }
                        byte if byte.is_ascii_graphic() && line.len() < LONGEST => {
                            line.push(byte);
                            say(session, channel, &[byte]).await?;
                        }
                        _ => {}
                    }
                }
            }
            Ok(Received::Request(request)) => request.refuse(),
            Ok(Received::Extended(..) | Received::Exit(_)) => {}
            Ok(Received::Eof) => return Ok(String::new()),
            Ok(Received::Closed) | Err(_) => return Err(Stopped::HungUp),
        }
    }
}
