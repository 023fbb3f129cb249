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
    use super::*;

    #[test]
    fn nothing_is_answered_before_hello_and_hello_only_once() {
        let lookup = Question::Trust { authorities: Vec::new() };
        let hello = Question::Hello { version: 1 };

        assert!(!allowed(Phase::Greeting, &lookup));
        assert!(allowed(Phase::Greeting, &hello));
        assert!(allowed(Phase::Serving, &lookup));
        assert!(!allowed(Phase::Serving, &hello));
    }
}
