//! What a person is told about being recorded before their shell starts, and whether they agree.
//!
//! Said on the terminal and past the tap, so that the recording shows that it was said and what was answered; the
//! answer is an event too. It is at most [`LONGEST`] bytes and comes within [`PATIENCE`]; anything but `yes` is a no.
//! Without a terminal there is nobody to ask: a client says yes beforehand, as [`AGREE`], or nothing runs. What the
//! client says of its user counts as much as what is typed: either can be scripted by that user, and by nobody else.

use std::time::Duration;

use model::resource::Notice as Told;
use session::Session;
use session::event::{Status, kinds};
use ssh::{Channel, Received};

use super::visit::Visit;
use crate::pump::Stopped;
use crate::spawner::Program;

const NOTICE: &[u8] = b"This session is recorded.\r\n";
const QUESTION: &[u8] = b"Type `yes` to go on: ";
/// The same where a command was asked for: a script that made itself a terminal (Ansible's `raw`) reads why it waits.
const QUESTION_OF_COMMANDS: &[u8] = b"Scripts agree beforehand: ssh -o SetEnv=MOONGATE_AGREE=yes\r\n\
                                      Type `yes` within two minutes to go on: ";
const NO: &str = "you did not agree: no session (scripts agree beforehand: ssh -o SetEnv=MOONGATE_AGREE=yes)";
/// What a command without a terminal is told where an agreement is needed.
const NOBODY_TO_ASK: &str = "this session would be recorded and needs your agreement first: ask for a terminal \
                             (ssh -t), or agree beforehand with ssh -o SetEnv=MOONGATE_AGREE=yes";

/// The variable by which a client says beforehand that its user agrees; its value must be `yes`. It is taken by us
/// and set in no session; the request for it is refused like one for any unknown variable.
pub(super) const AGREE: &str = "MOONGATE_AGREE";

/// Longest answer.
const LONGEST: usize = 16;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a person without a terminal may take to hear it.
const HEARING: Duration = Duration::from_secs(5);

/// Tells what the rules want told, and asks where they want that and nobody agreed beforehand.
pub(super) async fn tell(
    visit: &Visit,
    session: &Session,
    channel: &Channel,
    (told, agreed): (Told, bool),
    start: &Program,
) -> Result<(), Stopped> {
    let question = match start {
        Program::Shell => QUESTION,
        Program::Command(_) | Program::FileTransfer => QUESTION_OF_COMMANDS,
    };
    match told {
        Told::Silent => Ok(()),
        Told::Banner => say_to(visit, session, channel, NOTICE).await,
        Told::Consent if agreed => {
            answered(session, "client", Status::ok()).await;
            say_to(visit, session, channel, NOTICE).await
        }
        Told::Consent => {
            say_to(visit, session, channel, &[NOTICE, question].concat()).await?;
            let answer = tokio::select! {
                answer = tokio::time::timeout(PATIENCE, hear(session, channel)) => answer,
                reason = visit.told_to_end(session) => return Err(Stopped::Told(reason)),
            };
            match answer {
                Ok(Ok(answer)) if answer.trim().eq_ignore_ascii_case("yes") => {
                    answered(session, "terminal", Status::ok()).await;
                    say_to(visit, session, channel, b"\r\n").await
                }
                Ok(Err(stopped)) => Err(stopped),
                Ok(Ok(_)) | Err(_) => {
                    answered(session, "terminal", Status::failed(NO)).await;
                    Err(Stopped::Failed(format!("\r\n{NO}")))
                }
            }
        }
    }
}

/// The same where there is no terminal: said where programs complain, so that no data is touched.
pub(super) async fn tell_aside(
    session: &Session,
    channel: &Channel,
    (told, agreed): (Told, bool),
) -> Result<(), Stopped> {
    match (told, agreed) {
        (Told::Silent, _) => return Ok(()),
        (Told::Banner, _) => {}
        (Told::Consent, true) => answered(session, "client", Status::ok()).await,
        (Told::Consent, false) => {
            answered(session, "client", Status::failed("nobody to ask")).await;
            return Err(Stopped::Failed(NOBODY_TO_ASK.to_owned()));
        }
    }
    // Who does not read what is aside is not waited for.
    drop(tokio::time::timeout(HEARING, channel.write_stderr(NOTICE)).await);
    Ok(())
}

async fn answered(session: &Session, how: &str, status: Status) {
    session
        .emit(|facts| kinds::SessionConsent {
            who: facts.who.clone(),
            server: facts.server.clone(),
            connection: facts.connection.clone(),
            session: facts.session.clone(),
            status,
            how: how.to_owned(),
        })
        .await;
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

/// Says it for as long as the session may go on: who reads nothing does not keep it from its end.
async fn say_to(visit: &Visit, session: &Session, channel: &Channel, words: &[u8]) -> Result<(), Stopped> {
    tokio::select! {
        biased;
        said = say(session, channel, words) => said,
        reason = visit.told_to_end(session) => Err(Stopped::Told(reason)),
    }
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
