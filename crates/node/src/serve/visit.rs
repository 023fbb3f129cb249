//! What the channels of one connection share: who it is, as which account, and whether they may go on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Identity, Login, UserName};
use policy::{Denial, Permit, SshAction};
use runtime::Scope;
use session::{EndReason, Seat, Session, View};
use ssh::Connection;
use tokio::sync::OnceCell;

use super::node::{Node, Peer};
use crate::spawner::Account;

/// Longest sleep before the wall clock is looked at again.
const LOOK: Duration = Duration::from_secs(30);

/// What all channels of a connection share.
pub(super) struct Visit {
    pub(super) node: Node,
    pub(super) peer: Peer,
    pub(super) who: Identity,
    pub(super) user: UserName,
    pub(super) login: Login,
    pub(super) ssh: Connection,
    pub(super) scope: Scope,
    /// What outlives the connection.
    pub(super) stay: Scope,
    /// The account, or why it may not come in, in words for the person.
    pub(super) account: Result<Account, String>,
    /// Counts the sessions.
    pub(super) seat: Seat,
    /// Where the person's agent is in reach, once it is.
    pub(super) agent: OnceCell<PathBuf>,
    /// Where the grounds for letting them in are asked about again.
    pub(super) grounds: Permit,
}

impl Visit {
    pub(super) fn view(&self) -> Arc<View> {
        self.node.0.deps.view.borrow().clone()
    }

    /// Asks for one channel, by the rules of this moment and within what this host's configuration allows.
    pub(super) fn ask(&self, what: SshAction) -> Result<Permit, Denial> {
        let settings = &self.node.0.settings;
        match what {
            SshAction::ForwardLocal | SshAction::ForwardRemote if !settings.port_forwarding => {
                return Err(Denial::ChannelOff("port forwarding on this host"));
            }
            SshAction::FileCopy if !settings.file_copy => {
                return Err(Denial::ChannelOff("file copy on this host"));
            }
            SshAction::Shell
            | SshAction::Exec
            | SshAction::FileCopy
            | SshAction::ForwardLocal
            | SshAction::ForwardRemote
            | SshAction::AgentForward
            | SshAction::X11 => {}
        }
        self.grounds.also(what, &self.view().rules, self.node.0.deps.clock.now())
    }

    /// Resolves when a session of this visit must stop: by its own terms, or because the service does. Cancel safe.
    pub(super) async fn told_to_end(&self, session: &Session) -> EndReason {
        tokio::select! {
            reason = session.ended() => reason,
            () = self.scope.cancelled() => EndReason::Stopping,
        }
    }

    /// Whether the connection may go on. A certificate that ends cuts it only where the rules want that.
    pub(super) fn still(&self) -> Result<(), Cut> {
        let duty = self.grounds.obligations();
        let now = self.node.0.deps.clock.now();
        if duty.ends_at.is_some_and(|end| now >= end) {
            return Err(Cut::Expired);
        }
        let last_good = duty.certificate_ends_at - Duration::from_millis(1);
        self.grounds.again(&self.view().rules, now.min(last_good)).map(drop).map_err(Cut::Policy)
    }

    /// Whether the clock must be looked at.
    pub(super) fn ends(&self) -> bool {
        self.grounds.obligations().ends_at.is_some()
    }

    /// How long until it must be.
    pub(super) fn next_look(&self) -> Duration {
        let now = self.node.0.deps.clock.now();
        let left = self.grounds.obligations().ends_at.map_or(LOOK, |end| end.since(now));
        left.clamp(Duration::from_millis(10), LOOK)
    }
}

/// Why a visit was ended from this side.
pub(super) enum Cut {
    /// The rules or a lock say so now.
    Policy(Denial),
    Expired,
    Stopping,
}

impl Cut {
    pub(super) fn public(&self) -> &'static str {
        match self {
            Cut::Policy(_) => "access is no longer granted",
            Cut::Expired => "the certificate has expired",
            Cut::Stopping => "the service is stopping",
        }
    }

    pub(super) fn reason(&self) -> String {
        match self {
            Cut::Policy(denial) => denial.to_string(),
            Cut::Expired | Cut::Stopping => self.public().to_owned(),
        }
    }
}
