//! What a file transfer did, for the audit log: an event for each action, a summary at the end.
//!
//! The summary keeps at most [`MAX`] files, in as many events as they need; how many more there were is said.

use std::sync::{Mutex, PoisonError};

use session::event::Status;
use session::event::kinds::{self, SftpAction, SftpFile};
use session::{EndReason, Session};

use super::visit::Visit;
use crate::pump::Notice;
use crate::sftp::watch::{Action, Deed, Moved, Seen};

/// Most files a summary lists.
const MAX: usize = 1000;
/// JSON of the files in one event: with all else it stays within an event's bound, beyond which fields are dropped.
const PAGE: usize = session::event::MAX * 3 / 4;

/// Collects and tells.
pub(super) struct Files<'a> {
    session: &'a Session,
    visit: &'a Visit,
    moved: Mutex<(Vec<SftpFile>, u64)>,
}

impl<'a> Files<'a> {
    pub(super) fn new(session: &'a Session, visit: &'a Visit) -> Self {
        Self { session, visit, moved: Mutex::default() }
    }

    fn note(&self, moved: Moved) {
        let mut files = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if files.0.len() >= MAX {
            files.1 += 1;
            return;
        }
        files.0.push(SftpFile {
            path: moved.path,
            read: moved.read,
            written: moved.written,
            read_sha256: moved.read_sha256,
            written_sha256: moved.written_sha256,
        });
    }

    /// What was moved and then renamed is listed by its last name: uploads go through a part file.
    fn follow(&self, deed: &Deed) {
        let (Action::Rename, None, Some(target)) = (deed.action, &deed.error, &deed.target) else { return };
        let mut files = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files.0.iter_mut().filter(|file| file.path == deed.path) {
            file.path.clone_from(target);
        }
    }

    async fn tell(&self, deed: Deed) {
        let status = match deed.error {
            None => Status::ok(),
            Some(words) => Status::failed(words),
        };
        self.session
            .emit(|facts| kinds::Sftp {
                who: facts.who.clone(),
                server: facts.server.clone(),
                session: facts.session.clone(),
                status,
                action: action(deed.action),
                path: deed.path,
                target_path: deed.target,
                working_directory: None,
                flags: deed.flags,
            })
            .await;
    }

    /// Tells what was moved in all.
    pub(super) async fn finish(self) {
        let (mut files, more) = self.moved.into_inner().unwrap_or_else(PoisonError::into_inner);
        if more > 0 {
            files.push(SftpFile { path: format!("… and {more} more files"), ..SftpFile::default() });
        }
        for files in pages(files) {
            self.session
                .emit(|facts| kinds::SftpSummary {
                    who: facts.who.clone(),
                    server: facts.server.clone(),
                    session: facts.session.clone(),
                    files,
                })
                .await;
        }
    }
}

/// The files in as many lists as it takes; one at least.
fn pages(files: Vec<SftpFile>) -> Vec<Vec<SftpFile>> {
    let mut pages = vec![Vec::new()];
    let mut room = PAGE;
    for file in files {
        let size = serde_json::to_vec(&file).map_or(PAGE, |json| json.len() + 1);
        if size > room && pages.last().is_some_and(|page| !page.is_empty()) {
            pages.push(Vec::new());
            room = PAGE;
        }
        room = room.saturating_sub(size);
        if let Some(page) = pages.last_mut() {
            page.push(file);
        }
    }
    pages
}

fn action(action: Action) -> SftpAction {
    match action {
        Action::Open => SftpAction::Open,
        Action::Setstat => SftpAction::Setstat,
        Action::Fsetstat => SftpAction::Fsetstat,
        Action::Opendir => SftpAction::Opendir,
        Action::Remove => SftpAction::Remove,
        Action::Mkdir => SftpAction::Mkdir,
        Action::Rmdir => SftpAction::Rmdir,
        Action::Rename => SftpAction::Rename,
        Action::Symlink => SftpAction::Symlink,
        Action::Link => SftpAction::Link,
        // There is no code for it: what it does is write.
        Action::Copy => SftpAction::Write,
    }
}

impl Notice for Files<'_> {
    async fn ended(&self) -> EndReason {
        self.visit.told_to_end(self.session).await
    }

    async fn resized(&self, _: u16, _: u16) {}

    async fn files(&self, seen: Vec<Seen>) {
        for seen in seen {
            match seen {
                Seen::Deed(deed) => {
                    self.follow(&deed);
                    self.tell(deed).await;
                }
                Seen::Moved(moved) => self.note(moved),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use session::event::{Server, SessionRef, Stamp, Who, check, seal};

    use super::*;

    #[test]
    fn a_thousand_files_are_all_in_the_log() {
        let file = |n: usize| SftpFile {
            path: format!("/srv/{n}/{}", "\u{1}".repeat(n * 3)),
            written: 1 << 40,
            written_sha256: Some("0".repeat(64)),
            ..SftpFile::default()
        };
        let stamp = Stamp {
            time: model::Timestamp::from_secs(1),
            uid: model::RequestId::from_random([1; 16]),
            cluster: &"gate".parse().unwrap(),
            index: 0,
        };

        let pages = pages((0..MAX).map(file).collect());

        let mut told = 0;
        for files in pages {
            told += files.len();
            let (who, server, session) = (Who::default(), Server::default(), SessionRef::default());
            let event = seal(&kinds::SftpSummary { who, server, session, files }, &stamp);
            assert!(!event.0.contains_key("trimmed_fields"));
            assert!(!serde_json::to_string(&event).unwrap().contains("[trimmed"));
            check(&event).unwrap();
        }
        assert_eq!(told, MAX);
        assert_eq!(super::pages(Vec::new()).len(), 1);
    }
}
