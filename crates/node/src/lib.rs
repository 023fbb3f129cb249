//! A host's SSH service: sessions, terminals, commands, file transfer and forwards.
//!
//! Two processes: a small privileged half that starts programs as local accounts (`spawner`), and the half that
//! speaks to strangers, which is meant to run without privileges (`privilege`). This is the only room that may fork,
//! become another user, or say `unsafe`; each such block carries its reason. It does not know where connections come
//! from, how certificates are verified (a closure says), or where recordings go (`session`).

mod codec;
pub mod copy;
pub mod egress;
pub mod env;
mod error;
mod fd;
mod hearing;
mod kept;
pub mod labels;
pub mod memory;
pub mod privilege;
pub mod pty;
mod pump;
mod relay;
pub mod serve;
pub mod sftp;
pub mod spawner;

pub use codec::Malformed;
pub use error::Error;
pub use serve::Node;
pub use spawner::Spawner;

/// Entry points for fuzzing and corpus replay.
#[doc(hidden)]
pub mod fuzz {
    use crate::spawner::message::{Answer, Question};
    use crate::spawner::{found, reacher};

    /// Decodes both directions of the spawner's messages; what decodes must survive a round trip.
    pub fn spawner_message(data: &[u8]) {
        if let Ok(question) = Question::decode(data) {
            assert_eq!(Question::decode(&question.encode()).as_ref(), Ok(&question));
        }
        if let Ok(answer) = Answer::decode(data) {
            assert_eq!(Answer::decode(&answer.encode()).as_ref(), Ok(&answer));
        }
    }

    /// Decodes what a process that looked an account up has left.
    pub fn spawner_found(data: &[u8]) {
        if let Ok(found) = found::decode(data, "ann") {
            assert_eq!(found::decode(&found::encode(&found), "ann").as_ref(), Ok(&found));
        }
    }

    /// Decodes what goes between the spawner and a process that opens sockets, both ways.
    pub fn spawner_reached(data: &[u8]) {
        if let Some(wish) = reacher::Wish::decode(data) {
            assert_eq!(wish.encode(), data);
        }
        if let Some(outcome) = reacher::decode(data) {
            assert_eq!(reacher::encode(&outcome), data);
        }
    }

    /// Watches a conversation: the first byte says how the rest is dealt out to both sides.
    pub fn sftp_watch(data: &[u8]) {
        let mut watcher = crate::sftp::watch::Watcher::new();
        let Some((step, rest)) = data.split_first() else { return };
        let mut from_client = true;
        for piece in rest.chunks(usize::from(*step).max(1)) {
            let heard = if from_client { watcher.client(piece) } else { watcher.server(piece) };
            if heard.is_err() {
                return;
            }
            from_client = !from_client;
        }
        drop(watcher.finish());
    }
}
