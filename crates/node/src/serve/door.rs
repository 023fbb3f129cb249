//! Who comes in: a verified certificate, a login it is good for, and rules that grant at least something here.
//!
//! Every refusal looks the same to the client; the reason goes to the audit log.

use model::{Identity, Login, UserName};
use policy::{Action, Ask, Denial, Permit, SshAction, decide};
use session::event::{Who, kinds};
use ssh::PublicKey;

use super::node::{Counted, Node, Peer};
use super::report::{connection_of, server_of};

/// What someone must be allowed for a connection to make sense, in the order asked.
const REASONS: [SshAction; 5] = [
    SshAction::Shell,
    SshAction::Exec,
    SshAction::FileCopy,
    SshAction::ForwardLocal,
    SshAction::ForwardRemote,
];

/// Decides for one connection.
pub(super) struct Door<'a> {
    node: &'a Node,
    peer: &'a Peer,
}

/// Who was let in, and on what grounds.
pub(super) struct Guest {
    pub(super) who: Identity,
    pub(super) user: UserName,
    pub(super) login: Login,
    pub(super) permit: Permit,
    pub(super) counted: Counted,
}

impl<'a> Door<'a> {
    pub(super) fn new(node: &'a Node, peer: &'a Peer) -> Self {
        Self { node, peer }
    }

    fn decide(&self, login: &str, key: &PublicKey) -> Result<Guest, Refusal> {
        let deps = &self.node.0.deps;
        let client = self.peer.client.map(|client| client.ip());
        let who = (deps.verify)(key.as_bytes(), client).map_err(|why| Refusal::nobody(login, why))?;
        let refuse = |why: String| Refusal { who: Who::of(&who).with_login(login), why };
        let Some(user) = who.user() else { return Err(refuse("not a user's certificate".to_owned())) };
        let login: Login = login.parse().map_err(|error| refuse(format!("{error}")))?;
        let permit = self.ask(&who, &login).map_err(|denial| refuse(denial.to_string()))?;
        let most = permit.obligations().max_connections;
        let counted = self
            .node
            .connected(user, most)
            .ok_or_else(|| refuse(format!("too many connections (at most {})", most.unwrap_or_default())))?;
        Ok(Guest { user: user.clone(), login, permit, counted, who })
    }

    fn ask(&self, who: &Identity, login: &Login) -> Result<Permit, Denial> {
        let deps = &self.node.0.deps;
        let (target, view, now) = (self.node.target(), deps.view.borrow().clone(), deps.clock.now());
        let from = self.peer.client.map(|client| client.ip());
        let mut last = Denial::NotGranted;
        for what in REASONS {
            let action = Action::Ssh { target: &target, login, what };
            match decide(&Ask { who, action, from }, &view.rules, now) {
                Ok(permit) => return Ok(permit),
                Err(denial) => last = denial,
            }
        }
        Err(last)
    }

    async fn report(&self, refusal: Refusal) {
        tracing::info!(user = refusal.who.user, why = refusal.why, client = ?self.peer.client, "refused");
        let event = kinds::AuthFailure {
            who: refusal.who,
            server: server_of(self.node),
            connection: connection_of(self.peer),
            success: false,
            error: refusal.why,
        };
        if let Err(error) = self.node.0.deps.sessions.emit(&event).await {
            tracing::error!(%error, "a refusal is not on record");
        }
    }
}

struct Refusal {
    who: Who,
    why: String,
}

impl Refusal {
    /// The certificate says nothing that can be trusted, not even a name.
    fn nobody(login: &str, why: String) -> Self {
        let login: String = login.chars().filter(|c| !c.is_control()).take(64).collect();
        Self { who: Who { user: "unknown".to_owned(), login: Some(login), ..Who::default() }, why }
    }
}

impl ssh::server::Gate for Door<'_> {
    type Who = Guest;

    async fn admit(&self, login: &str, key: &PublicKey) -> Option<Guest> {
        match self.decide(login, key) {
            Ok(guest) => Some(guest),
            Err(refusal) => {
                self.report(refusal).await;
                None
            }
        }
    }
}
