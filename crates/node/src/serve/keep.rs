//! Shells that are kept when their connection breaks, and the way back to them.
//!
//! A client that wants its shell kept says so before it asks for one: `env` with [`KEY`] and 32 random bytes in
//! hexadecimal, which only it knows; here their hash is kept, in memory. Who comes back asks for the subsystem
//! [`RESUME`] with the same key and, in [`SEEN`], how far they have seen the output. Everything else is as for a new
//! connection: certificate, rules, the same user and the same login. Bounds: [`MAX`] kept shells, [`MAX_OF_ONE`] of one
//! user; beyond them a shell is an ordinary one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use model::{Login, UserName};
use runtime::Scope;
use session::EndReason;
use session::event::{Connection, kinds};
use session::{Frame, Session};

use crate::kept::{Doorbell, Porch};
use crate::pump::Notice;
use crate::sftp::watch::Seen;

/// The variable with the key; it never reaches the program.
pub(super) const KEY: &str = "MOONGATE_KEEP";
/// The variable that says how many bytes of output who comes back has seen.
pub(super) const SEEN: &str = "MOONGATE_SEEN";
/// The subsystem that leads back to a kept shell.
pub(super) const RESUME: &str = "resume@moongate";

/// Most kept shells.
const MAX: usize = 512;
/// Most of one user.
const MAX_OF_ONE: usize = 16;

/// What is kept of a key: its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// Reads 64 hexadecimal digits.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != 64 || !text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        digest(&SHA256, text).as_ref().try_into().ok().map(Self)
    }
}

/// The kept shells of a host.
#[derive(Default)]
pub(super) struct Stays(Mutex<BTreeMap<Key, Arc<Stay>>>);

/// One kept shell: whose it is, and where who comes back waits.
pub(super) struct Stay {
    user: UserName,
    login: Login,
    pub(super) porch: Porch,
}

/// A shell in the list, for as long as this lives.
pub(super) struct Listed<'a> {
    stays: &'a Stays,
    key: Key,
    stay: Arc<Stay>,
}

impl Listed<'_> {
    /// Where the next visitor waits.
    pub(super) fn porch(&self) -> &Porch {
        &self.stay.porch
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.stays.map().remove(&self.key);
    }
}

impl Stays {
    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Arc<Stay>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a shell; `None` when there are too many, or the key is another's.
    pub(super) fn list(&self, key: Key, user: &UserName, login: &Login) -> Option<Listed<'_>> {
        let mut map = self.map();
        let own = map.values().filter(|stay| stay.user == *user).count();
        if map.len() >= MAX || own >= MAX_OF_ONE || map.contains_key(&key) {
            return None;
        }
        let stay = Arc::new(Stay { user: user.clone(), login: login.clone(), porch: Porch::default() });
        map.insert(key, stay.clone());
        drop(map);
        Some(Listed { stays: self, key, stay })
    }

    /// The kept shell of this key, if it is theirs.
    pub(super) fn find(&self, key: &Key, user: &UserName, login: &Login) -> Option<Arc<Stay>> {
        let stay = self.map().get(key).cloned()?;
        (stay.user == *user && stay.login == *login).then_some(stay)
    }
}

/// Tells of a kept shell's visitors, in the recording and in the audit log.
pub(super) struct Bell<'a> {
    pub(super) session: &'a Session,
    pub(super) user: &'a UserName,
    /// What a kept shell lives in.
    pub(super) stay: &'a Scope,
}

/// Puts a terminal's new size on record.
pub(super) async fn resized(session: &Session, cols: u16, rows: u16) {
    session
        .emit(|facts| kinds::SessionResize {
            who: facts.who.clone(),
            server: facts.server.clone(),
            session: facts.session.clone(),
            size: format!("{cols}:{rows}"),
        })
        .await;
}

impl Notice for Bell<'_> {
    async fn ended(&self) -> EndReason {
        tokio::select! {
            reason = self.session.ended() => reason,
            () = self.stay.cancelled() => EndReason::Stopping,
        }
    }

    async fn resized(&self, cols: u16, rows: u16) {
        resized(self.session, cols, rows).await;
    }

    async fn files(&self, _: Vec<Seen>) {}
}

impl Doorbell for Bell<'_> {
    async fn came(&self, from: &Connection) {
        // A session that has ended meanwhile says so to the pump.
        drop(self.session.tap().push(Frame::Join(self.user.as_str())).await);
        self.session
            .emit(|facts| kinds::SessionJoin {
                who: facts.who.clone(),
                server: facts.server.clone(),
                connection: from.clone(),
                session: facts.session.clone(),
                mode: Some("peer".to_owned()),
            })
            .await;
    }

    async fn left(&self) {
        drop(self.session.tap().push(Frame::Leave(self.user.as_str())).await);
        self.session
            .emit(|facts| kinds::SessionLeave {
                who: facts.who.clone(),
                server: facts.server.clone(),
                session: facts.session.clone(),
            })
            .await;
    }
}
