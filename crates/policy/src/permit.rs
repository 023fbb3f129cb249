//! The answer: a yes with its obligations, or a no with its reason.

use std::net::IpAddr;

use model::resource::{Kind, Verb};
use model::{Identity, Login, RequestId, RoleName, Timestamp};

use crate::ask::{Action, Ask, Object, Of, SshAction, Target};
use crate::options::Obligations;
use crate::rules::Rules;

/// A yes. Only [`crate::decide()`] makes one; it carries what was asked, so that it cannot be used for something else,
/// and cannot be copied.
#[derive(Debug, PartialEq)]
pub struct Permit {
    pub(crate) who: Identity,
    pub(crate) from: Option<IpAddr>,
    pub(crate) granted: Granted,
    obligations: Obligations,
    by: RoleName,
    revision: u64,
    decided_at: Timestamp,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Granted {
    Ssh { target: Target, login: Login, what: SshAction },
    Api { kind: Kind, verb: Verb, of: Option<Object> },
}

impl Permit {
    pub(crate) fn new(
        ask: &Ask<'_>,
        obligations: Obligations,
        by: RoleName,
        rules: &Rules,
        now: Timestamp,
    ) -> Self {
        let granted = match &ask.action {
            Action::Ssh { target, login, what } => {
                Granted::Ssh { target: (*target).clone(), login: (*login).clone(), what: *what }
            }
            Action::Api { kind, verb, of } => {
                let of = match of {
                    Of::Any => None,
                    Of::One(object) => Some((*object).clone()),
                };
                Granted::Api { kind: *kind, verb: *verb, of }
            }
        };
        Self {
            who: ask.who.clone(),
            from: ask.from,
            granted,
            obligations,
            by,
            revision: rules.revision(),
            decided_at: now,
        }
    }

    /// Who may.
    #[must_use]
    pub fn who(&self) -> &Identity {
        &self.who
    }

    /// The address they came from.
    #[must_use]
    pub fn from(&self) -> Option<IpAddr> {
        self.from
    }

    /// The node, for SSH.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        match &self.granted {
            Granted::Ssh { target, .. } => Some(target),
            Granted::Api { .. } => None,
        }
    }

    /// The local account, for SSH.
    #[must_use]
    pub fn login(&self) -> Option<&Login> {
        match &self.granted {
            Granted::Ssh { login, .. } => Some(login),
            Granted::Api { .. } => None,
        }
    }

    /// What, for SSH.
    #[must_use]
    pub fn ssh_action(&self) -> Option<SshAction> {
        match &self.granted {
            Granted::Ssh { what, .. } => Some(*what),
            Granted::Api { .. } => None,
        }
    }

    /// What, for the API.
    #[must_use]
    pub fn api(&self) -> Option<(Kind, Verb)> {
        match &self.granted {
            Granted::Ssh { .. } => None,
            Granted::Api { kind, verb, .. } => Some((*kind, *verb)),
        }
    }

    /// What comes with the yes.
    #[must_use]
    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// The role that granted it: the first by name, where several do.
    #[must_use]
    pub fn granted_by(&self) -> &RoleName {
        &self.by
    }

    /// The revision of the rules it was decided by.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// When it was decided.
    #[must_use]
    pub fn decided_at(&self) -> Timestamp {
        self.decided_at
    }
}

/// A no. The reasons are for logs, admins and `explain`; a caller is told [`Denial::PUBLIC`] whichever it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// A lock is in force.
    #[error("lock {0} is in force")]
    Locked(RequestId),
    /// The certificate has ended.
    #[error("the certificate ended at {0}")]
    Expired(Timestamp),
    /// The certificate is pinned to another address.
    #[error("the certificate is not good from this address")]
    OtherAddress,
    /// The certificate does not have the login.
    #[error("the certificate is not good for login `{0}`")]
    NotInCertificate(Login),
    /// A role says no.
    #[error("role `{0}` denies it")]
    DeniedBy(RoleName),
    /// A role cannot be understood, so that what it denies is not known.
    #[error("role `{0}` cannot be understood: write it again")]
    BrokenRole(RoleName),
    /// Options switch this off.
    #[error("the roles held do not allow {0}")]
    ChannelOff(&'static str),
    /// No role says yes.
    #[error("no role grants it")]
    NotGranted,
    /// Hosts have no sessions, and only what they may do as hosts.
    #[error("host certificates do not have this right")]
    NotForHosts,
}

impl Denial {
    /// What the person is told: nothing about why.
    pub const PUBLIC: &'static str = "access denied";
}
