//! A permit asked about anew: under later rules, or for one more thing on the same connection.

use model::Timestamp;

use crate::ask::{Action, Ask, Of, SshAction};
use crate::decide::decide;
use crate::permit::{Denial, Granted, Permit};
use crate::rules::Rules;

impl Permit {
    /// Asks the same again, under other rules or at another time: a session whose answer becomes no must end.
    ///
    /// # Errors
    /// No longer.
    pub fn again(&self, rules: &Rules, now: Timestamp) -> Result<Permit, Denial> {
        match &self.granted {
            Granted::Ssh { what, .. } => self.also(*what, rules, now),
            Granted::Api { kind, verb, of } => {
                let of = of.as_ref().map_or(Of::Any, Of::One);
                let action = Action::Api { kind: *kind, verb: *verb, of };
                decide(&Ask { who: &self.who, action, from: self.from }, rules, now)
            }
        }
    }

    /// Asks whether the same person may also do something else as the same account of the same node: each channel
    /// of a connection is a question of its own.
    ///
    /// # Errors
    /// No.
    pub fn also(&self, what: SshAction, rules: &Rules, now: Timestamp) -> Result<Permit, Denial> {
        match &self.granted {
            Granted::Ssh { target, login, .. } => {
                let action = Action::Ssh { target, login, what };
                decide(&Ask { who: &self.who, action, from: self.from }, rules, now)
            }
            Granted::Api { .. } => Err(Denial::NotGranted),
        }
    }
}
