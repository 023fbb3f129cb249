//! What a client wishes for on a channel before its program: a terminal, variables, its agent.
//!
//! Each wish is asked about. What is not understood or not allowed is refused.

use std::sync::Arc;

use policy::SshAction;
use session::event::{SessionRef, Status, kinds};
use ssh::{Request, RequestKind};
use tokio_util::sync::DropGuard;

use super::keep::{self, Key};
use super::report::{connection_of, server_of};
use super::visit::Visit;
use super::{agent, notice};
use crate::spawner::Pty;
use crate::spawner::message::{MAX_ENV, MAX_VALUE, Size};

/// What was wished for before the program.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) pty: Option<Terminal>,
    pub(super) env: Vec<(String, String)>,
    pub(super) agent: Option<String>,
    /// The client says that its user agrees to be recorded.
    pub(super) agreed: bool,
    /// The shell is to be kept when the connection breaks, or is looked for, by this key.
    pub(super) keep: Option<Key>,
    /// How much of its output has been seen.
    pub(super) seen: u64,
    /// Tells whoever waits for a kept shell's first visitor that they have left.
    pub(super) gone: Option<DropGuard>,
}

/// A terminal that was granted.
pub(super) struct Terminal {
    pub(super) pty: Pty,
    pub(super) term: String,
    pub(super) size: Size,
}

/// Room left for the variables this service sets itself.
const OWN_VARIABLES: usize = 16;

impl Wishes {
    /// Grants a wish or refuses it.
    pub(super) async fn hear(&mut self, visit: &Arc<Visit>, request: Request) {
        let granted = match &request.kind {
            RequestKind::Env { name, value } if name == keep::KEY => {
                self.keep = Key::parse(value);
                self.keep.is_some()
            }
            RequestKind::Env { name, value } if name == keep::SEEN => {
                self.seen = std::str::from_utf8(value).ok().and_then(|seen| seen.parse().ok()).unwrap_or(0);
                true
            }
            RequestKind::Env { name, value } => self.set(name, value),
            RequestKind::Pty(pty) => self.open_terminal(visit, pty).await,
            RequestKind::WindowChange(size) => self.resize(*size),
            RequestKind::Agent => self.reach_agent(visit).await,
            RequestKind::X11 { .. } => {
                refuse_x11(visit).await;
                false
            }
            _ => false,
        };
        if granted { request.accept() } else { request.refuse() }
    }

    fn set(&mut self, name: &str, value: &[u8]) -> bool {
        let Ok(value) = std::str::from_utf8(value) else { return false };
        if name == notice::AGREE {
            self.agreed = value == "yes";
            return false;
        }
        if !crate::env::client_may_set(name)
            || value.len() > MAX_VALUE
            || value.contains('\0')
            || self.env.len() >= MAX_ENV - OWN_VARIABLES
        {
            return false;
        }
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
        true
    }

    async fn open_terminal(&mut self, visit: &Visit, asked: &ssh::Pty) -> bool {
        // A terminal that nothing may run on would only cost.
        let may = visit.ask(SshAction::Shell).or_else(|_| visit.ask(SshAction::Exec));
        let (Ok(account), Ok(_), None) = (&visit.account, may, &self.pty) else { return false };
        let size = crate::pty::size(asked.size);
        match account.open_pty(size).await {
            Ok(pty) => {
                drop(crate::pty::set_modes(&pty.master, &asked.modes));
                let term = asked.term.chars().filter(char::is_ascii_graphic).take(64).collect();
                self.pty = Some(Terminal { pty, term, size });
                true
            }
            Err(error) => {
                tracing::warn!(%error, "no terminal");
                false
            }
        }
    }

    fn resize(&mut self, size: ssh::Size) -> bool {
        let Some(terminal) = &mut self.pty else { return false };
        terminal.size = crate::pty::size(size);
        crate::pty::resize(&terminal.pty.master, terminal.size).is_ok()
    }

    async fn reach_agent(&mut self, visit: &Arc<Visit>) -> bool {
        if visit.ask(SshAction::AgentForward).is_err() {
            return false;
        }
        match visit.agent.get_or_try_init(|| agent::listen(visit.clone())).await {
            Ok(path) => {
                self.agent = Some(path.to_string_lossy().into_owned());
                true
            }
            Err(error) => {
                tracing::warn!(%error, "no agent socket");
                false
            }
        }
    }
}

/// X11 is not built: it is refused whatever the roles say, and that it was asked for is on record.
async fn refuse_x11(visit: &Visit) {
    visit
        .emit(&kinds::X11Forward {
            who: visit.who(),
            server: server_of(&visit.node),
            connection: connection_of(&visit.peer),
            session: SessionRef::default(),
            status: Status::failed("X11 forwarding is not supported"),
        })
        .await;
}
