//! Which question is allowed when: the gate before the privileged half does anything.
//!
//! Pure. Two gates stand one behind the other: the conversation's phase here, and the handles, which only an earlier
//! answer can have given (`monitor`). A question at the wrong time ends the conversation: the other half never asks
//! one, so somebody else is asking.

use super::message::Question;

/// How far the conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was said yet: only Hello.
    Greeting,
    /// Everything but Hello.
    Serving,
}

/// The table.
#[must_use]
pub fn allowed(phase: Phase, question: &Question) -> bool {
    match (phase, question) {
        (Phase::Greeting, Question::Hello { .. }) => true,
        (Phase::Greeting, _) | (Phase::Serving, Question::Hello { .. }) => false,
        (
            Phase::Serving,
            Question::Trust { .. }
            | Question::Lookup(_)
            | Question::OpenPty { .. }
            | Question::Spawn { .. }
            | Question::Signal { .. }
            | Question::AgentSocket { .. }
            | Question::Bind { .. }
            | Question::Connect { .. }
            | Question::Close { .. },
        ) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Program, Signal, Size};
    use super::*;

    #[test]
    fn nothing_is_answered_before_hello_and_hello_only_once() {
        let claim = super::super::claim::Claim {
            proof: ssh::server::Proof {
                session: vec![],
                login: "ann".into(),
                algorithm: String::new(),
                key: vec![],
                signature: vec![],
            },
            from: None,
        };
        let path = || b"s".to_vec();
        let table = [
            (Question::Hello { version: 1 }, true, false),
            (Question::Lookup(claim), false, true),
            (Question::OpenPty { account: 1, size: Size::default() }, false, true),
            (
                Question::Spawn { account: 1, pty: None, program: Program::Shell, env: Vec::new() },
                false,
                true,
            ),
            (Question::Signal { session: 1, signal: Signal::Hup }, false, true),
            (Question::AgentSocket { account: 1 }, false, true),
            (Question::Bind { account: 1, path: path() }, false, true),
            (Question::Connect { account: 1, path: path() }, false, true),
            (Question::Close { handle: 1 }, false, true),
            (Question::Trust { authorities: Vec::new() }, false, true),
        ];

        for (question, greeting, serving) in table {
            assert_eq!(allowed(Phase::Greeting, &question), greeting, "{question:?}");
            assert_eq!(allowed(Phase::Serving, &question), serving, "{question:?}");
        }
    }
}
