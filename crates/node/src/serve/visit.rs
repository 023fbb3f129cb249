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
use crate::relay::Pulse;
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
    /// When something last went through: a forward's bytes, or a wish for another channel.
    pub(super) pulse: Pulse,
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
        if let (Some(limit), Some(Duration::ZERO)) = (duty.idle_limit, self.idle_left()) {
            return Err(Cut::Idle(limit));
        }
        let last_good = duty.certificate_ends_at - Duration::from_millis(1);
        self.grounds.again(&self.view().rules, now.min(last_good)).map(drop).map_err(Cut::Policy)
    }

    /// How long nothing more may go through before the connection ends; `None` without a limit. A session is measured
    /// by itself, and a connection that has one is not idle.
    fn idle_left(&self) -> Option<Duration> {
        let limit = self.grounds.obligations().idle_limit?;
        if self.seat.is_taken() { Some(limit) } else { Some(limit.saturating_sub(self.pulse.quiet_for())) }
    }

    /// Whether the clock must be looked at.
    pub(super) fn ends(&self) -> bool {
        let duty = self.grounds.obligations();
        duty.ends_at.is_some() || duty.idle_limit.is_some()
    }

    /// How long until it must be.
    pub(super) fn next_look(&self) -> Duration {
        let now = self.node.0.deps.clock.now();
        let left = self.grounds.obligations().ends_at.map_or(LOOK, |end| end.since(now));
        left.min(self.idle_left().unwrap_or(LOOK)).clamp(Duration::from_millis(10), LOOK)
    }

    /// What the cluster itself has to say to somebody who was quiet too long, its lines joined by `between`.
    pub(super) fn own_words(&self, between: &str) -> Option<String> {
        let view = self.view();
        let own = &view.rules.config().client_idle_timeout_message;
        (!own.is_empty()).then(|| own.lines().collect::<Vec<_>>().join(between))
    }

    /// What a client is told whose connection is cut.
    pub(super) fn told(&self, cut: &Cut) -> String {
        match cut {
            Cut::Idle(_) => self.own_words(" ").unwrap_or_else(|| cut.reason()),
            Cut::Policy(_) => "access is no longer granted".to_owned(),
            Cut::Expired => "the certificate has expired".to_owned(),
            Cut::Stopping => "the service is stopping".to_owned(),
        }
    }
}

/// Why a visit was ended from this side.
pub(super) enum Cut {
    /// The rules or a lock say so now.
    Policy(Denial),
    /// Nothing went through for this long.
    Idle(Duration),
    Expired,
    Stopping,
}

impl Cut {
    /// Why, for the record.
    pub(super) fn reason(&self) -> String {
        match self {
            Cut::Policy(denial) => denial.to_string(),
            Cut::Idle(after) => EndReason::Idle(*after).to_string(),
            Cut::Expired => "the certificate has expired".to_owned(),
            Cut::Stopping => "the service is stopping".to_owned(),
        }
    }
}
