//! One line of one terminal: the ticket first, then bytes both ways until either side is gone.
//!
//! Reading, sending and writing input go on beside each other, so that none of them holds up an acknowledgement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::json;
use ssh::Size;
use tokio::time::timeout;

use super::MAX_INPUT;
use super::frame::{self, FromPage};
use super::line::{Broken, Line};
use super::pulse::Pulse;
use super::shell::{Attachment, NoShell, Shell, Wanted};
use crate::Web;
use crate::session::{Opens, Person};

/// How long the first frame may take.
const FIRST: Duration = Duration::from_secs(10);
/// A page that sends nothing for this long is gone: it pings every 15 s, and in a tab that nobody looks at, once a minute.
const SILENCE: Duration = Duration::from_secs(150);
/// Input written to the node before the page is told again, but for its pings. A message for each key would be half of all
/// messages; a page holds back only when several times as much is on its way.
const TELL: u64 = 64 * 1024;

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

/// Serves a line to its end.
pub(crate) async fn serve(web: &Web, mut line: Line, came: Came) {
    let ends = came.person.scope.token();
    let mut told = None;
    // Everything else of the session ends with it: what that looks like from here is not the reason.
    let outcome = tokio::select! {
        biased;
        () = came.person.signed_out.cancelled() => Err("this browser was signed out".to_owned().into()),
        // The gate is stopping, or the certificate is over: the page comes back and hears which.
        () = ends.cancelled() => Ok(()),
        outcome = run(web, &mut line, &came, &mut told) => outcome,
    };
    if let Err(given_up) = outcome {
        let _ = line.send(given_up.news()).await;
    }
    let answered = line.close().await;
    // A page that has not heard of the end comes back for it.
    if let Some(id) = told.filter(|_| answered) {
        came.person.terminals.forget(&id);
    }
}

/// Why the gate gives a line up.
#[derive(Debug)]
enum GivenUp {
    /// There is no shell for this page, in words for the person.
    Refused(String),
    /// Of the line alone: a shell that is there goes on, and the page comes back to it by another.
    Lost(String),
}

impl GivenUp {
    fn stale() -> Self {
        Self::Lost("this terminal's ticket is used up or too old: try again".to_owned())
    }

    fn news(&self) -> Vec<u8> {
        let (state, why) = match self {
            Self::Refused(why) => ("refused", why),
            Self::Lost(why) => ("lost", why),
        };
        frame::news(&json!({"state": state, "why": why}))
    }
}

impl From<String> for GivenUp {
    fn from(why: String) -> Self {
        Self::Refused(why)
    }
}

impl From<Broken> for GivenUp {
    fn from(Broken(why): Broken) -> Self {
        Self::Lost(why)
    }
}

/// `told` becomes the terminal whose end was sent.
async fn run(web: &Web, line: &mut Line, came: &Came, told: &mut Option<String>) -> Result<(), GivenUp> {
    let sessions = web.sessions().ok_or_else(GivenUp::stale)?;
    let first = match timeout(FIRST, line.first()).await {
        Ok(Some(text)) => serde_json::from_str::<First>(&text).map_err(|_| GivenUp::stale())?,
        Ok(None) | Err(_) => return Err(GivenUp::stale()),
    };
    let ticket = came.person.redeem(&first.ticket, sessions.now()).ok_or_else(GivenUp::stale)?;
    if ticket.origin != came.origin {
        return Err(GivenUp::stale());
    }
    let size = Size {
        columns: u32::from(first.cols.max(1)),
        rows: u32::from(first.rows.max(1)),
        width: 0,
        height: 0,
    };
    let shell = match ticket.opens {
        Opens::Terminal(id) => {
            let Some(shell) = came.person.terminals.find(&id) else {
                // It ended since the ticket was given. A page that has a key to the shell comes back with that.
                return Err(GivenUp::Lost("that terminal is over".to_owned()));
            };
            let _ = shell.channel.window_change(size);
            shell
        }
        Opens::Shell { node, login, keep } => {
            line.send(frame::news(&json!({"state": "dialing"}))).await?;
            let wanted = Wanted { node, login, keep, from: came.from, size, seen: first.seen };
            let shell = match Shell::open(&came.person, sessions, wanted).await {
                Ok(shell) => shell,
                Err(NoShell::Gone) => return Ok(line.send(frame::news(&json!({"state": "gone"}))).await?),
                Err(NoShell::Why(why)) => return Err(why.into()),
            };
            if !came.person.terminals.keep(shell.clone()) {
                shell.end();
                return Err("too many terminals are open: close one first".to_owned().into());
            }
            shell
        }
    };
    let attachment = shell.attach();
    let number = attachment.number;
    let attached = Attached { shell: &shell, person: &came.person, sessions, number };
    let outcome = attached.relay(line, attachment, first.seen).await;
    shell.detach(number);
    *told = outcome?.then(|| shell.id.clone());
    Ok(())
}

struct Attached<'a> {
    shell: &'a Shell,
    person: &'a Person,
    sessions: &'a crate::Sessions,
    number: u64,
}

/// What happened next.
enum Next {
    Output(u64, Vec<u8>),
    Ended(serde_json::Value),
    Written(usize),
    Page(Option<Bytes>),
    Elsewhere,
    Fault(String),
    /// The node says nothing, or answers again.
    Stalled(bool),
}

impl Attached<'_> {
    /// Until either side is gone; says whether the page was sent how the shell ended.
    async fn relay(
        &self,
        line: &mut Line,
        Attachment { mut view, had, .. }: Attachment,
        seen: u64,
    ) -> Result<bool, GivenUp> {
        let carrier = self.sessions.ways().carrier(&self.shell.node);
        let open = json!({"state": "open", "terminal": self.shell.id, "carrier": carrier, "had": had});
        line.send(frame::news(&open)).await?;
        let (mut sent, mut taken, mut told) = (seen, had, had);
        let mut input = BytesMut::new();
        let mut pulse = Pulse::default();
        self.shell.acknowledge(seen);
        let mut locked = std::pin::pin!(self.sessions.until_locked(self.person));
        loop {
            let next = tokio::select! {
                biased;
                // Nothing is typed any more and nothing shown; the page comes back once it is unlocked.
                () = &mut locked => return Ok(false),
                moved = view.wait_for(|v| v.number != self.number) => {
                    drop(moved);
                    Next::Elsewhere
                }
                message = timeout(SILENCE, line.next()) => Next::Page(message.ok().flatten()),
                written = self.shell.write(self.number, &input), if !input.is_empty() => match written {
                    Ok(count) => Next::Written(count),
                    Err(error) => Next::Fault(error.to_string()),
                },
                output = self.shell.next(sent) => match output {
                    Ok((end, bytes)) => Next::Output(end, bytes),
                    Err(how) => Next::Ended(how),
                },
                stalled = pulse.changed() => Next::Stalled(stalled),
            };
            match next {
                Next::Output(end, bytes) => {
                    sent = end;
                    pulse.heard();
                    line.send(bytes).await?;
                }
                Next::Written(count) => {
                    input.advance(count.min(input.len()));
                    taken += count as u64;
                    if taken - told >= TELL {
                        told = taken;
                        line.send(frame::taken(taken)).await?;
                    }
                }
                Next::Ended(how) => {
                    line.send(frame::news(&how)).await?;
                    return Ok(true);
                }
                Next::Elsewhere => return Err("this terminal was opened in another tab".to_owned().into()),
                Next::Fault(why) if self.shell.is_cut() => return Err(why.into()),
                // What is typed at a shell that just ended: its last words are still to come.
                Next::Fault(_) => input.clear(),
                Next::Page(None) => return Ok(false),
                Next::Stalled(stalled) => {
                    let state = if stalled { "stalled" } else { "flowing" };
                    line.send(frame::news(&json!({"state": state}))).await?;
                }
                Next::Page(Some(message)) => {
                    if let Some(FromPage::Ping(_)) = FromPage::decode(&message) {
                        pulse.ask(self.shell.answers());
                        if taken > told {
                            told = taken;
                            line.send(frame::taken(taken)).await?;
                        }
                    }
                    if !self.heard(line, &message, &mut input).await? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Does what the page says. `false` when it closed the terminal.
    async fn heard(&self, line: &mut Line, message: &[u8], input: &mut BytesMut) -> Result<bool, GivenUp> {
        match FromPage::decode(message) {
            Some(FromPage::Input(bytes)) => {
                if input.len() + bytes.len() > MAX_INPUT {
                    return Err("more was pasted than the node takes".to_owned().into());
                }
                input.extend_from_slice(bytes);
            }
            Some(FromPage::Ack(offset)) => self.shell.acknowledge(offset),
            Some(FromPage::Resize { cols, rows }) => {
                let size = Size { columns: u32::from(cols), rows: u32::from(rows), width: 0, height: 0 };
                let _ = self.shell.channel.window_change(size);
            }
            Some(FromPage::Ping(bytes)) => line.send(frame::pong(bytes)).await?,
            Some(FromPage::Close) => {
                self.shell.end();
                self.person.terminals.forget(&self.shell.id);
                return Ok(false);
            }
            None => return Err("the page sent something that is no frame".to_owned().into()),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_a_page_that_does_not_read_nothing_is_said_of_its_shell() {
        let (gate, _page) = tokio::io::duplex(64);
        let mut line = Line::socket(Box::new(gate)).await;

        let broken = line.send(vec![0; 4096]).await.unwrap_err();

        let news = GivenUp::from(broken).news();
        let said: Value = serde_json::from_slice(&news[1..]).unwrap();
        assert_eq!(said, json!({"state": "lost", "why": "the page does not read"}));
    }
}
