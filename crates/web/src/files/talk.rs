//! Conversations with a node's file service, each a session of its own there; those for browsing are kept a while.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use model::Timestamp;
use model::api::Fault;
use runtime::Scope;
use ssh::Connection;
use ssh::sftp::{Error, Sftp};
use tokio::time::timeout;

use super::asker::{Asker, Whereto};
use super::bounds::{KEEP, MAX_KEPT};
use super::trouble::Trouble;
use crate::reach::{DIAL, Reached, reach, say_agreed};
use crate::session::{Part, Person, Sessions, lock};

/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(30);

/// A conversation. It ends when it is dropped.
pub(crate) struct Talk {
    pub(crate) sftp: Sftp<ssh::Stream>,
    pub(crate) whereto: Whereto,
    pub(crate) since: Timestamp,
    connection: Connection,
    scope: Scope,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.connection.disconnect("done");
        self.scope.cancel();
    }
}

impl Talk {
    /// Opens one.
    pub(crate) async fn open(
        person: &Person,
        sessions: &Sessions,
        from: SocketAddr,
        whereto: &Whereto,
    ) -> Result<Self, Trouble> {
        let login = whereto.login.to_string();
        let Reached { connection, scope, .. } =
            reach(person, sessions, (&whereto.node, &login), from, "files").await?;
        let begun = async {
            let channel = connection.open_session().await?;
            say_agreed(person, &channel)?;
            channel.subsystem("sftp").await?;
            Ok::<_, ssh::Error>(channel)
        };
        let none = || Trouble::new(Fault::NotFound, "none", "you may not move files there");
        let channel = timeout(DIAL, begun).await.map_err(|_| Trouble::late())?.map_err(|error| {
            tracing::debug!(%error, "no file service");
            none()
        })?;
        let sftp = timeout(DIAL, Sftp::begin(channel.into_stream())).await.map_err(|_| Trouble::late())?;
        let since = sessions.now();
        Ok(Self { sftp: sftp.map_err(|_| none())?, whereto: whereto.clone(), since, connection, scope })
    }
}

/// Conversations that wait for the next question.
#[derive(Default)]
struct Kept(Mutex<Vec<Talk>>);

impl Part for Kept {
    fn sweep(&self, now: Timestamp) {
        lock(&self.0).retain(|talk| now.since(talk.since) < KEEP);
    }
}

impl Asker<'_> {
    /// A conversation of its own.
    pub(crate) async fn open(&self, whereto: &Whereto) -> Result<Talk, Trouble> {
        Talk::open(&self.person, self.sessions, self.from, whereto).await
    }

    /// A conversation for a question: one that was kept, or a new one. Says whether it was kept.
    pub(crate) async fn borrow(&self, whereto: &Whereto) -> Result<(Talk, bool), Trouble> {
        let kept = {
            let kept = self.person.parts.get::<Kept>();
            let mut kept = lock(&kept.0);
            let at = kept.iter().position(|talk| talk.whereto == *whereto);
            at.map(|at| kept.remove(at))
        };
        match kept {
            Some(talk) => Ok((talk, true)),
            None => Ok((self.open(whereto).await?, false)),
        }
    }

    /// Keeps it for the next question.
    pub(crate) fn give_back(&self, mut talk: Talk) {
        talk.since = self.sessions.now();
        let kept = self.person.parts.get::<Kept>();
        let mut kept = lock(&kept.0);
        if kept.len() >= MAX_KEPT {
            kept.remove(0);
        }
        kept.push(talk);
    }
}

/// A question's answer, in time.
pub(crate) async fn within<T>(question: impl Future<Output = Result<T, Error>>) -> Result<T, Trouble> {
    timeout(ANSWER, question).await.map_err(|_| Trouble::late())?.map_err(Trouble::from)
}
