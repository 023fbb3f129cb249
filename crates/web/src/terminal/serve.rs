//! One WebSocket of one terminal: the ticket first, then bytes both ways until either side is gone.
//!
//! Reading, sending and writing input go on beside each other, so that none of them holds up an acknowledgement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use client::BoxStream;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use ssh::Size;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::MAX_INPUT;
use super::frame::{self, FromPage, MAX_MESSAGE};
use super::shell::Shell;
use crate::Web;
use crate::session::{Opens, Person};

/// How long the first frame may take.
const FIRST: Duration = Duration::from_secs(10);
/// A page that sends nothing for this long is gone: it pings every 15 s.
const SILENCE: Duration = Duration::from_secs(60);
/// How long one message may take to leave.
const SEND: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<BoxStream>;

/// Whose WebSocket it is, from which page, and from where.
pub(crate) struct Came {
    pub(crate) person: Arc<Person>,
    pub(crate) origin: String,
    pub(crate) from: SocketAddr,
}

/// The first frame, as text.
#[derive(Deserialize)]
struct First {
    ticket: String,
    cols: u16,
    rows: u16,
    /// Output the page has drawn, when it comes back.
    #[serde(default)]
    seen: u64,
}

/// Serves an upgraded connection to its end.
pub(crate) async fn serve(web: &Web, stream: BoxStream, came: Came) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .max_write_buffer_size(1024 * 1024);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let ends = came.person.scope.token();
    // Everything else of the session ends with it: what that looks like from here is not the reason.
    let outcome = tokio::select! {
        biased;
        () = ends.cancelled() => Err("you signed out".to_owned()),
        outcome = run(web, &mut socket, &came) => outcome,
    };
    if let Err(why) = outcome {
        let _ = send(&mut socket, frame::news(&json!({"state": "refused", "why": why}))).await;
    }
    let _ = timeout(Duration::from_secs(5), socket.close(None)).await;
}

async fn run(web: &Web, socket: &mut Socket, came: &Came) -> Result<(), String> {
    const STALE: &str = "this terminal's ticket is used up or too old: try again";
    let sessions = web.sessions().ok_or(STALE)?;
    let first = match timeout(FIRST, socket.next()).await {
        Ok(Some(Ok(Message::Text(text)))) => {
            serde_json::from_str::<First>(text.as_str()).map_err(|_| STALE.to_owned())?
        }
        _ => return Err(STALE.to_owned()),
    };
    let ticket = came.person.redeem(&first.ticket, sessions.now()).ok_or(STALE)?;
    if ticket.origin != came.origin {
        return Err(STALE.to_owned());
    }
    let size = Size {
        columns: u32::from(first.cols.max(1)),
        rows: u32::from(first.rows.max(1)),
        width: 0,
        height: 0,
    };
    let shell = match ticket.opens {
        Opens::Terminal(id) => {
            let shell = came.person.terminals.find(&id).ok_or("that terminal is over")?;
            let _ = shell.channel.window_change(size);
            shell
        }
        Opens::Shell { node, login } => {
            send(socket, frame::news(&json!({"state": "dialing"}))).await?;
            let shell = Shell::open(&came.person, sessions, (node, login), came.from, size).await?;
            if !came.person.terminals.keep(shell.clone()) {
                shell.end();
                return Err("too many terminals are open: close one first".to_owned());
            }
            shell
        }
    };
    send(socket, frame::news(&json!({"state": "open", "terminal": shell.id}))).await?;
    let (number, view) = shell.attach();
    let attached = Attached { shell: &shell, person: &came.person, clock: sessions, number };
    let outcome = attached.relay(socket, view, first.seen).await;
    shell.detach(number);
    if shell.is_over() {
        came.person.terminals.forget(&shell.id);
    }
    outcome
}

struct Attached<'a> {
    shell: &'a Shell,
    person: &'a Person,
    clock: &'a crate::Sessions,
    number: u64,
}

/// What happened next.
enum Next {
    Output(u64, Vec<u8>),
    Ended(serde_json::Value),
    Written(usize),
    Page(Option<Vec<u8>>),
    Elsewhere,
    Fault(String),
}

impl Attached<'_> {
    async fn relay(
        &self,
        socket: &mut Socket,
        mut view: tokio::sync::watch::Receiver<super::shell::View>,
        seen: u64,
    ) -> Result<(), String> {
        let (mut sent, mut taken) = (seen, 0_u64);
        let mut input = BytesMut::new();
        self.shell.acknowledge(seen);
        loop {
            let next = tokio::select! {
                biased;
                moved = view.wait_for(|v| v.number != self.number) => {
                    drop(moved);
                    Next::Elsewhere
                }
                message = timeout(SILENCE, socket.next()) => page(message.ok().flatten()),
                written = self.shell.channel.write(&input), if !input.is_empty() => match written {
                    Ok(count) => Next::Written(count),
                    Err(error) => Next::Fault(error.to_string()),
                },
                output = self.shell.next(sent) => match output {
                    Ok((end, bytes)) => Next::Output(end, bytes),
                    Err(how) => Next::Ended(how),
                },
            };
            match next {
                Next::Output(end, bytes) => {
                    sent = end;
                    send(socket, bytes).await?;
                }
                Next::Written(count) => {
                    input.advance(count.min(input.len()));
                    taken += count as u64;
                    send(socket, frame::taken(taken)).await?;
                }
                Next::Ended(how) => return send(socket, frame::news(&how)).await,
                Next::Elsewhere => return Err("this terminal was opened in another tab".to_owned()),
                Next::Fault(why) if self.shell.is_over() => return Err(why),
                // What is typed at a shell that just ended: its last words are still to come.
                Next::Fault(_) => input.clear(),
                Next::Page(None) => return Ok(()),
                Next::Page(Some(message)) => {
                    if !self.heard(socket, &message, &mut input).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Does what the page says. `false` when it closed the terminal.
    async fn heard(&self, socket: &mut Socket, message: &[u8], input: &mut BytesMut) -> Result<bool, String> {
        match FromPage::decode(message) {
            Some(FromPage::Input(bytes)) => {
                if input.len() + bytes.len() > MAX_INPUT {
                    return Err("more was pasted than the node takes".to_owned());
                }
                input.extend_from_slice(bytes);
                self.person.touch(self.clock.now());
            }
            Some(FromPage::Ack(offset)) => self.shell.acknowledge(offset),
            Some(FromPage::Resize { cols, rows }) => {
                let size = Size { columns: u32::from(cols), rows: u32::from(rows), width: 0, height: 0 };
                let _ = self.shell.channel.window_change(size);
            }
            Some(FromPage::Ping(bytes)) => send(socket, frame::pong(bytes)).await?,
            Some(FromPage::Close) => {
                self.shell.end();
                self.person.terminals.forget(&self.shell.id);
                return Ok(false);
            }
            None => return Err("the page sent something that is no frame".to_owned()),
        }
        Ok(true)
    }
}

fn page(message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>) -> Next {
    match message {
        Some(Ok(Message::Binary(bytes))) => Next::Page(Some(bytes.to_vec())),
        // Answered by the library; they count as signs of life.
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Next::Page(Some(FromPage::Ack(0).encode())),
        Some(Ok(Message::Text(_) | Message::Close(_) | Message::Frame(_)) | Err(_)) | None => {
            Next::Page(None)
        }
    }
}

async fn send(socket: &mut Socket, bytes: Vec<u8>) -> Result<(), String> {
    match timeout(SEND, socket.send(Message::Binary(bytes.into()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the page does not read".to_owned()),
    }
}
